"""Morgan fingerprints, Tanimoto similarity of many against many, and the nearest training molecule.

Fingerprints are those of MOSES: Morgan (ECFP4-like), radius 2, 1024 bits, packed into 128 bytes (bit i is bit i % 8 of
byte i // 8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdFingerprintGenerator

from puji.errors import Invalid

RADIUS = 2
BITS = 1024
BLOCK = 1024
"""Reference molecules compared at a time: their bits, a byte each, fill 1 MiB, the second-level cache of a core."""

FEW = 64
"""Queries that are compared without the compiled kernel, whose compiling takes two seconds."""


@cache
def _generator() -> Any:
    return rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)


def fingerprint(mol: Chem.Mol) -> bytes:
    """The packed fingerprint of one molecule, 128 bytes."""
    return bytes(DataStructs.BitVectToBinaryText(_generator().GetFingerprint(mol)))


def stack(packed: Iterable[bytes]) -> np.ndarray:
    """Packed fingerprints -> uint8, shape (n, 128)."""
    return np.frombuffer(b"".join(packed), dtype=np.uint8).reshape(-1, BITS // 8)


class Scan(NamedTuple):
    """Tanimoto similarity of each query, shape (queries,), to all references: highest, where, mean, mean of squares."""

    highest: np.ndarray
    where: np.ndarray
    mean: np.ndarray
    mean_square: np.ndarray


@cache
def _kernel() -> Callable[..., None]:
    # Compiled on first use (about two seconds), so that importing stays quick.
    import numba

    @numba.njit(nogil=True, fastmath=True)  # type: ignore[untyped-decorator,unused-ignore]
    def kernel(
        starts: np.ndarray,  # (queries + 1,) where a query's set bits begin in `on`
        on: np.ndarray,
        columns: np.ndarray,  # (1024, m) uint8: bit b of reference j
        sizes: np.ndarray,  # (m,) set bits of each reference
        first: int,
        highest: np.ndarray,
        where: np.ndarray,
        total: np.ndarray,
        squares: np.ndarray,
    ) -> None:
        m = len(sizes)
        common8 = np.empty(m, np.uint8)
        common = np.empty(m, np.int32)
        similarity = np.empty(m, np.float32)
        for q in range(len(starts) - 1):
            low, end = starts[q], starts[q + 1]
            size = np.int32(end - low)
            common[:] = 0
            # Intersections are counted in bytes, 64 references an instruction; flushed before a byte can overflow.
            while low < end:
                high = min(low + 255, end)
                common8[:] = 0
                for k in range(low, high):
                    column = columns[on[k]]
                    for j in range(m):
                        common8[j] += column[j]
                for j in range(m):
                    common[j] += common8[j]
                low = high
            best = np.float32(-1)
            summed = np.float32(0)
            squared = np.float32(0)
            for j in range(m):
                union = size + sizes[j] - common[j]
                s = np.float32(common[j]) / np.float32(max(union, 1))
                similarity[j] = s
                best = max(best, s)
                summed += s
                squared += s * s
            if best > highest[q]:
                highest[q] = best
                for j in range(m):
                    if similarity[j] == best:
                        where[q] = first + j
                        break
            total[q] += summed
            squares[q] += squared

    return kernel


def scan(queries: np.ndarray, references: np.ndarray, workers: int = 1) -> Scan:
    """Compare each query with every reference.

    Parameters
    ----------
    queries, references : uint8 arrays, shapes (q, 128) and (n, 128)
        Packed fingerprints; n > 0.
    workers : int
        Threads.
    """
    kernel = _kernel()

    def part(rows: np.ndarray) -> Scan:
        bits = np.unpackbits(rows, axis=1, bitorder="little")
        on = np.nonzero(bits)[1].astype(np.int16)
        starts = np.concatenate([[0], np.cumsum(bits.sum(axis=1, dtype=np.int64))])
        del bits
        highest, where = np.full(len(rows), -1, np.float32), np.zeros(len(rows), np.int64)
        total, squares = np.zeros(len(rows)), np.zeros(len(rows))
        for first in range(0, len(references), BLOCK):
            block = np.unpackbits(references[first : first + BLOCK], axis=1, bitorder="little")
            sizes = block.sum(axis=1, dtype=np.int32)
            kernel(starts, on, np.ascontiguousarray(block.T), sizes, first, highest, where, total, squares)
        return Scan(highest, where, total / len(references), squares / len(references))

    pieces = [piece for piece in np.array_split(queries, max(1, workers)) if len(piece)] or [queries]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        parts = list(pool.map(part, pieces))
    return Scan(*(np.concatenate(column) for column in zip(*parts, strict=True)))


@dataclass(frozen=True)
class SimilarityIndex:
    """Fingerprints of training molecules, to find the nearest one of any molecule.

    ``total`` is how many training molecules there were. Where the index holds fewer, what `nearest`
    returns is the nearest *of a random subset*, and the similarity a lower bound of the true one.
    """

    fingerprints: np.ndarray  # (n, 128) uint8
    smiles: Sequence[str]
    total: int

    def nearest(self, smiles: Sequence[str], workers: int = 1) -> list[tuple[float, str]]:
        """(Tanimoto similarity, SMILES) of the nearest molecule for each one given; (nan, "") if it does not parse."""
        with rdBase.BlockLogs():
            mols = [Chem.MolFromSmiles(text) for text in smiles]
        known = [i for i, mol in enumerate(mols) if mol is not None and mol.GetNumAtoms() > 0]
        result = [(float("nan"), "")] * len(mols)
        if not known:
            return result
        queries = stack(fingerprint(mols[i]) for i in known)
        found = self._few(queries) if len(queries) <= FEW else scan(queries, self.fingerprints, workers)
        for i, similarity, where in zip(known, found.highest, found.where, strict=True):
            result[i] = (float(similarity), self.smiles[where])
        return result

    @cached_property
    def _sizes(self) -> np.ndarray:
        sizes: np.ndarray = np.bitwise_count(self.fingerprints).sum(axis=1, dtype=np.int32)
        return sizes

    def _few(self, queries: np.ndarray) -> Scan:
        """As `scan`, without compiling anything; about 2 ms a query and 20,000 references."""
        similarities = np.empty((len(queries), len(self.fingerprints)), np.float32)
        for row, query in enumerate(queries):
            common = np.bitwise_count(self.fingerprints & query).sum(axis=1, dtype=np.int32)
            union = self._sizes + np.bitwise_count(query).sum(dtype=np.int32) - common
            similarities[row] = common / np.maximum(union, 1)
        where = similarities.argmax(axis=1)
        return Scan(similarities.max(axis=1), where, similarities.mean(axis=1), np.square(similarities).mean(axis=1))


def similarity_index(smiles: Sequence[str], keep: int | None = None, seed: int = 0) -> SimilarityIndex:
    """Index training molecules, or a random subset of ``keep`` of them. Raises Invalid if none of them parses."""
    total = len(smiles)
    if keep is not None and keep < total:
        chosen = np.random.default_rng(seed).choice(total, keep, replace=False)
        smiles = [smiles[i] for i in np.sort(chosen)]
    kept: list[str] = []
    packed: list[bytes] = []
    with rdBase.BlockLogs():
        for text in smiles:
            mol = Chem.MolFromSmiles(text)
            if mol is not None and mol.GetNumAtoms() > 0:
                kept.append(text)
                packed.append(fingerprint(mol))
    if not kept:
        raise Invalid("molecules.no_samples")
    return SimilarityIndex(stack(packed), kept, total)


__all__ = ["BITS", "RADIUS", "Scan", "SimilarityIndex", "fingerprint", "scan", "similarity_index", "stack"]

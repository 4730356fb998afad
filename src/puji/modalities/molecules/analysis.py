"""Molecules in bulk: canonical SMILES and what the MOSES metrics count, on several processes if wanted.

Apart from metrics.py so that the processes, which start by importing this module, need no torch.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdmolops
from rdkit.Chem.Scaffolds import MurckoScaffold

from puji.modalities.molecules.properties import PROPERTIES, passes_moses_filters
from puji.modalities.molecules.similarity import fingerprint, stack

CHUNK = 500
COMPARED = {"logP": "logp", "SA": "sa", "QED": "qed", "weight": "weight"}
"""The MOSES name of each property whose distribution is compared -> its name in PROPERTIES."""
SCAFFOLD_RINGS = 2
"""MOSES counts no scaffold with fewer rings."""

Progress = Callable[[int, int], None]
"""Called with how many are done, of how many."""
Result = TypeVar("Result")


def silent(done: int, total: int) -> None:
    """A `Progress` that tells nobody."""


def parse(smiles: str) -> Chem.Mol | None:
    """The molecule, or None if RDKit refuses it or it has no atoms (as MOSES: the empty string is not valid)."""
    mol = Chem.MolFromSmiles(smiles)
    return mol if mol is not None and mol.GetNumAtoms() > 0 else None


def brics_fragments(mol: Chem.Mol) -> list[str]:
    """SMILES of the pieces after cutting all BRICS bonds at once: Degen et al., ChemMedChem 3:1503 (2008)."""
    return str(Chem.MolToSmiles(rdmolops.FragmentOnBRICSBonds(mol))).split(".")


def murcko_scaffold(mol: Chem.Mol, rings: int = SCAFFOLD_RINGS) -> str | None:
    """Bemis-Murcko scaffold as SMILES; None if it has fewer than ``rings`` rings or RDKit cannot make it."""
    try:
        scaffold = MurckoScaffold.GetScaffoldForMol(mol)  # type: ignore[no-untyped-call,unused-ignore]
    except (ValueError, RuntimeError):
        return None
    if scaffold.GetRingInfo().NumRings() < rings:
        return None
    return str(Chem.MolToSmiles(scaffold)) or None


@dataclass
class Analysis:
    """What is counted of ``total`` SMILES; arrays and lists hold the valid ones, in their order."""

    total: int = 0
    canonical: list[str] = field(default_factory=list)
    fingerprints: np.ndarray = field(default_factory=lambda: stack([]))  # (n, 128)
    fragments: Counter[str] = field(default_factory=Counter)
    scaffolds: Counter[str] = field(default_factory=Counter)
    properties: np.ndarray = field(default_factory=lambda: np.empty((len(COMPARED), 0)))  # (4, n), if asked for
    passed: int = 0  # how many pass the MOSES filters, if asked for


def _measure(smiles: Sequence[str], *, properties: bool, filters: bool) -> Analysis:
    names = COMPARED.values() if properties else ()
    with rdBase.BlockLogs():
        mols = [mol for mol in map(parse, smiles) if mol is not None]
        scaffolds = map(murcko_scaffold, mols)
        values = [[PROPERTIES[name].compute(mol) for mol in mols] for name in names]
        return Analysis(
            total=len(smiles),
            canonical=[Chem.MolToSmiles(mol) for mol in mols],
            fingerprints=stack(map(fingerprint, mols)),
            fragments=Counter(piece for mol in mols for piece in brics_fragments(mol)),
            scaffolds=Counter(scaffold for scaffold in scaffolds if scaffold is not None),
            properties=np.array(values) if properties else np.empty((len(COMPARED), 0)),
            passed=sum(map(passes_moses_filters, mols)) if filters else 0,
        )


def _canonical(smiles: Sequence[str]) -> list[str]:
    with rdBase.BlockLogs():
        return [Chem.MolToSmiles(mol) for mol in map(parse, smiles) if mol is not None]


def _canonical_hashes(smiles: Sequence[str]) -> np.ndarray:
    return hashes(_canonical(smiles))


def hashes(smiles: Sequence[str]) -> np.ndarray:
    """64-bit BLAKE2b hashes, uint64: a set of 1.6 M molecules in 13 MB (any false hit in 30,000 looks: p < 1e-8)."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in smiles)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _map(
    function: Callable[[Sequence[str]], Result],
    smiles: Sequence[str],
    workers: int,
    progress: Progress,
) -> Iterator[Result]:
    chunks = [smiles[at : at + CHUNK] for at in range(0, len(smiles), CHUNK)]
    done = 0

    def tell(result: Result, chunk: Sequence[str]) -> Result:
        nonlocal done
        done += len(chunk)
        progress(done, len(smiles))
        return result

    if workers <= 1 or len(chunks) <= 1:
        for chunk in chunks:
            yield tell(function(chunk), chunk)
        return
    # spawn: a fork of a process with threads (torch's) may hang.
    with get_context("spawn").Pool(min(workers, len(chunks))) as pool:
        for result, chunk in zip(pool.imap(function, chunks), chunks, strict=True):
            yield tell(result, chunk)


def analyse(
    smiles: Sequence[str],
    *,
    properties: bool = True,
    filters: bool = True,
    workers: int = 1,
    progress: Progress = silent,
) -> Analysis:
    """Parse SMILES and count what MOSES compares, on ``workers`` processes; the two slowest parts are optional."""
    whole = Analysis()
    arrays: list[tuple[np.ndarray, np.ndarray]] = []
    function = partial(_measure, properties=properties, filters=filters)
    for part in _map(function, smiles, workers, progress):
        whole.total += part.total
        whole.canonical += part.canonical
        whole.fragments.update(part.fragments)
        whole.scaffolds.update(part.scaffolds)
        whole.passed += part.passed
        arrays.append((part.fingerprints, part.properties))
    if arrays:
        whole.fingerprints = np.concatenate([a for a, _ in arrays])
        whole.properties = np.concatenate([b for _, b in arrays], axis=1)
    return whole


def canonical(smiles: Sequence[str], *, workers: int = 1, progress: Progress = silent) -> list[str]:
    """Canonical SMILES of those that parse, in their order."""
    return [text for part in _map(_canonical, smiles, workers, progress) for text in part]


def canonical_hashes(smiles: Sequence[str], *, workers: int = 1, progress: Progress = silent) -> np.ndarray:
    """Sorted distinct `hashes` of the canonical SMILES of those that parse."""
    parts = list(_map(_canonical_hashes, smiles, workers, progress))
    return np.unique(np.concatenate(parts)) if parts else hashes([])


__all__ = [
    "COMPARED",
    "Analysis",
    "Progress",
    "analyse",
    "brics_fragments",
    "canonical",
    "canonical_hashes",
    "hashes",
    "murcko_scaffold",
    "parse",
    "silent",
]

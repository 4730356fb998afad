"""The MOSES benchmark: Polykovskiy et al., Front. Pharmacol. 11:565644 (2020), reimplemented.

`moses` scores any list of SMILES against `References`: the training set (for novelty), Test and TestSF (molecules whose
scaffolds are not in the training set). Definitions are those of the MOSES 0.3.1 code, also where its paper is less exact;
SMILES are canonicalised by the installed RDKit on both sides.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rdkit import rdBase
from scipy.stats import wasserstein_distance

from puji.arrays import load_arrays, pack_strings, save_arrays, unpack_strings
from puji.errors import Invalid
from puji.intervals import average, proportion
from puji.modalities.molecules import chemnet
from puji.modalities.molecules.analysis import COMPARED, Progress, analyse, canonical, canonical_hashes, hashes, silent
from puji.modalities.molecules.data import MOSES, Split, moses_file, moses_split
from puji.modalities.molecules.similarity import SimilarityIndex, scan, similarity_index
from puji.modality import Metric
from puji.public import cache_folder

VERSION = 1
"""Raise when anything that enters the cached statistics is computed in another way."""

Source = Callable[[], Sequence[str]]


@dataclass(frozen=True)
class Statistics:
    """What MOSES compares of a set of ``n`` valid molecules."""

    n: int
    gaussian: chemnet.Gaussian
    fingerprints: np.ndarray  # (n, 128) packed Morgan fingerprints
    fragments: Mapping[str, int]
    scaffolds: Mapping[str, int]
    properties: Mapping[str, np.ndarray]  # MOSES name -> (n,); (0,) for TestSF, whose properties are not compared

    @classmethod
    def of(cls, smiles: Sequence[str], *, workers: int = 1, progress: Progress = silent) -> Statistics:
        """Compute them, without a cache. Raises Invalid if no SMILES is valid."""
        identity = hashlib.sha256("\n".join(smiles).encode()).hexdigest()
        return _statistics(identity, lambda: smiles, None, workers, progress)


@dataclass(frozen=True)
class References:
    """What samples are compared with."""

    train: np.ndarray  # sorted `hashes` of the canonical training SMILES
    test: Statistics
    test_scaffolds: Statistics | None = None

    @classmethod
    def of(
        cls,
        train: Sequence[str],
        test: Sequence[str],
        test_scaffolds: Sequence[str] | None = None,
        *,
        workers: int = 1,
        progress: Progress = silent,
    ) -> References:
        """References from your own sets of SMILES, computed at once and not cached."""
        return cls(
            canonical_hashes(train, workers=workers, progress=progress),
            Statistics.of(test, workers=workers, progress=progress),
            None if test_scaffolds is None else Statistics.of(test_scaffolds, workers=workers, progress=progress),
        )


def moses_references(
    folder: Path | None = None, *, cache: Path | None = None, workers: int = 1, progress: Progress = silent
) -> References:
    """The references of MOSES. The first call takes about an hour on one core; later ones read the cache.

    Parameters
    ----------
    folder : Path or None
        Where ``data.MOSES.fetched`` put the files.
    cache : Path or None
        Where the statistics are kept, by data, code and RDKit version; default ``metrics`` in the cache folder.
    workers : int
        Processes for everything but ChemNet, which uses torch's threads.

    Raises
    ------
    Invalid
        If the MOSES files are missing or damaged.
    """
    cache = cache or cache_folder() / "metrics"

    def source(name: Split) -> tuple[str, Source]:
        moses_file(name, folder)
        return MOSES.files[f"{name}.csv.gz"], lambda: list(moses_split(name, folder))

    identity, train = source("train")
    known = _cached(
        cache,
        _key("train", identity),
        lambda: {"hashes": canonical_hashes(train(), workers=workers, progress=progress)},
    )
    return References(
        known["hashes"],
        _statistics(*source("test"), cache, workers, progress),
        _statistics(*source("test_scaffolds"), cache, workers, progress, properties=False),
    )


def _key(what: str, identity: str) -> str:
    parts = f"{VERSION}|{rdBase.rdkitVersion}|{chemnet.WEIGHTS}|{identity}"
    return f"{what}-{hashlib.sha256(parts.encode()).hexdigest()[:16]}"


def _cached(folder: Path | None, key: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if folder is None:
        return compute()
    path = folder / f"{key}.npz"
    arrays = load_arrays(path)
    if arrays is None:
        arrays = compute()
        save_arrays(path, **arrays)
    return arrays


def _counted(source: Source, workers: int, progress: Progress, properties: bool = True) -> dict[str, np.ndarray]:
    found = analyse(source(), properties=properties, filters=False, workers=workers, progress=progress)
    if not found.canonical:
        raise Invalid("molecules.no_samples")
    return {
        "fingerprints": found.fingerprints,
        "properties": found.properties,
        "fragments": pack_strings(list(found.fragments)),
        "fragment_counts": np.array(list(found.fragments.values()), dtype=np.int64),
        "scaffolds": pack_strings(list(found.scaffolds)),
        "scaffold_counts": np.array(list(found.scaffolds.values()), dtype=np.int64),
    }


def _activated(source: Source, workers: int, progress: Progress) -> dict[str, np.ndarray]:
    clean = canonical(source(), workers=workers, progress=progress)
    normal = chemnet.gaussian(_activations(clean, progress))
    return {"mean": normal.mean, "covariance": normal.covariance, "n": np.asarray(normal.n)}


def _statistics(
    identity: str,
    source: Source,
    cache: Path | None,
    workers: int,
    progress: Progress,
    properties: bool = True,
) -> Statistics:
    counts = _cached(cache, _key("statistics", identity), lambda: _counted(source, workers, progress, properties))
    normal = _cached(cache, _key("chemnet", identity), lambda: _activated(source, workers, progress))
    return Statistics(
        n=len(counts["fingerprints"]),
        gaussian=chemnet.Gaussian(normal["mean"], normal["covariance"], int(normal["n"])),
        fingerprints=counts["fingerprints"],
        fragments=dict(zip(unpack_strings(counts["fragments"]), counts["fragment_counts"].tolist(), strict=True)),
        scaffolds=dict(zip(unpack_strings(counts["scaffolds"]), counts["scaffold_counts"].tolist(), strict=True)),
        properties=dict(zip(COMPARED, counts["properties"], strict=True)),
    )


def _activations(smiles: Sequence[str], progress: Progress) -> np.ndarray:
    place = {text: i for i, text in enumerate(dict.fromkeys(smiles))}
    return chemnet.activations(list(place), progress=progress)[[place[text] for text in smiles]]


def cosine(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    """Cosine of two sparse vectors of counts; nan if one is empty."""
    norms = math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
    return sum(n * b.get(name, 0) for name, n in a.items()) / norms if norms else math.nan


def moses(
    samples: Sequence[str], references: References, *, workers: int = 1, progress: Progress = silent
) -> dict[str, Metric]:
    """All MOSES metrics of ``samples``, in the order of its table; names as there ("FCD/Test", "unique@10k").

    Invalid SMILES count in "valid" only. "unique@k" looks at the first k valid ones (fewer if there are fewer: see n).
    Duplicates count everywhere else but in "Novelty". FCD falls with the number of samples: compare at 30,000.

    Parameters
    ----------
    samples : sequence of str
        SMILES from anywhere, raw draws in their order.
    references : References
    workers : int
        Processes (properties) and threads (similarity); ChemNet uses torch's threads.
    progress : callable
        Called with how many are done, of how many, in each part of the work.

    Raises
    ------
    Invalid
        If ``samples`` is empty.
    """
    if not len(samples):
        raise Invalid("molecules.no_samples")
    found = analyse(samples, workers=workers, progress=progress)
    valid, n = found.canonical, len(found.canonical)
    result = {"valid": proportion(n, found.total)}
    for name, k in (("unique@1k", 1000), ("unique@10k", 10_000)):
        first = valid[:k]
        result[name] = Metric(len(set(first)) / len(first) if first else math.nan, len(first), "up")

    # The Gaussian of fewer than two molecules has no covariance.
    normal = chemnet.gaussian(_activations(valid, progress)) if n > 1 else None
    for label, reference in (("Test", references.test), ("TestSF", references.test_scaffolds)):
        if reference is None:
            continue
        fcd = math.nan if normal is None else chemnet.distance(reference.gaussian, normal)
        result[f"FCD/{label}"] = Metric(fcd, n, "down")
        result[f"SNN/{label}"] = average(scan(found.fingerprints, reference.fingerprints, workers).highest)
        result[f"Frag/{label}"] = Metric(cosine(found.fragments, reference.fragments), n, "up")
        result[f"Scaf/{label}"] = Metric(cosine(found.scaffolds, reference.scaffolds), n, "up")

    if n:
        pairs = scan(found.fingerprints, found.fingerprints, workers)
        diversity = 1 - float(pairs.mean.mean()), 1 - float(np.sqrt(pairs.mean_square).mean())
    else:
        diversity = math.nan, math.nan
    result["IntDiv"], result["IntDiv2"] = (Metric(value, n, "up") for value in diversity)
    result["Filters"] = proportion(found.passed, n)
    for name, values in zip(COMPARED, found.properties, strict=True):
        distance = float(wasserstein_distance(references.test.properties[name], values)) if n else math.nan
        result[name] = Metric(distance, n, "down")
    distinct = hashes(sorted(set(valid)))
    result["Novelty"] = proportion(int(np.isin(distinct, references.train, invert=True).sum()), len(distinct))
    return result


__all__ = [
    "VERSION",
    "References",
    "SimilarityIndex",
    "Statistics",
    "average",
    "cosine",
    "moses",
    "moses_references",
    "proportion",
    "similarity_index",
]

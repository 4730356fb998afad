"""Calibration of the MOSES metrics: training molecules, scored as if generated, must give the table's "Train" row.

The published row scores the whole training set (1,584,663 molecules). Two metrics depend on how many are scored, whatever
their quality: FCD, whose bias falls as 1/n (so it is extrapolated from the two sizes, by FCD(n) = a + b / n), and Scaf,
because a sample cannot hold all scaffolds: fragments and scaffolds are therefore also counted over the whole training set.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from puji.modalities.molecules import chemnet
from puji.modalities.molecules.analysis import analyse
from puji.modalities.molecules.data import moses_split
from puji.modalities.molecules.metrics import cosine, moses, moses_references

SIZES = (10_000, 30_000)
PUBLISHED = {
    "valid": "1.0",
    "unique@1k": "1.0",
    "unique@10k": "1.0",
    "FCD/Test": ".008",
    "FCD/TestSF": ".4755",
    "SNN/Test": ".6419",
    "SNN/TestSF": ".5859",
    "Frag/Test": "1.0",
    "Frag/TestSF": ".9986",
    "Scaf/Test": ".9907",
    "Scaf/TestSF": "0",
    "IntDiv": ".8567",
    "IntDiv2": ".8508",
    "Filters": "1.0",
}
"""Row "Train" of the table in the MOSES README, as printed there."""


def extrapolated(values: dict[int, float]) -> float | None:
    """FCD at n -> infinity from the two largest sizes, by FCD(n) = a + b / n; None with one size only."""
    if len(values) < 2:
        return None
    (n1, f1), (n2, f2) = sorted(values.items())[-2:]
    return (n2 * f2 - n1 * f1) / (n2 - n1)


def run(quick: bool) -> dict[str, Any]:
    """Scores of nested samples of the training set, beside the published row."""
    if quick:
        from benchmarks.molecules_quality import quick_molecules, small_references

        samples, references, sizes = quick_molecules(), small_references(), (100, 200)
    else:
        samples, references, sizes = list(moses_split("train")), moses_references(workers=2), SIZES
    order = np.random.default_rng(0).permutation(len(samples))
    measured: dict[str, dict[str, float]] = {}
    for size in sizes:
        scores = moses([samples[i] for i in order[:size]], references, workers=1 if quick else 2)
        measured[str(size)] = {name: metric.value for name, metric in scores.items()}
    if not quick:
        whole = analyse(samples, filters=False, workers=2)
        sets = {"Test": references.test, "TestSF": references.test_scaffolds}
        measured[str(len(samples))] = {
            f"{name}/{label}": cosine(getattr(whole, kind), getattr(reference, kind))
            for label, reference in sets.items()
            for name, kind in (("Frag", "fragments"), ("Scaf", "scaffolds"))
        }
    limits = {
        name: extrapolated({int(size): values[name] for size, values in measured.items() if name in values})
        for name in ("FCD/Test", "FCD/TestSF")
    }
    return {
        "seed": 0,
        "weights": chemnet.WEIGHTS,
        "published": PUBLISHED,
        "measured": measured,
        "fcd_extrapolated": {name: value for name, value in limits.items() if value is not None},
    }

"""Calibration of the MOSES metrics: training molecules, scored as if generated, must give the table's "Train" row.

    python benchmarks/calibrate_metrics.py --sizes 10000 30000 --whole

The published row scores the whole training set (1,584,663 molecules). Two metrics depend on how many are scored, whatever
their quality: FCD, whose bias falls as 1/n (so it is extrapolated from the two largest sizes, by FCD(n) = a + b / n), and
Scaf, because a sample cannot hold all scaffolds. ``--whole`` counts fragments and scaffolds of the whole training set
(about twenty minutes of one core), where both must agree to the printed digits. The first run of all also computes the
reference statistics (about an hour of one core).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from puji.modalities.molecules import chemnet
from puji.modalities.molecules.analysis import analyse
from puji.modalities.molecules.data import moses_split
from puji.modalities.molecules.metrics import cosine, moses, moses_references

RESULTS = Path(__file__).parent / "results" / "calibration.json"
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[30_000], help="sample sizes, nested")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--whole", action="store_true", help="also Frag and Scaf of the whole training set")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--data", type=Path, help="folder of the MOSES files (default: Puji's cache)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()

    def progress(what: str, done: int, total: int) -> None:
        if sys.stderr.isatty() or done == total:
            print(f"\r{what} {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    began = time.perf_counter()
    references = moses_references(options.data, workers=options.workers, progress=progress)
    print(f"references {time.perf_counter() - began:.0f} s", file=sys.stderr)
    train = list(moses_split("train", options.data))
    order = np.random.default_rng(options.seed).permutation(len(train))

    measured: dict[str, dict[str, float]] = {}
    seconds: dict[str, float] = {}
    for size in sorted(options.sizes):
        began = time.perf_counter()
        samples = [train[i] for i in order[:size]]
        scores = moses(samples, references, workers=options.workers, progress=progress)
        measured[str(size)] = {name: metric.value for name, metric in scores.items()}
        seconds[str(size)] = round(time.perf_counter() - began, 1)
        write(options, measured, seconds)
    if options.whole:
        began = time.perf_counter()
        whole = analyse(train, properties=False, filters=False, workers=options.workers, progress=progress)
        sets = {"Test": references.test, "TestSF": references.test_scaffolds}
        measured[str(len(train))] = {
            f"{name}/{label}": cosine(getattr(whole, kind), getattr(reference, kind))
            for label, reference in sets.items()
            for name, kind in (("Frag", "fragments"), ("Scaf", "scaffolds"))
        }
        seconds[str(len(train))] = round(time.perf_counter() - began, 1)
        write(options, measured, seconds)

    columns = list(measured)
    print(f"{'metric':<12}{'published':>10}" + "".join(f"{size:>12}" for size in columns))
    for name in measured[columns[0]]:
        cells = "".join(f"{measured[size][name]:>12.4f}" if name in measured[size] else f"{'':>12}" for size in columns)
        print(f"{name:<12}{PUBLISHED.get(name, '-'):>10}{cells}")


def write(options: argparse.Namespace, measured: dict[str, dict[str, float]], seconds: dict[str, float]) -> None:
    limits = {
        name: extrapolated({int(size): values[name] for size, values in measured.items() if name in values})
        for name in ("FCD/Test", "FCD/TestSF")
    }
    largest: dict[str, float] = {}
    for size in sorted(measured, key=int):
        largest |= measured[size]
    report = {
        "what": "MOSES training molecules scored as if generated, beside the published row Train",
        "command": "python benchmarks/calibrate_metrics.py --sizes "
        + " ".join(map(str, sorted(options.sizes)))
        + f" --seed {options.seed}"
        + " --whole" * options.whole,
        "seed": options.seed,
        "weights": chemnet.WEIGHTS,
        "published": PUBLISHED,
        "measured": measured,
        "difference": {name: round(largest[name] - float(printed), 5) for name, printed in PUBLISHED.items()},
        "fcd_extrapolated": {name: value for name, value in limits.items() if value is not None},
        "seconds": seconds,
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "workers": options.workers,
        },
        "versions": {"python": platform.python_version()} | {p: version(p) for p in ("rdkit", "fcd", "torch", "numpy")},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

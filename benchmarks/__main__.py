"""``make bench`` (``ARGS=--quick`` for under a minute): run suites, write results/*.json, generate RESULTS.md."""

from __future__ import annotations

import argparse
import importlib
import time

from benchmarks import common, report

SUITES = (
    "sampling",
    "training",
    "explanations",
    "startup",
    "molecules_quality",
    "molecules_dummies",
    "molecules_conditions",
    "names_quality",
    "timelines_quality",
    "timelines_truth",
    "timelines_reading",
    "timelines_shift",
    "timelines_weights",
    "images_quality",
    "diabetes_simulator",
    "sepsis",
    "streams",
    "calibration",
)
"""In the order in which they run; each is a module with ``run(quick) -> dict``."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}; default all")
    parser.add_argument("--quick", action="store_true", help="small samples: checks that it runs, not what it reaches")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the suites of quality; fewer is quicker")
    asked = parser.parse_args()
    if unknown := set(asked.suites) - set(SUITES):
        parser.error(f"unknown suite: {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    for suite in asked.suites or SUITES:
        started = time.perf_counter()
        print(f"{suite} ...", flush=True)
        options = {"seeds": asked.seeds} if suite.endswith("_quality") else {}
        results = importlib.import_module(f"benchmarks.{suite}").run(quick=asked.quick, **options)
        seconds = time.perf_counter() - started
        path = common.write(suite, results, quick=asked.quick, seconds=seconds)
        print(f"{suite}: {seconds:.0f} s, {path.relative_to(common.HERE.parent)}", flush=True)
    if not asked.quick:
        report.write()


if __name__ == "__main__":
    main()

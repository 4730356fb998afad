"""``make bench`` (``ARGS=--quick`` for under a minute): run suites, write results/*.json, generate RESULTS.md."""

from __future__ import annotations

import argparse
import importlib
import time

from benchmarks import common, report
from puji.errors import Invalid

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
    "reports_quality",
    "diabetes_simulator",
    "diabetes",
    "sepsis",
    "plans_weights",
    "streams",
    "calibration",
)
"""In the order in which they run; each is a module with ``run(quick) -> dict``."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}; default all")
    parser.add_argument("--quick", action="store_true", help="tiny samples: shows that it runs, not what it reaches")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the suites of quality; fewer is quicker")
    asked = parser.parse_args()
    if unknown := set(asked.suites) - set(SUITES):
        parser.error(f"unknown suite: {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    left_out, total = [], 0.0
    for suite in asked.suites or SUITES:
        started = time.perf_counter()
        print(f"{suite} ...", flush=True)
        options = {"seeds": asked.seeds} if suite.endswith("_quality") else {}
        try:
            results = importlib.import_module(f"benchmarks.{suite}").run(quick=asked.quick, **options)
        except (common.Missing, Invalid) as missing:
            if suite in asked.suites or getattr(missing, "reason", None) not in (None, "data.not_fetched"):
                raise
            left_out.append(suite)
            print(f"{suite}: left out: {missing}", flush=True)
            continue
        seconds = time.perf_counter() - started
        total += seconds
        path = common.write(suite, results, quick=asked.quick, seconds=seconds)
        print(f"{suite}: {seconds:.0f} s, {path.relative_to(common.HERE.parent)}", flush=True)
    print(f"{total:.0f} s." + (f" Left out, their data are not here: {', '.join(left_out)}." if left_out else ""))
    if not asked.quick:
        report.write()


if __name__ == "__main__":
    main()

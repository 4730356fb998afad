"""What every suite shares: where results go, and what stands beside each number."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import puji
from puji.modality import Metric
from puji.training import commit, machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
COMMIT = commit(but=("benchmarks/results", "RESULTS.md", "README.md", "README.zh.md"))
"""As the run began. Results that a run before wrote do not count."""
PACKAGES = ("puji", "torch", "transformers", "numpy", "rdkit", "fcd")


class Missing(Exception):
    """A benchmark input that is not on this machine."""


def source(name: str) -> Path:
    """A file or folder of the benchmark inputs (``PUJI_BENCHMARK_DATA``; default ``../shared/data``). Raises `Missing`."""
    folder = Path(os.environ.get("PUJI_BENCHMARK_DATA", HERE.parents[1] / "shared" / "data"))
    if not (folder / name).exists():
        raise Missing(f"{folder / name} is not here; PUJI_BENCHMARK_DATA names the folder of the benchmark inputs")
    return folder / name


def write(suite: str, results: dict[str, Any], *, quick: bool, seconds: float) -> Path:
    """Write one suite's results with machine, versions, command and commit. Quick ones never replace full ones."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / (f"{suite}.quick.json" if quick else f"{suite}.json")
    content = {
        "suite": suite,
        "quick": quick,
        "command": f"python -m benchmarks {' '.join(sys.argv[1:]) or suite}",
        "date": time.strftime("%Y-%m-%d"),
        "commit": COMMIT,
        "seconds": round(seconds, 1),
        "machine": machine(),
        "checkpoints": released(),
        "versions": {name: version(name) for name in PACKAGES},
        "results": results,
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def released() -> dict[str, str]:
    """The released checkpoints and the hashes that the index has of them."""
    return {name: one["sha256"] for name, one in puji.shipped().items()}


def read(suite: str) -> dict[str, Any] | None:
    """A suite's full results; None if it has not run."""
    path = RESULTS / f"{suite}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


UNWATCHED: dict[str, Any] = {
    "compile": False,
    "precision": "fp32",
    "progress": False,
    "log_every": 100_000,
    "save_every": 1e9,
}
"""Settings of a training that nobody watches and that is not gone on with."""


def intervals(told: dict[str, dict[str, Metric]]) -> dict[str, Any]:
    """Value and interval of each part's metrics, as plain values for JSON."""
    return {part: {name: [one.value, one.low, one.high] for name, one in found.items()} for part, found in told.items()}


def with_intervals(metrics: dict[str, Metric]) -> dict[str, Any]:
    """Metrics with their intervals, as plain values for JSON."""
    return {name: {"value": one.value, "low": one.low, "high": one.high, "n": one.n} for name, one in metrics.items()}


def metrics_rows(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics as plain values for JSON."""
    return {name: {"value": one.value, "n": one.n, "better": one.better} for name, one in metrics.items()}

"""From the command line to the first molecule, as whole processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

COMMANDS = {
    "help": ["--help"],
    "first molecule": ["generate", "molecules", "-n", "1", "--seed", "0"],
    "100 molecules": ["generate", "molecules", "-n", "100", "--seed", "0"],
}


def run(quick: bool) -> dict[str, Any]:
    """Seconds of wall time, median of the runs after one warm-up; ``quick``: the first molecule, once."""
    results = {}
    for name in ("first molecule",) if quick else COMMANDS:
        times = []
        for _ in range(1 if quick else 6):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", "puji.cli", *COMMANDS[name]], check=True, capture_output=True)
            times.append(time.perf_counter() - started)
        counted = times[1:] or times
        results[name] = {"median_seconds": statistics.median(counted), "runs": len(counted)}
    return results

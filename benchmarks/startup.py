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
    """Seconds of wall time, median of the runs after one warm-up."""
    results = {}
    for name, arguments in COMMANDS.items():
        times = []
        for _ in range(2 if quick else 6):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-m", "puji.cli", *arguments], check=True, capture_output=True)
            times.append(time.perf_counter() - started)
        results[name] = {"median_seconds": statistics.median(times[1:]), "runs": len(times) - 1}
    return results

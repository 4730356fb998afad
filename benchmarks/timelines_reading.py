"""Reading a million events: seconds and peak memory by format, beside a tenth of them; every patient must come back."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import simulator
from puji.modalities.timelines.timeline import DEATH, YEAR, Timeline
from puji.modalities.timelines.write import write

EVENTS = (100_000, 1_000_000)
FORMATS = ("csv", "ndjson", "meds")
READER = """
import json, sys, time
from pathlib import Path
from puji.errors import Invalid
from puji.modalities.timelines.sources import read
def peak():
    # Not getrusage, which inherits the peak of the process that forked this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

before = peak()
began, patients, events, refused = time.perf_counter(), 0, 0, 0
for one in read(Path(sys.argv[1])):
    if isinstance(one, Invalid):
        refused += one.details.get("rows", 1)
    else:
        patients, events = patients + 1, events + len(one.content.events)
told = {"seconds": time.perf_counter() - began, "megabytes": peak(), "before_megabytes": before}
print(json.dumps({**told, "patients": patients, "events": events, "refused": refused}))
"""


def shuffled_csv(patients: Sequence[Timeline], path: Path) -> None:
    """Rows by age, so that every patient is scattered over the whole file."""
    rows = [(event.age, index, event.code) for index, one in enumerate(patients) for event in one.events]
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["subject", "sex", "age", "code"])
        for age, index, code in sorted(rows):
            writer.writerow([index, patients[index].sex, round(age / YEAR, 4), code])


def run(quick: bool) -> dict[str, Any]:
    """Each format and size; ``quick``: 2,000 events of CSV."""
    sizes = (2_000,) if quick else EVENTS
    pool = simulator.simulate(sizes[-1] // 6, seed=0)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            patients: list[Timeline] = []
            events = 0
            for one in pool:
                if events >= size:
                    break
                patients.append(one)
                events += len(one.events)
            for form in FORMATS[: 1 if quick else None]:
                path = Path(folder) / f"{size}.{form}"
                if form == "csv":
                    shuffled_csv(patients, path)
                else:
                    write(patients, [{"synthetic": True}] * len(patients), path)
                done = subprocess.run(
                    [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True
                )
                told = json.loads(done.stdout)
                expected = sum(event.code != DEATH for one in patients for event in one.events)
                found[f"{form} {size}"] = {**told, "written_patients": len(patients), "written_events": expected}
                print(f"  {form} {size}: {told}", flush=True)
    return {"rows": found}

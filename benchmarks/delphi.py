"""The synthetic patients published with Delphi-2M (benchmark input, never copied)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.common import source
from puji.modalities.timelines import hits
from puji.modalities.timelines.hits import Ranks
from puji.modalities.timelines.timeline import DEATH, Event, Timeline

FEMALE, MALE, DISEASES, DEAD = 2, 3, 13, 1269


def codes() -> dict[int, str]:
    """Code id -> our code: the ICD-10 category that begins its label."""
    with source("timelines/labels.csv").open(encoding="utf-8", newline="") as handle:
        labels = [row[0] if row else "" for row in csv.reader(handle)]
    found = {number: f"ICD10/{label.split()[0]}" for number, label in enumerate(labels) if DISEASES <= number < DEAD}
    found |= {number: f"LIFESTYLE/{labels[number]}" for number in range(4, DISEASES)}
    return {**found, DEAD: DEATH}


def load(part: str) -> list[Timeline]:
    """Patients of "train" or "val", in the order of the file. The first event of those without a sex is no target."""
    rows = np.fromfile(source(f"timelines/{part}.bin"), dtype=np.uint32).reshape(-1, 3).astype(np.int64)
    names = codes()
    found = []
    for patient in np.split(rows, np.flatnonzero(np.diff(rows[:, 0])) + 1):
        told = [(int(age), int(raw) + 1) for _, age, raw in patient]
        sex = next(({FEMALE: "female", MALE: "male"}[code] for _, code in told if code in (FEMALE, MALE)), "")
        events = tuple(Event(float(age), names[code]) for age, code in told if code in names)
        if events:
            found.append(Timeline(sex, None, events, events[-1].age, str(patient[0, 0])))  # type: ignore[arg-type]
    return found


def judge(model: Any, patients: Sequence[Timeline]) -> Ranks:
    """Ranks of ``model`` (`puji.Model`) for every disease or death of ``patients``."""
    return hits.judge(model, patients, sorted({name for name in codes().values() if not name.startswith("LIFESTYLE")}))

"""The synthetic patients published with Delphi-2M (benchmark input, never copied), and hit rates of the next disease."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from puji.modalities.timelines.timeline import DEATH, Event, Timeline

DATA = (
    Path(os.environ.get("PUJI_BENCHMARK_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "timelines"
)
FEMALE, MALE, DISEASES, DEAD = 2, 3, 13, 1269
TOPS = (1, 5, 10)


def codes() -> dict[int, str]:
    """Code id -> our code: the ICD-10 category that begins its label."""
    with (DATA / "labels.csv").open(encoding="utf-8", newline="") as handle:
        labels = [row[0] if row else "" for row in csv.reader(handle)]
    found = {number: f"ICD10/{label.split()[0]}" for number, label in enumerate(labels) if DISEASES <= number < DEAD}
    found |= {number: f"LIFESTYLE/{labels[number]}" for number in range(4, DISEASES)}
    return {**found, DEAD: DEATH}


def load(part: str) -> list[Timeline]:
    """Patients of "train" or "val", in the order of the file. The first event of those without a sex is no target."""
    rows = np.fromfile(DATA / f"{part}.bin", dtype=np.uint32).reshape(-1, 3).astype(np.int64)
    names = codes()
    found = []
    for patient in np.split(rows, np.flatnonzero(np.diff(rows[:, 0])) + 1):
        told = [(int(age), int(raw) + 1) for _, age, raw in patient]
        sex = next(({FEMALE: "female", MALE: "male"}[code] for _, code in told if code in (FEMALE, MALE)), "")
        events = tuple(Event(float(age), names[code]) for age, code in told if code in names)
        if events:
            found.append(Timeline(sex, None, events, events[-1].age, str(patient[0, 0])))  # type: ignore[arg-type]
    return found


@dataclass
class Ranks:
    """Of each target: its patient, its rank among all diseases and death from 0, the same without past ones, its nats."""

    patient: np.ndarray
    rank: np.ndarray
    rank_excluded: np.ndarray
    nats: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, int, float]]) -> Ranks:
        """From (patient, rank, rank without past ones, nats) of each target."""
        columns = np.array(rows, dtype=float)
        patient, rank, excluded = columns[:, :3].astype(int).T
        return cls(patient, rank, excluded, columns[:, 3])

    def rates(self) -> dict[str, float]:
        """Hit rates and nats per target."""
        found: dict[str, float] = {"targets": len(self.rank), "nats": float(self.nats.mean())}
        for top in TOPS:
            found[f"top{top}"] = float((self.rank < top).mean())
            found[f"top{top}_excluded"] = float((self.rank_excluded < top).mean())
        return found


def ranks(logits: np.ndarray, target: int, past: Sequence[int]) -> tuple[int, int, float]:
    """Rank of ``target``, rank without ``past``, and its nats; ``logits``: (candidates,)."""
    score = logits[target]
    higher = logits > score
    rank = int(higher.sum())
    nats = float(np.logaddexp.reduce(logits) - score)
    return rank, rank - int(higher[list(past)].sum()) if past else rank, nats


def judge(model: Any, patients: Sequence[Timeline], rows: int = 64) -> Ranks:
    """Ranks of ``model`` (`puji.Model`) for every target of ``patients``: a code is scored before its time is told."""
    names = sorted({name for name in codes().values() if name.startswith("ICD10/") or name == DEATH})
    known = [name for name in names if name in model.vocabulary.ids]
    place = {name: number for number, name in enumerate(names)}
    columns = torch.tensor([model.vocabulary.ids[name] for name in known])
    slots = torch.tensor([place[name] for name in known])
    out: list[tuple[int, int, int, float]] = []
    order = sorted(range(len(patients)), key=lambda i: len(patients[i].events))
    modality = model.modality
    for start in range(0, len(order), rows):
        batch = order[start : start + rows]
        told = [modality.encode(patients[i]) for i in batch]
        ids = [model.vocabulary.encode(tokens) for tokens in told]
        width = max(map(len, ids))
        padded = torch.zeros(len(batch), width, dtype=torch.long)
        for row, one in enumerate(ids):
            padded[row, : len(one)] = torch.tensor(one)
        with torch.inference_mode():
            logits = model.network(input_ids=padded, use_cache=False).logits.float()
            chosen = torch.full((*logits.shape[:2], len(names)), -30.0)
            chosen[..., slots] = logits[..., columns]
        numbers = chosen.numpy()
        for row, index in enumerate(batch):
            past: list[int] = []
            # A code without a token is spelled and takes more than one place.
            starts = np.cumsum([0, *(len(model.vocabulary.encode([token])) for token in told[row])])
            places = [int(starts[at]) for at, token in enumerate(told[row]) if not token.startswith("<")]
            targets = patients[index].events
            if len(places) != len(targets):
                raise ValueError("a target lost its place")
            for number, (at, event) in enumerate(zip(places, targets, strict=True)):
                if event.code not in place:
                    continue  # no disease
                if number or patients[index].sex:
                    out.append((index, *ranks(numbers[row, at - 1], place[event.code], past)))
                past.append(place[event.code])
    return Ranks.of(sorted(out, key=lambda row: row[0]))

"""How early the next event stands in the model's ranking: hit rates and nats, each event scored before its time is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from puji import flow
from puji.engine import window
from puji.modalities.timelines.timeline import Timeline
from puji.modalities.timelines.tokens import HEADER, START

TOPS = (1, 5, 10)
ROWS = 64
"""Windows in one forward pass."""
ABSENT = -30.0
"""The logit of a candidate that the vocabulary lacks."""


@dataclass
class Ranks:
    """Of each target: its patient, its rank among the candidates from 0, the same without past ones, its nats."""

    patient: np.ndarray
    rank: np.ndarray
    rank_excluded: np.ndarray
    nats: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, int, float]]) -> Ranks:
        """From (patient, rank, rank without past ones, nats) of each target."""
        columns = np.array(rows, dtype=float).reshape(-1, 4)
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


@dataclass(frozen=True)
class Window:
    """A part of a patient's tokens that the model sees at once, and the events in it that are scored there.

    ``ids``: with the last token to be predicted, one more than fits the context. ``events``: (place of the event's first token
    in ``ids``, number of the event).
    """

    patient: int
    ids: list[int]
    events: list[tuple[int, int]]


def windows(model: Any, patients: Sequence[Timeline]) -> Iterator[Window]:
    """Every event once, after as much of its history as fits the model's context; the header is always in view."""
    context = int(model.network.config.max_position_embeddings)
    for index, patient in enumerate(patients):
        told = model.modality.encode(patient)
        # A code without a token is spelled and takes more than one place.
        starts = np.cumsum([0, *(len(model.vocabulary.encode([token])) for token in told)])
        ids = model.vocabulary.encode(told)
        places = [int(starts[at]) for at, token in enumerate(told) if not token.startswith("<")]
        if len(places) != len(patient.events):
            raise ValueError("an event lost its place")
        header = int(starts[told.index(START) + HEADER])
        for piece, first, stop in window.segments(ids[:-1], header, context):
            left = stop - len(piece)
            events = [(place - left, number) for number, place in enumerate(places) if first < place <= stop]
            yield Window(index, [*piece, ids[stop]], events)


def judge(model: Any, patients: Sequence[Timeline], candidates: Sequence[str]) -> Ranks:
    """Ranks of ``model`` (`puji.Model`) among ``candidates`` for the events of ``patients`` that are such.

    An event is a target if something stands before it: another event, or the sex.
    """
    place = {name: number for number, name in enumerate(candidates)}
    known = [name for name in candidates if name in model.vocabulary.ids]
    columns = torch.tensor([model.vocabulary.ids[name] for name in known])
    slots = torch.tensor([place[name] for name in known])
    out: list[tuple[int, int, int, float]] = []
    ordered = sorted(windows(model, patients), key=lambda one: len(one.ids))
    book = model.modality.book
    told = [
        [own if (own := book.mapped(e.code)) in place else book.token(e.code) for e in patient.events]
        for patient in patients
    ]
    for start in range(0, len(ordered), ROWS):
        batch = ordered[start : start + ROWS]
        padded = torch.zeros(len(batch), max(len(one.ids) for one in batch) - 1, dtype=torch.long)
        for row, one in enumerate(batch):
            padded[row, : len(one.ids) - 1] = torch.tensor(one.ids[:-1])
        with torch.inference_mode():
            logits = flow.attend(model.network, padded)
        for row, one in enumerate(batch):
            patient = patients[one.patient]
            codes = told[one.patient]
            for at, number in one.events:
                if codes[number] not in place or not (number or patient.sex):
                    continue
                scores = np.full(len(candidates), ABSENT, np.float32)
                scores[slots] = logits[row, at - 1, columns].numpy()
                past = [place[code] for code in dict.fromkeys(codes[:number]) if code in place]
                out.append((one.patient, *ranks(scores, place[codes[number]], past)))
    return Ranks.of(sorted(out))

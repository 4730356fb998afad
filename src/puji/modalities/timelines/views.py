"""The training sequences of a patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from puji.modalities.timelines import clock
from puji.modalities.timelines.codebook import Codebook
from puji.modalities.timelines.timeline import YEAR, Timeline
from puji.modalities.timelines.tokens import FOLLOWED, UNTIL, event_tokens, history, seen
from puji.modality import END, View

TOLD_UNTIL = 0.5
"""Share of the views that tell in front until when the patient was followed."""
TOLD_SEEN = 0.5
"""Share of the views that tell at some age that nothing has happened since the last event."""


def view(book: Codebook, record: Timeline, rng: np.random.Generator, followed: np.ndarray | None = None) -> View:
    """One training sequence. ``followed``: how many training patients were followed to each age in years.

    What is told about the future, or looked up in the calendar, is read and not learned to be said: its weight is 0.
    """
    front = until(record, rng, followed) if rng.random() < TOLD_UNTIL else []
    pause = rng.uniform(0.0, record.end) if rng.random() < TOLD_SEEN and record.end > 0 else None
    before = [event for event in record.events if pause is None or event.age <= pause]
    after = record.events[len(before) :]
    tokens, now = history(book, Timeline(record.sex, record.born, tuple(before), record.end))
    weights = [0.0] * len(front) + [1.0] * len(tokens)
    tokens = [*front, *tokens]
    if pause is not None and (after or not record.died):
        told = seen(now, pause)
        if told:
            _, now = clock.advance(now, pause)
        tokens += told
        weights += [0.0] * len(told)
    for event in after:
        told, now = event_tokens(book, event, now)
        tokens += told
        weights += [1.0] * len(told)
    if not record.died:
        told = [FOLLOWED, *clock.advance(now, record.end)[0]]
        tokens += told
        weights += [1.0] * len(told)
    return View([*tokens, END], [*weights, 1.0])


def until(record: Timeline, rng: np.random.Generator, followed: np.ndarray | None) -> list[str]:
    """The condition that tells until when the patient was followed.

    Who died would have been followed on: how long is drawn from the others who were followed beyond that age.
    """
    year = min(int(record.end // YEAR), clock.OLDEST)
    if record.died:
        longer: np.ndarray = np.zeros(0) if followed is None else followed[year:]
        if longer.sum() == 0:
            return []
        year += int(rng.choice(len(longer), p=longer / longer.sum()))
    return [UNTIL[year]]


def follow_up(records: Sequence[Timeline]) -> np.ndarray:
    """How many of ``records`` that did not end with death were followed to each age in years, (OLDEST + 1,)."""
    years = [min(int(record.end // YEAR), clock.OLDEST) for record in records if not record.died]
    return np.bincount(years, minlength=clock.OLDEST + 1).astype(float)

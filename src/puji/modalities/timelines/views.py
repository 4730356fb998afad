"""The training sequences of a patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from puji.modalities.timelines import clock
from puji.modalities.timelines.codebook import Codebook
from puji.modalities.timelines.timeline import YEAR, Timeline
from puji.modalities.timelines.tokens import FOLLOWED, UNTIL, born_token, event_tokens, history, seen
from puji.modality import END, View

TOLD_UNTIL = 0.5
"""Share of the views that tell in front until when the patient was followed."""
Followed = Mapping[str, np.ndarray]
ENOUGH = 20
"""Patients of a decade of birth from which their follow-up is estimated by itself."""
TOLD_SEEN = 0.5
"""Share of the views that tell at some age that nothing has happened since the last event."""


def view(book: Codebook, record: Timeline, rng: np.random.Generator, followed: Followed) -> View:
    """One training sequence. ``followed``: see `follow_up`.

    What is told about the future, or looked up in the calendar, is read and not learned to be said: its weight is 0.
    """
    year = until(record, rng, followed)
    front = [UNTIL[year]] if rng.random() < TOLD_UNTIL and year is not None else []
    # Until when it would have been looked, so that a pause is no likelier for those who died soon after it.
    last = record.end if year is None or not record.died else (year + rng.random()) * YEAR
    pause: float | None = rng.uniform(0.0, last) if rng.random() < TOLD_SEEN and last > 0 else None
    if pause is not None and record.died and pause >= record.end:
        pause = None
    before = [event for event in record.events if pause is None or event.age <= pause]
    after = record.events[len(before) :]
    tokens, now = history(book, Timeline(record.sex, record.born, tuple(before), record.end))
    weights = [0.0] * len(front) + [1.0] * len(tokens)
    tokens = [*front, *tokens]
    if pause is not None:
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


def until(record: Timeline, rng: np.random.Generator, followed: Followed) -> int | None:
    """The age in whole years until which the patient was followed, or would have been, had death not come before.

    The latter is drawn from `follow_up` beyond the age at death; None where nobody was followed longer.
    """
    year = min(int(record.end // YEAR), clock.OLDEST)
    if not record.died:
        return year
    return drawn(born_token(record.born), year, rng, followed)


def ends(born: str, followed: Followed) -> np.ndarray:
    """How likely follow-up ends at each age in years for the decade ``born``, or else for all; empty where nothing is known."""
    return followed.get(born, followed.get("", np.zeros(0)))


def longest(born: str, followed: Followed) -> int:
    """The greatest age in whole years to which patients of the decade ``born``, or else all, were followed; -1: nobody."""
    return int(np.flatnonzero(ends(born, followed)).max(initial=-1))


def drawn(born: str, least: int, rng: np.random.Generator, followed: Followed) -> int | None:
    """An age, ``least`` or more, at which follow-up ends, as it does for the decade ``born``, or else for all; None: never."""
    for whose in (born, ""):
        longer = followed.get(whose, np.zeros(0))[least:]
        if longer.sum() > 0:
            return least + int(rng.choice(len(longer), p=longer / longer.sum()))
    return None


def follow_up(records: Sequence[Timeline]) -> dict[str, np.ndarray]:
    """How likely the follow-up of a patient ends at each age in years if death does not come before, (OLDEST + 1,).

    By decade of birth, where enough patients are of it, and of all under "". The survivors alone would tell too short times:
    of those who would have been followed for long, more died before. So the end of follow-up is estimated as survival is, with
    death as what censors it (reverse Kaplan-Meier: Schemper & Smith 1996, Controlled Clinical Trials 17:343).
    """
    cohorts: dict[str, list[Timeline]] = {"": list(records)}
    for record in records:
        if record.born is not None:
            cohorts.setdefault(born_token(record.born), []).append(record)
    return {born: _ends(cohort) for born, cohort in sorted(cohorts.items()) if not born or len(cohort) >= ENOUGH}


def _ends(records: Sequence[Timeline]) -> np.ndarray:
    """The mass of the reverse Kaplan-Meier estimate within each year."""
    ordered = sorted(records, key=lambda record: (record.end, not record.died))
    found = np.zeros(clock.OLDEST + 1)
    going = 1.0
    for number, record in enumerate(ordered):
        if not record.died:
            ends = going / (len(ordered) - number)
            found[min(int(record.end // YEAR), clock.OLDEST)] += ends
            going -= ends
    return found

"""A patient's record: what happened at which age, and until when it was looked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Literal

Sex = Literal["female", "male", ""]

DEATH = "DEATH"
"""The code of the event that a patient died."""
YEAR = 365.25
"""Days."""


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    ``age``: days since birth (since the first event where the birth is unknown), with fractions for the time of day.
    ``code``: "SYSTEM/code", e.g. "ICD10/I10", "LOINC/4548-4", or `DEATH`. ``value``: what was measured, in ``unit`` (UCUM).
    """

    age: float
    code: str
    value: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Timeline:
    """One patient.

    ``events``: by age; those of one moment in a fixed order. `DEATH` is the last one if it is there. ``born``: year, None if
    unknown. ``end``: age in days until which the patient was followed; that of death if there was one. ``subject``: the
    identifier in the source, which no token ever tells.
    """

    sex: Sex
    born: int | None
    events: tuple[Event, ...]
    end: float
    subject: str = field(default="", compare=False)

    @property
    def died(self) -> bool:
        """Whether the last event is death."""
        return bool(self.events) and self.events[-1].code == DEATH

    def until(self, age: float) -> Timeline:
        """What was known at ``age`` in days, where follow-up ends if it had not before."""
        known = tuple(event for event in self.events if event.age <= age)
        return replace(self, events=known, end=min(self.end, age))

    def dump(self) -> str:
        """One line of JSON; see `revived`."""
        events = [[e.age, e.code, *([] if e.value is None else [e.value, e.unit])] for e in self.events]
        told = {"subject": self.subject, "sex": self.sex, "born": self.born, "end": self.end, "events": events}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def revived(line: str) -> Timeline:
    """Inverse of `Timeline.dump`; trusts its input."""
    told = json.loads(line)
    events = tuple(Event(*event) for event in told["events"])
    return Timeline(told["sex"], told["born"], events, told["end"], told["subject"])

"""What can be asked: of a cohort, and about a patient's future."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from puji.errors import Invalid
from puji.modalities.timelines.clock import OLDEST
from puji.modalities.timelines.codes import ancestors, normalised
from puji.modalities.timelines.timeline import DEATH
from puji.modalities.timelines.values import number
from puji.options import Range

LONGEST_HORIZON = 60.0
"""Years."""
MOST_FUTURES = 10_000


class Conditions(BaseModel):
    """A cohort: sex, years of birth, a condition that comes in each life, the age to which patients are followed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sex: Literal["female", "male"] | None = None
    born: Range[int] | None = None
    having: str | None = None
    until: int | None = None

    @field_validator("born", mode="before")
    @classmethod
    def _born(cls, value: Any) -> Any:
        found = None if value is None else Range[int].of(value, "born")
        if found and not 1850 <= found.low <= found.high < 2110:
            raise Invalid("timelines.born", source="--born", value=str(found))
        return found

    @field_validator("having")
    @classmethod
    def _having(cls, value: str | None) -> str | None:
        code = None if value is None else code_of(value, "--having")
        if code == DEATH:
            raise Invalid("timelines.having_death", value=value)
        return code

    @field_validator("until")
    @classmethod
    def _until(cls, value: int | None) -> int | None:
        if value is not None and not 1 <= value <= OLDEST:
            raise Invalid("timelines.until", source="--until", value=value, oldest=OLDEST)
        return value


class Ask(BaseModel):
    """Outcomes and horizons.

    ``outcomes``: groups with ";" between them, each "name=code,code" or "code,code"; a code stands for all below it too. None:
    what is likeliest. ``horizon``: years, with "," between them. ``futures``: how many are sampled. ``now``: age in years from
    which on the future is asked; None: the end of the record. ``by``: "futures", or "next": the next event alone.
    ``unfamiliar``: what a history that is unlike the training data gets: no answer ("abstain") or one with a warning ("answer").
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    outcomes: str | None = None
    horizon: str = "1,5,10"
    futures: int = 500
    now: float | None = None
    by: Literal["futures", "next"] = "futures"
    unfamiliar: Literal["abstain", "answer"] = "abstain"

    @field_validator("outcomes")
    @classmethod
    def _outcomes(cls, value: str | None) -> str | None:
        if value is not None:
            groups(value)
        return value

    @field_validator("horizon", mode="before")
    @classmethod
    def _horizon(cls, value: Any) -> str:
        told = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        horizons(told)
        return told

    @field_validator("futures")
    @classmethod
    def _futures(cls, value: int) -> int:
        if not 1 <= value <= MOST_FUTURES:
            raise Invalid("timelines.futures", source="--futures", value=value, most=MOST_FUTURES)
        return value


class Setup(BaseModel):
    """``mapping``: a file of a user's own codes, see `codes.load_mapping`; what it says stays in the checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mapping: str | None = None

    @field_validator("mapping")
    @classmethod
    def _mapping(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_file():
            raise Invalid("data.missing", source=value)
        return value


@dataclass(frozen=True)
class Outcome:
    """A group of codes under one name."""

    name: str
    codes: frozenset[str]

    def holds(self, code: str) -> bool:
        """Whether ``code`` is of the group or below one that is."""
        return code in self.codes or not self.codes.isdisjoint(ancestors(code))


def code_of(text: str, option: str = "") -> str:
    """The code that a person typed, "I10" or "ICD10/I10" or "death". Raises Invalid for what is none."""
    text = text.strip()
    if not text or any(character.isspace() for character in text):
        raise Invalid("timelines.code", source=option, value=text[:40])
    return normalised(text)


def groups(text: str) -> list[Outcome]:
    """Outcomes as people write them. Raises Invalid for an empty one or a name that comes twice."""
    found: list[Outcome] = []
    for part in re.split("[;；]", text):
        name, sign, codes = part.rpartition("=")
        members = [code_of(code, "--outcomes") for code in re.split("[,，]", codes) if code.strip()]
        if not members or (sign and not name.strip()):
            raise Invalid("timelines.outcomes", source="--outcomes", value=part[:40])
        found.append(Outcome(name.strip() or "+".join(members), frozenset(members)))
    if len({one.name for one in found}) < len(found):
        raise Invalid("timelines.outcome_twice", source="--outcomes")
    return found


def within(outcome: str, years: float) -> str:
    """The name of the estimate that ``outcome`` comes within ``years``."""
    return f"{outcome} {years:g}y"


def outcome_within(name: str) -> tuple[str, float] | None:
    """Inverse of `within`; None for the name of another estimate."""
    found = re.fullmatch(r"(.+) ([0-9.e+-]+)y", name)
    return (found[1], float(found[2])) if found else None


def horizons(text: str) -> list[float]:
    """Years, ascending. Raises Invalid for what is no number above 0 and up to `LONGEST_HORIZON`."""
    found = []
    for part in re.split("[,，]", text):
        word = part.strip().lower().rstrip("y年")
        years = number(word)
        if years is None or not 0 < years <= LONGEST_HORIZON:
            raise Invalid("timelines.horizon", source="--horizon", value=part[:40], longest=LONGEST_HORIZON)
        found.append(years)
    return sorted(set(found))

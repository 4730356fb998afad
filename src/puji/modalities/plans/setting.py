"""A care setting, as a JSON or TOML file declares it: what is observed, what can be done, what is good. See
settings/sepsis.toml.

name, title                what it is called: a word, and for people in English and Chinese
hours                      from one decision to the next
[[observed]]               columns of numbers, and their limits; none: the column "state" tells one of a limited number of states
[codes]                    coarse-to-fine codes learned from the observed numbers, or from a description of the states
[[actions]]                what can be done: the code that logs have for it, its name, its orders (medicine, dose, route), or only
                           what it gives, where doses are the patient's own
[giving]                   what a rate and a single dose are called: basal rate, bolus
[outcomes.survived]        how an episode can end, what that is worth, its name
[value]                    what is predicted: name, unit ("" is a probability, "1" a mere number), range
assumed                    the feature of a patient of whom none is told
rules                      the file of the safety rules, beside this one
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from puji.errors import Invalid
from puji.language import LANGUAGES, Text, translate
from puji.modalities.plans.plan import Names, Order
from puji.modalities.plans.safety import Observation, Rules, load_rules
from puji.modalities.plans.safety.rule import Amount, Code, Declared, Positive, Route, as_error
from puji.modalities.plans.units import MOLAR_MASS, Quantity, converted, exact

FOLDER = Path(__file__).with_name("settings")
"""The settings that come with Puji."""
LARGEST = 20_000_000
"""Bytes of a file of a setting."""

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}$")]
"""A code that becomes a token."""
Title = dict[Literal["en", "zh"], str]
"""Language -> what people read."""


def called(title: Mapping[Any, str], language: str, default: str = "") -> str:
    """What people read of a `Title` in ``language``; ``default`` where it does not say."""
    return title.get(language, default)


class Prescription(Declared):
    """An order of an action: ``minutes``: how long it lasts, 0 for at once."""

    medicine: Code
    dose: Amount
    route: Route
    minutes: Annotated[float, Field(ge=0)] = 0.0

    def order(self) -> Order:
        """As plans have it."""
        return Order(self.medicine, self.dose, self.route, minutes=self.minutes)


class Gift(Declared):
    """What an action gives in a dose that only a patient's own settings tell."""

    medicine: Code
    route: Route


class Action(Declared):
    """What can be done in one step. ``code``: as logs tell it. No orders: nothing is given, or (``gives``) in doses that are not
    told here."""

    code: Word
    name: Title = Field(default_factory=dict)
    orders: tuple[Prescription, ...] = ()
    gives: tuple[Gift, ...] = ()


class Observed(Declared):
    """A column of numbers, told in ``bins`` of as many training values each, or in those between given ``edges``.

    ``low``, ``high``: numbers beyond them are slips, or stand in another unit. ``code``: what safety rules call it.
    ``substance``: what is measured, where people may tell it in moles or in grams.
    """

    column: Word
    name: Title = Field(default_factory=dict)
    unit: str = ""
    bins: Annotated[int, Field(ge=2, le=100)] = 10
    edges: Annotated[tuple[float, ...], Field(max_length=99)] = ()
    low: float | None = None
    high: float | None = None
    code: Code | None = None
    substance: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Observed:
        if any(one >= other for one, other in pairwise(self.edges)):
            raise as_error(Invalid("plans.setting.edges", column=self.column))
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise as_error(Invalid("plans.setting.range"))
        if self.substance not in ("", *MOLAR_MASS):
            raise as_error(Invalid("plans.rules.substance", value=self.substance[:40], known=", ".join(MOLAR_MASS)))
        return self

    def check(self, value: float | None) -> None:
        """Raises Invalid for a number that the column cannot have, with what it could be in another unit."""
        if value is None or self._within(value):
            return
        low, high = ("…" if end is None else f"{end:g}" for end in (self.low, self.high))
        hint: Text | str = ""
        for other in ("mmol/L", "mg/dL") if self.substance and value > 0 else ():
            meant = float(converted(exact(value), other, self.unit, self.substance))
            if other != self.unit and self._within(meant):
                told = {"value": f"{value:g}", "other": other, "meant": f"{meant:.0f}", "unit": self.unit}
                hint = Text("plans.episode.limits.unit", told)
        raise Invalid(
            "plans.episode.limits",
            column=self.column,
            value=f"{value:g}",
            unit=f" {self.unit}" if self.unit else "",
            hint=hint,
            where="",
            low=low,
            high=high,
        )

    def _within(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


class Codes(Declared):
    """Coarse-to-fine codes: k-means of the standardised numbers, then of what each level leaves. ``size``: codes of a
    level."""

    levels: Annotated[int, Field(ge=1, le=8)] = 4
    size: Annotated[int, Field(ge=2, le=512)] = 16


class Ending(Declared):
    """How an episode can end, and what that is ``worth``."""

    worth: float
    name: Title = Field(default_factory=dict)


class Value(Declared):
    """What is predicted and made as good as can be: the discounted sum of rewards and the worth of the ending, from ``low``
    to ``high``. ``hours``: until when it is predicted. ``unit``: UCUM's, "" for a probability. ``emphasis``: how many times
    as large as they are advantages are told in training; ``steps``: whose rewards count as they came before what the network
    says of the state counts; see value.py. ``equal``: actions whose shares are less than this apart from the best are as
    good, and of these the one is taken that is declared first. ``tiers``: into how many parts patients are divided by what
    their states are worth, who share what they tell of actions; 1: they share nothing; see tiers.py. ``growing``: whether
    each round of training is longer than the one before: values travel a step a round, and what actions add, which is learned
    last, waits for them. ``usual``: an action is considered where it is taken at least so often as a share of what is taken
    most, see value.py."""

    name: Title
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    better: Literal["up", "down"] = "up"
    hours: Positive
    discount: Annotated[float, Field(gt=0, le=1)] = 1.0
    emphasis: Annotated[float, Field(ge=1, le=100)] = 1.0
    steps: Annotated[int, Field(ge=1, le=1000)] = 1
    equal: Annotated[float, Field(ge=0, le=1)] = 0.0
    tiers: Annotated[int, Field(ge=1, le=100)] = 1
    growing: bool = False
    usual: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Value:
        if self.low >= self.high:
            raise as_error(Invalid("plans.setting.range"))
        return self

    def shares(self, values: np.ndarray) -> np.ndarray:
        """Where ``values`` lie between the worst (0) and the best (1)."""
        found = np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0)
        return found if self.better == "up" else 1.0 - found

    def of(self, share: float) -> float:
        """Inverse of `shares`, of one."""
        return self.low + (self.high - self.low) * (share if self.better == "up" else 1.0 - share)


class Setting(Declared):
    """One care setting. ``history``: earlier steps that a decision is told; 0 where the state says all that matters."""

    name: Word
    title: Title
    hours: Positive
    history: Annotated[int, Field(ge=0, le=100)] = 0
    observed: tuple[Observed, ...] = ()
    codes: Codes | None = None
    actions: Annotated[tuple[Action, ...], Field(min_length=2)]
    giving: dict[Literal["rate", "dose"], Title] = Field(default_factory=dict)
    outcomes: dict[Word, Ending] = Field(default_factory=dict)
    value: Value
    rules: str = ""
    assumed: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Setting:
        for kind, words in (
            ("actions", [one.code for one in self.actions]),
            ("observed", [one.column for one in self.observed]),
        ):
            if twice := sorted({word for word in words if words.count(word) > 1}):
                raise as_error(Invalid("plans.setting.twice", field=kind, value=twice[0]))
        return self

    @property
    def discrete(self) -> bool:
        """Whether the state is one of a limited number."""
        return not self.observed

    def action(self, code: str) -> Action:
        """The action of a ``code``. Raises Invalid if there is none."""
        found = next((one for one in self.actions if one.code == code), None)
        if found is None:
            known = ", ".join(one.code for one in self.actions)
            raise Invalid("plans.setting.action", value=code[:40], known=known, where="")
        return found

    def names(self, rules: Rules | None = None) -> Names:
        """Names for people: of what is predicted, of observations, of a rate and a dose, of the rules' codes; and "alike": which
        logged decisions count as support, see `Book.kind`."""
        own: dict[str, Any] = {one.column: dict(one.name) for one in self.observed if one.name}
        own |= {f"giving.{kind}": dict(name) for kind, name in self.giving.items()}
        own |= {"value": dict(self.value.name), "alike": {language: self._alike(language) for language in LANGUAGES}}
        return {**(rules.naming if rules is not None else {}), **own}

    def _alike(self, language: str) -> str:
        if self.discrete or self.codes:
            return translate(f"plans.alike.{'state' if self.discrete else 'codes'}", language)
        first = self.observed[0]
        return translate("plans.alike.column", language, name=called(first.name, language, first.column))

    def observations(self, values: Sequence[float | None]) -> tuple[Observation, ...]:
        """What the ``values`` of the observed columns tell the safety rules about now."""
        told = zip(self.observed, values, strict=True) if values else ()
        return tuple(
            Observation(one.code, Quantity(value, one.unit or "1"), 0.0)
            for one, value in told
            if one.code is not None and value is not None
        )


def load_setting(told: str | Path) -> tuple[Setting, Rules | None]:
    """A setting that comes with Puji, by its name, or one of a .json or .toml file; and its safety rules.

    Raises Invalid with the file, the place in it, and what to do.
    """
    path = Path(told)
    if not path.suffix and (FOLDER / f"{told}.toml").is_file():
        path = FOLDER / f"{told}.toml"
    try:
        if path.stat().st_size > LARGEST:
            raise Invalid("plans.rules.large", source=str(path))
        text = path.read_text("utf-8-sig")
        content = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except FileNotFoundError as error:
        known = ", ".join(sorted(one.stem for one in FOLDER.glob("*.toml") if not one.stem.endswith("_rules")))
        raise Invalid("plans.setting.unknown", source=str(told)[:200], known=known) from error
    except OSError as error:
        raise Invalid("read.failed", source=str(path), why=error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise Invalid("plans.rules.unreadable", source=str(path), line=line, why=str(error)[:200]) from error
    setting = parsed_setting(content, str(path))
    return setting, load_rules(path.parent / setting.rules) if setting.rules else None


def parsed_setting(told: Any, source: str = "") -> Setting:
    """A setting from plain values as JSON knows them. Raises Invalid with the place and what to do."""
    try:
        return Setting.model_validate_json(json.dumps(told))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"]) or "-"
        if first["type"].startswith("plans."):
            details = {key: value for key, value in first["ctx"].items() if key != "reason"}
            raise Invalid(first["type"], source=f"{source}, {place}" if source else place, **details) from error
        raise Invalid("plans.setting.wrong", source=source, place=place, why=first["msg"]) from error
    except (TypeError, ValueError) as error:
        raise Invalid("plans.rules.unreadable", source=source, why=str(error)[:200]) from error

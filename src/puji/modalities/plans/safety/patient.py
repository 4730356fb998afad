"""Rules about whom: allergies, conditions, age, pregnancy, what was measured, and what the patient takes already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from puji.errors import Invalid
from puji.modalities.plans.plan import Finding
from puji.modalities.plans.safety.case import Case, overlap
from puji.modalities.plans.safety.rule import Amount, Codes, Positive, Rule, Warned, as_error, kind_of
from puji.modalities.plans.units import MOLAR_MASS, Quantity, converted, exact

LEVELS = {4: 5, 5: 7}
"""Level of ATC -> characters of its codes: the chemical subgroup, the substance (https://www.whocc.no)."""


class Allergy(Rule):
    """No medicine that the patient is allergic to, none of its chemical subgroup, none of a group that reacts across.

    ``cross``: groups of medicines, of which an allergy to one is an allergy to all.
    """

    kind: Literal["allergy"]
    cross: tuple[Codes, ...] = ()

    def named(self) -> Iterator[str]:
        """The medicines that react across, too."""
        yield from super().named()
        yield from (code for group in self.cross for code in group)

    def judge(self, case: Case) -> Iterator[Finding]:
        """Veto what the patient may react to."""
        for place, order in self.orders(case):
            for allergen in case.need("allergies"):
                across = any(case.may_be(order.code, group) and case.may_be(allergen, group) for group in self.cross)
                if across or shared(case, order.code, allergen, 4):
                    yield self.veto("allergy", place, medicine=order.code, allergen=allergen)


class Duplicate(Rule):
    """No two medicines of one substance (``level`` 5 of ATC) or chemical subgroup (4), in the proposal or beside it.

    ``apart``: groups that may be combined all the same, such as two insulins.
    """

    kind: Literal["duplicate"]
    level: Literal[4, 5]
    apart: Codes | None = None

    def named(self) -> Iterator[str]:
        """The groups that may be combined, too."""
        yield from super().named()
        yield from self.apart or ()

    def judge(self, case: Case) -> Iterator[Finding]:
        """Veto a second one."""
        orders = self.orders(case)
        current = [one.code for one in case.need("current")] if orders else []
        for number, (place, order) in enumerate(orders):
            for other in [*current, *(another.code for _, another in orders[:number])]:
                apart = any(case.surely(order.code, one) and case.surely(other, one) for one in self.apart or ())
                if shared(case, order.code, other, self.level) and not apart:
                    yield self.veto("duplicate", place, medicine=order.code, other=other)


class Condition(Warned):
    """Not with one of ``conditions`` (ICD-10; a code stands for all below it)."""

    kind: Literal["condition"]
    conditions: Codes

    def judge(self, case: Case) -> Iterator[Finding]:
        """A finding for each such condition."""
        for place, order in self.orders(case):
            for condition in case.need("conditions"):
                if case.may_be(condition, self.conditions, "ICD10"):
                    yield self.finding(self.effect, "condition", place, medicine=order.code, condition=condition)


class Age(Warned):
    """Only from ``least`` to below ``most`` years."""

    kind: Literal["age"]
    least: Annotated[float, Field(ge=0)] = 0.0
    most: Positive = 200.0

    def judge(self, case: Case) -> Iterator[Finding]:
        """A finding where the patient is younger or older."""
        for place, order in self.orders(case):
            if not self.least <= case.need("age") < self.most:
                told = {"age": f"{case.facts.age:g}", "least": f"{self.least:g}", "most": f"{self.most:g}"}
                yield self.finding(self.effect, "age", place, medicine=order.code, **told)


class Pregnancy(Warned):
    """Not in pregnancy."""

    kind: Literal["pregnancy"]

    def judge(self, case: Case) -> Iterator[Finding]:
        """A finding where the patient is pregnant."""
        for place, order in self.orders(case):
            if case.need("pregnant"):
                yield self.finding(self.effect, "pregnancy", place, medicine=order.code)


class Observed(Warned):
    """Only while the last of ``observations`` is ``least`` or more and ``most`` or less, and no older than ``fresh`` minutes.

    ``substance``: what is measured, where it may be told in moles or in grams.
    """

    kind: Literal["observation"]
    observations: Codes
    fresh: Positive
    least: Amount | None = None
    most: Amount | None = None
    substance: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Observed:
        limits = [one for one in (self.least, self.most) if one is not None]
        if not limits or len({kind_of(one.unit) for one in limits}) > 1:
            raise as_error(Invalid("plans.rules.observation"))
        if self.substance not in ("", *MOLAR_MASS):
            raise as_error(Invalid("plans.rules.substance", value=self.substance[:40], known=", ".join(MOLAR_MASS)))
        return self

    def judge(self, case: Case) -> Iterator[Finding]:
        """A finding where the last value is missing, too old, too low or too high."""
        for place, order in self.orders(case):
            told = {"medicine": order.code, "observation": self.observations[0]}
            found = [one for one in case.need("observations") if self._is_meant(case, one.code)]
            if not found:
                yield self.finding(self.effect, "unobserved", place, **told)
                continue
            age = min(one.age for one in found)
            if age > self.fresh:
                old = {"age": Quantity(age, "min"), "fresh": Quantity(self.fresh, "min")}
                yield self.finding(self.effect, "stale", place, **told, **old)
                continue
            for one in found:
                if one.age == age:
                    yield from self._bounds(place, one.value, told)

    def _is_meant(self, case: Case, code: str) -> bool:
        forms = (code, *case.codes.get(code, ()))
        return any(overlap(form, wanted) for form in forms for wanted in self.observations)

    def _bounds(self, place: int, value: Quantity, told: dict[str, str]) -> Iterator[Finding]:
        for limit, reason in ((self.least, "low"), (self.most, "high")):
            if limit is not None:
                found = converted(exact(value.value), value.unit, limit.unit, self.substance)
                if (found < exact(limit.value)) if reason == "low" else (found > exact(limit.value)):
                    shown = {"value": value, "limit": limit}
                    numbers = {name: replace(one, substance=self.substance) for name, one in shown.items()}
                    yield self.finding(self.effect, reason, place, **numbers, **told)


def shared(case: Case, code: str, other: str, level: int) -> bool:
    """Whether two medicines may be of one substance or, at ``level`` 4, of one chemical subgroup of ATC."""
    length = len("ATC/") + LEVELS[level]
    ours, theirs = case.forms(code), case.forms(other)
    return any(
        overlap(
            one[:length] if one.startswith("ATC/") else one, another[:length] if another.startswith("ATC/") else another
        )
        for one in ours
        for another in theirs
    )

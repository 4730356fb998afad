"""One proposal for one patient, as the rules look at it: which medicine is which, and how much of it in whose unit.

Codes are compared in two ways. What permits asks whether a code is surely covered; what forbids asks whether it may be meant,
so that an order for a whole group meets the rule for one of its substances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

from puji.errors import Invalid
from puji.modalities.plans.plan import Order
from puji.modalities.plans.safety.facts import Current, Facts, Given
from puji.modalities.plans.units import Quantity, exact, parsed
from puji.modalities.timelines.codes import ancestors

Native = Literal["ATC", "ICD10"]
"""The systems in which rules compare codes; those of others have to be mapped."""
Of = Literal["dose", "rate"]
HIERARCHIES = ("ATC", "ICD10", "ICD9CM")
PER_TIME = "/time"


Dosing = Order | Given


def family(code: str) -> str:
    """The system of a code; the editions of ICD-10 are one."""
    system = code.partition("/")[0]
    return "ICD10" if system.startswith("ICD10") else system


def covers(code: str, other: str) -> bool:
    """Whether ``other`` is the same as ``code``, or below it."""
    if family(code) != family(other):
        return False
    rest, below = code.partition("/")[2], other.partition("/")[2]
    return rest == below or (family(code) in HIERARCHIES and (below.startswith(rest) or code in ancestors(other)))


@lru_cache(maxsize=100_000)
def overlap(code: str, other: str) -> bool:
    """Whether one of two codes covers the other."""
    return covers(code, other) or covers(other, code)


@dataclass(frozen=True)
class Case:
    """``orders`` for a patient of whom the ``facts`` are known; ``codes``: what the setting's codes mean in ATC or ICD-10."""

    facts: Facts
    orders: tuple[Order, ...]
    codes: Mapping[str, Sequence[str]]

    def need(self, name: str) -> Any:
        """The fact ``name``. Raises Invalid where it is not known."""
        value = getattr(self.facts, name)
        if value is None:
            raise Invalid("plans.safety.missing", fact=f"plans.fact.{name}")
        return value

    def forms(self, code: str, native: Native = "ATC") -> tuple[str, ...]:
        """``code`` and what it means. Raises Invalid for one that cannot be compared with the rules' codes."""
        if code not in self.codes and family(code) != native:
            raise Invalid("plans.safety.unknown_code", code=code)
        return (code, *self.codes.get(code, ()))

    def may_be(self, code: str, others: Sequence[str], native: Native = "ATC") -> bool:
        """Whether ``code`` may mean one of ``others``."""
        meant = [form for other in others for form in self.forms(other, native)]
        return any(overlap(form, other) for form in self.forms(code, native) for other in meant)

    def surely(self, code: str, other: str) -> bool:
        """Whether ``other`` covers all that ``code`` means."""
        meant = self.codes.get(code, ())
        return covers(other, code) or (bool(meant) and all(covers(other, form) for form in meant))

    def selected(self, medicines: Sequence[str] | None, routes: Sequence[str] | None) -> list[tuple[int, Order]]:
        """The orders, with their places, that may be of ``medicines`` and are by one of ``routes``; None: any."""
        return [
            (place, order)
            for place, order in enumerate(self.orders)
            if (routes is None or order.route in routes) and (medicines is None or self.may_be(order.code, medicines))
        ]

    def given(self, medicines: Sequence[str], routes: Sequence[str] | None) -> list[Given]:
        """What was given of ``medicines``; a route that is not known may be any."""
        return [
            one
            for one in self.need("given")
            if (routes is None or one.route in ("", *routes)) and self.may_be(one.code, medicines)
        ]

    def current(self, medicines: Sequence[str]) -> list[Current]:
        """What goes on of ``medicines`` beside the plan."""
        return [one for one in self.need("current") if self.may_be(one.code, medicines)]

    def amount(self, dosing: Dosing, of: Of, unit: str) -> Fraction:
        """The dose of one administration, or its rate, in ``unit``.

        Raises Invalid where that cannot be told: units of different kinds, no body weight, no duration.
        """
        value, kind = self._whole(dosing.dose)
        size, wanted = self._whole(Quantity(1.0, unit))
        rated = kind.endswith(PER_TIME)
        if (of == "rate") != rated:
            # A dose with a duration tells a rate, a rate with a duration a dose.
            if dosing.minutes <= 0:
                raise Invalid("plans.safety.no_duration")
            minutes = exact(dosing.minutes)
            value, kind = (
                (value * minutes, kind.removesuffix(PER_TIME)) if rated else (value / minutes, kind + PER_TIME)
            )
        if kind != wanted:
            raise Invalid("plans.units.differ", unit=dosing.dose.unit, other=unit)
        return value / size

    def _whole(self, quantity: Quantity) -> tuple[Fraction, str]:
        """In base units, of the whole body; and the kind of these."""
        unit = parsed(quantity.unit)
        value = exact(quantity.value) * unit.size
        if "/body" in unit.kind:
            value *= exact(self.need("weight"))
        return value, unit.kind.replace("/body", "", 1)

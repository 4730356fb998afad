"""What all rules have in common: a name, which medicines and routes they are about, and `Rule.judge`.

A rule only adds findings, and each finding forbids or warns: so more rules never allow what fewer did not, and their order does
not matter. Upper limits may reduce a dose; what is left is judged again, and never raised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from puji.errors import Invalid
from puji.modalities.plans.plan import ROUTES, Detail, Effect, Finding, Order
from puji.modalities.plans.safety.case import PER_TIME, Case
from puji.modalities.plans.units import Quantity, parsed
from puji.modalities.timelines.codes import normalised

AMOUNTS = ("mass", "mol", "eq", "unit", "volume")
"""What units of medicines measure."""
LEAST_SHARE = Fraction(1, 2)
"""A dose is reduced to no less than this share of it: what was predicted for the proposal says nothing about a much smaller one,
and a dose that is far too high is a mistake, not a choice."""


def as_error(error: Invalid) -> PydanticCustomError:
    """A refusal as pydantic reports it, with its place."""
    return PydanticCustomError(error.reason, "{reason}", {"reason": error.reason, **error.details})


def _code(text: str) -> str:
    try:
        return normalised(text)
    except Invalid as error:
        raise as_error(error) from error


def _quantity(value: Any) -> Quantity:
    if not isinstance(value, str):
        raise as_error(Invalid("plans.units.quantity", value=str(value)[:40]))
    try:
        return Quantity.read(value)
    except Invalid as error:
        raise as_error(error) from error


def _unit(text: str) -> str:
    try:
        return parsed(text).code
    except Invalid as error:
        raise as_error(error) from error


def _route(text: str) -> str:
    if text not in ROUTES:
        raise as_error(Invalid("plans.rules.route", value=text[:40], known=", ".join(ROUTES)))
    return text


Code = Annotated[str, AfterValidator(_code)]
Amount = Annotated[Quantity, BeforeValidator(_quantity), PlainSerializer(str)]
Unit = Annotated[str, AfterValidator(_unit)]
Route = Annotated[str, AfterValidator(_route)]
Positive = Annotated[float, Field(gt=0)]
Codes = Annotated[tuple[Code, ...], Field(min_length=1)]


class Declared(BaseModel):
    """A part of the rules as a setting declares it: nothing beside the known fields, nothing of another type, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Rule(Declared, ABC):
    """One rule. ``source``: where it is from. ``medicines`` and ``routes``: the orders that it is about; none: all. ``dosed``:
    whether it looks at doses; the others judge what is given to whom."""

    dosed: ClassVar[bool] = False
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]
    source: str = ""
    medicines: Codes | None = None
    routes: Annotated[tuple[Route, ...], Field(min_length=1)] | None = None

    @abstractmethod
    def judge(self, case: Case) -> Iterator[Finding]:
        """What this rule says about a proposal. Raises Invalid where that cannot be told, which is a veto."""

    def named(self) -> Iterator[str]:
        """The medicines that the rule names."""
        yield from self.medicines or ()

    def orders(self, case: Case) -> list[tuple[int, Order]]:
        """The orders that the rule is about, with their places."""
        return case.selected(self.medicines, self.routes)

    def veto(self, reason: str, order: int | None, **details: Detail) -> Finding:
        """A veto of an order, or of the proposal, for a ``reason``, which is the last part of a message's key."""
        return self.finding("veto", reason, order, **details)

    def finding(self, effect: Effect, reason: str, order: int | None, **details: Detail) -> Finding:
        """As `veto`, with another effect."""
        return Finding(effect, f"plans.safety.{reason}", self.id, order, details)


class Warned(Rule):
    """A rule that forbids, or only warns (``effect`` "caution"), also where it cannot be told."""

    effect: Literal["veto", "caution"] = "veto"


class Capped(Rule):
    """A rule with an upper limit for ``medicines``, which vetoes or reduces (``excess``) what is above it."""

    dosed: ClassVar[bool] = True
    medicines: Codes
    excess: Literal["veto", "reduce"] = "veto"

    def over(self, reason: str, order: int | None, share: Fraction, **details: Detail) -> Finding:
        """A finding about an excess; ``share`` of the dose would be within the limit."""
        if self.excess == "reduce" and order is not None and share >= LEAST_SHARE:
            return Finding("reduce", f"plans.safety.{reason}", self.id, order, details, share)
        return self.veto(reason, order, **details)


def kind_of(unit: str) -> str:
    """What a unit measures, of the whole body: "mass", "mass/time"."""
    return parsed(unit).kind.replace("/body", "", 1)


def check_unit(unit: str, rate: bool) -> None:
    """Refuse a unit that is not that of an amount of medicine, or, for a ``rate``, of an amount in some time."""
    kind = kind_of(unit)
    if kind.endswith(PER_TIME) != rate or kind.removesuffix(PER_TIME) not in AMOUNTS:
        raise as_error(Invalid("plans.rules.limit_unit", unit=unit))

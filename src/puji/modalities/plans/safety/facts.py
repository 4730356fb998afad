"""What the safety rules may know about a patient, and how it and a proposal are copied into plain values and checked.

Facts come from the record, never from the model. None means not known, which a rule that needs it takes for a veto; an empty
tuple means known to be none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from puji.errors import Invalid
from puji.modalities.plans.plan import ROUTES, Order
from puji.modalities.plans.units import Quantity, exact, parsed
from puji.modalities.timelines.codes import normalised

MOST_ORDERS = 20
"""Of one proposal."""
MOST_TIMES = 100
"""Administrations of one order."""
YEAR = 525_960.0
"""Minutes. No order begins later, lasts longer or comes more seldom."""
OLDEST = 130.0
"""Years."""
WEIGHTS = (0.2, 650.0)
"""Kilograms between which a body weight is believed."""


@dataclass(frozen=True)
class Given:
    """A dose that was given: an amount, or a rate at which it ran for ``minutes``, ending ``ago`` minutes before now.

    ``route`` "" where it is not known.
    """

    code: str
    dose: Quantity
    ago: float
    minutes: float = 0.0
    route: str = ""


@dataclass(frozen=True)
class Current:
    """A medicine that the patient takes and that goes on beside the plan; ``daily``: the amount of a day, None: not known.

    What the plan itself steers stands in ``Facts.given`` instead.
    """

    code: str
    daily: Quantity | None = None


@dataclass(frozen=True)
class Observation:
    """A measurement, ``age`` minutes old."""

    code: str
    value: Quantity
    age: float


@dataclass(frozen=True)
class Facts:
    """A patient now: ``age`` in years, ``weight`` in kg, codes of ``allergies`` and ``conditions``, medicines, measurements."""

    age: float | None = None
    weight: float | None = None
    pregnant: bool | None = None
    allergies: tuple[str, ...] | None = None
    conditions: tuple[str, ...] | None = None
    current: tuple[Current, ...] | None = None
    given: tuple[Given, ...] | None = None
    observations: tuple[Observation, ...] | None = None


def checked_facts(facts: object) -> Facts:
    """A copy of ``facts`` in plain values. Raises Invalid for a malformed one, by its name."""
    if type(facts) is not Facts:
        raise Invalid("plans.safety.facts")
    return Facts(
        age=_fact("age", facts.age, lambda value: _between(value, 0.0, OLDEST)),
        weight=_fact("weight", facts.weight, lambda value: _between(value, *WEIGHTS)),
        pregnant=_fact("pregnant", facts.pregnant, _truth),
        allergies=_fact("allergies", facts.allergies, lambda value: _each(value, _code)),
        conditions=_fact("conditions", facts.conditions, lambda value: _each(value, _code)),
        current=_fact("current", facts.current, lambda value: _each(value, _current)),
        given=_fact("given", facts.given, lambda value: _each(value, _given)),
        observations=_fact("observations", facts.observations, lambda value: _each(value, _observation)),
    )


def checked_orders(orders: object) -> tuple[Order, ...]:
    """A copy of the proposed ``orders`` in plain values. Raises Invalid for a malformed one, by its place from 1."""
    if type(orders) not in (tuple, list) or len(orders) > MOST_ORDERS:  # type: ignore[arg-type]
        raise Invalid("plans.safety.orders", most=str(MOST_ORDERS))
    found = []
    for place, order in enumerate(orders, 1):  # type: ignore[var-annotated, arg-type]
        try:
            found.append(_order(order))
        except Invalid as refusal:
            raise refusal.at("order", place) from refusal
        except Exception as error:  # a hostile or broken value may raise anything
            raise Invalid("plans.safety.order", source="order", line=place) from error
    return tuple(found)


def _order(order: Any) -> Order:
    if type(order) is not Order:
        raise Invalid("plans.safety.order")
    times = int(exact(order.times)) if isinstance(order.times, int) else 0
    copy = Order(
        code=_code(order.code),
        dose=_quantity(order.dose),
        route=_text(order.route),
        start=_between(order.start, 0.0, YEAR),
        minutes=_between(order.minutes, 0.0, YEAR),
        times=times,
        every=_between(order.every, 0.0, YEAR),
    )
    if not 1 <= times <= MOST_TIMES or copy.route not in ROUTES:
        raise Invalid("plans.safety.order")
    if times > 1 and copy.every < max(copy.minutes, 1.0):
        raise Invalid("plans.safety.order")  # administrations at the same time would pass as one
    if copy.dose.value <= 0:
        raise Invalid("plans.safety.positive")
    return copy


def _fact(name: str, value: Any, check: Callable[[Any], Any]) -> Any:
    try:
        return None if value is None else check(value)
    except Exception as error:  # a hostile or broken value may raise anything
        raise Invalid("plans.safety.fact", fact=f"plans.fact.{name}") from error


def _each(values: Any, check: Callable[[Any], Any]) -> tuple[Any, ...]:
    if type(values) is not tuple:
        raise TypeError("facts are tuples")
    return tuple(check(value) for value in values)


def _current(value: Any) -> Current:
    daily = None if value.daily is None else _quantity(value.daily)
    if daily is not None and daily.value < 0:
        raise ValueError("negative")
    return Current(_code(value.code), daily)


def _given(value: Any) -> Given:
    dose = _quantity(value.dose)
    route = _text(value.route)
    if dose.value < 0 or route not in ("", *ROUTES):
        raise ValueError("no dose that was given")
    ago, minutes = _between(value.ago, 0.0, 1e9), _between(value.minutes, 0.0, 1e9)
    return Given(_code(value.code), dose, ago, minutes, route)


def _observation(value: Any) -> Observation:
    measured = Quantity(float(exact(value.value.value)), _text(value.value.unit))
    return Observation(_code(value.code), measured, _between(value.age, 0.0, 1e9))


def _quantity(value: Any) -> Quantity:
    unit = parsed(_text(value.unit))
    return Quantity(float(exact(value.value)), unit.code)


def _code(value: Any) -> str:
    return normalised(_text(value))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return str.__str__(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("no truth value")
    return value


def _between(value: Any, low: float, high: float) -> float:
    found = float(exact(value))
    if not low <= found <= high:
        raise Invalid("plans.units.number")
    return found

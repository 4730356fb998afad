"""Rules about how much: what may be ordered at all, limits of doses and rates, changes from one step to the next, intervals."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from puji.errors import Invalid
from puji.modalities.plans.plan import Finding, Order
from puji.modalities.plans.safety.case import Case
from puji.modalities.plans.safety.facts import Given
from puji.modalities.plans.safety.rule import (
    Amount,
    Capped,
    Code,
    Codes,
    Declared,
    Positive,
    Route,
    Rule,
    Unit,
    as_error,
    check_unit,
    kind_of,
)
from puji.modalities.plans.units import Quantity, exact, rounded

Span = tuple[Fraction, Fraction]
"""Begin and end in minutes from now."""


class Entry(Declared):
    """What may be ordered: a medicine by some routes, in single doses up to ``most``, above which the order is a mistake."""

    medicine: Code
    routes: Annotated[tuple[Route, ...], Field(min_length=1)]
    most: Amount


class Allowed(Rule):
    """The closed list of what may be ordered. An order that no entry covers is vetoed; of several lists each has to cover it."""

    dosed: ClassVar[bool] = True
    kind: Literal["allowed"]
    entries: Annotated[tuple[Entry, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits(self) -> Allowed:
        for entry in self.entries:
            check_unit(entry.most.unit, rate=False)
        return self

    def named(self) -> Iterator[str]:
        """The medicines of the list, too."""
        yield from super().named()
        yield from (entry.medicine for entry in self.entries)

    def judge(self, case: Case) -> Iterator[Finding]:
        """Veto what no entry covers, and doses above all entries that do."""
        for place, order in self.orders(case):
            case.forms(order.code)  # one that no rule could be compared with is vetoed even if it is listed
            entries = [
                one for one in self.entries if order.route in one.routes and case.surely(order.code, one.medicine)
            ]
            if not entries:
                yield self.veto("not_allowed", place, medicine=order.code, route=f"plans.route.{order.route}")
                continue
            asked = [case.amount(order, "dose", one.most.unit) for one in entries]
            if all(dose > exact(one.most.value) for dose, one in zip(asked, entries, strict=True)):
                told = Quantity(rounded(asked[0], ROUND_CEILING), entries[0].most.unit)
                yield self.veto("too_much", place, medicine=order.code, asked=told, most=entries[0].most)


class Limit(Capped):
    """An upper limit: ``of`` a single dose, of a rate, or of the total within ``hours`` (without them: of all that was given)."""

    kind: Literal["limit"]
    of: Literal["dose", "rate", "total"]
    most: Amount
    hours: Positive | None = None

    @model_validator(mode="after")
    def _fits(self) -> Limit:
        check_unit(self.most.unit, self.of == "rate")
        if self.hours is not None and self.of != "total":
            raise as_error(Invalid("plans.rules.limit_hours"))
        return self

    def judge(self, case: Case) -> Iterator[Finding]:
        """Veto or reduce what is above the limit."""
        orders = self.orders(case)
        if self.of == "total":
            yield from self._total(case, orders)
            return
        for place, order in orders:
            asked = case.amount(order, self.of, self.most.unit)
            if asked > exact(self.most.value):
                yield self._over(place, asked, exact(self.most.value) / asked, order.code)

    def _over(self, place: int | None, asked: Fraction, share: Fraction, medicine: str) -> Finding:
        told = {"asked": Quantity(rounded(asked, ROUND_CEILING), self.most.unit), "most": self.most}
        within = "plans.safety.course" if self.hours is None else f"{self.hours:g} h"
        return self.over(self.of, place, share, medicine=medicine, within=within, **told)

    def _total(self, case: Case, orders: list[tuple[int, Order]]) -> Iterator[Finding]:
        if not orders:
            return
        unit, most = self.most.unit, exact(self.most.value)
        before = [(spans(one)[0], case.amount(one, "dose", unit)) for one in case.given(self.medicines, self.routes)]
        to_come = [(one, case.amount(order, "dose", unit)) for _, order in orders for one in spans(order)]
        usual = self._usual(case)
        found = []
        # An infusion counts as a whole wherever it reaches into the window. So no window holds more than one of those that end
        # as an administration begins.
        for (end, _), _ in to_come:
            begin = None if self.hours is None else end - exact(self.hours) * 60
            past, own = max(_sum(before, begin, end), usual), _sum(to_come, begin, end)
            if past + own > most:
                found.append(((most - past) / own, past + own))
        if found:
            share, asked = min(found)
            yield self._over(orders[0][0] if len(orders) == 1 else None, asked, share, orders[0][1].code)

    def _usual(self, case: Case) -> Fraction:
        """What goes on beside the plan within the hours. It may stand in the log, too, so the larger of the two counts."""
        total = Fraction(0)
        for one in case.current(self.medicines) if self.hours is not None else ():
            if one.daily is None:
                raise Invalid("plans.safety.daily", medicine=one.code)
            daily = Given(one.code, one.daily, 0.0)
            total += case.amount(daily, "dose", self.most.unit) * exact(self.hours) / 24
        return total


class Change(Capped):
    """How far a dose or rate may rise above the last one, or fall below it, which stopping does, too.

    ``rise`` and ``fall``: how far; ``rise_ratio`` and ``fall_ratio``: as multiples of the last one, where there was one.
    ``unit``: that in which steps are compared. ``within``: minutes after which the last one no longer counts, and is 0.
    """

    kind: Literal["change"]
    of: Literal["dose", "rate"]
    unit: Unit
    within: Positive
    rise: Amount | None = None
    fall: Amount | None = None
    rise_ratio: Annotated[float, Field(ge=1)] | None = None
    fall_ratio: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Change:
        units = [self.unit, *(one.unit for one in (self.rise, self.fall) if one is not None)]
        for unit in units:
            check_unit(unit, self.of == "rate")
            if kind_of(unit) != kind_of(self.unit):
                raise as_error(Invalid("plans.rules.limit_unit", unit=unit))
        if all(one is None for one in (self.rise, self.fall, self.rise_ratio, self.fall_ratio)):
            raise as_error(Invalid("plans.rules.change"))
        return self

    def judge(self, case: Case) -> Iterator[Finding]:
        """Veto or reduce too large a rise; veto too large a fall."""
        orders = self.orders(case)
        doses = [case.amount(order, self.of, self.unit) for _, order in orders]
        last = self._last(case)
        place = orders[0][0] if len(orders) == 1 else None
        medicine = orders[0][1].code if orders else self.medicines[0]
        highest = [last + self._step(case, self.rise)] if self.rise else []
        highest += [last * exact(self.rise_ratio)] if self.rise_ratio and last else []
        lowest = [last - self._step(case, self.fall)] if self.fall else []
        lowest += [last * exact(self.fall_ratio)] if self.fall_ratio else []
        # Of several orders all together may be too much, and each one alone too little.
        total, least = sum(doses, Fraction(0)), min(doses, default=Fraction(0))
        if highest and total > min(highest):
            told = self._told(
                asked=(total, ROUND_CEILING), last=(last, ROUND_HALF_EVEN), most=(min(highest), ROUND_FLOOR)
            )
            yield self.over("rise", place, min(highest) / total, medicine=medicine, **told)
        if lowest and least < max(lowest):
            told = self._told(
                asked=(least, ROUND_FLOOR), last=(last, ROUND_HALF_EVEN), least=(max(lowest), ROUND_CEILING)
            )
            yield self.veto("fall", place, medicine=medicine, **told)

    def _last(self, case: Case) -> Fraction:
        given = [one for one in case.given(self.medicines, self.routes) if one.ago <= self.within]
        latest = min((one.ago for one in given), default=0.0)
        return sum((case.amount(one, self.of, self.unit) for one in given if one.ago == latest), Fraction(0))

    def _step(self, case: Case, step: Quantity) -> Fraction:
        return case.amount(Given("", step, 0.0), self.of, self.unit)

    def _told(self, **values: tuple[Fraction, str]) -> dict[str, Quantity]:
        return {name: Quantity(rounded(value, how), self.unit) for name, (value, how) in values.items()}


class Interval(Rule):
    """The least time between two administrations of ``medicines``, from the end of one to the beginning of the next."""

    dosed: ClassVar[bool] = True
    kind: Literal["interval"]
    medicines: Codes
    minutes: Positive

    def judge(self, case: Case) -> Iterator[Finding]:
        """Veto what comes too soon."""
        orders = self.orders(case)
        if not orders:
            return
        ends = [spans(one)[0][1] for one in case.given(self.medicines, self.routes)]
        for (begin, end), code in sorted((one, order.code) for _, order in orders for one in spans(order)):
            if ends and begin - max(ends) < exact(self.minutes):
                told = {
                    "gap": Quantity(rounded(begin - max(ends), ROUND_FLOOR), "min"),
                    "least": Quantity(self.minutes, "min"),
                }
                yield self.veto("interval", None, medicine=code, **told)
                return
            ends.append(end)


def spans(one: Order | Given) -> list[Span]:
    """When each administration begins and ends."""
    length = exact(one.minutes)
    if isinstance(one, Given):
        return [(-exact(one.ago) - length, -exact(one.ago))]
    begins = [exact(one.start) + number * exact(one.every) for number in range(one.times)]
    return [(begin, begin + length) for begin in begins]


def _sum(doses: list[tuple[Span, Fraction]], begin: Fraction | None, end: Fraction) -> Fraction:
    """Of what reaches into the window after ``begin`` (None: ever) until ``end``."""
    return sum((dose for (start, stop), dose in doses if (begin is None or stop > begin) and start <= end), Fraction(0))

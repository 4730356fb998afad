"""The safety layer between any controller and the pump: what it lets pass of each dose, see `puji.modalities.plans.safety`.

It asks the same rules that judge a plan on paper (settings/diabetes_rules.toml), with what the sensor shows and what the pump
gave. A bolus that was vetoed is asked for again until it is allowed, for an hour at most: who eats while glucose is low takes
the insulin for it later, not never. The same for every controller.
"""

from __future__ import annotations

import numpy as np

from puji.modalities.plans.diabetes.control import Controller, Dose
from puji.modalities.plans.diabetes.patients import Patients
from puji.modalities.plans.plan import Order
from puji.modalities.plans.safety import Current, Facts, Given, Observation, Rules, Safety
from puji.modalities.plans.units import Quantity

INSULIN, ROUTE, GLUCOSE = "ATC/A10AB", "subcutaneous", "LOINC/99504-3"
LEAST = 1e-4
"""U: less is no order."""
REMEMBERED = 180
"""Minutes whose insulin is told to the rules, as one infusion: they count all of it as long as any of it reaches into their
hours."""
STANDING = 15
"""Minutes after which an order is judged again."""
CHANGED = 5.0
"""mg/dl: how far shown glucose may change before it is."""
WAITING = 60
"""Minutes for which a vetoed bolus is asked for again."""


def facts(
    age: float, weight: float, reading: float, given: float, minutes: float = 0.0, current: tuple[Current, ...] = ()
) -> Facts:
    """What the rules may know of a patient: ``age``, years, ``weight``, kg, the sensor's last ``reading``, mg/dl, ``minutes``
    ago, U ``given`` in the last `REMEMBERED` minutes, and the ``current`` medicines beside the pump's insulin."""
    shown = Observation(GLUCOSE, Quantity(round(reading, 1), "mg/dL"), minutes)
    before = Given(INSULIN, Quantity(round(given, 4), "U"), 0.0, float(REMEMBERED), ROUTE)
    return Facts(age=age, weight=weight, current=current, given=(before,), observations=(shown,))


class Guarded(Controller):
    """``inner``, with the safety ``rules`` between it and the pump. ``vetoed``, ``reduced``: so many doses were."""

    def __init__(self, inner: Controller, patients: Patients, rules: Rules) -> None:
        self.inner = inner
        self.safety = Safety(rules)
        self.age = patients.column("age").tolist()
        self.weight = patients.column("BW").tolist()
        self.reset()

    def reset(self) -> None:
        """Nothing was given or vetoed yet."""
        self.inner.reset()
        n = len(self.age)
        self.given: list[np.ndarray] = []
        self.waiting, self.since = np.zeros(n), np.zeros(n)
        self.judged, self.passed, self.shown = np.zeros(n), np.ones(n), np.zeros(n)
        self.vetoed = self.reduced = 0

    def facts(self, row: int, reading: float, given: float) -> Facts:
        """What the rules may know of a patient; ``given``: U in the last `REMEMBERED` minutes."""
        return facts(self.age[row], self.weight[row], reading, given)

    def dose(self, reading: np.ndarray, announced: np.ndarray, minute: int, interval: int) -> Dose:
        """What the rules let pass of what the inner controller asks for."""
        asked = self.inner.dose(reading, announced, minute, interval)
        basal = np.maximum(asked.basal, 0.0) * interval
        bolus = np.maximum(asked.bolus, 0.0) * interval
        self.since = np.where(self.waiting > 0, self.since + interval, 0)
        bolus = bolus + np.where(self.since <= WAITING, self.waiting, 0.0)
        # An order stands for a quarter of an hour, unless more is asked for or glucose has changed.
        again = (
            (minute % STANDING == 0) | (bolus > 0) | (basal > self.judged) | (np.abs(reading - self.shown) >= CHANGED)
        )
        passed = np.where(again, 1.0, self.passed)
        self.judged = np.where(again, basal, self.judged)
        self.shown = np.where(again, reading, self.shown)
        before = np.sum(self.given[-(REMEMBERED // interval) :], axis=0) if self.given else np.zeros(len(basal))
        for row, units in enumerate((basal + bolus).tolist()):
            if units <= LEAST or not again[row]:
                continue
            order = Order(INSULIN, Quantity(round(units, 4), "U"), ROUTE, minutes=float(interval))
            verdict = self.safety.check(self.facts(row, float(reading[row]), float(before[row])), (order,))
            passed[row] = sum(one.dose.value for one in verdict.orders) / order.dose.value
            self.vetoed += verdict.outcome == "vetoed"
            self.reduced += verdict.outcome == "reduced"
        self.passed = passed
        self.waiting = np.where(passed > 0, 0.0, bolus)
        return Dose(basal * passed / interval, bolus * passed / interval)

    def gave(self, dose: Dose, announced: np.ndarray, interval: int) -> None:
        """Remember what was given."""
        self.given.append((dose.basal + dose.bolus) * interval)
        self.inner.gave(dose, announced, interval)


__all__ = ["Guarded"]

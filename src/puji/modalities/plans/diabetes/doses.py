"""Actions as insulin, and what a pump knows before one is chosen: the same for every patient, whose own settings scale both.

An action is a multiple of what the patient would usually get: of the basal rate ("b150": one and a half times of it for a quarter
of an hour), of the bolus for an announced meal ("m80"), or of a correction ("c50"); boluses come with the usual basal rate. What
is observed is told in the glucose (mg/dl) that it is worth by the patient's own ratio and correction factor: so one policy serves
an adult with 2 U an hour and a child with 0.3.
"""

from __future__ import annotations

import numpy as np

from puji.modalities.plans.diabetes.control import BasalBolus, Dose
from puji.modalities.plans.diabetes.patients import Patients

INTERVAL = 15
"""Minutes from one decision to the next."""
BASAL = {"b0": 0.0, "b50": 0.5, "b100": 1.0, "b150": 1.5, "b250": 2.5}
MEAL = {"m0": 0.0, "m60": 0.6, "m80": 0.8, "m100": 1.0, "m120": 1.2, "m140": 1.4}
CORRECTION = {"c50": 0.5, "c100": 1.0}
ACTIONS = (*BASAL, *MEAL, *CORRECTION)
"""Codes of all actions, as settings/diabetes.toml has them."""
COLUMNS = ("glucose", "trend", "insulin", "meal", "announced")
"""What is observed, see `Watch.columns`."""
INSULIN, CARBOHYDRATE = 55.0, 40.0
"""Minutes: time constants of two compartments in a row, in which a bolus and a meal wait for their action."""
READINGS = 4
"""Readings through which a line tells glucose and trend."""


LEAST = 2.0
"""mg/dl: carbohydrate that would raise glucose by less is told as none."""


class Usual:
    """What the patients of a batch would usually get, and actions as multiples of it."""

    def __init__(self, patients: Patients) -> None:
        self.rule = BasalBolus(patients)
        self.level = np.array([BASAL.get(code, 1.0) for code in ACTIONS])
        self.share = np.array([MEAL.get(code, CORRECTION.get(code, 0.0)) for code in ACTIONS])
        self.kinds = np.array([code[0] for code in ACTIONS])

    def bolus(self, reading: np.ndarray, announced: np.ndarray) -> np.ndarray:
        """U for the announced meal and for a high ``reading``, (n,)."""
        found: np.ndarray = announced / self.rule.ratio + self.rule.correction(reading)
        return found

    def possible(self, reading: np.ndarray, announced: np.ndarray) -> np.ndarray:
        """Which actions mean something, (n, actions) bool: boluses for meals only with one, corrections only of high glucose."""
        meal = announced > 0
        high = self.rule.correction(reading) > 0
        found: np.ndarray = np.where(
            self.kinds == "m", meal[:, None], ~meal[:, None] & ((self.kinds == "b") | high[:, None])
        )
        return found

    def dose(self, action: np.ndarray, reading: np.ndarray, announced: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The basal rate, U/min, and the bolus, U, of each row's ``action``, a place in `ACTIONS`, each (n,)."""
        return self.rule.basal * self.level[action], self.share[action] * self.bolus(reading, announced)


class Watch:
    """What the pumps of a batch remember: the last readings, the insulin and the carbohydrate that have yet to act."""

    def __init__(self, patients: Patients) -> None:
        self.factor = patients.column("correction_factor")
        self.rise = self.factor / patients.column("carbohydrate_ratio")
        self.basal = patients.basal
        n = len(patients)
        self.readings = np.empty((n, 0))
        self.insulin, self.meal = np.zeros((2, n)), np.zeros((2, n))

    def read(self, reading: np.ndarray) -> None:
        """One reading of each sensor, five minutes after the one before."""
        self.readings = np.column_stack([self.readings, reading])[:, -READINGS:]

    def gave(self, dose: Dose, announced: np.ndarray, minutes: int) -> None:
        """What was given and announced in the ``minutes`` until the next reading; insulin counts beyond the usual basal rate."""
        extra = (dose.basal + dose.bolus - self.basal) * minutes
        for pool, came, tau in ((self.insulin, extra, INSULIN), (self.meal, announced, CARBOHYDRATE)):
            pool[0] += came
            left = np.exp(-minutes / tau)
            pool[1] = (pool[1] + pool[0] * minutes / tau) * left
            pool[0] *= left

    def columns(self, announced: np.ndarray) -> np.ndarray:
        """(n, columns): glucose, mg/dl, and its trend, mg/dl in 15 minutes, by a line through the last readings; what the insulin
        that has yet to act would lower, and what the announced carbohydrate that has yet to act would raise, mg/dl, and what a
        meal that is announced now would raise, nan for none."""
        count = self.readings.shape[1]
        at = np.arange(count) - (count - 1)
        middle = self.readings.mean(axis=1)
        slope = (self.readings - middle[:, None]) @ (at - at.mean()) / max(1.0, ((at - at.mean()) ** 2).sum())
        level = middle - slope * at.mean()
        meal = self.meal.sum(axis=0) * self.rise
        return np.column_stack(
            [
                level,
                slope * 3,
                self.insulin.sum(axis=0) * self.factor,
                np.where(meal < LEAST, np.nan, meal),
                np.where(announced > 0, announced * self.rise, np.nan),
            ]
        )


__all__ = ["ACTIONS", "BASAL", "COLUMNS", "CORRECTION", "INTERVAL", "MEAL", "Usual", "Watch"]

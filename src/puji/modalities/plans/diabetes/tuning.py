"""Gains of a `PID` for each patient, by search on training days; alone, or beside the boluses of announced meals (`Hybrid`).

All candidate gains of all patients live the same days as one batch; of each patient those win whose mean risk index (BGRI) is
lowest, an early end counting as the risk of the glucose at which it came. A coarse grid comes first, then a finer one around its
winner. The days are drawn from `TRAINING` seeds, which no evaluation should use; the fixed day of `scenario` is none of them.

Gains are searched as numbers without a unit, so that one grid fits all patients: what the proportional part adds to the basal
rate when glucose is 100 mg/dl too high, over that rate; the time in which a standing error adds as much again through the
integral; and the time by which the derivative looks ahead (the standard form of a PID).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np

from puji.modalities.plans.diabetes import loop, metrics, scenario
from puji.modalities.plans.diabetes.control import PID, BasalBolus, Hybrid
from puji.modalities.plans.diabetes.patients import Patients
from puji.modalities.plans.diabetes.pump import pump
from puji.modalities.plans.diabetes.sensor import Sensor
from puji.modalities.plans.diabetes.simulator import Simulator

TRAINING = tuple(range(900_000, 900_004))
"""Seeds of the days on which gains are judged."""
GAIN = (0.5, 1.0, 2.0, 4.0)
RESET = (120.0, 400.0, 1200.0)
"""Minutes in which the integral adds as much as the proportional part."""
AHEAD = (0.0, 90.0, 180.0, 360.0)
"""Minutes that the derivative looks ahead."""
FINER = (0.7, 1.0, 1.4)
"""Of the second grid, around the winner of the first."""


@dataclass(frozen=True)
class Tuned:
    """The gains that won, one a patient, (n,) each: see the module; and the risk index that they reached on training days.

    ``target``: mg/dl. ``error``: of the announced carbohydrate, whose boluses come beside the PID; None: it is alone.
    """

    gain: np.ndarray
    reset: np.ndarray
    ahead: np.ndarray
    risk: np.ndarray = field(repr=False)
    target: float = 120.0
    error: float | None = None

    def controller(self, patients: Patients) -> PID | Hybrid:
        """The controller of ``patients``, which are those that the gains are for, row by row."""
        if len(patients) != len(self.gain):
            raise ValueError(f"patients: the gains are for {len(self.gain)} rows, not {len(patients)}")
        pid = _controller(patients, self.gain, self.reset, self.ahead, self.target)
        return pid if self.error is None else Hybrid(BasalBolus(patients), pid)

    def repeat(self, times: int) -> Tuned:
        """Gains for `Patients.repeat`."""
        gain, reset, ahead, risk = (np.repeat(part, times) for part in (self.gain, self.reset, self.ahead, self.risk))
        return Tuned(gain, reset, ahead, risk, self.target, self.error)


def _controller(patients: Patients, gain: np.ndarray, reset: np.ndarray, ahead: np.ndarray, target: float) -> PID:
    proportional = gain * patients.basal / 100
    # The integral alone may stop the basal rate or double it.
    return PID(
        proportional, proportional / reset, proportional * ahead, patients.basal, target, windup=patients.basal.copy()
    )


def tune(
    patients: Patients, target: float = 120.0, seeds: tuple[int, ...] = TRAINING, error: float | None = None
) -> Tuned:
    """Gains for each row of ``patients``, searched as the module says; a row's gains do not depend on the other rows.

    ``error``: of announced carbohydrate (standard deviation, relative), whose boluses then come beside the PID.
    """
    coarse = np.array(list(product(GAIN, RESET, AHEAD)))
    best = _best(patients, np.tile(coarse, (len(patients), 1, 1)), target, seeds, error)
    around = np.array(list(product(FINER, FINER, FINER)))
    gain, reset, ahead, risk = _best(patients, best[:, None, :3] * around, target, seeds, error).T
    return Tuned(gain, reset, ahead, risk, target, error)


def _best(
    patients: Patients, candidates: np.ndarray, target: float, seeds: tuple[int, ...], error: float | None
) -> np.ndarray:
    """Of each patient's candidates (n, candidates, 3), the one of least risk, and that risk: (n, 4)."""
    n, each = candidates.shape[:2]
    everyone = patients.repeat(each)
    gain, reset, ahead = candidates.reshape(-1, 3).T
    controller = Tuned(gain, reset, ahead, gain, target, error).controller(everyone)
    risk = np.zeros(n * each)
    for seed in seeds:
        # The day of one row stands for all of them.
        meals = scenario.random(np.array([seed]))
        if error is not None:
            meals = scenario.announce(meals, np.array([seed]), error)
        meals = meals.repeat(n * each)
        sensor = Sensor("GuardianRT", np.array([seed]), scenario.DAY)
        course = loop.run(controller, Simulator(everyone), meals, sensor, pump("Insulet"))
        risk += metrics.scores(course)["bgri"] / len(seeds)
    risk = risk.reshape(n, each)
    chosen = risk.argmin(axis=1)
    rows = np.arange(n)
    return np.column_stack([candidates[rows, chosen], risk[rows, chosen]])


__all__ = ["TRAINING", "Tuned", "tune"]

"""Controllers: who decides, every few minutes, how much insulin the pumps of a batch give."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from puji.modalities.plans.diabetes.patients import Patients


class Dose(NamedTuple):
    """What a pump is asked for until the next decision, U/min, each (n,). Less than none is none."""

    basal: np.ndarray
    bolus: np.ndarray


class Controller(ABC):
    """Doses insulin for a batch of patients, one a row. Subclass it, and `loop.run` drives it."""

    def reset(self) -> None:  # noqa: B027 -- most have nothing to forget
        """Forget what happened; called before a run."""

    @abstractmethod
    def dose(self, reading: np.ndarray, announced: np.ndarray, minute: int, interval: int) -> Dose:
        """What to give for the next ``interval`` minutes.

        ``reading``: of the sensors, mg/dl, (n,). ``announced``: carbohydrate of a meal that begins now, g, (n,), 0 for none.
        ``minute``: since midnight of the first day.
        """

    def gave(self, dose: Dose, announced: np.ndarray, interval: int) -> None:  # noqa: B027 -- most do not ask
        """What the pumps then gave, U/min, and what had been ``announced``, g, each (n,)."""


class BasalBolus(Controller):
    """What people with type-1 diabetes do: a constant basal rate, and with an announced meal a bolus for it, which corrects high
    glucose, too. The rule and its constants are those of simglucose 0.2.11.

    Parameters
    ----------
    patients : Patients
        Whose rates and ratios are used where none are given.
    basal : (n,) array, optional
        U/min.
    ratio : (n,) array, optional
        Carbohydrate ratio, g per U.
    factor : (n,) array, optional
        Correction factor, mg/dl per U.
    target : float
        mg/dl, what a correction aims at.
    above : float
        mg/dl; lower readings are not corrected.
    """

    def __init__(
        self,
        patients: Patients,
        basal: np.ndarray | None = None,
        ratio: np.ndarray | None = None,
        factor: np.ndarray | None = None,
        target: float = 140.0,
        above: float = 150.0,
    ) -> None:
        self.basal = patients.basal if basal is None else basal
        self.ratio = patients.column("carbohydrate_ratio") if ratio is None else ratio
        self.factor = patients.column("correction_factor") if factor is None else factor
        self.target, self.above = target, above

    def correction(self, reading: np.ndarray) -> np.ndarray:
        """U that bring a high ``reading`` to the target, (n,)."""
        return np.where(reading > self.above, (reading - self.target) / self.factor, 0.0)

    def dose(self, reading: np.ndarray, announced: np.ndarray, minute: int, interval: int) -> Dose:
        """The basal rate, and the bolus of an announced meal spread over the interval."""
        bolus = np.where(announced > 0, announced / self.ratio + self.correction(reading), 0.0)
        return Dose(self.basal, bolus / interval)


class BasalOnly(Controller):
    """The basal rate and nothing else: what the others are worth is what they add to it."""

    def __init__(self, patients: Patients) -> None:
        self.basal = patients.basal

    def dose(self, reading: np.ndarray, announced: np.ndarray, minute: int, interval: int) -> Dose:
        """The basal rate."""
        return Dose(self.basal, np.zeros_like(self.basal))


class PID(Controller):
    """Follows the sensor alone: basal rate = base + P error + I (integral of the error) + D (slope of the reading).

    Parameters
    ----------
    proportional, integral, derivative : (n,) arrays
        Gains: U/min per mg/dl, per mg/dl min, per mg/dl/min.
    base : (n,) array
        U/min, given where there is no error.
    target : float
        mg/dl.
    windup : (n,) array, optional
        The integral's share stays within plus and minus this, U/min, so that one large meal does not cost the hours after it.
        None: without bounds.
    """

    def __init__(
        self,
        proportional: np.ndarray,
        integral: np.ndarray,
        derivative: np.ndarray,
        base: np.ndarray,
        target: float = 140.0,
        windup: np.ndarray | None = None,
    ) -> None:
        self.proportional, self.integral, self.derivative = proportional, integral, derivative
        self.base, self.target, self.windup = base, target, windup
        self.reset()

    def reset(self) -> None:
        """Nothing has been read yet."""
        self.share = np.zeros_like(self.base)
        self.last: np.ndarray | None = None

    def dose(self, reading: np.ndarray, announced: np.ndarray, minute: int, interval: int) -> Dose:
        """A basal rate; announcements are not heard."""
        error = reading - self.target
        slope = np.zeros_like(reading) if self.last is None else (reading - self.last) / interval
        basal = self.base + self.proportional * error + self.share + self.derivative * slope
        self.share = self.share + self.integral * error * interval
        if self.windup is not None:
            self.share = np.clip(self.share, -self.windup, self.windup)
        self.last = reading
        return Dose(basal, np.zeros_like(basal))


class Hybrid(Controller):
    """What hybrid closed loops do: the basal rate is that of a ``pid``, an announced meal has the bolus of a ``rule``."""

    def __init__(self, rule: BasalBolus, pid: PID) -> None:
        self.rule, self.pid = rule, pid

    def reset(self) -> None:
        """Nothing has been read yet."""
        self.pid.reset()

    def dose(self, reading: np.ndarray, announced: np.ndarray, minute: int, interval: int) -> Dose:
        """The rate of the one, and the bolus of the other."""
        bolus = self.rule.dose(reading, announced, minute, interval).bolus
        return Dose(self.pid.dose(reading, announced, minute, interval).basal, bolus)


def untuned(n: int) -> PID:
    """The PID of the examples of simglucose, the same for all of ``n`` patients and without a basal rate."""
    return PID(np.full(n, 1e-3), np.full(n, 1e-5), np.full(n, 1e-3), base=np.zeros(n))


__all__ = ["PID", "BasalBolus", "BasalOnly", "Controller", "Dose", "Hybrid", "untuned"]

"""Actions as insulin, and what a pump knows before one is chosen: the same for every patient, whose own settings scale both.

An action is a multiple of what the pump would give: of the basal rate ("b150": one and a half times of it for a quarter of an
hour), or of what its bolus calculator says for an announced meal ("m80") or for high glucose ("c50"); boluses come with the usual
basal rate. What is observed is told in the glucose (mg/dl) that it is worth by the patient's own ratio and correction factor: so
one policy serves an adult with 2 U an hour and a child with 0.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from puji.modalities.plans.diabetes.control import Dose
from puji.modalities.plans.diabetes.patients import Patients

INTERVAL = 15
"""Minutes from one decision to the next."""
BASAL = {"b0": 0.0, "b50": 0.5, "b100": 1.0, "b150": 1.5}
MEAL = {"m0": 0.0, "m60": 0.6, "m80": 0.8, "m100": 1.0, "m120": 1.2, "m140": 1.4}
CORRECTION = {"c50": 0.5, "c100": 1.0}
ACTIONS = (*BASAL, *MEAL, *CORRECTION)
"""Codes of all actions, as settings/diabetes.toml has them."""
COLUMNS = ("glucose", "heading", "meal", "announced", "hour")
"""What is observed, see `Calculator.columns`."""
INSULIN, CARBOHYDRATE = 55.0, 40.0
"""Minutes: the usual time constants of two compartments in a row, in which a bolus and a meal wait for their action."""
READINGS = 4
"""Readings through which a line tells glucose and its trend."""
NOISE = 16.0
"""mg/dl, standard deviation: what half hours usually do beside what insulin and meals say; the median of many patients."""
LEAST = 2.0
"""mg/dl: carbohydrate that would raise glucose by less is told as none."""
TARGET = (110.0, 140.0)
"""mg/dl, the calculator's target range: glucose above is corrected to its upper end, below it to its lower."""
HIGH = 150.0
"""mg/dl: only above, after what the insulin on board will lower, is there a correction between meals."""


class Response(NamedTuple):
    """How patients answer, each (n,): ``insulin``, how many times as strongly as the pump's factor says it acts; ``rise``, how
    many times as much carbohydrate raises glucose as factor and ratio say; ``delay`` and ``absorption``, minutes, the time
    constants of insulin and carbohydrate, see `Pool`; ``noise``, mg/dl, standard deviation of what half hours do beside all
    that; ``largest``, g, the largest meal that the patient usually announces."""

    insulin: np.ndarray
    rise: np.ndarray
    delay: np.ndarray
    absorption: np.ndarray
    noise: np.ndarray
    largest: np.ndarray

    @classmethod
    def usual(cls, n: int) -> Response:
        """Of ``n`` patients of whom nothing is known."""
        told = (1.0, 1.0, INSULIN, CARBOHYDRATE, NOISE, np.inf)
        return cls(*(np.full(n, one) for one in told))

    def of(self, rows: np.ndarray) -> Response:
        """Of the patients at ``rows``, (n,) int."""
        return Response(*(one[rows] for one in self))

    @classmethod
    def where(cls, first: np.ndarray, yes: Response, no: Response) -> Response:
        """``yes`` in the rows in which ``first``, (n,) bool, is true, and ``no`` in the others."""
        return cls(*(np.where(first, one, other) for one, other in zip(yes, no, strict=True)))


@dataclass(frozen=True)
class Therapy:
    """The settings of the pumps of a batch, each (n,): ``basal``, U/min; ``ratio``, g of carbohydrate for each U; ``factor``,
    mg/dl that a U lowers. ``response``: how the patients answer, by which ratio and factor were mended."""

    basal: np.ndarray
    ratio: np.ndarray
    factor: np.ndarray
    response: Response

    @classmethod
    def set(cls, basal: np.ndarray, ratio: np.ndarray, factor: np.ndarray) -> Therapy:
        """Pumps that are set so, of patients of whom nothing else is known."""
        return cls(basal, ratio, factor, Response.usual(len(basal)))

    @classmethod
    def of(cls, patients: Patients) -> Therapy:
        """As the patients' own tables have them."""
        return cls.set(patients.basal, patients.column("carbohydrate_ratio"), patients.column("correction_factor"))

    def responding(self, response: Response) -> Therapy:
        """Of patients who answer by ``response``: ratio and factor are mended by it."""
        ratio, factor = self.ratio * response.insulin / response.rise, self.factor * response.insulin
        return Therapy(self.basal, ratio, factor, response)

    def __len__(self) -> int:
        return len(self.basal)

    @property
    def unsure(self) -> np.ndarray:
        """How many times as uncertain what others' care tells is for a patient as usual, (n,): the variance of half hours, where
        that is larger than `NOISE` squared."""
        found: np.ndarray = np.maximum(1.0, np.square(self.response.noise / NOISE))
        return found


class Pool:
    """What was taken and has yet to act, of ``n`` patients: two compartments in a row with time constant ``tau``, minutes."""

    def __init__(self, tau: np.ndarray) -> None:
        self.tau = tau
        self.parts = np.zeros((2, len(tau)))

    @property
    def total(self) -> np.ndarray:
        """What has yet to act, (n,)."""
        found: np.ndarray = self.parts.sum(axis=0)
        return found

    def take(self, came: np.ndarray, minutes: int) -> np.ndarray:
        """Add what ``came``, (n,), and let ``minutes`` pass; what acted in them, (n,)."""
        before = self.total + came
        left = np.exp(-minutes / self.tau)
        self.parts[0] += came
        self.parts[1] = (self.parts[1] + self.parts[0] * minutes / self.tau) * left
        self.parts[0] *= left
        acted: np.ndarray = before - self.total
        return acted


class Calculator:
    """The bolus calculators of a batch: what they remember, what they would give, and what actions make of it."""

    def __init__(self, therapy: Therapy) -> None:
        self.therapy = therapy
        self.level = np.array([BASAL.get(code, 1.0) for code in ACTIONS])
        self.share = np.array([MEAL.get(code, CORRECTION.get(code, 0.0)) for code in ACTIONS])
        self.kinds = np.array([code[0] for code in ACTIONS])
        self.readings = np.empty((len(therapy), 0))
        self.insulin, self.meal = Pool(therapy.response.delay), Pool(therapy.response.absorption)

    def read(self, reading: np.ndarray) -> None:
        """One reading of each sensor, mg/dl, five minutes after the one before."""
        self.readings = np.column_stack([self.readings, reading])[:, -READINGS:]

    def gave(self, dose: Dose, announced: np.ndarray, minutes: int) -> None:
        """What was given and announced in the ``minutes`` until the next reading; insulin counts beyond the usual basal rate."""
        self.insulin.take((dose.basal + dose.bolus - self.therapy.basal) * minutes, minutes)
        self.meal.take(self.believed(announced), minutes)

    def line(self) -> tuple[np.ndarray, np.ndarray]:
        """Glucose, mg/dl, and its trend, mg/dl in a quarter of an hour, by a line through the last readings, each (n,)."""
        count = self.readings.shape[1]
        at = np.arange(count) - (count - 1)
        middle = self.readings.mean(axis=1)
        slope = (self.readings - middle[:, None]) @ (at - at.mean()) / max(1.0, ((at - at.mean()) ** 2).sum())
        return middle - slope * at.mean(), slope * 3

    def covered(self) -> np.ndarray:
        """Glucose after what the insulin on board will lower, mg/dl, (n,)."""
        found: np.ndarray = self.line()[0] - self.insulin.total * self.therapy.factor
        return found

    def believed(self, announced: np.ndarray) -> np.ndarray:
        """Of ``announced`` carbohydrate, g, (n,): not more than the patient's largest usual meal, as larger ones are mostly
        overestimated."""
        found: np.ndarray = np.minimum(announced, self.therapy.response.largest)
        return found

    def columns(self, announced: np.ndarray, minute: int) -> np.ndarray:
        """(n, columns), mg/dl: glucose; where it is heading, by its trend of a quarter of an hour and by the insulin on board;
        what the announced carbohydrate that has yet to act would raise, and what a meal that is announced now would, nan for
        none; and the hour of the day, by the ``minute`` since a midnight."""
        level, trend = self.line()
        rise = self.therapy.factor / self.therapy.ratio
        announced = self.believed(announced)
        meal = self.meal.total * rise
        return np.column_stack(
            [
                level,
                self.covered() + trend,
                np.where(meal < LEAST, np.nan, meal),
                np.where(announced > 0, announced * rise, np.nan),
                np.full(len(level), minute % 1440 // 60),
            ]
        )

    def bolus(self, announced: np.ndarray) -> np.ndarray:
        """U that the calculator gives for the announced meal, g, and for glucose out of the target range, (n,)."""
        covered = self.covered()
        off = covered - np.clip(covered, *TARGET)
        found: np.ndarray = np.maximum(0.0, self.believed(announced) / self.therapy.ratio + off / self.therapy.factor)
        return found

    def possible(self, announced: np.ndarray) -> np.ndarray:
        """Which actions mean something, (n, actions) bool: boluses for meals only with one, corrections only of high glucose, and
        more than the usual basal rate only where the insulin on board will not lower glucose below the target range."""
        meal, covered = announced[:, None] > 0, self.covered()[:, None]
        basal = (self.kinds == "b") & ((self.level <= 1) | (covered >= TARGET[0]))
        found: np.ndarray = np.where(
            self.kinds == "m", meal, ~meal & (basal | ((self.kinds == "c") & (covered > HIGH)))
        )
        return found

    def dose(self, action: np.ndarray, announced: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The basal rate, U/min, and the bolus, U, of each row's ``action``, a place in `ACTIONS`, each (n,)."""
        return self.therapy.basal * self.level[action], self.share[action] * self.bolus(announced)


__all__ = ["ACTIONS", "BASAL", "COLUMNS", "CORRECTION", "INTERVAL", "MEAL", "Calculator", "Pool", "Response", "Therapy"]

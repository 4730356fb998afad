"""What people do about low glucose: they eat, and tell no pump of it.

ISPAD's guidelines of 2022 (Abraham et al., Pediatr. Diabetes 23:1322): 0.3 g of glucose for each kg, an adult 15 g, and again
after 15 minutes if it is still low. Whether people notice is a matter of chance, and less often at night.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from puji.modalities.plans.diabetes.patients import Patients


@dataclass(frozen=True)
class Habit:
    """``low``: mg/dl; shown glucose below it is treated if it is noticed, with the probabilities ``awake`` and ``asleep`` at each
    reading. ``gram``: of carbohydrate for each kg, at most ``most``. ``rest``: minutes from one treatment to the next.
    ``night``: hours between which people sleep."""

    low: float = 70.0
    awake: float = 0.5
    asleep: float = 0.2
    gram: float = 0.3
    most: float = 15.0
    rest: int = 15
    night: tuple[int, int] = (23, 7)


class Rescue:
    """The carbohydrate that people eat against low glucose, one patient a row.

    ``seeds``: (n,) int from 0; a row depends on its own seed alone. ``minutes``: how long at most, ``interval``: between
    readings.
    """

    def __init__(
        self, patients: Patients, seeds: np.ndarray, minutes: int, interval: int = 5, habit: Habit | None = None
    ) -> None:
        self.habit = habit or Habit()
        self.interval = interval
        self.gram = np.minimum(np.round(self.habit.gram * patients.column("BW")), self.habit.most)
        steps = minutes // interval
        draws = [np.random.default_rng([int(seed), 5]).random(steps) for seed in seeds]
        self.chance = np.array(draws).reshape(len(seeds), steps)
        self.since = np.full(len(seeds), self.habit.rest)

    def eaten(self, reading: np.ndarray, minute: int) -> np.ndarray:
        """g that are eaten at ``minute``, (n,), as sensors show ``reading``, mg/dl."""
        hour = minute // 60 % 24
        start, stop = self.habit.night
        noticed = self.habit.asleep if hour >= start or hour < stop else self.habit.awake
        treated = (reading < self.habit.low) & (self.since >= self.habit.rest)
        treated &= self.chance[:, minute // self.interval] < noticed
        self.since = np.where(treated, 0, self.since) + self.interval
        return np.where(treated, self.gram, 0.0)


__all__ = ["Habit", "Rescue"]

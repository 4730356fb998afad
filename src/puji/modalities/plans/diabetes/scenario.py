"""Meals: when, how much, and how much of it the controller is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

DAY = 1440
"""Minutes."""
FIXED = ((7, 45.0), (12, 70.0), (16, 15.0), (18, 80.0), (23, 10.0))
"""Hour and g of the meals of a fixed day."""


@dataclass(frozen=True)
class Meal:
    """A meal that people may have: its probability; when it begins, in minutes since midnight; its carbohydrate, in g."""

    probability: float
    earliest: float
    latest: float
    minute: float
    minute_deviation: float
    gram: float
    gram_deviation: float


MEALS = (
    Meal(0.95, 300, 540, 420, 60, 45, 10),
    Meal(0.3, 540, 600, 570, 30, 10, 5),
    Meal(0.95, 600, 840, 720, 60, 70, 10),
    Meal(0.3, 840, 960, 900, 30, 10, 5),
    Meal(0.95, 960, 1200, 1080, 60, 80, 10),
    Meal(0.3, 1200, 1380, 1290, 30, 10, 5),
)
"""Breakfast, lunch and dinner with snacks after them: the random day of simglucose 0.2.11."""


@dataclass(frozen=True)
class Scenario:
    """The meals of a batch, one row of meals a patient.

    ``minute``: since midnight of the first day, (n, meals) int. ``gram``: carbohydrate, 0 where no meal is, (n, meals).
    ``announced``: what the controller is told when the meal begins, g, (n, meals).
    """

    minute: np.ndarray
    gram: np.ndarray
    announced: np.ndarray

    def __len__(self) -> int:
        return len(self.minute)

    def repeat(self, times: int) -> Scenario:
        """Each row ``times`` times, one after the other."""
        return Scenario(*(np.repeat(part, times, axis=0) for part in (self.minute, self.gram, self.announced)))

    def between(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """What is served and what is announced from minute ``start`` on and before ``stop``, g, each (n,)."""
        now = (self.minute >= start) & (self.minute < stop)
        return (self.gram * now).sum(axis=1), (self.announced * now).sum(axis=1)


def fixed(n: int, days: int = 1) -> Scenario:
    """``n`` patients with the meals of `FIXED` on each of ``days``, announced as they are."""
    minute = np.array([day * DAY + hour * 60 for day in range(days) for hour, _ in FIXED])
    gram = np.tile([gram for _, gram in FIXED], days)
    return Scenario(*(np.tile(row, (n, 1)) for row in (minute, gram, gram)))


def random(seeds: np.ndarray, days: int = 1) -> Scenario:
    """Meals drawn from `MEALS` on each of ``days``, announced as they are; whole g at whole minutes.

    ``seeds``: (n,) int from 0; a row depends on its own seed alone. Times follow a normal distribution cut at its bounds.
    """
    standard = NormalDist()
    bounds = [
        [standard.cdf((edge - meal.minute) / meal.minute_deviation) for edge in (meal.earliest, meal.latest)]
        for meal in MEALS
    ]
    low, high = np.array(bounds).T
    about = {name: np.array([getattr(meal, name) for meal in MEALS]) for name in Meal.__dataclass_fields__}
    minutes, grams = [], []
    for seed in seeds:
        rng = np.random.default_rng([int(seed), 2])
        eaten = rng.random((days, len(MEALS))) < about["probability"]
        quantile = low + rng.random((days, len(MEALS))) * (high - low)
        when = np.vectorize(standard.inv_cdf, otypes=[float])(quantile) * about["minute_deviation"] + about["minute"]
        gram = about["gram"] + rng.standard_normal((days, len(MEALS))) * about["gram_deviation"]
        minutes.append((np.round(when).astype(np.int64) + np.arange(days)[:, None] * DAY).ravel())
        grams.append((np.maximum(np.round(gram), 0.0) * eaten).ravel())
    shape = len(seeds), days * len(MEALS)
    minute, gram = np.array(minutes, dtype=np.int64).reshape(shape), np.array(grams, dtype=np.float64).reshape(shape)
    return Scenario(minute, gram, gram)


def quarters(scenario: Scenario, minutes: int = 15) -> Scenario:
    """``scenario`` with meals that begin at whole quarters of an hour, when doses are decided."""
    return replace(scenario, minute=np.round(scenario.minute / minutes).astype(np.int64) * minutes)


def announce(scenario: Scenario, seeds: np.ndarray, error: float = 0.0, missed: float = 0.0) -> Scenario:
    """``scenario`` with announcements that are wrong.

    ``error``: standard deviation of the estimate's relative error (normal, never below none). ``missed``: probability that a
    meal is not announced at all; 1: no meal is. ``seeds``: (n,) int from 0; a row depends on its own seed alone.
    """
    if error < 0 or not 0 <= missed <= 1:
        raise ValueError(f"error {error}, missed {missed}: the error is 0 or more, missed lies between 0 and 1")
    if len(seeds) != len(scenario):
        raise ValueError(f"seeds: {len(scenario)} rows of meals need as many seeds, not {len(seeds)}")
    told = np.empty_like(scenario.gram)
    for row, seed in enumerate(seeds):
        rng = np.random.default_rng([int(seed), 3])
        wrong = 1 + error * rng.standard_normal(told.shape[1])
        told[row] = scenario.gram[row] * np.maximum(wrong, 0.0) * (rng.random(told.shape[1]) >= missed)
    return replace(scenario, announced=told)


__all__ = ["DAY", "FIXED", "MEALS", "Meal", "Scenario", "announce", "fixed", "quarters", "random"]

"""Logged care: what pumps and sensors of patients 001 to 007 of each age group might have recorded, mistakes included.

People dose by basal-bolus, but their settings are off, they estimate carbohydrate wrongly, forget meals and boluses, correct high
glucose between meals and stop the pump at low glucose when they happen to see it, and no two doses are quite the same. So the
same situation was met with different doses, which is what a learner needs to tell what a dose does. `Habits` says how often and
how much. Nobody eats against low glucose: the model's runs end early more often than lives do.

Patients 008 to 010 of each group are never logged: they are for evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars

from puji.files import whole
from puji.modalities.plans.diabetes import scenario
from puji.modalities.plans.diabetes.control import BasalBolus, Controller, Dose
from puji.modalities.plans.diabetes.patients import GROUPS, Patients, patients
from puji.modalities.plans.diabetes.world import EVERY, live, seeds_of

LOGGED = tuple(f"{group}#{number:03d}" for group in GROUPS for number in range(1, 8))
HOUR = 60 // EVERY
BATCH = 2100
"""Patient-days that are simulated at once."""
REST = 120
"""Minutes from a bolus to the next correction."""


@dataclass(frozen=True)
class Habits:
    """How care deviates from basal-bolus. Deviations of doses and settings are standard deviations of their logarithm."""

    settings: float = 0.1
    """Of basal rate, carbohydrate ratio and correction factor, for a whole trajectory."""
    bolus: float = 0.2
    """Of each bolus."""
    basal: float = 0.25
    """Of the basal rate, anew each hour."""
    estimate: float = 0.2
    """Standard deviation of the relative error of carbohydrate estimates."""
    unannounced: float = 0.08
    """Probability that a meal is not told to the pump."""
    forgotten: float = 0.08
    """Probability that a meal is told, but its bolus is not given."""
    noticed: float = 0.1
    """Probability, at each reading above ``high``, of a correction between meals, `REST` minutes after a bolus or later."""
    high: float = 200.0
    """mg/dl."""
    suspended: float = 0.5
    """Probability, each hour, that the basal rate is stopped at readings below ``low``."""
    low: float = 80.0
    """mg/dl."""


class LoggedCare(Controller):
    """People's own dosing, see the module.

    ``seeds``: (n,) int from 0; all that a row decides by chance depends on its own seed. ``minutes``: that it decides for.
    """

    def __init__(self, patients: Patients, seeds: np.ndarray, minutes: int, habits: Habits | None = None) -> None:
        self.habits = habits or Habits()
        steps = minutes // EVERY
        draws = [np.random.default_rng([int(seed), 4]) for seed in seeds]
        settings = np.exp(self.habits.settings * np.array([rng.standard_normal(3) for rng in draws]).reshape(-1, 3))
        self.rule = BasalBolus(
            patients,
            patients.basal * settings[:, 0],
            patients.column("carbohydrate_ratio") * settings[:, 1],
            patients.column("correction_factor") * settings[:, 2],
        )
        hours = -(-steps // HOUR)
        self.basal = np.exp(self.habits.basal * np.array([rng.standard_normal(hours) for rng in draws]))
        self.stopping = np.array([rng.random(hours) for rng in draws]) < self.habits.suspended
        self.bolus = np.exp(self.habits.bolus * np.array([rng.standard_normal(steps) for rng in draws]))
        self.chance = np.array([rng.random((2, steps)) for rng in draws])
        self.reset()

    def reset(self) -> None:
        """No bolus was given yet."""
        self.since = np.full(len(self.basal), REST)

    def dose(self, reading: np.ndarray, announced: np.ndarray, minute: int, interval: int) -> Dose:
        """The rule's dose, with what people make of it."""
        step = minute // EVERY
        asked = self.rule.dose(reading, announced, minute, interval)
        given = asked.bolus * (self.chance[:, 0, step] >= self.habits.forgotten)
        seen = (reading > self.habits.high) & (self.chance[:, 1, step] < self.habits.noticed)
        between = (announced <= 0) & seen & (self.since >= REST)
        given = np.where(between, self.rule.correction(reading) / interval, given) * self.bolus[:, step]
        self.since = np.where(given > 0, 0, self.since) + interval
        stopped = self.stopping[:, step // HOUR] & (reading < self.habits.low)
        return Dose(np.where(stopped, 0.0, asked.basal * self.basal[:, step // HOUR]), given)


def log(trajectories: int, days: int = 1, seed: int = 0, habits: Habits | None = None) -> polars.DataFrame:
    """``trajectories`` of ``days`` of each of the 21 `LOGGED` patients; one row every five minutes.

    Columns: ``subject`` ("adult#001/0"), ``patient``, ``step`` from 0, ``sensor`` (mg/dl, as the dose was decided),
    ``announced`` (g), ``basal`` and ``bolus`` (U/min, as given until the next row), ``ended`` (whether the run ended early before
    the next row), and ``glucose`` (true, mg/dl), which is there to score by, not to learn from. After an early end there are no
    rows.

    A trajectory depends on the seed, its patient and its number alone.
    """
    if trajectories < 1 or days < 1:
        raise ValueError(f"trajectories {trajectories}, days {days}: both are 1 or more")
    everyone = [(name, number) for number in range(trajectories) for name in LOGGED]
    size = max(1, BATCH // days)
    return polars.concat(_batch(everyone[at : at + size], days, seed, habits) for at in range(0, len(everyone), size))


def write(path: Path, trajectories: int, days: int = 1, seed: int = 0, habits: Habits | None = None) -> None:
    """Write `log` as Parquet, whole or not at all. Raises Invalid for a folder that cannot be written, or a full disk."""
    with whole(path) as temporary:
        log(trajectories, days, seed, habits).write_parquet(temporary)


def _batch(chosen: list[tuple[str, int]], days: int, seed: int, habits: Habits | None) -> polars.DataFrame:
    habits = habits or Habits()
    people = patients([name for name, _ in chosen])
    seeds = seeds_of(seed, people, [number for _, number in chosen])
    minutes = days * scenario.DAY
    meals = scenario.announce(scenario.random(seeds, days), seeds, habits.estimate, habits.unannounced)
    course = live(LoggedCare(people, seeds, minutes, habits), people, seeds, meals, minutes, rescued=False)
    row, step = np.nonzero(course.alive[:, :-1])
    names = np.array([name for name, _ in chosen])
    subjects = np.array([f"{name}/{number}" for name, number in chosen])
    columns = {
        "sensor": course.reading,
        "announced": course.announced,
        "basal": course.basal,
        "bolus": course.bolus,
        "glucose": course.glucose,
    }
    told = {name: values[row, step].astype(np.float32) for name, values in columns.items()}
    ended = ~course.alive[row, step + 1]
    return polars.DataFrame(
        {"subject": subjects[row], "patient": names[row], "step": step.astype(np.int32), **told, "ended": ended}
    )


__all__ = ["LOGGED", "Habits", "LoggedCare", "log", "write"]

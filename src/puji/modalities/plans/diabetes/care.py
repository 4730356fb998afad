"""Logged care from which plans are learned: people who dose by basal-bolus, in whole quarters of an hour, with mistakes.

Announcements are wrong or missing, boluses are forgotten, or smaller or larger than what the pump's calculator says, the basal
rate is changed for an hour at a time, high glucose is corrected when it is noticed and the pump stopped at low glucose, which is
treated with carbohydrate, too (`Rescue`). Some people never announce a meal. So each situation was met with many doses: a learner
of logs can only put together what the logs hold. Patients 008 to 010 of each age group are never logged.

Each patient is logged for two weeks with the settings of the table; from these ratio, factor and how long insulin acts are
estimated anew (response.py), as a clinic adjusts a pump, and care goes on with them.

What a decision costs: the risk that glucose then had by the sensor, as a share of the worst; true glucose is never told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from puji.files import whole
from puji.modalities.plans.diabetes import loop, metrics, scenario
from puji.modalities.plans.diabetes.control import Controller, Dose
from puji.modalities.plans.diabetes.doses import ACTIONS, COLUMNS, INTERVAL, Calculator, Response, Therapy
from puji.modalities.plans.diabetes.logs import LOGGED
from puji.modalities.plans.diabetes.patients import Patients, patients
from puji.modalities.plans.diabetes.response import response
from puji.modalities.plans.diabetes.world import EVERY, live, seeds_of
from puji.modalities.plans.episode import Episode, Step

ERROR = 0.3
"""Standard deviation of the relative error of carbohydrate estimates."""
COUNTING, NOT_COUNTING = "counting", "not-counting"
"""Features: whether a patient announces meals at all."""


@dataclass(frozen=True)
class Care:
    """How people deviate from basal-bolus. ``basal`` and ``meal``: how often each multiple is chosen, for an hour and for a
    meal."""

    basal: tuple[float, ...] = (0.15, 0.2, 0.35, 0.3)
    meal: tuple[float, ...] = (0.08, 0.17, 0.22, 0.25, 0.18, 0.1)
    kept: float = 0.5
    """Probability that a basal rate is kept for another hour."""
    unannounced: float = 0.08
    """Probability that a meal is not told to the pump."""
    uncounting: float = 0.4
    """Share of the patients' trajectories in which no meal is."""
    noticed: float = 0.25
    """Probability, every quarter of an hour, of a correction where there is one, ``rest`` minutes after a bolus or later."""
    rest: int = 60
    suspended: float = 0.5
    """Probability, for an hour, that the basal rate is stopped below ``low`` mg/dl."""
    low: float = 80.0


class Varied(Controller):
    """People's own dosing. ``seeds``: (n,) int from 0; all that a row decides by chance depends on its own seed."""

    def __init__(self, therapy: Therapy, seeds: np.ndarray, minutes: int, care: Care | None = None) -> None:
        self.care = care or Care()
        self.calculator = Calculator(therapy)
        steps, hours = minutes // INTERVAL, -(-minutes // 60)
        draws = [np.random.default_rng([int(seed), 6]) for seed in seeds]
        self.level = np.array([rng.choice(len(self.care.basal), hours, p=self.care.basal) for rng in draws])
        keeping = np.array([rng.random(hours) for rng in draws]) < self.care.kept
        for hour in range(1, hours):
            self.level[:, hour] = np.where(keeping[:, hour], self.level[:, hour - 1], self.level[:, hour])
        first = ACTIONS.index("m0")
        self.meal = first + np.array([rng.choice(len(self.care.meal), steps, p=self.care.meal) for rng in draws])
        self.correction = ACTIONS.index("c50") + np.array([rng.integers(0, 2, steps) for rng in draws])
        self.noticing = np.array([rng.random(steps) for rng in draws]) < self.care.noticed
        self.stopping = np.array([rng.random(hours) for rng in draws]) < self.care.suspended
        self.since = np.full(len(therapy), self.care.rest)
        self.states: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []
        self.rate = therapy.basal

    def choose(self, reading: np.ndarray, announced: np.ndarray, minute: int) -> np.ndarray:
        """The action of each row, a place in `ACTIONS`."""
        step, hour = minute // INTERVAL, minute // 60
        action = self.level[:, hour]
        action = np.where(self.stopping[:, hour] & (reading < self.care.low), ACTIONS.index("b0"), action)
        high = self.calculator.possible(announced)[:, -1]
        seen = high & self.noticing[:, step] & (self.since >= self.care.rest)
        action = np.where(seen, self.correction[:, step], action)
        found: np.ndarray = np.where(announced > 0, self.meal[:, step], action)
        return found

    def dose(self, reading: np.ndarray, announced: np.ndarray, minute: int, interval: int) -> Dose:
        """What people give, decided every `INTERVAL` minutes."""
        self.calculator.read(reading)
        bolus = np.zeros(len(reading))
        if minute % INTERVAL == 0:
            action = self.choose(reading, announced, minute)
            self.states.append(self.calculator.columns(announced, minute))
            self.actions.append(action)
            self.rate, bolus = self.calculator.dose(action, announced)
            self.since = np.where(bolus > 0, 0, self.since) + INTERVAL
        return Dose(self.rate, bolus / interval)

    def gave(self, dose: Dose, announced: np.ndarray, interval: int) -> None:
        """Remember what was given."""
        self.calculator.gave(dose, announced, interval)


def cost(reading: np.ndarray) -> np.ndarray:
    """What is bad about shown glucose, 0 to 1, any shape: its risk as a share of `WORST`, low glucose counted `LOW` times."""
    low, high = metrics.risks(np.clip(reading, 39.0, 600.0))
    found: np.ndarray = np.minimum(1.0, (LOW * low + high) / WORST)
    return found


LOW, WORST = 6.0, 40.0
"""How many times the risk of low glucose counts, and what counts as the worst: both chosen on logged patients."""


HISTORY = 7
"""Trajectories of two days from which a patient's response is estimated."""


def lived(
    people: Patients, therapy: Therapy, seeds: np.ndarray, days: int, care: Care, counting: np.ndarray
) -> tuple[loop.Course, Varied]:
    """``days`` of each row under people's own dosing; ``counting``: whether they announce meals, (n,) bool."""
    minutes = days * scenario.DAY
    meals = scenario.announce(scenario.quarters(scenario.random(seeds, days)), seeds, ERROR, care.unannounced)
    told = scenario.Scenario(meals.minute, meals.gram, meals.announced * counting[:, None])
    controller = Varied(therapy, seeds, minutes, care)
    return live(controller, people, seeds, told, minutes, rescued=True), controller


def estimated(people: Patients, seed: int, counting: bool = True, care: Care | None = None) -> Response:
    """How each row answers to insulin and carbohydrate, see `response`, by two weeks of logged care with the settings of the
    table, meals announced (``counting``) or not. A patient's is always the same for one ``seed``."""
    alone = Patients(np.unique(people.rows), people.table)
    everyone = alone.repeat(HISTORY)
    therapy = Therapy.of(everyone)
    seeds = seeds_of(seed, everyone, list(range(HISTORY)) * len(alone))
    course, _ = lived(everyone, therapy, seeds, 2, care or Care(), np.full(len(everyone), counting))
    reading = np.where(course.alive[:, :-1], course.reading, np.nan)
    extra = (course.basal + course.bolus - therapy.basal[:, None]) * EVERY
    patient = np.searchsorted(alone.rows, everyone.rows)
    found = response(reading, extra, course.announced, therapy, patient)
    return found.of(np.searchsorted(alone.rows, people.rows))


def adjusted(people: Patients, seed: int, counting: bool = True) -> Therapy:
    """The settings of each row as two weeks of the patient's own care would have them, see `estimated`."""
    return Therapy.of(people).responding(estimated(people, seed, counting))


def episodes(
    trajectories: int,
    days: int = 2,
    seed: int = 0,
    people: Sequence[str] = LOGGED,
    care: Care | None = None,
    discount: float = 0.95,
) -> list[Episode]:
    """``trajectories`` of ``days`` of each of ``people``, with `COLUMNS` as observed values, `ACTIONS`, and rewards so that a
    decision's value is the mean of `cost` after it, weighted by ``discount``."""
    chosen = [(name, number) for number in range(trajectories) for name in people]
    everyone = patients([name for name, _ in chosen])
    seeds = seeds_of(seed, everyone, [number for _, number in chosen])
    care = care or Care()
    counting = np.array([np.random.default_rng([int(one), 7]).random() for one in seeds]) >= care.uncounting
    answers = Response.where(
        counting, estimated(everyone, seed + 1, True, care), estimated(everyone, seed + 1, False, care)
    )
    course, controller = lived(everyone, Therapy.of(everyone).responding(answers), seeds, days, care, counting)
    n, steps = len(everyone), days * scenario.DAY // INTERVAL
    each = INTERVAL // EVERY
    costs = cost(course.reading).reshape(n, steps, each)
    # Of the readings that follow a decision; the last decision of a log has only those before the next.
    after = np.concatenate([costs[:, :, 1:], np.concatenate([costs[:, 1:, :1], costs[:, -1:, -1:]], axis=1)], axis=2)
    rewards = (1 - discount) * after.mean(axis=2)
    alive = course.alive[:, :-1].reshape(n, steps, each)[:, :, 0]
    states, actions = np.stack(controller.states, axis=1), np.stack(controller.actions, axis=1)
    found = []
    for row, (name, number) in enumerate(chosen):
        length = int(alive[row].sum())
        taken = []
        for step in range(length):
            values = tuple(None if math.isnan(one) else round(one, 2) for one in states[row, step].tolist())
            taken.append(Step("", values, ACTIONS[actions[row, step]], round(float(rewards[row, step]), 6)))
        ended = "ended" if course.ended[row] else "continues"
        kind = COUNTING if counting[row] else NOT_COUNTING
        found.append(Episode(f"{name}/{number}", tuple(taken), ended, (kind,)))
    return found


def write(path: Path, trajectories: int, days: int = 2, seed: int = 0) -> None:
    """Write `episodes` as lines of JSON, whole or not at all. Raises Invalid for a folder that cannot be written, or a full
    disk."""
    with whole(path) as temporary:
        temporary.write_text("".join(one.dump() + "\n" for one in episodes(trajectories, days, seed)), "utf-8")


__all__ = ["COLUMNS", "COUNTING", "ERROR", "LOGGED", "NOT_COUNTING", "Care", "Varied", "cost", "episodes", "write"]

"""The world in which care is logged and plans are tried: patients who start apart from each other, one sensor, one pump."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from puji.modalities.plans.diabetes import loop
from puji.modalities.plans.diabetes.control import Controller
from puji.modalities.plans.diabetes.patients import Patients
from puji.modalities.plans.diabetes.pump import pump
from puji.modalities.plans.diabetes.rescue import Rescue
from puji.modalities.plans.diabetes.scenario import DAY, Scenario
from puji.modalities.plans.diabetes.sensor import Sensor
from puji.modalities.plans.diabetes.simulator import Simulator, scattered

EVERY = 5
"""Minutes between two readings of the sensor."""


def seeds_of(seed: int, people: Patients, numbers: Iterable[int]) -> np.ndarray:
    """A seed for the trajectory of each row of ``people``, from ``seed``, the patient and the trajectory's number, (n,) int."""
    keys = ([seed, int(row), number] for row, number in zip(people.rows, numbers, strict=True))
    return np.array([np.random.SeedSequence(key).generate_state(1)[0] for key in keys])


def live(
    controller: Controller,
    people: Patients,
    seeds: np.ndarray,
    meals: Scenario,
    minutes: int = DAY,
    *,
    rescued: bool,
) -> loop.Course:
    """Let ``controller`` dose each row of ``people`` for ``minutes``. ``rescued``: people eat against low glucose."""
    return loop.run(
        controller,
        Simulator(people, scattered(people, seeds)),
        meals,
        Sensor("GuardianRT", seeds, minutes),
        pump("Insulet"),
        minutes,
        EVERY,
        Rescue(people, seeds, minutes, EVERY) if rescued else None,
    )

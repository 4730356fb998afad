"""The closed loop: patients, sensors, controller and pumps, decision by decision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from puji.modalities.plans.diabetes.control import Controller, Dose
from puji.modalities.plans.diabetes.pump import Pump
from puji.modalities.plans.diabetes.rescue import Rescue
from puji.modalities.plans.diabetes.scenario import DAY, Scenario
from puji.modalities.plans.diabetes.sensor import Sensor
from puji.modalities.plans.diabetes.simulator import HIGHEST, LOWEST, Simulator


@dataclass(frozen=True)
class Course:
    """What happened to a batch, one row a patient, one column a decision; ``interval`` minutes lie between two.

    ``glucose``: true, as each decision is made and at the end, mg/dl, (n, steps + 1); held where a run has ended early.
    ``reading``: of the sensor, mg/dl. ``basal``, ``bolus``: given by the pump, U/min. ``carbohydrate``: served, g.
    ``announced``: of it, as told, g. ``rescue``: eaten against low glucose, g, beside it. The last six: (n, steps).
    """

    interval: int
    glucose: np.ndarray
    reading: np.ndarray
    basal: np.ndarray
    bolus: np.ndarray
    carbohydrate: np.ndarray
    announced: np.ndarray
    rescue: np.ndarray

    @property
    def alive(self) -> np.ndarray:
        """Whether a run still went on, as each decision was made and at the end, (n, steps + 1) bool."""
        return (self.glucose >= LOWEST) & (self.glucose <= HIGHEST)

    @property
    def ended(self) -> np.ndarray:
        """Whether a run ended early, (n,) bool."""
        return ~self.alive[:, -1]


def run(
    controller: Controller,
    simulator: Simulator,
    scenario: Scenario,
    sensor: Sensor,
    pump: Pump,
    minutes: int = DAY,
    interval: int = 5,
    rescue: Rescue | None = None,
) -> Course:
    """Let ``controller`` dose for ``minutes``, a decision every ``interval`` minutes, from `Simulator.minute` on.

    ``rescue``: what people eat against low glucose; None: nothing. The bolus for a meal is given as the meal begins. A
    meal between two decisions begins with the first of them.
    """
    if minutes < interval or minutes % interval:
        raise ValueError(f"minutes: {minutes} is no multiple of the interval, {interval} minutes")
    if len(scenario) != len(simulator):
        raise ValueError(f"scenario: {len(simulator)} patients need as many rows of meals, not {len(scenario)}")
    steps = minutes // interval
    glucose = np.empty((len(simulator), steps + 1))
    reading, basal, bolus, carbohydrate, announced, eaten = (np.zeros((len(simulator), steps)) for _ in range(6))
    controller.reset()
    for step in range(steps):
        now = simulator.minute
        glucose[:, step] = simulator.glucose
        reading[:, step] = sensor.read(glucose[:, step], now)
        carbohydrate[:, step], announced[:, step] = scenario.between(now, now + interval)
        asked = controller.dose(reading[:, step], announced[:, step], now, interval)
        basal[:, step], bolus[:, step] = pump.basal(asked.basal), pump.bolus(asked.bolus)
        controller.gave(Dose(basal[:, step], bolus[:, step]), announced[:, step], interval)
        if rescue is not None:
            eaten[:, step] = rescue.eaten(reading[:, step], now)
        simulator.step(basal[:, step] + bolus[:, step], carbohydrate[:, step] + eaten[:, step], interval)
    glucose[:, steps] = simulator.glucose
    return Course(interval, glucose, reading, basal, bolus, carbohydrate, announced, eaten)


__all__ = ["Course", "run"]

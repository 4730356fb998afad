"""Runs simglucose: a script for an environment of its own (`benchmarks.diabetes_simulator` makes it), which has no Puji.

    python diabetes_reference.py out.json basal-bolus,pid,basal adult#001,child#002

Every patient lives one day of fixed meals under every controller, with the classes of simglucose as they are. Kept of each
minute: the subcutaneous glucose that simglucose scores, the insulin after the pump, the carbohydrate served. Of the sensor: its
errors.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from pathlib import Path

from simglucose.actuator.pump import InsulinPump
from simglucose.controller.basal_bolus_ctrller import BBController
from simglucose.controller.base import Action, Controller
from simglucose.controller.pid_ctrller import PIDController
from simglucose.patient.t1dpatient import T1DPatient
from simglucose.sensor.cgm import CGMSensor
from simglucose.simulation.env import T1DSimEnv
from simglucose.simulation.scenario import CustomScenario

START = datetime(2024, 1, 1)
MINUTES = 1440
MEALS = [(7, 45), (12, 70), (16, 15), (18, 80), (23, 10)]
SENSOR, SENSOR_SEED = "Dexcom", 1
ERRORS = 120
"""Of the sensor, one every three minutes."""


class Basal(Controller):
    """The basal rate of basal-bolus, and nothing else."""

    def __init__(self) -> None:
        self.inner = BBController()

    def policy(self, observation, reward, done, **info):  # type: ignore[no-untyped-def]
        return Action(basal=self.inner.policy(observation, reward, done, **info).basal, bolus=0)

    def reset(self) -> None:
        self.inner.reset()


CONTROLLERS = {
    "basal-bolus": BBController,
    # The gains of the example of simglucose.
    "pid": lambda: PIDController(P=0.001, I=0.00001, D=0.001, target=140),
    "basal": Basal,
}


class Recorded(T1DSimEnv):
    """Keeps each minute."""

    def __init__(self, *parts) -> None:  # type: ignore[no-untyped-def]
        self.minutes: list[tuple[float, float, float]] = []
        super().__init__(*parts)

    def mini_step(self, action):  # type: ignore[no-untyped-def]
        served, insulin, glucose, reading = super().mini_step(action)
        self.minutes.append((served, insulin, glucose))
        return served, insulin, glucose, reading


def day(patient: str, controller: Controller) -> dict[str, object]:
    """One patient's day, stopped where simglucose says that it is over."""
    parts = (
        T1DPatient.withName(patient),
        CGMSensor.withName(SENSOR, seed=SENSOR_SEED),
        InsulinPump.withName("Insulet"),
    )
    environment = Recorded(*parts, CustomScenario(START, MEALS))
    started = time.process_time()
    seen, reward, done, info = environment.reset()
    first = environment.patient.observation.Gsub
    while len(environment.minutes) < MINUTES and not done:
        seen, reward, done, info = environment.step(controller.policy(seen, reward, done, **info))
    seconds = time.process_time() - started
    served, insulin, glucose = zip(*environment.minutes, strict=True)
    return {
        "glucose": [float(first), *(float(value) for value in glucose)],
        "insulin": [float(value) for value in insulin],
        "carbohydrate": [float(value) for value in served],
        "ended": bool(done),
        "seconds": seconds,
    }


def main() -> None:
    out, controllers, patients = sys.argv[1:]
    days = {
        name: {patient: day(patient, CONTROLLERS[name]()) for patient in patients.split(",")}
        for name in controllers.split(",")
    }
    errors = CGMSensor.withName(SENSOR, seed=SENSOR_SEED)._noise_generator
    noise = [float(next(errors)) for _ in range(ERRORS)]
    Path(out).write_text(json.dumps({"days": days, "noise": noise}), "utf-8")


if __name__ == "__main__":
    main()

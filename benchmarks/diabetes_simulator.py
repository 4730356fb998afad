"""The simulator of type-1 diabetes beside simglucose, and what the baselines reach on it.

simglucose 0.2.11 runs in an environment of its own, which is made here with pip (`diabetes_reference.py` is run there): 30
patients, one day of fixed meals, three controllers. Ours then lives the same days with the same insulin, minute by minute.

    python -m benchmarks.diabetes_simulator    writes tests/data/diabetes_traces.json, the days that the tests compare with
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from puji.modalities.plans.diabetes import control, loop, metrics, scenario, tuning
from puji.modalities.plans.diabetes.patients import Patients, patients
from puji.modalities.plans.diabetes.pump import pump
from puji.modalities.plans.diabetes.sensor import DEVICES, Sensor, noise
from puji.modalities.plans.diabetes.simulator import HIGHEST, LOWEST, Simulator

REQUIREMENTS = ("simglucose==0.2.11", "numpy<2", "pandas<3", "setuptools<81")
"""What installs and imports on Python 3.11; simglucose imports pkg_resources, which newer setuptools lack."""
CONTROLLERS = ("basal-bolus", "pid", "basal")
EVERY = 3
"""Minutes between two readings of the sensor that simglucose is run with."""
SENSOR_SEED = 1
SEEDS = 10
"""Days with meals drawn at random, a patient."""
KEPT = ("adult#001", "adult#007", "adolescent#002", "adolescent#008", "child#003", "child#009")
TRACES = Path(__file__).parent.parent / "tests" / "data" / "diabetes_traces.json"


class Late(control.Controller):
    """Hears of a meal one decision after it began, as simglucose's controllers do."""

    def __init__(self, inner: control.Controller) -> None:
        self.inner = inner
        self.heard: np.ndarray | None = None

    def dose(self, reading: np.ndarray, announced: np.ndarray, minute: int, interval: int) -> control.Dose:
        before = np.zeros_like(announced) if self.heard is None else self.heard
        self.heard = announced
        return self.inner.dose(reading, before, minute, interval)


def reference(controllers: Sequence[str], people: Sequence[str]) -> dict[str, Any]:
    """What `diabetes_reference.py` records: ``days``, controller -> patient -> minute by minute; ``noise`` of the sensor."""
    script = Path(__file__).parent / "diabetes_reference.py"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", f"{folder}/venv"], check=True)
        python = f"{folder}/venv/bin/python"
        install = [python, "-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *REQUIREMENTS], check=True)
        out = Path(folder) / "days.json"
        arguments = [str(out), ",".join(controllers), ",".join(people)]
        # Without our own packages on its path.
        subprocess.run([python, "-I", "-W", "ignore", str(script), *arguments], check=True)
        return dict(json.loads(out.read_text("utf-8")))


def replay(name: str, day: dict[str, Any]) -> np.ndarray:
    """Glucose of our simulator after the insulin and the meals of a recorded ``day``, mg/dl, as long as that was."""
    simulator = Simulator(patients([name]))
    trace = [simulator.glucose[0]]
    for insulin, served in zip(day["insulin"], day["carbohydrate"], strict=True):
        trace.append(simulator.step(np.array([insulin]), np.array([served]), 1)[0, 0])
    return np.array(trace)


def parity(days: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Root mean square and largest difference, mg/dl, of each controller and patient, until one of both has ended.

    simglucose looks for an early end every three minutes, ours every minute.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, people in days.items():
        found[name] = {}
        for patient, day in people.items():
            ours = replay(patient, day)
            alive = np.logical_and.accumulate((ours >= LOWEST) & (ours <= HIGHEST))
            apart = (ours - np.array(day["glucose"]))[alive]
            found[name][patient] = {"rmse": float(np.sqrt((apart**2).mean())), "most": float(np.abs(apart).max())}
    return found


def until_end(glucose: Sequence[np.ndarray], people: Patients) -> dict[str, float]:
    """Means over patients of the measures of their traces until they ended, each by itself, and by age group."""
    ended = [bool((one < LOWEST).any() or (one > HIGHEST).any()) for one in glucose]
    told = [metrics.measure(one[None], np.array([end])) for one, end in zip(glucose, ended, strict=True)]
    row = {name: float(np.mean([one[name][0] for one in told])) for name in metrics.BETTER}
    for name in ("in_range", "below_70"):
        for group in dict.fromkeys(people.groups):
            chosen = people.groups == group
            row[f"{name} {group}"] = float(
                np.mean([one[name][0] for one, is_in in zip(told, chosen, strict=True) if is_in])
            )
    return row


def fixed_day(controller: control.Controller, people: Patients, interval: int) -> loop.Course:
    """The day of fixed meals."""
    device = "Dexcom" if interval == EVERY else "GuardianRT"
    sensor = Sensor(device, np.full(len(people), SENSOR_SEED), scenario.DAY)
    meals = scenario.fixed(len(people))
    return loop.run(controller, Simulator(people), meals, sensor, pump("Insulet"), interval=interval)


def anchors(days: dict[str, Any], people: Patients, tuned: tuning.Tuned) -> dict[str, dict[str, float]]:
    """Rows of the fixed day, of simglucose and of ours, scored on true glucose until the run ends."""
    rows = {
        f"simglucose, {name}": until_end([np.array(found[who]["glucose"])[::EVERY] for who in people.names], people)
        for name, found in days.items()
    }
    n = len(people)
    ours = {
        "basal-bolus, meals heard of 3 minutes late": (Late(control.BasalBolus(people)), EVERY),
        "basal-bolus": (control.BasalBolus(people), EVERY),
        "basal-bolus, every 5 minutes": (control.BasalBolus(people), 5),
        "pid, untuned": (control.untuned(n), EVERY),
        "basal": (control.BasalOnly(people), EVERY),
        "pid, tuned, every 5 minutes": (tuned.controller(people), 5),
    }
    for name, (controller, interval) in ours.items():
        course = fixed_day(controller, people, interval)
        # The glucose with which a run ends is its last one.
        lengths = np.minimum(course.alive.sum(axis=1) + 1, course.glucose.shape[1])
        rows[f"ours, {name}"] = until_end([course.glucose[i, : lengths[i]] for i in range(n)], people)
    return rows


def random_days(people: Patients, tuned: tuning.Tuned, seeds: int) -> dict[str, Any]:
    """Baselines on random meals, time after an early end counted as spent where it ended; and PID less basal-bolus."""
    everyone = people.repeat(seeds)
    drawn = np.tile(np.arange(seeds), len(people))
    meals = scenario.random(drawn)
    wrong = scenario.announce(meals, drawn, error=0.2)
    runs = {
        "basal-bolus": (control.BasalBolus(everyone), meals),
        "basal-bolus, carbohydrate estimates 20 % off": (control.BasalBolus(everyone), wrong),
        "PID, tuned, no announcements": (tuned.repeat(seeds).controller(everyone), meals),
    }
    values = {}
    for name, (controller, eaten) in runs.items():
        sensor = Sensor("GuardianRT", drawn, scenario.DAY)
        values[name] = metrics.scores(loop.run(controller, Simulator(everyone), eaten, sensor, pump("Insulet")))
    first, _, last = values

    return {
        "rows": {name: common.intervals(metrics.summary(value, everyone)) for name, value in values.items()},
        "PID less basal-bolus": common.intervals(metrics.difference(values[last], values[first], everyone)),
        "runs": len(everyone),
    }


def speed(people: Patients, times: int, days: dict[str, Any]) -> dict[str, float]:
    """Patient-days a minute of processor time: our simulator alone, in the closed loop, and simglucose in its loop."""
    everyone = people.repeat(times)
    meals = scenario.fixed(len(everyone))
    found = {}
    started = time.process_time()
    simulator = Simulator(everyone)
    for minute in range(0, scenario.DAY, 5):
        simulator.step(everyone.basal, meals.between(minute, minute + 5)[0], 5)
    found["simulator"] = len(everyone) / (time.process_time() - started) * 60
    started = time.process_time()
    fixed_day(control.BasalBolus(everyone), everyone, 5)
    found["closed loop"] = len(everyone) / (time.process_time() - started) * 60
    if whole := [day for day in days.get("basal-bolus", {}).values() if not day["ended"]]:
        found["simglucose"] = len(whole) / sum(day["seconds"] for day in whole) * 60
    return found


def run(quick: bool) -> dict[str, Any]:
    """All of it; ``quick``: one patient of each age group, without simglucose."""
    people = patients(["adult#001", "adolescent#001", "child#001"] if quick else None)
    recorded = {"days": {}, "noise": [0.0]} if quick else reference(CONTROLLERS, people.names)
    days, errors = recorded["days"], np.array(recorded["noise"])
    ours = noise(DEVICES["Dexcom"], np.array([SENSOR_SEED]), scenario.DAY)[0, 1 : len(errors) + 1]
    started = time.process_time()
    tuned = tuning.tune(people)
    seconds = time.process_time() - started
    return {
        "requirements": REQUIREMENTS,
        "parity": parity(days),
        "noise": float(np.abs(ours - errors).max()),
        "anchors": anchors(days, people, tuned),
        "random": random_days(people, tuned, 2 if quick else SEEDS),
        "speed": speed(people, 10 if quick else 100, days),
        "tuning": {
            "seconds": seconds,
            "target": tuned.target,
            "gains": {
                name: [float(part[row]) for part in (tuned.gain, tuned.reset, tuned.ahead)]
                for row, name in enumerate(people.names)
            },
        },
    }


def kept(days: dict[str, Any]) -> dict[str, Any]:
    """Recorded days in short: glucose every five minutes; insulin and meals where they change, as [minute, value]."""
    result = {}
    for patient, day in days.items():
        lengths = [(rate, len(list(same))) for rate, same in groupby(day["insulin"])]
        starts = [sum(length for _, length in lengths[:place]) for place in range(len(lengths))]
        result[patient] = {
            "glucose": [round(value, 3) for value in day["glucose"][::5]],
            "insulin": [[start, rate] for start, (rate, _) in zip(starts, lengths, strict=True)],
            "carbohydrate": [[minute, served] for minute, served in enumerate(day["carbohydrate"]) if served],
        }
    return result


def keep() -> None:
    """Write `TRACES`."""
    recorded = reference(["basal-bolus"], KEPT)
    content = {
        "source": "simglucose 0.2.11 (MIT), one day of basal-bolus: glucose (mg/dl) every 5 minutes, insulin (U/min), meals (g)"
        " as [minute, value]; errors of its sensor Dexcom, seed 1 (mg/dl), every 3 minutes from minute 3 on",
        "days": kept(recorded["days"]["basal-bolus"]),
        "noise": [round(value, 6) for value in recorded["noise"]],
    }
    TRACES.write_text(json.dumps(content, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    keep()

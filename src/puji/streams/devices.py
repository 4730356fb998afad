"""Virtual patients with sensors that send what they measure, and on request misbehave as real devices do."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from puji.modalities.plans.diabetes import loop, scenario
from puji.modalities.plans.diabetes.logs import Habits, LoggedCare
from puji.modalities.plans.diabetes.patients import GROUPS, names, patients
from puji.modalities.plans.diabetes.pump import pump
from puji.modalities.plans.diabetes.sensor import Sensor
from puji.modalities.plans.diabetes.simulator import Simulator, scattered
from puji.streams.clock import Clock
from puji.streams.link import Acknowledged, Address, Connected, Link
from puji.streams.samples import observation, told
from puji.streams.tokens import STEP
from puji.streams.vitals import MMOL

FAULTS = ("lost", "twice", "late", "unit", "clock", "flood")
"""What a device may do wrong: a reading is lost, sent twice, sent after the next ones, in the wrong unit, with a clock two hours
ahead, or sent fifty times."""
FLOOD = 50


class Sample(NamedTuple):
    """One message of a device."""

    patient: str
    payload: bytes


def chosen(n: int) -> list[str]:
    """The names of ``n`` virtual patients, the age groups in turn."""
    groups = [names(group) for group in GROUPS]
    return [groups[place % len(groups)][place // len(groups) % len(groups[0])] for place in range(n)]


def identifiers(n: int) -> list[str]:
    """Of the patients `chosen`: "adult-001-1", as topics and FHIR take them; the last number tells twins apart."""
    return [f"{name.replace('#', '-')}-{place // len(names()) + 1}" for place, name in enumerate(chosen(n))]


def readings(n: int, seed: int) -> Iterator[np.ndarray]:
    """What the sensors of ``n`` virtual patients show, step by step without end, (n,) mg/dl; see `logs` for how they live.

    A patient in whom the model ends is followed by another one of the same kind.
    """
    people = patients(chosen(n))
    habits = Habits()
    state: np.ndarray | None = None
    day = 0
    while True:
        seeds = np.array([np.random.SeedSequence([seed, place, day]).generate_state(1)[0] for place in range(n)])
        if state is None:
            state = scattered(people, seeds)
        simulator = Simulator(people, state)
        meals = scenario.announce(scenario.random(seeds), seeds, habits.estimate, habits.unannounced)
        care = LoggedCare(people, seeds, scenario.DAY, habits)
        sensor = Sensor("GuardianRT", seeds, scenario.DAY)
        course = loop.run(care, simulator, meals, sensor, pump("Insulet"), interval=STEP // 60)
        yield from np.where(course.alive[:, :-1], course.reading, np.nan).T
        state = np.where(course.ended[:, None], scattered(people, seeds + 1), simulator.state)
        day += 1


class Devices:
    """The sensors of ``n`` virtual patients in a thread, which send through a broker.

    Without a connection they keep what they measure, up to a day, and send it when there is one.

    Parameters
    ----------
    address : Address
        The broker.
    clock : callable
        The patients' time; one reading every five minutes of it.
    faults : float
        Share of the readings with which something of `FAULTS` goes wrong.
    """

    def __init__(
        self, n: int, address: Address, clock: Clock, *, topic: str = "puji", seed: int = 0, faults: float = 0.0
    ) -> None:
        self.patients = identifiers(n)
        self.sent = 0
        self._clock, self._topic, self._seed, self._faults = clock, topic, seed, faults
        self._link = Link(replace(address, name=f"{address.name}-devices"), [])
        self._waiting: deque[Sample] = deque(maxlen=n * 288)
        self._late: deque[tuple[int, Sample]] = deque()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="puji-devices")

    def start(self) -> None:
        """Begin to measure."""
        self._thread.start()

    def stop(self) -> None:
        """Switch off."""
        self._ending.set()
        self._thread.join(10)

    def _run(self) -> None:
        rng = np.random.default_rng([self._seed, 5])
        self._link.open()
        start = self._clock()
        try:
            for step, values in enumerate(readings(len(self.patients), self._seed)):
                time = start + step * STEP * 1000
                while self._clock() < time and not self._ending.is_set():
                    self._work()
                    self._ending.wait(0.02)
                if self._ending.is_set():
                    return
                for place, value in enumerate(values):
                    if np.isfinite(value):
                        self._waiting.extend(self._samples(place, time, float(value), step, rng))
                while self._late and self._late[0][0] <= step:
                    self._waiting.append(self._late.popleft()[1])
                self._work()
        finally:
            self._link.close()

    def _samples(self, place: int, time: int, value: float, step: int, rng: np.random.Generator) -> list[Sample]:
        """What a device sends of a reading; every third one tells mmol/l."""
        patient, molar = self.patients[place], place % 3 == 2
        good = observation(patient, time, value, molar=molar)
        sample = Sample(patient, told(good))
        if rng.random() >= self._faults:
            return [sample]
        fault = FAULTS[int(rng.integers(len(FAULTS)))]
        if fault == "lost":
            return []
        if fault == "late":
            self._late.append((step + 2, sample))
            return []
        if fault == "unit":
            wrong = good["valueQuantity"] | {"value": round(value / MMOL, 1) if not molar else round(value)}
            return [Sample(patient, told(good | {"valueQuantity": wrong}))]
        if fault == "clock":
            return [Sample(patient, told(observation(patient, time + 7_200_000, value, molar=molar)))]
        return [sample] * (FLOOD if fault == "flood" else 2)

    def _work(self) -> None:
        while not self._link.events.empty():
            event = self._link.events.get_nowait()
            if isinstance(event, Acknowledged):
                self.sent += 1
            elif not isinstance(event, Connected) and getattr(event, "fatal", None) is not None:
                return
        while self._waiting:
            patient, payload = self._waiting[0]
            if self._link.send(f"{self._topic}/{patient}/observation", payload) is None:
                return
            self._waiting.popleft()


__all__ = ["FAULTS", "Devices", "chosen", "identifiers", "readings"]

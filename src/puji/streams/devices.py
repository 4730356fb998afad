"""Virtual patients with devices that send what they measure and give, and on request misbehave as real devices do.

Each wears a glucose sensor, an insulin pump that tells its boluses and rates and the carbohydrate that it was told, and a monitor
of vital signs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np

from puji.modalities.plans.diabetes import loop, scenario
from puji.modalities.plans.diabetes.logs import Habits, LoggedCare
from puji.modalities.plans.diabetes.patients import GROUPS, names, patients
from puji.modalities.plans.diabetes.pump import pump
from puji.modalities.plans.diabetes.sensor import Sensor
from puji.modalities.plans.diabetes.simulator import Simulator, scattered
from puji.streams.clock import Clock
from puji.streams.link import Acknowledged, Address, Connected, Link
from puji.streams.observation import instant
from puji.streams.resources import moment
from puji.streams.samples import basal, bolus, measured, observation, pressure, told
from puji.streams.tokens import STEP
from puji.streams.vital_signs import signs
from puji.streams.vitals import CARBOHYDRATE, DIASTOLIC, HEART_RATE, MMOL, RESPIRATION, SPO2, SYSTOLIC, TEMPERATURE

FAULTS = ("lost", "twice", "late", "unit", "clock", "flood")
"""What a device may do wrong: a reading is lost, sent twice, sent after the next ones, in the wrong unit, with a clock two hours
ahead, or sent fifty times."""
FLOOD = 50
EACH = (HEART_RATE.name, SPO2.name, RESPIRATION.name)
"""What a monitor tells at each step."""
CUFF, THERMOMETER = 6, 12
"""Steps from one blood pressure to the next, and from one temperature."""
HELD = 6
"""Steps after which a pump tells a basal rate again that has not changed."""
GIVEN = 60_000
"""Milliseconds from the announcement of a meal to the end of its bolus."""
DAY = 86_400 // STEP
"""Steps."""
KEPT = DAY * 6
"""Messages that the devices of a patient keep while there is no connection: a day of them."""
SMALLEST = 0.005
"""U or U/h: a pump tells no less."""


class Sample(NamedTuple):
    """One message of a device, to the patient's topic ``kind``."""

    patient: str
    payload: bytes
    kind: str = "observation"


class Moment(NamedTuple):
    """A step of ``n`` virtual patients: what sensors show, mg/dl, nan for none; carbohydrate that is announced, g; basal rate,
    U/h, and bolus, U, that the pumps give until the next step; each (n,)."""

    glucose: np.ndarray
    announced: np.ndarray
    basal: np.ndarray
    bolus: np.ndarray


def chosen(n: int) -> list[str]:
    """The names of ``n`` virtual patients, the age groups in turn."""
    groups = [names(group) for group in GROUPS]
    return [groups[place % len(groups)][place // len(groups) % len(groups[0])] for place in range(n)]


def identifiers(n: int) -> list[str]:
    """Of the patients `chosen`: "adult-001-1", as topics and FHIR take them; the last number tells twins apart."""
    return [f"{name.replace('#', '-')}-{place // len(names()) + 1}" for place, name in enumerate(chosen(n))]


def moments(n: int, seed: int) -> Iterator[Moment]:
    """What sensors and pumps of ``n`` virtual patients show and give, step by step without end; see `logs` for how they live.

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
        glucose = np.where(course.alive[:, :-1], course.reading, np.nan)
        told = (glucose, course.announced, course.basal * 60, course.bolus * (STEP // 60))
        for step in range(glucose.shape[1]):
            yield Moment(*(one[:, step] for one in told))
        state = np.where(course.ended[:, None], scattered(people, seeds + 1), simulator.state)
        day += 1


class Devices:
    """The devices of ``n`` virtual patients in a thread, which send through a broker.

    Without a connection they keep what they measure, up to a day, and send it when there is one.

    Parameters
    ----------
    address : Address
        The broker.
    clock : callable
        The patients' time; one reading every five minutes of it.
    faults : float
        Share of the messages with which something of `FAULTS` goes wrong.
    saved : int
        Steps before now that sensors and pumps have saved, and send first.
    """

    def __init__(
        self,
        n: int,
        address: Address,
        clock: Clock,
        *,
        topic: str = "puji",
        seed: int = 0,
        faults: float = 0.0,
        saved: int = 0,
    ) -> None:
        self.patients = identifiers(n)
        self.sent = 0
        self._clock, self._topic, self._seed, self._faults, self._saved = clock, topic, seed, faults, saved
        self._groups = [name.split("#")[0] for name in chosen(n)]
        self._rates: dict[int, tuple[int, float]] = {}  # patient -> step at which the pump told its rate, and the rate
        self._boluses: deque[Sample] = deque()
        self._link = Link(replace(address, name=f"{address.name}-devices"), [])
        self._waiting: deque[Sample] = deque(maxlen=n * KEPT)
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
        course = moments(len(self.patients), self._seed)
        first = next(course)  # the first day is lived before the clock is read: that takes seconds
        start = self._clock() - self._saved * STEP * 1000
        try:
            bodies = signs(self._groups, self._seed, start)
            lived = islice(chain([first], course), start // (STEP * 1000) % DAY, None)  # their midnight is that of UTC
            for step, (now, vitals) in enumerate(zip(lived, bodies, strict=False)):
                time = start + step * STEP * 1000
                while self._clock() < time and not self._ending.is_set():
                    self._work()
                    self._ending.wait(0.02)
                if self._ending.is_set():
                    return
                self._waiting.extend(self._step(step, time, now, vitals, rng))
                self._work()
        finally:
            self._link.close()

    def _step(
        self, step: int, time: int, now: Moment, vitals: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> Iterator[Sample]:
        """All that is sent at a step: first what the pumps have given since the one before."""
        yield from self._boluses
        self._boluses.clear()
        for place, patient in enumerate(self.patients):
            if not np.isfinite(now.glucose[place]):
                continue
            yield from self._pump(place, step, time, now)
            yield from self._sensor(place, time, float(now.glucose[place]), step, rng)
            if step < self._saved:
                continue  # a monitor saves nothing
            told_now = list(EACH) + [TEMPERATURE.name] * ((step + place) % THERMOMETER == 0)
            for name in told_now:
                good = measured(patient, name, time, float(vitals[name][place]), fahrenheit=_otherwise(name, place))
                yield from self._sent(patient, good, step, rng)
            if (step + place) % CUFF == 0:
                values = (float(vitals[name][place]) for name in (SYSTOLIC.name, DIASTOLIC.name))
                yield from self._sent(patient, pressure(patient, time, *values), step, rng)
        while self._late and self._late[0][0] <= step:
            yield self._late.popleft()[1]

    def _pump(self, place: int, step: int, time: int, now: Moment) -> Iterator[Sample]:
        """The rate where it changes, and from time to time; announced carbohydrate; a bolus is told when it was given."""
        patient, rate = self.patients[place], float(now.basal[place])
        at, before = self._rates.get(place, (-HELD, -1.0))
        if abs(rate - before) >= SMALLEST or step - at >= HELD:
            self._rates[place] = step, rate
            yield Sample(patient, told(basal(patient, time, rate)), "administration")
        if now.announced[place] > 0:
            meal = measured(patient, CARBOHYDRATE.name, time, float(np.round(now.announced[place])))
            yield Sample(patient, told(meal))
        if now.bolus[place] >= SMALLEST:
            given = bolus(patient, time + GIVEN, float(now.bolus[place]))
            self._boluses.append(Sample(patient, told(given), "administration"))

    def _sensor(self, place: int, time: int, value: float, step: int, rng: np.random.Generator) -> list[Sample]:
        """What a sensor sends of a reading; every third one tells mmol/l."""
        patient, molar = self.patients[place], place % 3 == 2
        return self._sent(patient, observation(patient, time, value, molar=molar), step, rng)

    def _sent(self, patient: str, good: dict[str, Any], step: int, rng: np.random.Generator) -> list[Sample]:
        """What is sent of an Observation: it, or what becomes of it by one of `FAULTS`."""
        sample = Sample(patient, told(good))
        if rng.random() >= self._faults:
            return [sample]
        fault = FAULTS[int(rng.integers(len(FAULTS)))]
        if fault == "lost":
            return []
        if fault == "late":
            self._late.append((step + 2, sample))
            return []
        if fault == "unit" and "valueQuantity" in good:
            return [Sample(patient, told(good | {"valueQuantity": wrong(good["valueQuantity"])}))]
        if fault == "clock":
            ahead = moment(instant(good["effectiveDateTime"]) + 7_200_000)
            return [Sample(patient, told(good | {"effectiveDateTime": ahead}))]
        return [sample] * (FLOOD if fault == "flood" else 2)

    def _work(self) -> None:
        while not self._link.events.empty():
            event = self._link.events.get_nowait()
            if isinstance(event, Acknowledged):
                self.sent += 1
            elif not isinstance(event, Connected) and getattr(event, "fatal", None) is not None:
                return
        while self._waiting:
            patient, payload, kind = self._waiting[0]
            if self._link.send(f"{self._topic}/{patient}/{kind}", payload) is None:
                return
            self._waiting.popleft()


def _otherwise(vital: str, place: int) -> bool:
    """Every third thermometer tells degrees Fahrenheit."""
    return vital == TEMPERATURE.name and place % 3 == 2


def wrong(quantity: Mapping[str, Any]) -> dict[str, Any]:
    """A Quantity whose number is in another unit than it says: of glucose and temperature the other one, else none."""
    number, unit = quantity["value"], quantity["unit"]
    others = {
        "mg/dL": round(number / MMOL, 1),
        "mmol/L": round(number * MMOL),
        "Cel": round(number * 9 / 5 + 32, 1),
        "[degF]": round((number - 32) * 5 / 9, 1),
    }
    return {**quantity, "value": others[unit]} if unit in others else {**quantity, "unit": "1", "code": "1"}


__all__ = ["FAULTS", "Devices", "Moment", "chosen", "identifiers", "moments", "wrong"]

"""The heart of a stream, without network or threads: messages go in, in batches; forecasts and alerts come out.

    take(topic, payload) ...    one message: a reading placed, or refused with a reason and counted
    settle()                    the end of a batch: who has new readings is forecast, once; who catches up waits for a tick
    tick()                      now and then: whose stream is silent, what has grown old

All three are called within `Store.batch`, so that what they change is kept whole or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from uuid import uuid4

from puji.errors import Invalid
from puji.language import translate
from puji.streams import administration, alerts, observation, resources
from puji.streams.clock import Clock
from puji.streams.forecaster import Forecast, Forecaster, Track, replay
from puji.streams.observation import ID, Reading
from puji.streams.planner import Planner, Proposal
from puji.streams.stalls import Stalls
from puji.streams.store import Alert, Store
from puji.streams.tokens import HISTORY
from puji.streams.vitals import ADULT, GLUCOSE, VITALS
from puji.streams.window import STEP_MS, Limits, Window

ACCEPTED = "accepted"
FRESH = 900.0
"""Seconds after which a reading is too old to forecast from, and a stream of one every five minutes is silent."""
NEEDED, AMONG = 3, 6
"""So many of the last so many steps need a reading, or there is no forecast."""
SILENT = 3
"""A stream is silent, too, only after so many of its usual pauses."""
NOBODY = ""
"""Under this name is counted what belongs to no patient that is followed."""


READERS: dict[str, Callable[[bytes, str], list[Reading]]] = {
    "observation": observation.readings,
    "administration": administration.readings,
}
"""The last level of a topic -> what reads its messages."""


@dataclass
class Patient:
    """What is known of one patient."""

    window: Window
    tokens: float
    """Messages that may come at once, see `Limits.burst`."""
    refilled: int
    track: Track | None = None
    fed: int = -1
    """The last step that the track was told."""
    replay: bool = True
    """Whether the track must be told the window again."""
    forecast: Forecast | None = None
    plan: Proposal | None = None
    given: bool = False
    """Whether insulin or carbohydrate was told since the last plan."""
    why: str = "streams.none.history"
    """Key of the reason where there is no forecast."""
    alerts: dict[str, Alert] = field(default_factory=dict)
    silent: dict[str, int] = field(default_factory=dict)
    """Vital -> when its stream will count as silent."""
    counts: Counter[str] = field(default_factory=Counter)
    known: bool = False
    """Whether a reading was ever taken."""


class Monitor:
    """See the module.

    Parameters
    ----------
    store : Store
        Where it is kept; what is there already is taken up.
    forecaster : Forecaster
        Asked for glucose.
    clock : callable
        The time, milliseconds since 1970.
    topic : str
        What all topics begin with: ``<topic>/<patient>/observation`` and ``administration`` come in; forecast, alert and plan
        go out.
    limits : Limits, optional
        How much is kept, and what is refused; None: the usual ones.
    planner : Planner, optional
        Asked for plans; None: there are none.
    simulated : bool
        Whether the patients are virtual: what goes out says so.
    ages : mapping of str to float
        Years, of the patients of whom they are known: the limits of vital signs are not for children (`vitals.ADULT`).
    """

    def __init__(
        self,
        store: Store,
        forecaster: Forecaster,
        clock: Clock,
        *,
        topic: str = "puji",
        limits: Limits | None = None,
        planner: Planner | None = None,
        simulated: bool = False,
        ages: Mapping[str, float] | None = None,
    ) -> None:
        self.store, self.forecaster, self.clock, self.topic = store, forecaster, clock, topic
        self.limits, self.planner, self.simulated = limits or Limits(), planner, simulated
        self.ages = ages or {}
        self.stalls = Stalls(int(self.limits.span * 1000))
        self.patients: dict[str, Patient] = {}
        self.counts: Counter[str] = Counter()
        """What was taken and refused in all."""
        self.examples: dict[str, Invalid] = {}
        """Reason -> the last refusal for it, to tell people more than its key."""
        # Patients with new readings, in the order in which they came: of now; of the past, which wait for a `tick`; and
        # those of the past that have waited.
        self._now: dict[str, None] = {}
        self._past: dict[str, None] = {}
        self._late: dict[str, None] = {}
        self._recover()

    def _recover(self) -> None:
        """Take up what the store has; who has fresh readings is forecast at the next `settle`.

        Since the newest reading of all, the program may not have run: until it has heard again, nobody counts as silent.
        """
        now = self.clock()
        if 0 < (newest := self.store.newest()) < now:
            self.stalls.add(now, now - newest)
        for reading in self.store.readings():
            self._patient(reading.patient, now).window.restore(reading)
        for (name, what), n in self.store.tallies().items():
            self.counts[what] += n
            if name in self.patients:
                self.patients[name].counts[what] += n
        for alert in self.store.alerts():
            self._patient(alert.patient, now).alerts[alert.name] = alert
        with self.store.batch():
            for name, patient in self.patients.items():
                patient.known = True
                for vital, time in patient.window.settle(now):
                    self.store.drop(name, vital, time)
                for vital in patient.window.series:
                    self._expect(patient, vital)
                self._past[name] = None

    def _patient(self, name: str, now: int) -> Patient:
        if name not in self.patients:
            self.patients[name] = Patient(Window(name, self.limits), self.limits.burst, now)
        return self.patients[name]

    # -- messages ----------------------------------------------------------------------------------------------------

    def take(self, topic: str, payload: bytes) -> Invalid | None:
        """One message. Returns why it was refused; None: its readings were taken."""
        now = self.clock()
        name = NOBODY
        try:
            name, read = self._named(topic)
            patient = self._admitted(name, now)
            changes = patient.window.place(read(payload, name), now)
        except Invalid as refusal:
            self._count(name, refusal.reason)
            self.examples[refusal.reason] = refusal
            return refusal
        patient.known = True
        for reading in changes.written:
            self.store.write(reading)
        for vital, time in changes.dropped:
            self.store.drop(name, vital, time)
        self._count(name, ACCEPTED)
        self._note(patient, changes.placed)
        (self._now if self._current(name, now) else self._past)[name] = None
        return None

    @property
    def topics(self) -> list[str]:
        """What is to be subscribed to."""
        return [f"{self.topic}/+/{kind}" for kind in READERS]

    def _named(self, topic: str) -> tuple[str, Callable[[bytes, str], list[Reading]]]:
        """The patient of ``<topic>/<patient>/observation``, and what reads the message."""
        prefix = f"{self.topic}/"
        name, _, last = topic[len(prefix) :].partition("/")
        if not topic.startswith(prefix) or last not in READERS or not ID.fullmatch(name):
            raise Invalid("streams.refused.topic", topic=self.topic)
        return name, READERS[last]

    def _admitted(self, name: str, now: int) -> Patient:
        """The patient, if it may send now: a bucket that refills in time and holds a burst."""
        if name not in self.patients and len(self.patients) >= self.limits.patients:
            # Names under which nothing but refused messages came give way.
            empty = next((other for other, one in self.patients.items() if not one.known), None)
            if empty is None:
                raise Invalid("streams.refused.patients", most=self.limits.patients)
            del self.patients[empty]
        patient = self._patient(name, now)
        passed = max(0, now - patient.refilled) / 1000
        patient.tokens = min(self.limits.burst, patient.tokens + passed * self.limits.rate)
        patient.refilled = now
        if patient.tokens < 1:
            raise Invalid("streams.refused.flood", rate=f"{self.limits.rate:g}")
        patient.tokens -= 1
        return patient

    def _count(self, name: str, what: str) -> None:
        patient = self.patients.get(name)
        self.counts[what] += 1
        if patient is not None:
            patient.counts[what] += 1
        # On disk only of those who are followed: names that anybody can invent do not fill it.
        self.store.count(name if patient is not None and patient.known else NOBODY, what, 1)

    def _note(self, patient: Patient, told: list[Reading]) -> None:
        """What the new readings mean for track and silence."""
        for reading in told:
            self._expect(patient, reading.vital)
            if reading.vital == GLUCOSE.name and reading.time // STEP_MS <= patient.fed:
                # Something that the track was told is no longer so, unless it is a later reading of the same step.
                first = patient.window.first(reading.time // STEP_MS)
                patient.replay |= reading.correction or first is None or first == reading.time

    def _expect(self, patient: Patient, vital: str) -> None:
        series = patient.window.series[vital]
        if series.event:
            patient.given = True
            return
        recent = series.times[-(AMONG + 1) :]
        pauses = sorted(after - before for before, after in pairwise(recent))
        usual = pauses[len(pauses) // 2] if pauses else 0
        patient.silent[vital] = recent[-1] + max(int(FRESH * 1000), SILENT * usual) if recent else 0
        if len(recent) == 1 and vital != GLUCOSE.name:
            del patient.silent[vital]  # how often a cuff or a thermometer tells is not known yet

    # -- what follows ------------------------------------------------------------------------------------------------

    def settle(self, most: int | None = None) -> list[str]:
        """Forecast and judge who has new readings, up to ``most`` patients; their names.

        First those with readings of the last step. A device that catches up sends many readings of the past: such a patient
        waits for the next `tick`, and then for all others.
        """
        now = self.clock()
        done = [*self._now, *(name for name in self._late if name not in self._now)][:most]
        for name in done:
            for waiting in (self._now, self._late, self._past):
                waiting.pop(name, None)
            patient = self.patients[name]
            changed = self._follow(name, patient, now)
            if changed:
                self._publish_forecast(name, patient, now)
            if changed or patient.given:
                self._publish_plan(name, patient, now)
            self._judge(name, patient, now)
        return done

    @property
    def waiting(self) -> bool:
        """Whether `settle` has left somebody."""
        return bool(self._now or self._late)

    def _current(self, name: str, now: int) -> bool:
        """Whether the newest reading of any vital is of the last step."""
        times = (series.times[-1] for series in self.patients[name].window.series.values() if series.times)
        return max(times, default=now) >= now - STEP_MS

    def tick(self) -> None:
        """See who has fallen silent, and forget what is too old; who caught up may be settled."""
        self._late |= self._past
        self._past = {}
        now = self.clock()
        for name, patient in list(self.patients.items()):
            old = any(time < now for time in patient.silent.values())
            if old or any(alert.endswith("-stale") for alert in patient.alerts):
                if patient.silent.get(GLUCOSE.name, now) < now and patient.forecast is not None:
                    patient.forecast, patient.why = None, "streams.none.stale"
                    self._publish_forecast(name, patient, now)
                    self._publish_plan(name, patient, now)
                self._judge(name, patient, now)
            for vital, time in patient.window.settle(now):
                self.store.drop(name, vital, time)
            if patient.known and not any(series.times for series in patient.window.series.values()):
                self._let_go(name, patient, now)

    def _let_go(self, name: str, patient: Patient, now: int) -> None:
        """Nothing has come for as long as the window reaches: the patient is followed no more."""
        for key in list(patient.alerts):
            self._end(name, patient, key, "streams.alert.let_go", now)
        del self.patients[name]
        for waiting in (self._now, self._late, self._past):
            waiting.pop(name, None)

    def _follow(self, name: str, patient: Patient, now: int) -> bool:
        """Tell the track what is new and ask it; whether there is something new to say."""
        window = patient.window
        series = window.series.get(GLUCOSE.name)
        newest = series.newest() if series else None
        if newest is None:
            changed = patient.forecast is not None
            patient.forecast, patient.why, patient.replay, patient.fed = None, "streams.none.history", True, -1
            return changed
        step = newest // STEP_MS
        if step == patient.fed and not patient.replay:
            return False
        if patient.replay or patient.track is None or not patient.fed < step <= patient.fed + HISTORY:
            patient.track = replay(self.forecaster, name, window.steps(step, HISTORY))
        else:
            for place in range(patient.fed + 1, step + 1):
                patient.track.feed(window.step(place))
        patient.fed, patient.replay = step, False
        had = patient.forecast
        patient.forecast = None
        if newest < now - int(FRESH * 1000):
            patient.why = "streams.none.stale"
        elif sum(window.step(place) is not None for place in range(step - AMONG + 1, step + 1)) < NEEDED:
            patient.why = "streams.none.history"
        else:
            patient.forecast = patient.track.forecast()
        return patient.forecast is not None or had is not None

    def _publish_forecast(self, name: str, patient: Patient, now: int) -> None:
        series = patient.window.series.get(GLUCOSE.name)
        newest = series.newest() if series else None
        resource = resources.forecast(
            name,
            patient.forecast,
            time=now if newest is None else newest,
            now=now,
            model=self.forecaster.name,
            why="" if patient.forecast else patient.why,
            source="" if series is None or newest is None else series.values[newest][1],
            simulated=self.simulated,
        )
        self.store.send(resources.message(f"{name}/forecast", f"{self.topic}/{name}/forecast", resource))

    def _publish_plan(self, name: str, patient: Patient, now: int) -> None:
        """Plan anew; that there is no plan is said once, and again when the reason is another one."""
        patient.given = False
        if self.planner is None:
            return
        made = self.planner.plan(name, patient.window, now, "" if patient.forecast else patient.why)
        before, patient.plan = patient.plan, made
        if made is None or (made.why and before is not None and made.why == before.why):
            return
        self.store.send(resources.message(f"{name}/plan", f"{self.topic}/{name}/plan", made.resource))

    def _silent(self, patient: Patient, now: int) -> list[str]:
        """The vitals whose devices are silent; the time that this program slept does not count, and ends no alert."""
        found = []
        for vital, time in patient.silent.items():
            if time < now:
                series = patient.window.series.get(vital)
                last = series.times[-1] if series is not None and series.times else 0
                if time + self.stalls.since(last) < now or f"{vital}-stale" in patient.alerts:
                    found.append(vital)
        return found

    def _judge(self, name: str, patient: Patient, now: int) -> None:
        """Raise alerts and end them."""
        latest: dict[str, float] = {}
        sources: dict[str, str] = {}
        for vital, series in patient.window.series.items():
            newest = series.newest()
            if newest is not None and (value := series.value(newest)) is not None:
                latest[vital], sources[vital] = value, series.values[newest][1]
        stale = [vital for vital in self._silent(patient, now) if vital in VITALS]
        wanted = alerts.wanted(latest, patient.forecast, stale, patient.alerts, self.adult(name))
        for key, raised in wanted.items():
            if key in patient.alerts:
                continue
            alert = Alert(name, key, str(uuid4()), now)
            patient.alerts[key] = alert
            self.store.open_alert(alert)
            text = resources.said(key, *(raised or ()))
            self._publish_flag(alert, text, sources.get(key.rpartition("-")[0], ""))
        for key in [key for key in patient.alerts if key not in wanted]:
            self._end(name, patient, key, "streams.alert.over", now)

    def adult(self, name: str) -> bool:
        """Whether the limits of vital signs hold for a patient; also where nobody told an age."""
        return self.ages.get(name, ADULT) >= ADULT

    def _end(self, name: str, patient: Patient, key: str, why: str, now: int) -> None:
        alert = patient.alerts.pop(key)
        self.store.close_alert(name, key)
        self._publish_flag(
            alert, translate(why, vital=translate(f"streams.vital.{key.rpartition('-')[0]}")), "", until=now
        )

    def _publish_flag(self, alert: Alert, text: str, source: str, until: int | None = None) -> None:
        resource = resources.flag(alert, text=text, source=source, until=until, simulated=self.simulated)
        state = "on" if until is None else "off"
        self.store.send(resources.message(f"{alert.id}/{state}", f"{self.topic}/{alert.patient}/alert", resource))


__all__ = ["ACCEPTED", "FRESH", "READERS", "Monitor", "Patient"]

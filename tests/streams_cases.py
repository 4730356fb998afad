"""What the tests of streams share: a clock that stands still, Observations, a monitor on a fresh disk."""

from __future__ import annotations

import json

from puji.streams.forecaster import Forecast, Horizon, Persistence
from puji.streams.monitor import Monitor
from puji.streams.samples import observation, told
from puji.streams.store import Store

NOW = 1_790_000_000_000 // 300_000 * 300_000
"""A whole step, September 2026."""
MINUTE = 60_000
STEP = 5 * MINUTE


class Hands:
    """A clock that is set by hand."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now


def monitor(folder, clock=None, **options):
    return Monitor(Store(folder), options.pop("forecaster", Persistence()), clock or Hands(), **options)


def give(one, *resources, patient="p1"):
    """As `take`, of insulin."""
    return take(one, *resources, patient=patient, kind="administration")


def take(one, *resources, patient="p1", kind="observation"):
    """Send ``resources`` as one batch; the reasons of those that were refused."""
    with one.store.batch():
        payloads = [resource if isinstance(resource, bytes) else told(resource) for resource in resources]
        found = [one.take(f"puji/{patient}/{kind}", payload) for payload in payloads]
        one.tick()
        one.settle()
    return [refusal.reason.removeprefix("streams.refused.") for refusal in found if refusal is not None]


def tick(one):
    with one.store.batch():
        one.tick()
        one.settle()


def glucose(minutes, value, patient="p1", **options):
    """An Observation of ``minutes`` after `NOW`."""
    return observation(patient, NOW + round(minutes * MINUTE), value, **options)


def sent(one, kind=None, after=0):
    """What waits for the broker, as (topic, resource)."""
    found = [(message.topic, json.loads(message.payload)) for _, message in one.store.outbox(after, 10_000)]
    return [(topic, resource) for topic, resource in found if kind is None or topic.endswith(f"/{kind}")]


def kept(one, patient="p1", vital="glucose"):
    """The window as (minutes after `NOW`, value)."""
    series = one.patients[patient].window.series[vital]
    return [((time - NOW) / MINUTE, series.value(time)) for time in series.times]


def stored(one):
    return [(row.patient, row.vital, row.time, row.value, row.id) for row in one.store.readings()]


def reopened(one, clock=None, **options):
    """A new program on the same disk."""
    one.store.close()
    return monitor(one.store.path.parent, clock or one.clock, **options)


def flags(one, after=0):
    return [(flag["code"]["coding"][0]["code"], flag["status"]) for _, flag in sent(one, "alert", after)]


class Told:
    """A forecaster that remembers what it was told, and forecasts what it is given."""

    name = "told"

    def __init__(self, median=None):
        self.tracks, self.median = [], median

    def open(self, patient):
        track = Remembering(self)
        self.tracks.append(track)
        return track


class Remembering:
    def __init__(self, owner):
        self.owner, self.steps = owner, []

    def feed(self, value):
        self.steps.append(value)

    def forecast(self):
        value = self.owner.median or next(value for value in reversed(self.steps) if value is not None)
        return Forecast((Horizon(30, value, value - 10, value + 10),))

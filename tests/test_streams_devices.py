"""Virtual patients as devices: who they are, what they send, and that a monitor takes all but their mistakes."""

from collections import Counter

import numpy as np

from puji.streams.devices import FAULTS, Devices, identifiers, readings
from puji.streams.link import Address
from puji.streams.monitor import ACCEPTED

from .streams_cases import NOW, STEP, Hands, monitor


def test_patients_have_names_of_their_own_that_fhir_takes():
    found = identifiers(65)
    assert len(set(found)) == 65
    assert found[:4] == ["adult-001-1", "adolescent-001-1", "child-001-1", "adult-002-1"]
    assert found[30] == "adult-001-2"


def test_readings_go_on_from_day_to_day_and_repeat_by_seed():
    one, two, other = readings(3, 1), readings(3, 1), readings(3, 2)
    days = np.array([next(one) for _ in range(300)])
    assert days.shape == (300, 3)
    assert (np.isnan(days) | ((days >= 39) & (days <= 600))).all()
    assert np.isfinite(days).mean() > 0.8
    assert np.array_equal(days[:50], np.array([next(two) for _ in range(50)]), equal_nan=True)
    assert not np.array_equal(days[0], next(other), equal_nan=True)
    # Midnight is no jump: a new sensor differs by its error only.
    assert np.nanmax(np.abs(days[288] - days[287])) < 60


def play(folder, faults, steps=40):
    """What a monitor makes of virtual devices, without a broker."""
    clock = Hands()
    one = monitor(folder, clock)
    devices = Devices(6, Address(), clock, seed=3, faults=faults)
    rng = np.random.default_rng(0)
    sent = 0
    for step, values in zip(range(steps), readings(6, 3), strict=False):
        clock.now = NOW + step * STEP
        waiting = [
            sample
            for place, value in enumerate(values)
            if np.isfinite(value)
            for sample in devices._samples(place, clock.now, float(value), step, rng)
        ]
        while devices._late and devices._late[0][0] <= step:
            waiting.append(devices._late.popleft()[1])
        with one.store.batch():
            for patient, payload in waiting:
                sent += 1
                one.take(f"puji/{patient}/observation", payload)
            one.settle()
    one.store.close()
    return one, sent


def test_good_devices_are_taken_whole(tmp_path):
    one, sent = play(tmp_path, 0.0)
    assert one.counts == {ACCEPTED: sent}
    assert sent == 240


def test_each_fault_is_refused_for_its_own_reason(tmp_path):
    one, sent = play(tmp_path, 0.6)
    reasons = Counter({what.removeprefix("streams.refused."): n for what, n in one.counts.items()})
    assert sum(one.counts.values()) == sent
    assert {"accepted", "duplicate", "future", "impossible"} <= set(reasons)
    assert set(reasons) <= {"accepted", "duplicate", "future", "impossible", "unlikely"}
    assert reasons["accepted"] < 240
    assert len(FAULTS) == 6
    times = [time for found in one.patients.values() for time in found.window.series["glucose"].times]
    assert len(times) == reasons["accepted"]
    assert max(times) <= NOW + 40 * STEP

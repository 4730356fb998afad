"""Virtual patients as devices: who they are, what they send, and that a monitor takes all but their mistakes."""

from collections import Counter

import numpy as np
import pytest

from puji.errors import Invalid
from puji.streams.devices import CUFF, FAULTS, THERMOMETER, Devices, identifiers, moments, wrong
from puji.streams.link import Address
from puji.streams.monitor import ACCEPTED
from puji.streams.observation import quantity as quantity_of
from puji.streams.vital_signs import RHYTHMS, signs
from puji.streams.vitals import CODES, VITALS

from .streams_cases import NOW, STEP, Hands, monitor


def test_patients_have_names_of_their_own_that_fhir_takes():
    found = identifiers(65)
    assert len(set(found)) == 65
    assert found[:4] == ["adult-001-1", "adolescent-001-1", "child-001-1", "adult-002-1"]
    assert found[30] == "adult-001-2"


def test_readings_go_on_from_day_to_day_and_repeat_by_seed():
    one, two, other = moments(3, 1), moments(3, 1), moments(3, 2)
    course = [next(one) for _ in range(300)]
    days = np.array([now.glucose for now in course])
    assert days.shape == (300, 3)
    assert (np.isnan(days) | ((days >= 39) & (days <= 600))).all()
    assert np.isfinite(days).mean() > 0.8
    assert np.array_equal(days[:50], np.array([next(two).glucose for _ in range(50)]), equal_nan=True)
    assert not np.array_equal(days[0], next(other).glucose, equal_nan=True)
    # Most meals are announced and have a bolus; the basal rate is that of a person.
    assert sum((now.announced > 0).sum() for now in course) >= 6
    assert sum((now.bolus > 0).sum() for now in course) >= 6
    assert 0.05 < np.mean([now.basal for now in course]) < 3
    # Midnight is no jump: a new sensor differs by its error only.
    assert np.nanmax(np.abs(days[288] - days[287])) < 60


def play(folder, faults, steps=36, saved=0):
    """What a monitor makes of virtual devices, without a broker."""
    clock = Hands()
    one = monitor(folder, clock)
    devices = Devices(6, Address(), clock, seed=3, faults=faults, saved=saved)
    rng = np.random.default_rng(0)
    sent = Counter()
    course = zip(range(steps), moments(6, 3), signs(["adult", "child"] * 3, 3, NOW), strict=False)
    for step, now, vitals in course:
        clock.now = NOW + step * STEP
        with one.store.batch():
            for patient, payload, kind in devices._step(step, clock.now, now, vitals, rng):
                sent[kind] += 1
                one.take(f"puji/{patient}/{kind}", payload)
            one.settle()
    one.store.close()
    return one, sent


def test_good_devices_are_taken_whole(tmp_path):
    one, sent = play(tmp_path, 0.0)
    assert one.counts == {ACCEPTED: sent.total()}
    series = [found.window.series for found in one.patients.values()]
    assert all(len(found[name].times) == 36 for found in series for name in ("glucose", "heart_rate", "spo2"))
    assert sum(len(found["systolic"].times) for found in series) == 6 * 36 // CUFF
    assert sum(len(found["temperature"].times) for found in series) == 6 * 36 // THERMOMETER
    # Every third device tells mmol/l and degrees Fahrenheit: the window has one unit.
    temperatures = [found["temperature"].value(time) for found in series for time in found["temperature"].times]
    assert all(35 < value < 40 for value in temperatures)
    assert sent["administration"] == sum(
        len(found[name].times) for found in series for name in ("basal", "bolus") if name in found
    )
    # Of what is saved, a monitor of vital signs has nothing.
    again, _ = play(tmp_path / "saved", 0.0, saved=30)
    assert len(again.patients["adult-001-1"].window.series["heart_rate"].times) == 6
    assert len(again.patients["adult-001-1"].window.series["glucose"].times) == 36


def test_each_fault_is_refused_for_its_own_reason(tmp_path):
    one, sent = play(tmp_path, 0.6)
    reasons = Counter({what.removeprefix("streams.refused."): n for what, n in one.counts.items()})
    assert sum(one.counts.values()) == sent.total()
    assert {"accepted", "duplicate", "future", "impossible", "unit"} <= set(reasons)
    assert set(reasons) <= {"accepted", "duplicate", "future", "impossible", "unlikely", "unit"}
    assert len(FAULTS) == 6
    times = [time for found in one.patients.values() for time in found.window.series["glucose"].times]
    assert len(times) < 216
    assert max(times) <= NOW + 36 * STEP


def test_a_wrong_unit_is_never_a_number_that_passes():
    for code, unit, value in (
        ("99504-3", "mg/dL", 120),
        ("8310-5", "Cel", 36.8),
        ("8310-5", "[degF]", 98.2),
        ("9279-1", "/min", 15),
    ):
        quantity = {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
        vital, units = CODES[code]
        assert quantity_of(quantity, vital, units) > 0
        with pytest.raises(Invalid):
            quantity_of(wrong(quantity), vital, units)


def test_vital_signs_have_a_day_and_repeat_by_seed():
    groups = ["adult"] * 40 + ["child"] * 40
    course = signs(groups, 1, NOW)
    days = [next(course) for _ in range(3 * 288)]
    hours = (NOW / 1000 + np.arange(len(days)) * 300) % 86_400 / 3600
    for name, rhythm in RHYTHMS.items():
        values = np.array([now[name] for now in days])
        vital = VITALS[name]
        assert ((values >= vital.least) & (values <= vital.most)).all(), name
        well = np.median(values, axis=1)
        peak, trough = (np.abs((hours - at + 12) % 24 - 12) < 2 for at in (rhythm.peak, rhythm.peak + 12))
        assert well[peak].mean() > well[trough].mean(), name
    assert np.median([now["heart_rate"][40:] for now in days]) > np.median([now["heart_rate"][:40] for now in days]) + 5
    systolic, diastolic = (np.array([now[name] for now in days]) for name in ("systolic", "diastolic"))
    assert (systolic > diastolic).all()
    # Somebody falls ill in three days, and most do not.
    ill = np.array([now["temperature"] for now in days]).max(axis=0) > 38
    assert 0 < ill.mean() < 0.7
    again = signs(groups, 1, NOW)
    assert all(np.array_equal(next(again)[name], days[0][name]) for name in ["spo2"])

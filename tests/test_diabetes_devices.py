"""Sensors, pumps and meals: those of simglucose, row by row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from puji.modalities.plans.diabetes import scenario
from puji.modalities.plans.diabetes.patients import PMOL
from puji.modalities.plans.diabetes.pump import PUMPS, pump
from puji.modalities.plans.diabetes.sensor import DEVICES, Sensor, noise

RECORDED = json.loads((Path(__file__).parent / "data" / "diabetes_traces.json").read_text("utf-8"))["noise"]
SEEDS = np.arange(400)


def test_errors_are_those_of_simglucose():
    ours = noise(DEVICES["Dexcom"], np.array([1]), 1440)[0, 1 : len(RECORDED) + 1]
    assert ours == pytest.approx(RECORDED, abs=1e-5)


@pytest.mark.parametrize("name", DEVICES)
def test_errors_have_the_distribution_of_the_model(name):
    """Of simglucose's parameters; the knots of the model are those every 15 minutes."""
    device = DEVICES[name]
    found = noise(device, SEEDS, 1440)
    assert found.shape == (400, 1 + 1440 // device.interval)
    knots = found[:, :: 15 // device.interval]
    normal = device.gamma + device.delta * np.arcsinh((knots - device.xi) / device.scale)
    # An autoregressive process e' = .7 (e + v) varies with .49 / .51.
    assert normal[:, 10:].std() == pytest.approx(np.sqrt(0.49 / 0.51), rel=0.02)
    assert np.corrcoef(normal[:, :-1].ravel(), normal[:, 1:].ravel())[0, 1] == pytest.approx(0.7, abs=0.02)
    assert abs(found.mean()) < 2 and 8 < found.std() < 14


def test_an_error_depends_on_its_own_seed_alone():
    device = DEVICES["GuardianRT"]
    many = noise(device, SEEDS, 1000)
    assert (noise(device, SEEDS[[17]], 1000)[0] == many[17]).all()
    assert (noise(device, SEEDS[:3], 200) == many[:3, :41]).all(), "longer noise begins as shorter noise does"
    assert not (many[0] == many[1]).any()


def test_a_sensor_shows_what_is_within_its_range():
    sensor = Sensor("Navigator", SEEDS[:2], 60)
    assert sensor.read(np.array([5.0, 900.0]), 7).tolist() == [32.0, 600.0]
    shown = sensor.read(np.full(2, 150.0), 9)
    assert shown == pytest.approx(150 + sensor.noise[:, 9])


def test_a_sensor_is_read_when_it_measures():
    sensor = Sensor("Dexcom", SEEDS[:1], 60)
    for minute in (5, -3, 63):
        with pytest.raises(ValueError, match="every 3 minutes, from 0 to 60"):
            sensor.read(np.array([100.0]), minute)
    with pytest.raises(ValueError, match="GuardianRT"):
        Sensor("Libre", SEEDS, 60)


def test_a_pump_gives_whole_increments_within_its_limits():
    insulet = pump("Insulet")
    rates = np.array([-1.0, 0.0, 0.0201, 29.0, 31.0])
    for given in (insulet.basal(rates), insulet.bolus(rates)):
        assert given[[0, 1, 4]].tolist() == [0.0, 0.0, 30.0]
        assert given[2] == pytest.approx(0.0201, abs=0.025 / PMOL)
        assert given * PMOL / 0.05 == pytest.approx(np.round(given * PMOL / 0.05), abs=1e-6)
    assert PUMPS["Cozmo"].bolus(np.array([100.0])) == [75.0]


def test_a_pump_refuses_what_is_no_number():
    with pytest.raises(ValueError, match="not a number"):
        pump("Cozmo").basal(np.array([np.nan]))
    with pytest.raises(ValueError, match="Cozmo, Insulet"):
        pump("Omnipod")


def test_the_fixed_day():
    day = scenario.fixed(3, days=2)
    served = [day.between(minute, minute + 5) for minute in range(0, 2880, 5)]
    grams = np.array([one for one, _ in served])
    assert (grams.sum(axis=0) == 440).all()
    assert {minute * 5: g for minute, g in enumerate(grams[:288, 0]) if g} == {
        420: 45,
        720: 70,
        960: 15,
        1080: 80,
        1380: 10,
    }
    assert all((one == told).all() for one, told in served)


def test_random_days_are_those_of_simglucose():
    days = scenario.random(SEEDS, days=2)
    assert len(days) == 400
    for place in range(12):
        meal = scenario.MEALS[place % 6]
        minute = days.minute[:, place] - scenario.DAY * (place // 6)
        assert minute.min() >= meal.earliest and minute.max() <= meal.latest
        assert abs(minute.mean() - meal.minute) < 0.2 * meal.minute_deviation
        eaten = days.gram[:, place] > 0
        # A snack of less than half a gram is none.
        assert eaten.mean() == pytest.approx(meal.probability, abs=0.08)
        assert days.gram[eaten, place].mean() == pytest.approx(meal.gram, rel=0.1)
    assert (scenario.random(SEEDS[[7]], days=2).gram[0] == days.gram[7]).all()


def test_announcements_may_be_wrong_or_missing():
    days = scenario.random(SEEDS)
    eaten = days.gram > 0
    told = scenario.announce(days, SEEDS, error=0.3, missed=0.25)
    assert (told.gram == days.gram).all()
    heard = eaten & (told.announced > 0)
    assert 1 - heard.sum() / eaten.sum() == pytest.approx(0.25, abs=0.04)
    wrong = told.announced[heard] / days.gram[heard] - 1
    assert wrong.std() == pytest.approx(0.3, abs=0.03) and abs(wrong.mean()) < 0.04
    assert scenario.announce(days, SEEDS, missed=1).announced.sum() == 0
    assert (scenario.announce(days, SEEDS).announced == days.gram).all()
    one = scenario.announce(scenario.random(SEEDS[[5]]), SEEDS[[5]], error=0.3, missed=0.25)
    assert (one.announced[0] == told.announced[5]).all()


def test_impossible_announcements_are_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        scenario.announce(scenario.fixed(1), SEEDS[:1], missed=2)
    with pytest.raises(ValueError, match="seeds"):
        scenario.announce(scenario.fixed(2), SEEDS[:1])

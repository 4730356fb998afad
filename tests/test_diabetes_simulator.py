"""The simulator of type-1 diabetes lives the days that simglucose recorded, and keeps the laws of its model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from puji.modalities.plans.diabetes.patients import GROUPS, names, patients
from puji.modalities.plans.diabetes.simulator import HIGHEST, LOWEST, STATES, Simulator, equilibrium, scattered

RECORDED = json.loads((Path(__file__).parent / "data" / "diabetes_traces.json").read_text("utf-8"))["days"]
GUT = [STATES.index(name) for name in ("solid", "liquid", "gut")]


def live(simulator, insulin, meals=None, minutes=1440):
    """Glucose every five minutes, (n, steps), at the rates ``insulin`` (n,); ``meals``: minute -> g (n,)."""
    nothing = np.zeros(len(simulator))
    steps = range(0, minutes, 5)
    return np.column_stack([simulator.step(insulin, (meals or {}).get(at, nothing), 5)[:, -1] for at in steps])


@pytest.mark.parametrize("name", RECORDED)
def test_glucose_is_that_of_simglucose(name):
    day = RECORDED[name]
    doses, meals = dict(day["insulin"]), dict(day["carbohydrate"])
    simulator = Simulator(patients([name]))
    trace, rate = [simulator.glucose[0]], 0.0
    for minute in range(1440):
        rate = doses.get(minute, rate)
        trace.append(simulator.step(np.array([rate]), np.array([meals.get(minute, 0.0)]), 1)[0, 0])
    apart = np.array(trace[::5]) - np.array(day["glucose"])
    assert np.sqrt((apart**2).mean()) < 0.2
    assert np.abs(apart).max() < 1


def test_there_are_ten_patients_of_each_age():
    assert len(patients()) == 30
    assert all(len(names(group)) == 10 for group in GROUPS)
    adults = patients(names("adult"))
    assert set(adults.groups) == {"adult"}
    assert (adults.column("age") > patients(names("child")).column("age")).all()
    assert 0.4 < (patients().basal * 1440 / patients().column("daily_insulin")).mean() < 0.8


def test_a_patient_at_basal_rate_stays_where_it_is():
    everyone = patients()
    trace = live(Simulator(everyone), everyone.basal)
    assert np.abs(trace - everyone.column("Gb")[:, None]).max() < 1


def test_a_row_does_not_depend_on_the_others():
    everyone = patients()
    meals = {420: np.linspace(0, 90, 30), 425: np.full(30, 12.5)}
    insulin = everyone.basal * np.linspace(0, 3, 30)
    together = live(Simulator(everyone), insulin, meals)
    for row in (0, 11, 29):
        alone = live(
            Simulator(patients([everyone.names[row]])),
            insulin[[row]],
            {at: grams[[row]] for at, grams in meals.items()},
        )
        assert (alone[0] == together[row]).all()


def test_steps_of_any_length_give_the_same_minutes():
    everyone = patients()
    grams, nothing = np.full(30, 33.0), np.zeros(30)
    long = Simulator(everyone).step(everyone.basal, grams, 60)
    simulator = Simulator(everyone)
    short = [simulator.step(everyone.basal, grams if minute == 0 else nothing, 1) for minute in range(60)]
    assert (np.concatenate(short, axis=1) == long).all()


def test_more_insulin_never_raises_glucose():
    everyone = patients().repeat(5)
    insulin = everyone.basal * np.tile([0.0, 0.5, 1.0, 1.5, 2.5], 30)
    trace = live(Simulator(everyone), insulin, {60: np.full(len(everyone), 60.0)}, minutes=480).reshape(30, 5, -1)
    # Glucose that is held after an early end is no answer of the body.
    alive = (trace >= LOWEST) & (trace <= HIGHEST)
    apart = np.diff(trace, axis=1)[alive[:, 1:] & alive[:, :-1]]
    assert apart.size > 0.8 * 30 * 4 * trace.shape[2] and (apart <= 1e-9).all()
    assert (trace[:, 0, -1] - trace[:, -1, -1] > 20).all()


def test_without_insulin_glucose_climbs():
    everyone = patients()
    trace = live(Simulator(everyone), np.zeros(30))
    assert (trace[:, -1] > 180).all() and (trace[:, -1] > 250).mean() > 0.8
    assert (trace.max(axis=1) > everyone.column("Gb") + 50).all()


def test_carbohydrate_is_neither_made_nor_lost():
    """What was eaten is in the stomach and the gut, or has been absorbed."""
    everyone = patients()
    simulator = Simulator(everyone)
    absorption = everyone.column("kabs")
    absorbed, gut = np.zeros(30), np.zeros(30)
    served = np.linspace(5, 35, 30)
    for minute in range(1440):
        simulator.step(everyone.basal * 1.2, served if minute in (100, 400) else np.zeros(30), 1)
        now = simulator.state[:, STATES.index("gut")]
        absorbed += absorption * (gut + now) / 2
        gut = now.copy()
        if minute in (399, 800, 1439):
            eaten = 1000 * served * (1 if minute == 399 else 2)
            assert absorbed + simulator.state[:, GUT].sum(axis=1) == pytest.approx(eaten, rel=2e-3)
    assert not simulator.ended.any()
    assert (simulator.state[:, GUT].sum(axis=1) < 100 * served).all(), "nearly all of it is absorbed by then"


def test_a_meal_is_eaten_at_five_grams_a_minute():
    simulator = Simulator(patients(["adult#001"]))
    for served, minutes, left in ((22.0, 4, 2.0), (0.0, 1, 0.0), (0.0, 1, 0.0)):
        simulator.step(np.zeros(1), np.array([served]), minutes)
        assert simulator._plate[0, 0] == pytest.approx(left)


def test_a_run_that_ends_early_stops_nobody_else():
    everyone = patients(["child#001", "child#001", "adult#001"])
    basal = everyone.basal
    simulator = Simulator(everyone)
    trace = live(simulator, np.array([5.0, basal[1], 0.0]), {0: np.array([0.0, 0.0, 2000.0])})
    assert simulator.ended.tolist() == [True, False, True]
    assert trace[0, -1] < LOWEST and trace[2, -1] > HIGHEST
    for row in (0, 2):
        out = np.flatnonzero((trace[row] < LOWEST) | (trace[row] > HIGHEST))
        assert (trace[row, out] == trace[row, -1]).all(), "glucose is held"
    assert np.abs(trace[1] - everyone.column("Gb")[1]).max() < 1
    assert np.isfinite(simulator.state).all()


def test_a_fork_lives_on_by_itself():
    everyone = patients()
    simulator = Simulator(everyone)
    live(simulator, everyone.basal, {0: np.full(30, 40.0)}, minutes=60)
    before = simulator.state.copy()
    fork = simulator.fork()
    ahead = live(fork, everyone.basal, minutes=60)
    assert (simulator.state == before).all() and simulator.minute == 60
    assert (live(simulator, everyone.basal, minutes=60) == ahead).all()


def test_random_states_depend_on_their_seed_alone():
    pair = patients(["adult#001", "adult#002"])
    state = scattered(pair, np.array([3, 4]))
    assert (scattered(patients(["adult#002"]), np.array([4]))[0] == state[1]).all()
    many = scattered(patients(["adult#001"]).repeat(2000), np.arange(2000))
    plasma = many[:, STATES.index("plasma_glucose")]
    middle = equilibrium(patients(["adult#001"]))[0, STATES.index("plasma_glucose")]
    assert plasma.mean() == pytest.approx(middle, rel=0.01)
    assert plasma.var() == pytest.approx(0.1 * middle, rel=0.1)


@pytest.mark.parametrize(
    ("insulin", "carbohydrate", "minutes", "told"),
    [
        ([0.1], [0.0, 0.0], 5, r"insulin: 2 patients need an array of shape \(2,\)"),
        ([0.1, -1.0], [0.0, 0.0], 5, "insulin: give finite numbers"),
        ([0.1, 0.1], [0.0, np.nan], 5, "carbohydrate: give finite numbers"),
        ([0.1, 0.1], [0.0, 0.0], 0, "minutes"),
    ],
)
def test_bad_steps_are_refused(insulin, carbohydrate, minutes, told):
    simulator = Simulator(patients(["adult#001", "child#010"]))
    with pytest.raises(ValueError, match=told):
        simulator.step(np.array(insulin), np.array(carbohydrate), minutes)


def test_bad_patients_and_states_are_refused():
    with pytest.raises(ValueError, match="adult#011"):
        patients(["adult#011"])
    with pytest.raises(ValueError, match="adolescent"):
        names("teenager")
    with pytest.raises(ValueError, match="choose one of age"):
        patients().column("height")
    with pytest.raises(ValueError, match="state"):
        Simulator(patients(), np.zeros((30, 12)))

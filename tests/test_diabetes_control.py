"""Controllers in the closed loop, the search for gains, and the measures of what they reach."""

from __future__ import annotations

import numpy as np
import pytest

from puji.modalities.plans.diabetes import control, loop, metrics, scenario, tuning
from puji.modalities.plans.diabetes.patients import GROUPS, patients
from puji.modalities.plans.diabetes.pump import pump
from puji.modalities.plans.diabetes.sensor import Sensor
from puji.modalities.plans.diabetes.simulator import Simulator

EVERYONE = patients()


def fixed_day(controller, people=EVERYONE, seed=1, minutes=1440, interval=5, meals=None):
    sensor = Sensor("GuardianRT", np.full(len(people), seed), minutes)
    eaten = meals or scenario.fixed(len(people))
    return loop.run(controller, Simulator(people), eaten, sensor, pump("Insulet"), minutes, interval)


@pytest.fixture(scope="module")
def courses():
    made = {
        "basal-bolus": control.BasalBolus(EVERYONE),
        "PID": control.untuned(30),
        "basal": control.BasalOnly(EVERYONE),
    }
    return {name: fixed_day(controller) for name, controller in made.items()}


def test_basal_bolus_reaches_what_it_reaches_in_simglucose(courses):
    """There: 86.2 % in range (adult 96.1, adolescent 82.9, child 79.5), 3.0 % below 70 (child 9.1), risk 4.09."""
    told = metrics.summary(metrics.scores(courses["basal-bolus"]), EVERYONE, resamples=10)
    reached = {part: found["in_range"].value for part, found in told.items()}
    assert reached == pytest.approx({"all": 86.2, "adult": 96.1, "adolescent": 82.9, "child": 79.5}, abs=1.5)
    assert told["all"]["below_70"].value == pytest.approx(3.0, abs=0.5)
    assert told["child"]["below_70"].value == pytest.approx(9.1, abs=1.0)
    assert told["all"]["bgri"].value == pytest.approx(4.09, abs=0.25)
    assert told["all"]["ended"].value == 0


def test_others_end_early_as_often_as_in_simglucose(courses):
    assert abs(courses["PID"].ended.sum() - 15) <= 2
    assert courses["basal"].ended.sum() == 10
    assert (metrics.scores(courses["basal"])["below_70"] == 0).all()


def test_what_is_recorded_is_what_happened(courses):
    course = courses["basal-bolus"]
    assert course.glucose.shape == (30, 289) and course.basal.shape == (30, 288)
    assert course.carbohydrate.sum(axis=1) == pytest.approx(np.full(30, 220.0))
    given = (course.bolus * course.interval).sum(axis=1)
    least = 220 / EVERYONE.column("carbohydrate_ratio")
    assert (given >= least - 1e-3).all() and (given < 3 * least).all()
    assert ((course.bolus > 0) == (course.carbohydrate > 0)).all()
    assert course.basal.mean(axis=1) == pytest.approx(EVERYONE.basal, abs=1e-5)


def test_a_row_of_the_loop_does_not_depend_on_the_others(courses):
    for row in (3, 22):
        alone = patients([EVERYONE.names[row]])
        course = fixed_day(control.BasalBolus(alone), alone)
        assert (course.glucose[0] == courses["basal-bolus"].glucose[row]).all()


def test_a_loop_goes_on_where_the_simulator_is():
    one = patients(["adult#001"])
    simulator, sensor = Simulator(one), Sensor("GuardianRT", np.array([0]), 1440)
    parts = [
        loop.run(control.BasalBolus(one), simulator, scenario.fixed(1), sensor, pump("Insulet"), 720) for _ in range(2)
    ]
    whole = fixed_day(control.BasalBolus(one), one, seed=0)
    assert (np.concatenate([parts[0].glucose[:, :-1], parts[1].glucose], axis=1) == whole.glucose).all()


def test_impossible_loops_are_refused():
    with pytest.raises(ValueError, match="multiple"):
        fixed_day(control.BasalOnly(EVERYONE), minutes=1442)
    with pytest.raises(ValueError, match="rows of meals"):
        fixed_day(control.BasalOnly(EVERYONE), meals=scenario.fixed(2))


def test_pid_follows_its_formula():
    pid = control.PID(np.array([0.1]), np.array([0.01]), np.array([2.0]), np.array([1.0]), 100.0, np.array([0.4]))
    nothing = np.zeros(1)
    first = pid.dose(np.array([110.0]), nothing, 0, 5)
    second = pid.dose(np.array([120.0]), nothing, 5, 5)
    assert first.basal == pytest.approx([1 + 0.1 * 10])
    # The integral, .01 * 10 * 5, is held at .4.
    assert second.basal == pytest.approx([1 + 0.1 * 20 + 0.4 + 2.0 * 2])
    pid.reset()
    assert pid.dose(np.array([110.0]), nothing, 0, 5).basal == first.basal


def test_gains_are_searched_patient_by_patient():
    chosen = patients(["adult#001", "child#003"])
    tuned = tuning.tune(chosen, seeds=tuning.TRAINING[:1])
    alone = tuning.tune(patients(["child#003"]), seeds=tuning.TRAINING[:1])
    assert [alone.gain[0], alone.reset[0], alone.ahead[0]] == [tuned.gain[1], tuned.reset[1], tuned.ahead[1]]
    risk = metrics.scores(fixed_day(tuned.controller(chosen), chosen))["bgri"]
    rough = metrics.scores(fixed_day(control.untuned(2), chosen))["bgri"]
    assert (risk < rough).all(), "on a day that the search did not see"
    with pytest.raises(ValueError, match="2 rows, not 30"):
        tuned.controller(EVERYONE)
    assert tuned.repeat(3).gain.tolist() == np.repeat(tuned.gain, 3).tolist()


def test_risk_is_that_of_the_paper():
    """Kovatchev's scale is symmetric about 112.5 mg/dl; 20 and 600 mg/dl carry a risk of 100."""
    low, high = metrics.risks(np.array([20.0, 112.5, 600.0]))
    assert low == pytest.approx([100, 0, 0], abs=1) and high == pytest.approx([0, 0, 100], abs=1)


def test_measures_of_a_made_up_day():
    glucose = np.array([[40.0, 60.0, 70.0, 100.0, 180.0, 181.0, 251.0, 300.0], [100.0] * 8])
    told = metrics.measure(glucose, np.array([True, False]))
    assert list(told) == list(metrics.BETTER)
    assert told["in_range"].tolist() == [37.5, 100.0]
    assert told["below_70"].tolist() == [25.0, 0.0] and told["below_54"].tolist() == [12.5, 0.0]
    assert told["above_250"].tolist() == [25.0, 0.0] and told["minimum"].tolist() == [40.0, 100.0]
    assert told["ended"].tolist() == [100.0, 0.0]
    assert told["bgri"] == pytest.approx(told["lbgi"] + told["hbgi"])


def test_summaries_resample_patients_and_differences_are_paired():
    people = EVERYONE.repeat(4)
    rng = np.random.default_rng(0)
    hard = 10 * people.rows.astype(float)
    first = {"in_range": hard + rng.normal(0, 1, 120)}
    second = {"in_range": hard - 2 + rng.normal(0, 1, 120)}
    told = metrics.summary(first, people, resamples=200)
    assert set(told) == {"all", *GROUPS}
    one = told["child"]["in_range"]
    assert one.n == 40 and one.low < one.value < one.high and one.better == "up"
    gain = metrics.difference(first, second, people, resamples=200)["all"]["in_range"]
    wide = told["all"]["in_range"]
    assert gain.low < 2 < gain.high
    assert gain.high - gain.low < 0.1 * (wide.high - wide.low), "pairs differ less than patients do"

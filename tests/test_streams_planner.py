"""Plans from a stream: what is told to the model is what the pump of the closed loop knows, and what is not known is said."""

import json
import time

import numpy as np
import pytest

import puji
from puji import language
from puji.errors import Invalid
from puji.modalities.plans.diabetes import loop, scenario
from puji.modalities.plans.diabetes.control import Controller, Dose
from puji.modalities.plans.diabetes.doses import Calculator, Therapy
from puji.modalities.plans.diabetes.logs import LoggedCare
from puji.modalities.plans.diabetes.patients import patients
from puji.modalities.plans.diabetes.pump import pump
from puji.modalities.plans.diabetes.sensor import Sensor
from puji.modalities.plans.diabetes.simulator import Simulator
from puji.streams import diabetes_planner as planning
from puji.streams.diabetes_planner import DiabetesPlanner, mean_rate, state
from puji.streams.samples import basal, bolus, measured
from puji.streams.settings import Settings

from .streams_cases import MINUTE, NOW, STEP, Hands, give, glucose, monitor, sent, take, tick

CHILD = Settings("p1", 9.0, 31.5, 0.36, 20.0, 50.0)


@pytest.fixture(scope="module")
def model():
    return puji.load(planning.RELEASED)


@pytest.fixture
def planner(model):
    return DiabetesPlanner(model, {"p1": CHILD}, simulated=True)


class Watched(Controller):
    """Logged care, and what a pump knows at each reading beside it."""

    def __init__(self, people, seeds, minutes):
        self.inner, self.known, self.columns = LoggedCare(people, seeds, minutes), Calculator(Therapy.of(people)), []

    def dose(self, reading, announced, minute, interval):
        self.known.read(reading)
        self.columns.append(self.known.columns(np.zeros(len(reading)), minute))
        return self.inner.dose(reading, announced, minute, interval)

    def gave(self, dose: Dose, announced, interval):
        self.known.gave(dose, announced, interval)


def test_the_model_is_told_what_the_pump_of_the_closed_loop_knows(tmp_path):
    """Messages of a virtual patient, and the bolus calculator that stood beside its pump, after 16 hours."""
    name, hours = "adult#003", 16
    people, seeds, minutes = patients([name]), np.array([5]), hours * 60
    watched = Watched(people, seeds, minutes)
    meals = scenario.announce(scenario.random(seeds), seeds, 0.2)
    course = loop.run(watched, Simulator(people), meals, Sensor("GuardianRT", seeds, minutes), pump("Insulet"), minutes)
    clock = Hands()
    one = monitor(tmp_path, clock)
    steps = minutes // 5
    for step in range(steps):
        at = clock.now = NOW + step * STEP
        take(one, glucose(step * 5, round(float(course.reading[0, step]))))
        if step < steps - 1:  # the last dose was not chosen yet when the pump was asked
            give(one, basal("p1", at, float(course.basal[0, step]) * 60))
            if course.bolus[0, step] > 0:
                give(one, bolus("p1", at + 1000, float(course.bolus[0, step]) * 5))
            if course.announced[0, step] > 0:
                take(one, measured("p1", "carbohydrate", at + 500, float(course.announced[0, step])))
    known = state(Therapy.of(people), one.patients["p1"].window, clock.now)
    assert course.bolus.sum() > 0
    glucose_, heading, meal, announced, hour = known.calculator.columns(np.zeros(1), minutes - 5)[0]
    expected = watched.columns[-1][0]
    assert glucose_ == pytest.approx(expected[0], abs=0.6)  # whole mg/dl were sent
    assert heading == pytest.approx(expected[1], abs=2)  # the last step's rate is not told; boluses began a second late
    assert meal == pytest.approx(expected[2], abs=1.0, nan_ok=True)
    assert np.isnan(announced)
    assert hour == expected[4] == 15
    given = (course.basal + course.bolus)[0, -37:-1].sum() * 5
    assert known.given == pytest.approx(given, abs=0.1)
    assert (known.counting, known.rated, known.announced) == (True, True, 0.0)


def heard(folder, planner, clock=None, hours=4.0, insulin=True, level=120.0):
    """A monitor that was told glucose, and a basal rate, for ``hours``."""
    clock = clock or Hands()
    one = monitor(folder, clock, planner=planner, simulated=True)
    first = -round(hours * 60)
    if insulin:
        give(one, basal("p1", NOW + first * MINUTE, 0.36))
    take(one, *(glucose(minutes, level) for minutes in range(first, 1, 5)))
    return one


def care_plan(one, after=0):
    bundle = sent(one, "plan", after)[-1][1]
    return bundle, bundle["entry"][0]["resource"]


def texts(care):
    return " ".join(note["text"] for note in care["note"])


def test_a_plan_is_fhir_that_proposes_and_says_what_it_rests_on(tmp_path, planner):
    from fhir.resources.R4B.bundle import Bundle

    one = heard(tmp_path, planner)
    bundle, plan = care_plan(one)
    Bundle.model_validate(bundle)
    assert (plan["status"], plan["intent"], plan["subject"]) == ("draft", "proposal", {"reference": "Patient/p1"})
    assert plan["created"].startswith("2026-09-21")  # by the stream's clock
    newest = one.patients["p1"].window.series["glucose"].values[NOW][1]
    assert plan["supportingInfo"][0] == {"reference": f"Observation/{newest}"}
    assert all(entry["resource"]["meta"]["security"][0]["code"] == "HTEST" for entry in bundle["entry"])
    assert "announces no meals" in texts(plan)
    assert "basal rate is not told" not in texts(plan)
    shown = one.patients["p1"].plan
    assert shown.why == "" and shown.text
    doses = [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "MedicationRequest"]
    assert shown.text == "no insulin" if not doses else shown.text.split()[1] in ("U/h", "U")


def test_a_meal_waits_for_its_bolus(tmp_path, planner):
    clock = Hands()
    one = heard(tmp_path, planner, clock)
    therapy, window = CHILD.therapy, one.patients["p1"].window

    def columns(known):
        return known.calculator.columns(np.array([known.announced]), 0)[0]

    clock.now += MINUTE
    take(one, measured("p1", "carbohydrate", clock.now, 40))
    known = state(therapy, window, clock.now)
    assert (known.announced, known.counting) == (40, True)
    assert columns(known)[3] == pytest.approx(40 * 50 / 20)
    assert np.isnan(columns(known)[2])
    assert "announces no meals" not in texts(care_plan(one)[1])
    # After its bolus, or a quarter of an hour, the meal is eaten.
    late = state(therapy, window, clock.now + 16 * MINUTE)
    assert late.announced == 0
    assert columns(late)[2] > 60
    give(one, bolus("p1", clock.now + 1000, 2))
    after = state(therapy, window, clock.now + 2000)
    assert after.announced == 0
    assert after.calculator.insulin.total[0] == pytest.approx(2, rel=0.02)
    assert after.given == pytest.approx(2 + 3 * 0.36, abs=0.01)


def test_without_a_rate_the_usual_one_is_presumed_and_the_plan_says_so(tmp_path, planner):
    one = heard(tmp_path, planner, insulin=False)
    give(one, bolus("p1", NOW - 200 * MINUTE, 1.5))
    take(one, glucose(1, 121))
    assert "basal rate is not told" in texts(care_plan(one)[1])
    known = state(CHILD.therapy, one.patients["p1"].window, NOW)
    assert known.given == pytest.approx(3 * 0.36, abs=0.01)


@pytest.mark.parametrize("spoken", ["en", "zh"])
def test_what_is_not_known_is_said_and_nothing_recommended(tmp_path, planner, spoken):
    language.use(spoken)
    try:
        nobody = heard(tmp_path / "a", planner, insulin=False)
        short = heard(tmp_path / "b", planner, hours=2)
        gappy = heard(tmp_path / "c", planner)
        gappy.clock.now += 10 * MINUTE
        take(gappy, glucose(10, 120))
        clock = Hands()
        stale = heard(tmp_path / "d", planner, clock)
        clock.now += 16 * MINUTE
        tick(stale)
        told = [one.patients["p1"].plan for one in (nobody, short, gappy, stale)]
        plans = [care_plan(one)[1] for one in (nobody, short, gappy, stale)]
    finally:
        language.use("en")
    reasons = ["insulin", "insulin_short", "gaps", "stale"]
    assert [one.why for one in told] == [f"streams.plan.none.{reason}" for reason in reasons]
    for plan in plans:
        assert "activity" not in plan
        assert "streams." not in json.dumps(plan)
        assert ("不给出方案" if spoken == "zh" else "No plan") in plan["description"]
    assert len({plan["description"] for plan in plans}) == 4


def test_low_glucose_is_not_given_insulin(tmp_path, planner):
    one = heard(tmp_path, planner, level=62.0)
    bundle, plan = care_plan(one)
    assert "activity" not in plan
    assert one.patients["p1"].plan.text in ("no insulin", "")
    assert not [entry for entry in bundle["entry"] if entry["resource"]["resourceType"] == "MedicationRequest"]


def test_patients_who_are_not_known_get_none(tmp_path, planner):
    one = monitor(tmp_path, planner=planner)
    take(one, *(glucose(minutes, 120, "p2") for minutes in (-10, -5, 0)), patient="p2")
    assert sent(one, "plan") == []
    assert one.patients["p2"].plan is None


def test_a_plan_is_made_again_after_a_restart(tmp_path, planner):
    from .streams_cases import reopened

    one = heard(tmp_path, planner)
    text = one.patients["p1"].plan.text
    again = reopened(one, planner=planner)
    tick(again)
    assert again.patients["p1"].plan.text == text


def test_only_a_model_of_this_setting_plans(model, monkeypatch):
    with pytest.raises(Invalid, match="type-1 diabetes"):
        DiabetesPlanner(puji.load("plans"), {})
    # One that was trained when the setting had other columns would be told what it does not know.
    setting = model.modality.setting
    monkeypatch.setattr(model.modality, "setting", setting.model_copy(update={"observed": setting.observed[:-1]}))
    with pytest.raises(Invalid, match="older version"):
        DiabetesPlanner(model, {})


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "UTC"])
def test_the_hour_is_that_of_the_clinic(tmp_path, planner, monkeypatch, zone):
    asked = []

    def plan_for(model, calculator, announced, minute, *rest, **more):
        asked.append(minute)
        return real(model, calculator, announced, minute, *rest, **more)

    real = planning.plan_for
    monkeypatch.setattr(planning, "plan_for", plan_for)
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        planner.simulated = False
        heard(tmp_path / "a", planner)
        planner.simulated = True
        heard(tmp_path / "b", planner)
    finally:
        monkeypatch.undo()
        time.tzset()
    utc = NOW // MINUTE % 1440
    assert asked == [(utc + (480 if zone == "Asia/Shanghai" else 0)) % 1440, utc]


def test_a_rate_stands_until_the_next():
    rates = [(0, 1.0), (60, 2.0), (90, 0.0)]
    assert mean_rate(rates, 0, 60, 9) == 1.0
    assert mean_rate(rates, 30, 90, 9) == pytest.approx(1.5)
    assert mean_rate(rates, -30, 30, 9) == pytest.approx(5.0)
    assert mean_rate(rates, 100, 200, 9) == 0.0
    assert mean_rate([], 0, 10, 9) == 9


def test_the_intervals_reach_past_what_still_acts():
    known = Calculator(CHILD.therapy)
    known.gave(Dose(known.therapy.basal, np.array([1.0])), np.zeros(1), 1)
    for _ in range(planning.ACTING // 5):
        known.gave(Dose(known.therapy.basal, np.zeros(1)), np.zeros(1), 5)
    assert known.insulin.total[0] < 0.015

"""The closed loop of plans: what is told of a patient, logged care, rescue, the safety layer, and a plan that doses."""

from __future__ import annotations

import math

import numpy as np
import pytest

import puji
from puji.modalities.plans.diabetes import care, control, day, loop, scenario
from puji.modalities.plans.diabetes.control import BasalBolus, Dose, Hybrid
from puji.modalities.plans.diabetes.doses import (
    ACTIONS,
    COLUMNS,
    NOISE,
    TARGET,
    Calculator,
    Pool,
    Response,
    Therapy,
)
from puji.modalities.plans.diabetes.patients import Patients, patients, published
from puji.modalities.plans.diabetes.pump import pump
from puji.modalities.plans.diabetes.relatives import at_rest, moved, relatives
from puji.modalities.plans.diabetes.rescue import Habit, Rescue
from puji.modalities.plans.diabetes.response import response
from puji.modalities.plans.diabetes.safeguard import WAITING, Guarded
from puji.modalities.plans.diabetes.sensor import Sensor
from puji.modalities.plans.diabetes.simulator import Simulator
from puji.modalities.plans.page import page
from puji.modalities.plans.setting import load_setting

PEOPLE = ("adult#001", "child#003")
PARENTS = ("adult#001", "adult#002", "child#003", "child#004")
SETTING, RULES = load_setting("diabetes")


class Asking(control.Controller):
    """Asks for what it is told to, by minute."""

    def __init__(self, n: int, bolus: dict[int, float], basal: float = 0.0) -> None:
        self.n, self.bolus, self.basal = n, bolus, basal
        self.given: list[np.ndarray] = []

    def dose(self, reading, announced, minute, interval):
        return Dose(np.full(self.n, self.basal), np.full(self.n, self.bolus.get(minute, 0.0) / interval))

    def gave(self, dose, announced, interval):
        self.given.append((dose.basal + dose.bolus) * interval)


@pytest.fixture(scope="module")
def logged():
    return care.episodes(2, days=2, seed=3, people=("adult#001", "child#003", "child#004"))


def test_the_setting_has_the_actions_and_columns_of_the_code():
    assert tuple(one.code for one in SETTING.actions) == ACTIONS
    assert tuple(one.column for one in SETTING.observed) == COLUMNS


def calculator(*readings: float, names: tuple[str, ...] = PEOPLE) -> Calculator:
    """Of pumps whose sensors have shown ``readings``."""
    found = Calculator(Therapy.of(patients(names)))
    for reading in readings:
        found.read(np.full(len(names), reading))
    return found


def test_an_action_is_a_multiple_of_what_the_calculator_says():
    people, announced = patients(PEOPLE), np.array([60.0, 40.0])
    high = calculator(240.0)
    whole = announced / people.column("carbohydrate_ratio") + (240 - TARGET[1]) / people.column("correction_factor")
    for code, share in (("m0", 0.0), ("m80", 0.8), ("m140", 1.4)):
        rate, bolus = high.dose(np.full(2, ACTIONS.index(code)), announced)
        assert bolus == pytest.approx(share * whole) and rate == pytest.approx(people.basal)
    rate, bolus = high.dose(np.full(2, ACTIONS.index("b150")), np.zeros(2))
    assert rate == pytest.approx(1.5 * people.basal) and not bolus.any()


def test_the_calculator_counts_insulin_on_board_and_low_glucose():
    people, announced = patients(PEOPLE), np.array([60.0, 40.0])
    meal = announced / people.column("carbohydrate_ratio")
    assert calculator(sum(TARGET) / 2).bolus(announced) == pytest.approx(meal)
    low = calculator(80.0).bolus(announced)
    assert low == pytest.approx(np.maximum(0, meal - (TARGET[0] - 80) / people.column("correction_factor")))
    again = calculator(240.0)
    again.gave(Dose(people.basal, again.bolus(np.zeros(2)) / 5), np.zeros(2), 5)
    again.read(np.full(2, 240.0))
    assert (again.bolus(np.zeros(2)) < 0.05 * (240 - TARGET[1]) / people.column("correction_factor")).all()


def test_boluses_are_possible_for_meals_and_for_high_glucose_only():
    kinds = np.array([code[0] for code in ACTIONS])
    for reading, high in ((120.0, False), (240.0, True)):
        possible = calculator(reading).possible(np.zeros(2))
        assert not possible[:, kinds == "m"].any() and possible[:, kinds == "b"].all()
        low = calculator(TARGET[0] - 1).possible(np.zeros(2))
        assert (
            not low[:, ACTIONS.index("b150")].any()
            and low[:, [ACTIONS.index(one) for one in ("b0", "b50", "b100")]].all()
        )
        assert (possible[:, kinds == "c"] == high).all()
        assert (calculator(reading).possible(np.full(2, 30.0)) == (kinds == "m")).all()


def test_what_a_pump_knows():
    people = patients(PEOPLE)
    known = calculator(100.0, 105.0, 110.0, 115.0)
    told = known.columns(np.array([0.0, 30.0]), 1500)
    assert (
        told[:, 0] == pytest.approx(115)
        and told[:, 1] == pytest.approx(130)
        and (told[:, 4] == 1).all()
        and np.isnan(told[:, 2]).all()
    )
    rise = 30 * people.column("correction_factor") / people.column("carbohydrate_ratio")
    assert math.isnan(told[0, 3]) and told[1, 3] == pytest.approx(rise[1])
    # A unit beyond the basal rate would lower glucose by the correction factor, and acts within hours.
    known.gave(Dose(people.basal, np.full(2, 1 / 5)), np.zeros(2), 5)
    on_board = [(115 - known.covered()) / people.column("correction_factor")]
    for _ in range(72):
        known.gave(Dose(people.basal, np.zeros(2)), np.zeros(2), 5)
        on_board.append((115 - known.covered()) / people.column("correction_factor"))
    course = np.array(on_board)
    assert course[0] == pytest.approx(1, abs=0.01) and (np.diff(course, axis=0) < 0).all() and (course[-1] < 0.02).all()
    assert known.insulin.take(np.zeros(2), 5000) == pytest.approx(course[-1]) and known.insulin.total == pytest.approx(
        0
    )


def test_a_factor_that_is_wrong_in_the_pump_is_found():
    """The same care, read with a factor that is half and twice as large: the response makes up for it."""
    people = patients([*PEOPLE, "child#004", "adolescent#001"])
    found = care.estimated(people, 5)
    assert (
        found.insulin[2] > 2 and found.insulin[0] < found.insulin[2]
    )  # insulin acts three times as strongly in this child as its factor says
    rng = np.random.default_rng(0)
    steps = 12 * 24 * 20
    extra = rng.normal(0, 0.1, (1, steps // 12)).repeat(12, axis=1)
    therapy = Therapy.set(np.array([0.01]), np.array([10.0]), np.array([20.0]))
    known, glucose = Calculator(therapy), [160.0]
    for step in range(steps - 1):
        acted = known.insulin.take(extra[:, step], 5)[0]
        glucose.append(glucose[-1] + 0.02 * (160 - glucose[-1]) - 1.5 * 20 * acted)
    reading = (np.array(glucose) + rng.normal(0, 1, steps))[None]
    told = response(reading, extra, np.zeros((1, steps)), therapy, np.zeros(1, dtype=int))
    assert told.insulin[0] == pytest.approx(1.5, abs=0.2) and told.noise[0] < NOISE
    half = Therapy.set(therapy.basal, therapy.ratio, therapy.factor / 2)
    twice = response(reading, extra, np.zeros((1, steps)), half, np.zeros(1, dtype=int))
    assert twice.insulin[0] > 1.3 * told.insulin[0]  # twice as much, drawn towards 1
    by_day = response(reading[:, :72], extra[:, :72], np.zeros((1, 72)), therapy, np.zeros(1, dtype=int), minute=600)
    assert [one.tolist() for one in by_day] == [one.tolist() for one in Response.usual(1)]  # no night, no change


@pytest.mark.parametrize("delay, insulin, rise", [(45.0, 1.0, 1.5), (85.0, 1.6, 1.0)])
def test_how_long_insulin_acts_and_what_carbohydrate_raises_are_found(delay, insulin, rise):
    """Glucose that follows the line exactly, with another time constant and other multiples than usual."""
    rng = np.random.default_rng(1)
    steps = 12 * 24 * 14
    meals = np.zeros(steps)
    meals[rng.choice(steps, 60, replace=False)] = rng.uniform(20, 80, 60)
    extra = rng.normal(0, 0.05, steps // 12).repeat(12) + np.roll(meals, 6) / 10 * rng.uniform(0.4, 1.4, steps)
    pools, glucose = (Pool(np.array([delay])), Pool(np.array([40.0]))), [160.0]
    for step in range(steps - 1):
        lowers, raises = (
            one.take(np.array([came[step]]), 5)[0] for one, came in zip(pools, (extra, meals), strict=True)
        )
        pull = 0.03 * (160 - glucose[-1])
        glucose.append(glucose[-1] + pull - insulin * 20 * lowers + rise * 2 * raises)
    reading = (np.array(glucose) + 100 + rng.normal(0, 1, steps))[None]  # nobody is low
    therapy = Therapy.set(np.array([0.01]), np.array([10.0]), np.array([20.0]))
    found = response(reading, extra[None], meals[None], therapy, np.zeros(1, dtype=int))
    assert found.delay[0] == delay and found.absorption[0] == 40
    assert found.insulin[0] == pytest.approx(insulin, rel=0.1) and found.rise[0] == pytest.approx(rise, rel=0.1)
    assert found.largest[0] == pytest.approx(np.quantile(meals[meals > 0], 0.9))


def test_a_pump_is_mended_by_how_the_patient_answers():
    two = np.ones(2)
    told = Response(2 * two, 1.5 * two, 70 * two, 40 * two, np.array([8.0, 2 * NOISE]), np.array([np.inf, 60.0]))
    therapy = Therapy.set(0.01 * two, 10 * two, 20 * two).responding(told)
    assert (therapy.factor == 40).all() and therapy.ratio == pytest.approx(10 * 2 / 1.5)
    # What carbohydrate raises is what was found: 1.5 times what the pump's settings say.
    assert therapy.factor / therapy.ratio == pytest.approx(1.5 * 20 / 10)
    assert therapy.unsure.tolist() == [1.0, 4.0]
    large = Calculator(therapy)
    large.read(np.full(2, 125.0))
    assert large.bolus(np.full(2, 120.0)) == pytest.approx(np.array([120, 60]) / therapy.ratio)
    assert large.columns(np.full(2, 120.0), 0)[:, 3] == pytest.approx(np.array([120, 60]) * 3)


def test_relatives_rest_as_the_published_do_and_differ():
    for place in (0, 12, 25):
        own = {name: float(one[place]) for name, one in published().columns.items()}
        assert at_rest(own) == pytest.approx(own, rel=1e-4)
    table = relatives(PARENTS, 3, seed=2, spread=0.7)
    assert table.names[:4] == ("adult#001/1", "adult#001/2", "adult#001/3", "adult#002/1")
    people = Patients(np.arange(len(table.names)), published() + table).repeat(1)
    assert people.names[0] == published().names[0] and set(patients(None, table).groups) == {"adult", "child"}
    drawn = patients(None, table)
    body = Simulator(drawn)
    still = body.step(drawn.basal, np.zeros(len(drawn)), 300)
    assert still == pytest.approx(np.broadcast_to(drawn.column("Gb")[:, None], still.shape), rel=1e-3)
    assert len(np.unique(drawn.column("ka1"))) == len(drawn)
    # As far off as the parents' pumps: a unit moves glucose by the same multiple of the factor.
    off = moved(drawn)[0] / drawn.column("correction_factor")
    assert off.reshape(-1, 3) == pytest.approx(
        np.repeat((moved(patients(PARENTS))[0] / patients(PARENTS).column("correction_factor"))[:, None], 3, axis=1)
    )
    with pytest.raises(ValueError, match="alone in its age group"):
        relatives(["adult#001", "child#003", "child#004"], 1, 0, 1.0)


def test_logged_care_tells_decisions_of_logged_patients(logged):
    assert care.episodes(2, days=2, seed=3, people=("adult#001", "child#003", "child#004")) == logged
    for one in logged:
        assert one.features[0] in (care.COUNTING, care.NOT_COUNTING) and one.outcome in ("continues", "ended")
        assert len(one.steps) == 192 or one.outcome == "ended"
        for step in one.steps:
            assert step.action in ACTIONS and 0 <= step.reward <= 0.05
            assert (step.values[3] is not None) == step.action.startswith("m")
    taken = {step.action for one in logged for step in one.steps}
    assert len(taken) >= len(ACTIONS) - 2


def test_people_who_do_not_count_announce_nothing():
    never = care.episodes(1, days=1, seed=1, people=PEOPLE, care=care.Care(uncounting=1.0))
    assert all(step.values[2] is None and step.values[3] is None for one in never for step in one.steps)
    assert {one.features[0] for one in never} == {care.NOT_COUNTING}


def test_cost_is_that_of_risk_and_low_glucose_counts_more():
    found = care.cost(np.array([54.0, 70.0, 112.5, 180.0, 250.0, 400.0]))
    assert ((found >= 0) & (found <= 1)).all() and found[2] < 0.001
    assert found[0] == 1 and found[1] > 3 * found[3] and found[4] > found[3] > 0


def test_low_glucose_is_treated_when_it_is_noticed():
    people = patients(PEOPLE)
    always = Rescue(people, np.arange(2), 60, habit=Habit(awake=1.0, asleep=1.0))
    eaten = np.array([always.eaten(np.array([65.0, 75.0]), minute) for minute in range(0, 60, 5)])
    assert eaten[:, 1].sum() == 0
    assert np.flatnonzero(eaten[:, 0]).tolist() == [0, 3, 6, 9] and eaten[0, 0] == 15.0  # every quarter of an hour
    never = Rescue(people, np.arange(2), 60, habit=Habit(awake=0.0, asleep=0.0))
    assert not any(never.eaten(np.full(2, 50.0), minute).any() for minute in range(0, 60, 5))
    child = Rescue(patients(["child#003"]), np.arange(1), 60, habit=Habit(asleep=1.0))
    assert child.eaten(np.array([60.0]), 0)[0] == round(0.3 * patients(["child#003"]).column("BW")[0])


def test_the_loop_serves_rescue_and_tells_what_was_given():
    people = patients(["child#003"])
    controller = Asking(1, {0: 5.0})
    rescue = Rescue(people, np.array([0]), 360, habit=Habit(awake=1.0, asleep=1.0))
    meals = scenario.Scenario(*(np.zeros((1, 1)) for _ in range(3)))
    runs = [
        loop.run(
            controller,
            Simulator(people),
            meals,
            Sensor("GuardianRT", np.array([0]), 360),
            pump("Insulet"),
            360,
            rescue=eats,
        )
        for eats in (rescue, None)
    ]
    assert runs[0].rescue.sum() > 0 and runs[1].rescue.sum() == 0
    assert runs[0].glucose[0, -1] > runs[1].glucose[0, -1]
    assert np.array(controller.given[:72])[:, 0] == pytest.approx((runs[0].basal + runs[0].bolus)[0] * 5)


def guarded(readings: list[float], bolus: dict[int, float], basal: float = 0.01) -> np.ndarray:
    """U given every five minutes, where sensors show ``readings``."""
    people = patients(["adult#001"])
    controller = Guarded(Asking(1, bolus, basal), people, RULES)
    given = []
    for place, reading in enumerate(readings):
        dose = controller.dose(np.array([reading]), np.zeros(1), 5 * place, 5)
        controller.gave(dose, np.zeros(1), 5)
        given.append(float(5 * (dose.basal + dose.bolus)[0]))
    return np.array(given)


def test_no_insulin_at_low_glucose_and_a_meal_bolus_comes_later():
    given = guarded([65.0, 65.0, 80.0, 80.0], {0: 4.0})
    assert given.tolist() == pytest.approx([0.0, 0.0, 4.05, 0.05])
    late = guarded([65.0] * (WAITING // 5 + 2) + [80.0], {0: 4.0})
    assert late[-1] == pytest.approx(0.05)  # too late for it


def test_insulin_in_three_hours_is_limited():
    weight = patients(["adult#001"]).column("BW")[0]
    most = 0.7 * weight
    given = guarded([200.0] * 40, dict.fromkeys(range(0, 200, 5), 20.0))
    for start in range(len(given)):
        assert given[start : start + 36].sum() <= most + 1e-3
    assert given[0] == pytest.approx(20.05) and given.sum() > 0.9 * most


def test_a_hybrid_gives_the_rate_of_the_one_and_the_bolus_of_the_other():
    people = patients(PEOPLE)
    rule, pid = BasalBolus(people), control.untuned(2)
    reading, announced = np.array([160.0, 100.0]), np.array([50.0, 0.0])
    expected = pid.dose(reading, announced, 0, 5).basal
    pid.reset()
    found = Hybrid(rule, pid).dose(reading, announced, 0, 5)
    assert found.basal == pytest.approx(expected)
    assert found.bolus == pytest.approx(rule.dose(reading, announced, 0, 5).bolus)


def test_from_logs_to_a_plan(tmp_path):
    """What `puji fit plans --setting diabetes` does, a day under the plan, and its page."""
    care.write(tmp_path / "care.ndjson", 1, days=1)
    model = puji.fit(
        "plans",
        tmp_path / "care.ndjson",
        epochs=15,
        out=tmp_path / "model",
        setup={"setting": "diabetes", "rounds": 2, "episodes": 0},
        settings={"progress": False, "compile": False, "precision": "fp32", "batch_tokens": 512},
    )
    usual, planned, made = day.lived(model, "child#009", 1, least=1)
    assert usual.glucose.shape == planned.glucose.shape == (1, 289)
    assert made.now is not None and made.chosen is not None and made.chosen.verdict.rules
    people = patients(["child#009"])
    basal = [one.dose for one in made.now.orders if one.dose.unit.endswith("/h")]
    assert basal[0].value == pytest.approx(60 * people.basal[0], abs=0.006)  # boluses come with the usual rate
    for language in ("en", "zh"):
        assert str(day.drawn(usual, planned, language=language)).startswith("<svg")
    assert "child#009" in page(made, "en", [day.section("child#009", usual, planned)])
    # Who does not know the patient's usual doses recommends none.
    answer = model.predict(model.modality.parse("110 100 ? ? 12 -"), unfamiliar="answer")
    assert answer.estimates.plan.abstained == "plans.abstained.no_orders"


def test_the_page_of_a_day_refuses_other_models_and_seeds(tmp_path, monkeypatch, capsys):
    for words, says in (
        (["plans", "child#009", "a.html"], "type-1 diabetes"),
        (["names", "child#009", "a.html"], "type-1 diabetes"),
        (["plans-diabetes", "child#009", "a.html", "--seed", "-1"], "--seed"),
    ):
        monkeypatch.setattr(
            "sys.argv", ["day", *(str(tmp_path / word) if word == "a.html" else word for word in words)]
        )
        with pytest.raises(SystemExit):
            day.main()
        assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

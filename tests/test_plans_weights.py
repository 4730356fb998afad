"""The released plans: what the weights know of the sepsis logs, not only that they load."""

from __future__ import annotations

import json

import numpy as np
import pytest

import puji
from puji.errors import Invalid
from puji.modalities.plans.demo import CHILD, DIABETES, FACTS, PATIENT, RARE, demo, plan
from puji.modalities.plans.diabetes import day, metrics
from puji.modalities.plans.diabetes.care import COUNTING
from puji.modalities.plans.diabetes.doses import ACTIONS, BASAL, CORRECTION, HIGH, TARGET
from puji.modalities.plans.diabetes.planning import asked
from puji.modalities.plans.episode import Episode, Step
from puji.modalities.plans.fhir_check import check
from puji.modalities.plans.value import prompt, ranked
from puji.modalities.plans.words import expected


@pytest.fixture(scope="module")
def model():
    return puji.load("plans")


@pytest.fixture(scope="module")
def says(model):
    """Of all states."""
    book = model.modality.book
    every = [Episode("", (Step(state),)) for state in book.states]
    kinds = [book.kind(one, one.steps[0]) for one in every]
    return model.modality.estimates(model, [prompt(book, one, 0) for one in every], kinds)


def test_the_weights_know_how_often_states_and_actions_were_logged(model, says):
    assert len(model.modality.book.states) > 700 and model.modality.decisions > 80_000
    assert says.support.sum() == pytest.approx(model.modality.decisions, rel=0.02)
    # The clinicians of ICU-Sepsis take few of the 25 actions in a state.
    assert 3 < np.median((says.support >= 5).sum(1)) < 15


def test_states_are_told_apart_by_what_became_of_their_patients(says):
    visits = says.support.sum(1)
    mean = float((visits * says.state).sum() / visits.sum())
    assert 0.7 < mean < 0.85, "logged care saves 78 %"
    assert np.sqrt((visits * (says.state - mean) ** 2).sum() / visits.sum()) > 0.05


def test_what_is_recommended_is_supported_and_let_pass(model):
    made = plan(model, PATIENT)
    assert made.chosen is not None and made.chosen.support.cases >= 20 and made.chosen.verdict.outcome != "vetoed"
    assert 0.5 < made.chosen.outcome.estimate.low < made.chosen.outcome.estimate.value < 1
    values = [one.outcome.estimate.value for one in made.considered if one.support.cases >= 20]
    assert values[0] == max(values)


def test_without_support_or_facts_nothing_is_recommended(model):
    assert plan(model, RARE).abstained == "plans.abstained.support"
    assert plan(model, PATIENT, least=100_000).abstained == "plans.abstained.support"
    blind = model.predict(PATIENT, unfamiliar="answer").estimates.plan
    assert blind.abstained == "plans.abstained.facts"  # nobody knows whether this is an adult, or allergic


def test_the_plan_is_fhir(model, tmp_path):
    answer = model.predict(PATIENT, patient=str(FACTS), unfamiliar="answer")
    told = "".join(model.modality.tell_answers([(model.record(PATIENT), answer)], tmp_path / "plan.ndjson"))
    for line in told.splitlines():
        assert check(json.loads(line)) == []


def test_what_the_demo_shows(model):
    titles = [section.title.text("en") for section in demo(model, 0)]
    assert titles[0] == "A plan for one patient" and "Recommended now" in titles
    shown = demo(model, 0)
    assert sum(len(section.figures) for section in shown) >= 2


def test_an_unfamiliar_patient_gets_a_page_and_fhir_that_say_so(model, tmp_path):
    answer = model.predict(RARE, patient=str(FACTS))
    assert answer.familiar is False and not answer.estimates
    page = "".join(model.modality.tell_answers([(model.record(RARE), answer)], tmp_path / "plan.html"))
    assert "unlike those in the training data" in page and "与训练数据" in page and "Recommended now" not in page
    told = "".join(model.modality.tell_answers([(model.record(RARE), answer)], tmp_path / "plan.ndjson"))
    assert all(check(json.loads(line)) == [] for line in told.splitlines()) and "MedicationRequest" not in told


def test_a_recommendation_says_how_many_may_be_as_good(model):
    made = plan(model, PATIENT)
    least = made.chosen.outcome.estimate.value
    every = plan(model, PATIENT, alternatives=100).alternatives
    rivals = [one for one in every if one.outcome.estimate.high >= least and one.verdict.outcome != "vetoed"]
    assert expected(made, "en").startswith("more than 530 mL of fluid, no vasopressor; ")
    # However few of them are told.
    for told in (made, plan(model, PATIENT, alternatives=0)):
        assert f"{len(rivals)} of the {len(every)} other actions" in expected(told, "en")
    assert "in this state" in expected(made, "en")


@pytest.fixture(scope="module")
def diabetes():
    return puji.load(DIABETES)


def first(model, glucose: float, heading: float, announced: float | None = None, hour: float = 12) -> str:
    """What is recommended at a moment, the safety rules left out."""
    columns = np.array([[glucose, heading, np.nan, np.nan if announced is None else announced, hour]])
    scores = asked(model, columns, COUNTING).shrunken()
    # As the pump's calculator has it (`Calculator.possible`), of glucose that does not change.
    possible = {"m": announced is not None, "b": announced is None, "c": announced is None and heading > HIGH}
    meant = np.array([possible[code[0]] and (code != "b150" or heading >= TARGET[0]) for code in ACTIONS])
    return ACTIONS[ranked(np.where(meant, scores, -np.inf), model.modality.setting.value.equal)[0, 0]]


def test_the_plan_gives_more_insulin_where_glucose_is_heading_high(diabetes):
    for hour in (3, 12):
        for glucose in (135, 165, 200):
            assert first(diabetes, glucose, 40, hour=hour) in ("b0", "b50")
            assert first(diabetes, glucose, 110, hour=hour) in BASAL
            assert first(diabetes, glucose, 320, hour=hour) in CORRECTION


def test_a_meal_gets_a_bolus(diabetes):
    for glucose in (95, 135, 200):
        assert first(diabetes, glucose, glucose, 100) in ("m80", "m100", "m120", "m140")


def test_a_day_under_the_plan_is_in_range_and_not_low(diabetes):
    usual, planned, made = day.lived(diabetes, CHILD, 0)
    shares = [metrics.scores(course)["in_range"][0] for course in (usual, planned)]
    assert shares[1] > shares[0] - 2 and planned.glucose.min() > 54
    assert made.chosen is not None and made.chosen.support.cases >= 20


def test_what_the_setting_does_not_observe_is_refused(diabetes):
    for typed in ("180 170 ? ? 12", "417", "417 5; 33", "1 2 3 4 5 6 -"):
        with pytest.raises(Invalid) as refusal:
            diabetes.modality.parse(typed)
        assert "heading" in refusal.value.message()
    answer = diabetes.predict("180 170 ? ? 12 -", unfamiliar="answer")
    assert answer.estimates.plan.abstained == "plans.abstained.no_orders"

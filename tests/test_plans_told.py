"""What people meet who ask for a plan: what a setting can observe, safety rules on all that is shown, and words that are true."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

import puji
from puji.commands.judge import Given, answer_row, estimate_rows
from puji.commands.output import print_table
from puji.errors import Invalid
from puji.language import use
from puji.modalities.plans import careplan, words
from puji.modalities.plans.advise import load_facts, plan, weighed
from puji.modalities.plans.conditions import Ask, Setup
from puji.modalities.plans.demo import DIABETES, PATIENT
from puji.modalities.plans.diabetes.doses import Calculator, Therapy
from puji.modalities.plans.diabetes.planning import ordered
from puji.modalities.plans.diabetes.safeguard import facts
from puji.modalities.plans.episode import Episode, Step
from puji.modalities.plans.modality import Plans, maker
from puji.modalities.plans.page import page
from puji.modalities.plans.read import read
from puji.modalities.plans.safety import Facts, Safety, load_rules
from puji.modalities.plans.setting import FOLDER, load_setting
from puji.modalities.plans.value import Estimates


@pytest.fixture(scope="module")
def sepsis():
    return puji.load("plans")


@pytest.fixture(scope="module")
def diabetes():
    return puji.load(DIABETES)


def refused(call, *arguments):
    with pytest.raises(Invalid) as caught:
        call(*arguments)
    for language in ("en", "zh"):
        assert "{" not in caught.value.message(language) and caught.value.reason not in caught.value.message(language)
    return caught.value


# -- what can be observed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("-140 130 ? ? 12 -", ("glucose", "-140", "20 to 800 mg/dL")),
        ("7.8 130 ? ? 12 -", ("glucose", "mmol/L", "141 mg/dL")),
        ("140 130 ? ? 99 -", ("hour", "99", "0 to 24")),
        ("140 130 ? ? 12 b100; 140 130 -5 ? 12 -", ("meal", "Step 2")),
        ("140 130 ? ? 12 b9; 140 130 ? ? 12 -", ("b9", "Step 1", "b100")),
    ],
)
def test_what_a_column_cannot_be_and_nobody_can_do_is_refused_by_name(diabetes, typed, told):
    message = refused(diabetes.modality.parse, typed).message("en")
    assert all(part in message for part in told), message


def test_an_episode_given_as_such_is_checked_too(sepsis, diabetes):
    wrong = Episode("", (Step("", (7.8, 130.0, None, None, 12.0)),))
    assert refused(diabetes.predict, wrong).reason == "plans.episode.limits"
    unknown = Episode("", (Step("287", (), "77"), Step("69")))
    assert refused(sepsis.predict, unknown).reason == "plans.setting.action"


def test_a_table_tells_the_row_and_the_column(tmp_path):
    setting, _ = load_setting("diabetes")
    path = tmp_path / "care.csv"
    rows = ["subject,step,glucose,heading,meal,announced,hour,action,features"]
    rows += ["a,0,140,130,,,12,b100,", "b,0,140,130,,,12,b100,not-counting", "b,1,7.8,120,,,12,b100,not-counting"]
    path.write_text("\n".join([*rows, "c,0,140,130,,,12,b100,not-counting"]), "utf-8")
    found = list(read(path, setting))
    (wrong,) = (one for one in found if isinstance(one, Invalid))
    assert wrong.line == 4 and "glucose" in wrong.message("en") and "mmol/L" in wrong.message("zh")
    kept = [one.content for one in found if not isinstance(one, Invalid) and one.content]
    assert [(one.subject, one.features) for one in kept] == [("a", ()), ("c", ("not-counting",))]


def test_nobody_needs_to_know_the_features_of_the_logs(diabetes):
    typed = "140 130 ? ? 12 -"
    assert diabetes.predict(typed).familiar
    assumed, told, other = (
        Episode("", diabetes.modality.parse(typed).steps, "", features)
        for features in ((), ("counting",), ("not-counting",))
    )
    same, another = diabetes.predict(told).estimates, diabetes.predict(other).estimates
    assert diabetes.predict(assumed).estimates == same and another != same


# -- what is shown has passed the rules ----------------------------------------------------------------------------------


def test_no_insulin_is_shown_as_good_while_glucose_is_low(diabetes):
    answer = diabetes.predict("40 30 ? ? 12 -", unfamiliar="answer")
    order = [name for name in answer.estimates if name != "logged care"]
    assert order[0] == "b0" and "vetoed" not in answer.estimates["b0"].about
    assert len(order) > 1 and all("vetoed" in answer.estimates[name].about for name in order[1:])
    # A meal does not change that.
    meal = diabetes.predict("40 30 ? 60 12 -", unfamiliar="answer")
    assert meal.estimates.plan.abstained == "plans.abstained.vetoed"
    assert any("below 70 mg/dL" in text for text in diabetes.modality.remarks(diabetes.record("40 30 ? 60 12 -"), meal))
    high = diabetes.predict("140 130 ? 60 12 -", unfamiliar="answer")
    assert not any("vetoed" in (one.about or "") for one in high.estimates.values())


def test_a_medicine_without_a_dose_is_judged_by_the_rules_that_need_none():
    safety = Safety(load_rules(FOLDER / "diabetes_rules.toml"))
    insulin = (("ATC/A10AB", "subcutaneous"),)
    low = facts(30, 70, 60, 0)
    assert safety.check_undosed(low, insulin).outcome == "vetoed"
    assert safety.check_undosed(facts(30, 70, 100, 0), insulin).outcome == "allowed"
    # Nothing known is no pass, and what is malformed is vetoed.
    assert safety.check_undosed(Facts(), insulin).outcome == "vetoed"
    assert safety.check_undosed(low, (("nonsense", "nowhere"),)).outcome == "vetoed"
    assert safety.check_undosed(None, insulin).outcome == "vetoed"  # type: ignore[arg-type]


def test_a_fact_that_no_table_knows_is_refused(tmp_path):
    _, rules = load_setting("sepsis")
    path = tmp_path / "patient.json"
    for told, name in (
        ('{"allergies": ["penicillin"]}', "penicillin"),
        ('{"conditions": ["heart trouble"]}', "heart_trouble"),
        ('{"conditions": ["ATC/B01AA03"]}', "ATC/B01AA03"),
        ('{"current": [{"code": "aspirin"}]}', "aspirin"),
    ):
        path.write_text(told, "utf-8")
        refusal = refused(load_facts, str(path), rules)
        assert name in refusal.message("en") and refusal.source == str(path)
    path.write_text('{"allergies": ["ATC/J01CA04"], "conditions": ["E11.9", "ICD10CM/E11.65"]}', "utf-8")
    assert load_facts(str(path), rules).allergies == ("ATC/J01CA04",)


# -- and is told truly ---------------------------------------------------------------------------------------------------


def test_a_patient_alone_gets_the_reason_and_what_to_do(sepsis):
    answer = sepsis.predict(PATIENT)
    (first, *_) = sepsis.modality.remarks(sepsis.record(PATIENT), answer)
    assert "--patient" in first and all(fact in first for fact in ("age", "allergies", "body weight"))
    row = answer_row(sepsis.modality, Given.read(sepsis.record(PATIENT), puji.modality.Raw(PATIENT)), answer)
    assert "--patient" in row["notes"] and "survival within 90 d" in row["notes"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_of_actions_stand_in_a_table_of_80_columns(sepsis, language, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    use(language)
    try:
        rows = list(estimate_rows("plans", sepsis.predict(PATIENT)))
        stream = io.StringIO()
        print_table(rows, "plans", stream)
    finally:
        use(None)
    told = stream.getvalue()
    assert ("vasopressor" if language == "en" else "升压药") in told and "0.772" in told
    assert not capsys.readouterr().err and max(map(len, told.splitlines())) <= 80


def test_an_index_is_no_percentage(diabetes, tmp_path):
    typed = "140 130 ? 60 12 -"
    answer = diabetes.predict(typed)
    record = diabetes.record(typed)
    told = "".join(diabetes.modality.tell_answers([(record, answer)], tmp_path / "plan.html"))
    assert "Predicted: glucose risk index" in told and "interval 0.2" in told.replace("\N{NO-BREAK SPACE}", " ")
    assert "21%" not in told
    assert "风险指数" in told
    assert "Values: glucose risk index" in " ".join(diabetes.modality.remarks(record, answer))
    rows = list(estimate_rows("plans", answer))
    assert "unit" not in rows[0]
    fhir = "".join(diabetes.modality.tell_answers([(record, answer)], tmp_path / "plan.ndjson"))
    assert "probabilityRange" not in fhir
    # Doses that only the patient's own settings tell are not no medicine.
    assert "no medicine" not in told + fhir and "meal bolus, 100 % of what the calculator suggests" in fhir


def test_which_decisions_were_counted_is_told(sepsis, diabetes):
    for model, wanted in ((sepsis, "in this state"), (diabetes, "in the same range of glucose")):
        setting = model.modality.setting
        assert setting.names()["alike"]["en"].startswith(wanted)
    made = diabetes.predict("140 130 ? 60 12 -").estimates.plan
    assert "whatever else was observed" in page(made)
    assert "whatever else was observed" in words.support(made.alternatives[0], made, "en")
    # And it is so: another heading, hour or meal leaves the sum of what was counted.
    counts = [
        sum(int(re.findall(r"\(([0-9,]+);", one.about)[0].replace(",", "")) for one in found.values() if one.about)
        for found in (diabetes.predict(typed).estimates for typed in ("140 130 ? ? 12 -", "140 200 ? ? 3 -"))
    ]
    assert counts[0] == pytest.approx(counts[1], rel=0.05)


def pumped(glucose=140.0):
    """A plan for a meal, with the doses of a patient who gets 0.9 U an hour."""
    setting, rules = load_setting("diabetes")
    calculator = Calculator(Therapy.set(np.array([0.9 / 60]), np.array([10.0]), np.array([40.0])))
    calculator.read(np.array([glucose]))
    dosed = ordered(setting, calculator, np.array([40.0]))
    share = np.full((1, 12), 0.4)
    share[0, 7] = 0.6
    support = np.where(np.arange(12) >= 4, 500.0, 0.0)[None]
    found = Estimates(np.array([0.5]), share, support / support.sum(), support)
    who = facts(30, 70, glucose, 1.0)
    pairs = weighed(dosed, Safety(rules), found, who)
    return plan(dosed, Safety(rules), pairs, Ask(), names=setting.names(rules), maker=maker())


def test_a_pump_gets_a_basal_rate_and_a_bolus():
    made = pumped()
    assert made.chosen is not None
    english, chinese = (words.action(made.now.orders, made, language) for language in ("en", "zh"))
    assert "basal rate, rapid-acting insulin 0.9 U/h" in english and "bolus, rapid-acting insulin 4" in english
    assert "基础率（速效胰岛素） 0.9 U/h" in chinese and "大剂量（速效胰岛素） 4" in chinese
    assert words.brief(made.now.orders, made, "en").startswith("basal rate 0.9 U/h + bolus 4")
    texts = [
        one["dosageInstruction"][0]["text"] for one in careplan.resources(made, "en") if "dosageInstruction" in one
    ]
    assert [text.split(",")[0] for text in texts] == ["basal rate", "bolus"]
    assert "temporary basal rate" in load_setting("diabetes")[0].action("b150").name["en"]


def test_a_plan_without_names_of_doses_names_medicines():
    made = replace(pumped(), names={})
    assert words.brief(made.now.orders, made, "en").startswith("ATC/A10AB 0.9 U/h")


def test_a_model_that_learned_no_courses_says_so(diabetes, sepsis):
    refusal = refused(lambda: diabetes.generate(2))
    assert refusal.reason == "plans.generate.none" and "--episodes" in refusal.message("zh")
    assert len(sepsis.generate(1, seed=1).records) == 1
    modality = Plans()
    modality.set_up(Setup(episodes=7))
    again = Plans()
    again.restore(json.loads(json.dumps(modality.state(), default=lambda one: one.tolist())))
    assert again.episodes == 7

"""A plan as data, as FHIR, in words and as a page: what it must hold, and what it must never say."""

import copy
import importlib
import json
import re
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puji.errors import Invalid
from puji.language import LANGUAGES, catalogue
from puji.modalities.plans import words
from puji.modalities.plans.careplan import ISSUES, SNOMED, UCUM, bundle, care_plans, resources
from puji.modalities.plans.draw import alternatives
from puji.modalities.plans.fhir_check import REQUIRED, VALUES, check
from puji.modalities.plans.page import page
from puji.modalities.plans.plan import ROUTES, Finding, Step, Verdict
from puji.modalities.plans.safety.doses import Limit
from puji.modalities.plans.safety.rules import AnyRule
from puji.modalities.plans.units import Quantity
from puji.modalities.timelines.codes import normalised
from tests.plans_cases import FACTS, GLUCOSE, NORADRENALINE, a_plan, an_infusion, layer, no_plan, order

PLANS = {"insulin": a_plan(), "none": no_plan(), "infusion": an_infusion()}


@pytest.fixture(params=[(name, language) for name in PLANS for language in LANGUAGES], ids="-".join)
def told(request):
    name, language = request.param
    return PLANS[name], language


@pytest.fixture(scope="module")
def pages():
    return {name: page(plan, "zh") for name, plan in PLANS.items()}


def of(found, kind):
    return [one for one in found if one["resourceType"] == kind]


# -- a plan cannot contradict itself -----------------------------------------------------------------------------------


def test_only_what_passed_is_recommended():
    plan = a_plan()
    vetoed = plan.alternatives[3]
    assert vetoed.verdict.outcome == "vetoed"
    for wrong in (
        {"chosen": vetoed, "now": Step(vetoed.proposed)},
        {"chosen": vetoed, "now": Step(())},
        {"now": Step(vetoed.proposed)},
        {"now": Step(())},
        {"now": Step((replace(plan.now.orders[0], dose=Quantity(60, "U")),))},
        {"chosen": replace(plan.chosen, verdict=Verdict(plan.now.orders))},
        {"now": None},
        {"chosen": None},
        {"abstained": "plans.abstained.unfamiliar"},
        {"made": datetime(2026, 1, 1)},
    ):
        with pytest.raises(ValueError, match="plan"):
            a_plan(**wrong)
    with pytest.raises(ValueError, match="plan"):
        no_plan(abstained=None)


def test_plans_are_frozen():
    plan = a_plan()
    for one, name in (
        (plan, "now"),
        (plan.now, "orders"),
        (plan.chosen, "verdict"),
        (plan.now.orders[0], "dose"),
        (plan.maker, "name"),
    ):
        with pytest.raises(AttributeError):
            setattr(one, name, None)


def test_a_reduced_action_is_told_as_it_is_left():
    plan = a_plan()
    reduced = next(one for one in plan.alternatives if one.verdict.outcome == "reduced")
    assert (reduced.proposed[0].dose.value, reduced.orders[0].dose.value) == (14, 12)
    assert "12 U" in words.action(reduced.orders, plan, "en")


# -- FHIR --------------------------------------------------------------------------------------------------------------


def test_a_bundle_has_no_problems(told):
    plan, language = told
    found = bundle(plan, language)
    assert check(found) == []
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for one in resources(plan, language):
        assert check(one) == []


def test_the_structure_is_that_of_fhir(told):
    plan, language = told
    for one in [*resources(plan, language), bundle(plan, language)]:
        kind = one["resourceType"]
        model = getattr(importlib.import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)
        model.model_validate_json(json.dumps(one))
        for path, values in VALUES.items():
            # Where FHIR has an enumeration, ours is a part of it.
            name = path.removeprefix(f"{kind}.")
            extra = getattr(model.model_fields.get(name), "json_schema_extra", None) or {}
            assert name == path or set(values) <= set(extra.get("enum_values", values))


def test_it_proposes_and_nothing_more(told):
    plan, language = told
    found = resources(plan, language)
    (care,) = of(found, "CarePlan")
    review = catalogue(language)["plans.review"]
    assert (care["status"], care["intent"]) == ("draft", "proposal")
    assert review in care["text"]["div"]
    assert review in {note["text"] for note in care["note"]}
    for request in of(found, "MedicationRequest"):
        assert (request["status"], request["intent"]) == ("draft", "proposal")
        assert request["note"] == [{"text": review}]
        assert request["subject"] == {"reference": plan.patient}
    assert not re.search(
        r'"(active|order|final|completed|in-progress)"',
        json.dumps([one for one in found if one["resourceType"] != "Device"]),
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_orders_become_requests(language):
    plan = an_infusion()
    found = resources(plan, language)
    infusion, antibiotic = of(found, "MedicationRequest")
    dosage = infusion["dosageInstruction"][0]
    unit = {"en": "mcg/kg/min", "zh": "μg/kg/min"}[language]
    assert dosage["doseAndRate"] == [
        {"rateQuantity": {"value": 0.3, "unit": unit, "system": UCUM, "code": "ug/kg/min"}}
    ]
    assert dosage["timing"]["repeat"] == {
        "boundsPeriod": {"start": "2026-03-01T08:30:00+00:00"},
        "count": 1,
        "duration": 240.0,
        "durationUnit": "min",
    }
    assert dosage["route"]["coding"] == [{"system": SNOMED, "code": "47625008"}]
    repeat = antibiotic["dosageInstruction"][0]["timing"]["repeat"]
    assert (repeat["count"], repeat["frequency"], repeat["period"], repeat["periodUnit"]) == (3, 1, 480.0, "min")
    assert repeat["boundsPeriod"] == {"start": "2026-03-01T08:45:00+00:00"}
    assert antibiotic["medicationCodeableConcept"]["coding"][0]["system"] == "http://www.whocc.no/atc"
    risk = of(found, "RiskAssessment")[0]["prediction"][0]
    assert risk["probabilityRange"]["low"] == {"value": 18.0, "unit": "%", "system": UCUM, "code": "%"}
    assert "22%" in risk["rationale"]
    assert risk["outcome"]["coding"] == [
        {"system": "http://hl7.org/fhir/sid/icd-10", "code": "R57.2", "display": plan.name("ICD10/R57.2", language)}
    ]
    care = found[0]
    assert [one["reference"]["reference"] for one in care["activity"]] == [
        f"MedicationRequest/{one['id']}" for one in (infusion, antibiotic)
    ]
    issues = of(found, "DetectedIssue")
    assert {one["severity"] for one in issues} == {"moderate", "low"}
    assert {one["code"]["coding"][0]["code"] for one in issues} == {"DOSEH", "DRG"}
    assert issues[0]["implicated"][0] == {"reference": f"MedicationRequest/{infusion['id']}"}


def test_later_steps_are_told_and_not_ordered():
    care = resources(a_plan(), "en")[0]
    details = [one["detail"] for one in care["activity"] if "detail" in one]
    assert len(details) == 3
    assert {one["status"] for one in details} == {"not-started"}
    assert details[1]["productCodeableConcept"]["coding"][0]["code"] == "86009"
    assert details[1]["scheduledPeriod"] == {"start": "2026-03-01T11:30:00+00:00"}
    assert details[1]["description"].startswith("In 3 h, if blood glucose is 180 mg/dL or more: insulin lispro 2 U")
    assert all("judged again" in one["description"] for one in details)


def test_a_plan_that_abstains_orders_nothing(told):
    _, language = told
    plan = no_plan()
    found = resources(plan, language)
    assert not of(found, "MedicationRequest")
    care = found[0]
    assert "activity" not in care
    assert plan.reason(language) in {note["text"] for note in care["note"]}
    assert plan.reason(language) == care["description"]
    assert plan.reason(language) in care["text"]["div"]
    assert len(of(found, "DetectedIssue")) == 2
    bare = no_plan(alternatives=(), abstained="plans.abstained.support", why={"cases": "3"})
    assert check(bundle(bare, language)) == []
    assert "3" in bare.reason(language)
    assert "supportingInfo" not in resources(bare, language)[0]


def test_vetoes_are_issues_with_a_reason(told):
    plan, language = told
    issues = of(resources(plan, language), "DetectedIssue")
    findings = [finding for one in plan.considered for finding in one.verdict.findings]
    assert len(issues) == len(findings)
    for issue, finding in zip(issues, findings, strict=True):
        assert issue["code"]["text"] == finding.reason
        assert finding.message(language, plan.names) in issue["detail"]
        assert issue["severity"] == {"veto": "high", "reduce": "moderate", "caution": "low"}[finding.effect]


def test_where_it_comes_from(told):
    plan, language = told
    found = resources(plan, language)
    (origin,), (device,) = of(found, "Provenance"), of(found, "Device")
    assert {one["value"] for one in device["version"]} == {plan.maker.version, plan.maker.commit, plan.maker.weights}
    assert origin["agent"][0]["who"] == {"reference": f"Device/{device['id']}"}
    assert origin["policy"] == [f"urn:puji:safety-rules:sha256:{plan.considered[0].verdict.rules}"]
    assert len(origin["target"]) == len(found) - 2


def test_lines_of_many_plans():
    lines = list(care_plans([a_plan(), no_plan(), an_infusion()], "zh"))
    found = [json.loads(line) for line in lines]
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    assert len(of(found, "CarePlan")) == 3
    keys = [(one["resourceType"], one["id"]) for one in found if one["resourceType"] != "Device"]
    assert len(set(keys)) == len(keys)
    assert "赖脯胰岛素" in "".join(lines)


def test_the_same_plan_is_written_the_same_each_time(told):
    plan, language = told
    assert bundle(plan, language) == bundle(copy.deepcopy(plan), language)


def test_hostile_names_stay_text():
    evil = '<script>alert("x")</script> & <b onclick=x>'
    plan = a_plan()
    names = {**plan.names, "RXNORM/86009": {"en": evil, "zh": evil}, GLUCOSE: {"en": evil, "zh": evil}}
    plan = replace(plan, names=names, maker=replace(plan.maker, name=evil))
    assert check(bundle(plan, "en")) == []
    html = page(plan, "en")
    assert "<script" not in html.lower()
    assert "<b onclick" not in html


def test_a_patient_without_a_reference():
    found = bundle(a_plan(patient=""), "en")
    assert check(found) == []
    assert found["entry"][0]["resource"]["subject"] == {"display": "unnamed patient"}


# -- the checker notices -----------------------------------------------------------------------------------------------


def wrong(change, kind="MedicationRequest", plan="infusion"):
    """The reasons of the problems of a resource after ``change``."""
    one = copy.deepcopy(of(resources(PLANS[plan], "en"), kind)[0])
    change(one)
    return {problem.reason.removeprefix("plans.fhir.") for problem in check(one)}


def dosage(one):
    return one["dosageInstruction"][0]


def rate(one):
    return dosage(one)["doseAndRate"][0]["rateQuantity"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda one: one.update(status="active"), "value"),
        (lambda one: one.update(intent="order"), "value"),
        (lambda one: one.update(intent=["proposal", "order"]), "value"),
        (lambda one: one.update(status=None), "missing"),
        (lambda one: one.pop("intent"), "missing"),
        (lambda one: one.pop("subject"), "missing"),
        (lambda one: one.pop("note"), "missing"),
        (lambda one: one.pop("meta"), "tag"),
        (lambda one: one["meta"].update(tag=[]), "tag"),
        (lambda one: one.update(id="a b"), "id"),
        (lambda one: one.update(id="x" * 65), "id"),
        (lambda one: one["medicationCodeableConcept"].pop("coding"), "missing"),
        (lambda one: one["medicationCodeableConcept"]["coding"][0].update(system="http://example.org"), "coding"),
        (lambda one: one["medicationCodeableConcept"]["coding"][0].pop("code"), "coding"),
        (lambda one: one["subject"].update(reference="42"), "reference"),
        (lambda one: one["subject"].update(reference="Patient/a b"), "reference"),
        (lambda one: one.update(authoredOn="2026-03-01"), "time"),
        (lambda one: one.update(authoredOn="2026-03-01T08:30:00"), "time"),
        (lambda one: one.update(dosageInstruction=[]), "missing"),
        (lambda one: dosage(one).update(doseAndRate=[]), "dose"),
        (lambda one: dosage(one)["doseAndRate"].append(dosage(one)["doseAndRate"][0]), "dose"),
        (lambda one: dosage(one)["timing"]["repeat"].update(durationUnit="minutes"), "value"),
        (lambda one: dosage(one)["route"]["coding"][0].update(code="1"), "value"),
        (lambda one: dosage(one)["route"]["coding"][0].update(system="http://loinc.org"), "value"),
        (lambda one: rate(one).update(value=0), "dose"),
        (lambda one: rate(one).update(value=-1), "dose"),
        (lambda one: rate(one).update(value=float("nan")), "number"),
        (lambda one: rate(one).update(value=float("inf")), "number"),
        (lambda one: rate(one).update(value="5"), "number"),
        (lambda one: rate(one).update(value=True), "number"),
        (lambda one: rate(one).update(code="mcg/kg/min"), "unit"),
        (lambda one: rate(one).update(code="stone"), "unit"),
        (lambda one: rate(one).pop("system"), "unit"),
        (lambda one: rate(one).update(system="http://example.org"), "unit"),
        (lambda one: one["text"].update(div="<div>no namespace</div>"), "narrative"),
        (
            lambda one: one["text"].update(div='<div xmlns="http://www.w3.org/1999/xhtml"><script>x</script></div>'),
            "narrative",
        ),
        (
            lambda one: one["text"].update(div='<div xmlns="http://www.w3.org/1999/xhtml"><p onclick="x">x</p></div>'),
            "narrative",
        ),
        (lambda one: one["text"].update(div='<div xmlns="http://www.w3.org/1999/xhtml"> </div>'), "narrative"),
        (lambda one: one["text"].update(div="<div"), "narrative"),
        (lambda one: one.update(category=[]), "empty"),
        (lambda one: one.update(priority=""), "empty"),
        (lambda one: one.update(resourceType="Patient"), "kind"),
        (lambda one: one.update(dosageInstruction="5 U"), "shape"),
        (lambda one: one.update(meta="tagged"), "shape"),
    ],
)
def test_a_wrong_request_is_noticed(change, reason):
    assert wrong(lambda one: None) == set()
    assert reason in wrong(change)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("CarePlan", lambda one: one.update(status="active")),
        ("CarePlan", lambda one: one.update(intent="plan")),
        ("CarePlan", lambda one: one["activity"][0].update(detail={"status": "not-started"})),
        ("CarePlan", lambda one: one["activity"][1]["detail"].update(status="scheduled")),
        ("CarePlan", lambda one: one["activity"][1]["detail"].update(kind="Task")),
        ("RiskAssessment", lambda one: one.update(status="final")),
        ("RiskAssessment", lambda one: one.pop("prediction")),
        ("DetectedIssue", lambda one: one.update(severity="deadly")),
        ("DetectedIssue", lambda one: one["code"]["coding"][0].update(code="NOPE")),
        ("Device", lambda one: one.pop("version")),
        ("Provenance", lambda one: one.pop("agent")),
    ],
)
def test_other_wrong_resources_are_noticed(kind, change):
    assert wrong(lambda one: None, kind, "insulin") == set()
    assert wrong(change, kind, "insulin")


def test_a_wrong_bundle_is_noticed():
    good = bundle(a_plan(), "en")

    def problems(change):
        one = copy.deepcopy(good)
        change(one)
        return {problem.reason.removeprefix("plans.fhir.") for problem in check(one)}

    def unlist(one):
        one["entry"][0]["resource"]["activity"] = one["entry"][0]["resource"]["activity"][1:]

    assert "unlisted" in problems(unlist)
    assert "unlisted" in problems(lambda one: one["entry"].pop(0))
    assert "unlisted" in problems(lambda one: one["entry"].append({**one["entry"][0], "fullUrl": "urn:uuid:x"}))
    assert "twice" in problems(lambda one: one["entry"].append(one["entry"][0]))
    assert "reference" in problems(lambda one: one["entry"].pop(2))
    assert "value" in problems(lambda one: one.update(type="transaction"))
    assert "missing" in problems(lambda one: one.update(entry=[]))
    assert "value" in problems(lambda one: one["entry"][1]["resource"].update(intent="order"))


def test_problems_speak_both_languages():
    for problem in check({"resourceType": "MedicationRequest", "status": "active", "id": "?"}):
        for language in LANGUAGES:
            assert problem.reason in catalogue(language)
            assert problem.message(language).startswith("MedicationRequest.")


GOOD = {one["resourceType"]: one for one in [*resources(PLANS["insulin"], "en"), bundle(PLANS["insulin"], "en")]}
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)


@given(st.sampled_from(sorted(REQUIRED)), st.data())
@settings(max_examples=80, deadline=None)
def test_whatever_it_is_given_the_checker_answers(kind, data):
    one = copy.deepcopy(GOOD[kind])
    name = data.draw(st.sampled_from(sorted(one)))
    one[name] = data.draw(json_values)
    assert isinstance(check(one), list)
    if name in REQUIRED[kind] and not one[name]:
        assert check(one)


def test_codes_are_real():
    for code in ROUTES.values():
        assert normalised(f"SNOMED/{code}") == f"SNOMED/{code}"  # its check digit is right
    reasons = {key.rpartition(".")[2] for key in catalogue("en") if key.startswith("plans.safety.")}
    assert set(ISSUES) <= reasons
    assert {f"plans.route.{route}" for route in ROUTES} <= set(catalogue("en"))


# -- words, figure, page -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "english", "chinese"),
    [
        (order(), "ATC/A10AB04 10 U under the skin, now", "ATC/A10AB04 10 U 皮下给药，立即给药"),
        (
            order(NORADRENALINE, 0.05, "ug/kg/min", "intravenous", minutes=240),
            "ATC/C01CA03 0.05 mcg/kg/min into a vein, now, for 4 h",
            "ATC/C01CA03 0.05 μg/kg/min 静脉给药，立即给药，持续 4 小时",
        ),
        (
            order(dose=1.2345678, unit="mg", route="oral", times=3, every=480, start=15),
            "ATC/A10AB04 1.2345678 mg by mouth, in 15 min, 3 times, every 8 h",
            "ATC/A10AB04 1.2345678 mg 口服，15 分钟后开始，每 8 小时 1 次，共 3 次",
        ),
    ],
)
def test_orders_in_words(one, english, chinese):
    plan = a_plan(names={})
    assert words.order(one, plan, "en") == english
    assert words.order(one, plan, "zh") == chinese


def test_durations():
    assert [words.duration(minutes, "en") for minutes in (5, 60, 119, 120, 1440, 2880, 90 * 1440)] == [
        "5 min",
        "60 min",
        "119 min",
        "2 h",
        "24 h",
        "2 d",
        "90 d",
    ]


@pytest.mark.parametrize("name", PLANS)
def test_the_page_is_whole_and_self_contained(pages, name):
    plan, html = PLANS[name], pages[name].replace("\N{NO-BREAK SPACE}", " ")
    assert '<html lang="zh">' in html
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", html)
    for language in LANGUAGES:  # both are in it, and CSS shows one
        assert catalogue(language)["plans.page.lead"] in html
        assert catalogue(language)["puji.research_use"] in html
        for one in plan.considered:
            assert catalogue(language)[f"plans.outcome.{one.verdict.outcome}"] in html
            for finding in one.verdict.findings:
                assert finding.message(language, plan.names) in html
    if plan.abstained:
        assert plan.reason("en") in html
    assert (catalogue("en")["plans.section.now"] in html) == (plan.abstained is None)
    everything = html + json.dumps([bundle(plan, language) for language in LANGUAGES], ensure_ascii=False)
    assert not re.search(r"plans\.(?!safety\.|units\.)[a-z_]+", everything)
    assert not re.search(r"\{[a-z_]+\}", re.sub(r"<style>.*?</style>", "", everything, flags=re.DOTALL))


def test_the_same_page_each_time(pages):
    assert page(PLANS["none"], "zh") == pages["none"]


def test_the_figure(told):
    plan, language = told
    drawn = alternatives(plan, language=language)
    assert drawn.startswith("<svg")
    assert drawn == alternatives(plan, language=language)
    assert alternatives(plan, "png", language).startswith(b"\x89PNG")
    with pytest.raises(Invalid):
        alternatives(plan, "gif")


def test_a_plan_without_alternatives_has_a_page():
    assert catalogue("en")["plans.page.lead"] in page(no_plan(alternatives=()), "en")


def test_every_reason_that_a_rule_gives_has_a_text():
    keys = {key for key in catalogue("en") if key.startswith(("plans.safety.", "plans.units."))}
    assert keys == {key for key in catalogue("zh") if key.startswith(("plans.safety.", "plans.units."))}
    assert Limit in AnyRule.__args__[0].__args__
    verdict = layer().check(FACTS, (order(unit="stone"),))
    assert verdict.findings == (Finding("veto", "plans.units.unknown", order=0, details={"unit": "stone"}),)
    assert "stone" in verdict.findings[0].message("zh")

"""A plan as FHIR R4: a CarePlan and what belongs to it, all of it a draft that proposes.

https://hl7.org/fhir/R4/careplan.html. The CarePlan lists a MedicationRequest for each order that is recommended now; later steps
stand in it as text and product, to be judged again when they come. A RiskAssessment for each action tells what is predicted to
come of it, a DetectedIssue what a safety rule said, a Device which model made the plan, a Provenance when and by which rules. A
plan that abstains has no MedicationRequest and no activity, and its CarePlan says why.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from html import escape
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from puji.language import current, translate
from puji.modalities.plans import words
from puji.modalities.plans.narrative import div
from puji.modalities.plans.plan import ROUTES, Alternative, Branch, Finding, Order, Plan
from puji.modalities.plans.units import Quantity, parsed, unit_shown
from puji.modalities.timelines.codes import uri_of

SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
TAG = {
    "system": "urn:puji",
    "code": "machine-proposal",
    "display": "proposed by a machine, to be reviewed by a clinician",
}
SEVERITY = {"veto": "high", "reduce": "moderate", "caution": "low"}
ISSUES = {
    "interaction": ("DRG", "Drug Interaction Alert"),
    "allergy": ("ALGY", "Allergy Alert"),
    "duplicate": ("DUPTHPY", "Duplicate Therapy Alert"),
    "condition": ("COND", "Condition Alert"),
    "pregnancy": ("PREG", "Pregnancy Alert"),
    "age": ("AGE", "Age Alert"),
    "low": ("LAB", "Lab Alert"),
    "high": ("LAB", "Lab Alert"),
    "interval": ("DOSEIVL", "Dose-Interval Alert"),
    **dict.fromkeys(("dose", "rate", "total", "too_much", "rise"), ("DOSEH", "High Dose Alert")),
    "fall": ("DOSEL", "Low Dose Alert"),
}
"""Reason of a finding -> its code in HL7's ActCode (https://terminology.hl7.org/CodeSystem-v3-ActCode.html)."""


def care_plans(plans: Iterable[Plan], language: str | None = None) -> Iterator[str]:
    """All resources of each plan, one a line (ndjson)."""
    for plan in plans:
        for resource in resources(plan, language):
            yield json.dumps(resource, ensure_ascii=False, separators=(",", ":")) + "\n"


def bundle(plan: Plan, language: str | None = None) -> dict[str, Any]:
    """All resources of one plan as a Bundle, which refer to each other within it."""
    found = resources(plan, language)
    urls = {_name(one): f"urn:uuid:{uuid5(NAMESPACE_URL, 'urn:puji:' + _name(one))}" for one in found}
    entries = [{"fullUrl": urls[_name(one)], "resource": _pointed(one, urls)} for one in found]
    head = {"resourceType": "Bundle", "id": f"{_key(plan)}-bundle", "type": "collection"}
    return {**head, "timestamp": _time(plan), "entry": entries}


def resources(plan: Plan, language: str | None = None) -> list[dict[str, Any]]:
    """All resources of one plan, the CarePlan first, with texts in ``language``."""
    language = language or current()
    key = _key(plan)
    requests = [
        _request(plan, one, place, language) for place, one in enumerate(plan.now.orders if plan.now else (), 1)
    ]
    risks = [_risk(plan, one, place, language) for place, one in enumerate(plan.considered, 1)]
    issues = [
        _issue(plan, one, finding, f"{key}-issue-{place}-{number}", requests if one is plan.chosen else [], language)
        for place, one in enumerate(plan.considered, 1)
        for number, finding in enumerate(one.verdict.findings, 1)
    ]
    later = [_later(plan, path, language) for path in words.branches(plan.now)]
    care = _base(plan, "CarePlan", key, div(plan, language), language)
    care |= {"status": "draft", "intent": "proposal", "title": translate("plans.title", language)}
    care |= {"description": plan.reason(language) or words.action(plan.now.orders if plan.now else (), plan, language)}
    care |= {"subject": _subject(plan), "created": _time(plan), "author": _reference(_device(plan))}
    care["supportingInfo"] = [_reference(one) for one in (*risks, *issues)]
    care["activity"] = [*({"reference": _reference(one)} for one in requests), *later]
    care["note"] = [{"text": text} for text in (translate("plans.review", language), plan.reason(language)) if text]
    found = [_filled(care), *requests, *risks, *issues, _device(plan)]
    return [*found, _provenance(plan, found)]


def _base(plan: Plan, kind: str, key: str, text: str, language: str) -> dict[str, Any]:
    body = text if text.startswith("<div") else f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{escape(text)}</p></div>'
    head = {"resourceType": kind, "id": key, "meta": {"tag": [TAG]}, "language": language}
    return {**head, "text": {"status": "generated", "div": body}}


def _request(plan: Plan, one: Order, place: int, language: str) -> dict[str, Any]:
    text = words.order(one, plan, language)
    review = translate("plans.review", language)
    found = _base(plan, "MedicationRequest", f"{_key(plan)}-order-{place}", f"{review} {text}", language)
    found |= {"status": "draft", "intent": "proposal", "medicationCodeableConcept": _concept(plan, one.code, language)}
    found |= {"subject": _subject(plan), "authoredOn": _time(plan), "requester": _reference(_device(plan))}
    found |= {"basedOn": [{"reference": f"CarePlan/{_key(plan)}"}], "note": [{"text": review}]}
    repeat: dict[str, Any] = {"boundsPeriod": {"start": _time(plan, one.start)}, "count": one.times}
    if one.minutes:
        repeat |= {"duration": one.minutes, "durationUnit": "min"}
    if one.times > 1:
        repeat |= {"frequency": 1, "period": one.every, "periodUnit": "min"}
    amount = "rateQuantity" if "/time" in parsed(one.dose.unit).kind else "doseQuantity"
    route = {"coding": [{"system": SNOMED, "code": ROUTES[one.route]}], "text": words.route(one, language)}
    dose = {amount: _quantity(one.dose, language)}
    dosage = {"text": text, "timing": {"repeat": repeat}, "route": route, "doseAndRate": [dose]}
    return {**found, "dosageInstruction": [dosage]}


def _later(plan: Plan, path: Sequence[Branch], language: str) -> dict[str, Any]:
    step = path[-1].step
    detail: dict[str, Any] = {"kind": "MedicationRequest"} if step.orders else {}
    detail |= {"status": "not-started", "description": words.step(path, plan, language)}
    detail |= {"scheduledPeriod": {"start": _time(plan, step.at)}}
    if len(step.orders) == 1:
        detail["productCodeableConcept"] = _concept(plan, step.orders[0].code, language)
    return {"detail": detail}


def _risk(plan: Plan, one: Alternative, place: int, language: str) -> dict[str, Any]:
    """``probabilityRange`` says in percent what an interval of a probability is; other quantities stand in the rationale."""
    action, told = words.whole(one, one.orders, plan, language), words.outcome(one.outcome, plan, language)
    found = _base(plan, "RiskAssessment", f"{_key(plan)}-outcome-{place}", f"{action}: {told}", language)
    found |= {
        "status": "preliminary",
        "subject": _subject(plan),
        "method": {"text": translate("plans.method", language)},
    }
    found |= {"occurrenceDateTime": _time(plan), "performer": _reference(_device(plan))}
    prediction: dict[str, Any] = {"outcome": _concept(plan, one.outcome.name, language)}
    estimate = one.outcome.estimate
    if estimate.unit == "":
        ends = (("low", estimate.low), ("high", estimate.high))
        percent = {name: _quantity(Quantity(round(100 * end, 3), "%"), language) for name, end in ends}
        prediction["probabilityRange"] = percent
    prediction["whenPeriod"] = {"start": _time(plan), "end": _time(plan, 60 * one.outcome.hours)}
    prediction["rationale"] = told
    notes = [words.support(one, plan, language), translate(f"plans.outcome.{one.verdict.outcome}", language)]
    return {**found, "prediction": [prediction], "mitigation": action, "note": [{"text": text} for text in notes]}


def _issue(
    plan: Plan, one: Alternative, finding: Finding, key: str, requests: Sequence[dict[str, Any]], language: str
) -> dict[str, Any]:
    text = words.finding(one, finding, plan, language)
    found = _base(plan, "DetectedIssue", key, text, language)
    code: dict[str, Any] = {"text": finding.reason}
    if known := ISSUES.get(finding.reason.rpartition(".")[2]):
        code["coding"] = [{"system": ACT, "code": known[0], "display": known[1]}]
    found |= {"status": "preliminary", "code": code, "severity": SEVERITY[finding.effect], "patient": _subject(plan)}
    found |= {"identifiedDateTime": _time(plan), "author": _reference(_device(plan)), "detail": text}
    found["implicated"] = [_reference(request) for request in requests]
    return _filled(found)


def _device(plan: Plan) -> dict[str, Any]:
    maker = plan.maker
    told = {"version": maker.version, "commit": maker.commit, "SHA-256 of the weights": maker.weights}
    versions = [{"type": {"text": name}, "value": value} for name, value in told.items() if value]
    key = "model-" + hashlib.sha256(repr(maker).encode()).hexdigest()[:24]
    found = {"resourceType": "Device", "id": key, "status": "active", "type": {"text": "software"}}
    return _filled({**found, "deviceName": [{"name": maker.name, "type": "model-name"}], "version": versions})


def _provenance(plan: Plan, targets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    judged = sorted({one.verdict.rules for one in plan.considered if one.verdict.rules})
    found: dict[str, Any] = {"resourceType": "Provenance", "id": f"{_key(plan)}-origin", "recorded": _time(plan)}
    found["target"] = [_reference(one) for one in targets if one["resourceType"] != "Device"]
    found["policy"] = [f"urn:puji:safety-rules:sha256:{digest}" for digest in judged]
    return _filled({**found, "agent": [{"type": {"text": "model"}, "who": _reference(_device(plan))}]})


def _concept(plan: Plan, code: str, language: str) -> dict[str, Any]:
    """A code with its name; what is no code stands as text."""
    system, _, rest = code.partition("/")
    name = plan.name(code, language)
    if not rest:
        return {"text": name}
    shown = {} if name == code else {"display": name}
    return {"coding": [{"system": uri_of(system), "code": rest, **shown}], "text": name}


def _quantity(one: Quantity, language: str) -> dict[str, Any]:
    code = parsed(one.unit).code
    return {"value": one.value, "unit": unit_shown(one.unit, language) or code, "system": UCUM, "code": code}


def _subject(plan: Plan) -> dict[str, str]:
    return {"reference": plan.patient} if plan.patient else {"display": "unnamed patient"}


def _reference(resource: dict[str, Any]) -> dict[str, str]:
    return {"reference": _name(resource)}


def _name(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _key(plan: Plan) -> str:
    told = repr((plan.patient, plan.made.isoformat(), plan.maker, plan.now, plan.abstained))
    return "plan-" + hashlib.sha256(told.encode()).hexdigest()[:24]


def _time(plan: Plan, minutes: float = 0.0) -> str:
    return (plan.made + timedelta(minutes=minutes)).isoformat(timespec="seconds")


def _filled(resource: dict[str, Any]) -> dict[str, Any]:
    """Without empty lists, which FHIR forbids."""
    return {name: value for name, value in resource.items() if value != []}


def _pointed(value: Any, urls: dict[str, str]) -> Any:
    """``value`` with the references to what stands in ``urls`` replaced."""
    if isinstance(value, dict):
        return {
            name: urls.get(one, one) if name == "reference" and isinstance(one, str) else _pointed(one, urls)
            for name, one in value.items()
        }
    return [_pointed(one, urls) for one in value] if isinstance(value, list) else value

"""What a written plan must hold: FHIR's required elements and value sets, and more strictly, that it only proposes.

Of a value set that FHIR requires, only the codes that a draft may have are let pass. `check` knows the kinds of resources that
`puji.modalities.plans.careplan` writes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from xml.etree import ElementTree

from puji.errors import Invalid
from puji.modalities.plans.careplan import ACT, ISSUES, SEVERITY, SNOMED, TAG, UCUM
from puji.modalities.plans.narrative import XHTML
from puji.modalities.plans.plan import ROUTES
from puji.modalities.plans.units import parsed
from puji.modalities.timelines.codes import system_of, uri_of

_DRAFT = ("meta", "text", "status")
_ASKED = (*_DRAFT, "intent", "subject", "note")
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "Bundle": ("type", "entry"),
    "CarePlan": (*_ASKED, "created", "author"),
    "MedicationRequest": (*_ASKED, "medicationCodeableConcept", "authoredOn", "requester", "dosageInstruction"),
    "RiskAssessment": (*_DRAFT, "subject", "prediction", "occurrenceDateTime"),
    "DetectedIssue": (*_DRAFT, "code", "severity", "patient", "detail"),
    "Device": ("status", "deviceName", "version"),
    "Provenance": ("target", "recorded", "agent"),
}
"""Kind of resource -> elements that it must have."""
VALUES: Mapping[str, tuple[str, ...]] = {
    "Bundle.type": ("collection",),
    "CarePlan.status": ("draft",),
    "CarePlan.intent": ("proposal",),
    "CarePlan.activity.detail.status": ("not-started",),
    "CarePlan.activity.detail.kind": ("MedicationRequest",),
    "MedicationRequest.status": ("draft",),
    "MedicationRequest.intent": ("proposal",),
    "MedicationRequest.dosageInstruction.timing.repeat.durationUnit": ("min",),
    "MedicationRequest.dosageInstruction.timing.repeat.periodUnit": ("min",),
    "RiskAssessment.status": ("preliminary",),
    "DetectedIssue.status": ("preliminary",),
    "DetectedIssue.severity": tuple(SEVERITY.values()),
    "Device.status": ("active",),
    "Device.deviceName.type": ("model-name",),
}
"""Element -> the codes that a plan may have there."""
CODES = {
    "route": (SNOMED, frozenset(ROUTES.values())),
    "DetectedIssue.code": (ACT, frozenset(code for code, _ in ISSUES.values())),
}
"""Element -> the system of its codes, and which of them a plan may have."""
TAGS = frozenset({"div", "p", "b", "h3", "ul", "li"})
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_REFERENCE = re.compile(r"([A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}|urn:uuid:[0-9a-f-]{36}|https?://\S+)")
_TIMES = ("created", "authoredOn", "occurrenceDateTime", "identifiedDateTime", "recorded", "start", "end", "timestamp")


def check(resource: Mapping[str, Any]) -> list[Invalid]:
    """The problems of a resource, or of a Bundle and all in it; none if it is as it must be."""
    try:
        return list(_resource(resource))
    except (AttributeError, TypeError, KeyError):  # an element of another type than any that FHIR has there
        return [Invalid("plans.fhir.shape", source="resource")]


def _resource(resource: Mapping[str, Any]) -> Iterator[Invalid]:
    kind = str(resource.get("resourceType"))
    if kind not in REQUIRED:
        yield Invalid("plans.fhir.kind", source=kind[:40], known=", ".join(REQUIRED))
        return
    for name in REQUIRED[kind]:
        if not resource.get(name):
            yield Invalid("plans.fhir.missing", source=f"{kind}.{name}")
    if kind == "Bundle":
        yield from _bundle(resource)
        return
    if not _ID.fullmatch(str(resource.get("id"))):
        yield Invalid("plans.fhir.id", source=f"{kind}.id")
    yield from _element(resource, kind)
    if kind in ("CarePlan", "MedicationRequest"):
        if TAG not in (resource.get("meta") or {}).get("tag", ()):
            yield Invalid("plans.fhir.tag", source=f"{kind}.meta.tag")
        yield from _care_plan(resource) if kind == "CarePlan" else _request(resource)


def _element(value: Any, path: str) -> Iterator[Invalid]:
    """Problems of an element and all below it, whatever it is."""
    if isinstance(value, Mapping):
        if not value:
            yield Invalid("plans.fhir.empty", source=path)
        yield from _shape(value, path)
        for name, one in value.items():
            yield from _element(one, f"{path}.{name}")
    elif isinstance(value, list):
        if not value:
            yield Invalid("plans.fhir.empty", source=path)
        for one in value:
            yield from _element(one, path)
    elif value is None or value == "":
        yield Invalid("plans.fhir.empty", source=path)
    elif isinstance(value, float) and not math.isfinite(value):
        yield Invalid("plans.fhir.number", source=path)
    else:
        yield from _value(value, path)


def _value(value: Any, path: str) -> Iterator[Invalid]:
    name = path.rpartition(".")[2]
    if path in VALUES and value not in VALUES[path]:
        yield Invalid("plans.fhir.value", source=path, value=str(value)[:40], allowed=", ".join(VALUES[path]))
    if name == "reference" and not (isinstance(value, str) and _REFERENCE.fullmatch(value)):
        yield Invalid("plans.fhir.reference", source=path, value=str(value)[:80])
    if name in _TIMES and not _is_time(value):
        yield Invalid("plans.fhir.time", source=path, value=str(value)[:40])
    if name == "div":
        yield from _narrative(value, path)


def _shape(value: Mapping[str, Any], path: str) -> Iterator[Invalid]:
    """Problems of a coding, and of a quantity."""
    name = path.rpartition(".")[2]
    if name == "coding":
        system, code = value.get("system"), value.get("code")
        if not code or (system != ACT and uri_of(system_of(str(system))) != system):
            yield Invalid("plans.fhir.coding", source=path)
        for element, (wanted, codes) in CODES.items():
            if path.endswith(f"{element}.coding") and (system != wanted or code not in codes):
                yield Invalid("plans.fhir.value", source=path, value=str(code)[:40], allowed=", ".join(sorted(codes)))
    elif name.endswith("Quantity") or name in ("low", "high"):
        number = value.get("value")
        if not isinstance(number, int | float) or isinstance(number, bool):
            yield Invalid("plans.fhir.number", source=f"{path}.value")
        try:
            known = parsed(str(value.get("code"))).code == value.get("code") and value.get("system") == UCUM
        except Invalid:
            known = False
        if not known:
            yield Invalid("plans.fhir.unit", source=path, value=str(value.get("code"))[:40])


def _care_plan(resource: Mapping[str, Any]) -> Iterator[Invalid]:
    for place, activity in enumerate(resource.get("activity", ()), 1):
        if ("reference" in activity) == ("detail" in activity):
            yield Invalid("plans.fhir.activity", source=f"CarePlan.activity[{place}]")


def _request(resource: Mapping[str, Any]) -> Iterator[Invalid]:
    if not resource.get("medicationCodeableConcept", {}).get("coding"):
        yield Invalid("plans.fhir.missing", source="MedicationRequest.medicationCodeableConcept.coding")
    for dosage in resource.get("dosageInstruction", ()):
        doses = dosage.get("doseAndRate", ())
        amounts = [one[name] for one in doses for name in ("doseQuantity", "rateQuantity") if name in one]
        if len(amounts) != 1 or not _positive(amounts[0].get("value")):
            yield Invalid("plans.fhir.dose", source="MedicationRequest.dosageInstruction.doseAndRate")
        if not dosage.get("timing") or not dosage.get("text"):
            yield Invalid("plans.fhir.missing", source="MedicationRequest.dosageInstruction.timing, text")


def _bundle(resource: Mapping[str, Any]) -> Iterator[Invalid]:
    yield from _value(resource.get("type"), "Bundle.type")
    entries = resource.get("entry") or []
    urls = [entry.get("fullUrl") for entry in entries]
    if len(set(urls)) < len(urls):
        yield Invalid("plans.fhir.twice", source="Bundle.entry.fullUrl")
    inside = [entry.get("resource", {}) for entry in entries]
    for one in inside:
        yield from _resource(one)
    pointed = {one for entry in inside for one in _references(entry)}
    for reference in sorted(pointed - set(urls)):
        if reference.startswith("urn:uuid:"):
            yield Invalid("plans.fhir.reference", source="Bundle.entry", value=reference)
    plans = [one for one in inside if one.get("resourceType") == "CarePlan"]
    listed = {one.get("reference", {}).get("reference") for plan in plans for one in plan.get("activity", ())}
    requests = {
        entry.get("fullUrl")
        for entry in entries
        if entry.get("resource", {}).get("resourceType") == "MedicationRequest"
    }
    if len(plans) != 1 or not requests <= listed:
        yield Invalid("plans.fhir.unlisted", source="Bundle.entry")


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            if name == "reference" and isinstance(one, str):
                yield one
            else:
                yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


def _narrative(value: Any, path: str) -> Iterator[Invalid]:
    try:
        root = ElementTree.fromstring(str(value))
    except ElementTree.ParseError:
        yield Invalid("plans.fhir.narrative", source=path)
        return
    plain = all(one.tag in {f"{{{XHTML}}}{tag}" for tag in TAGS} for one in root.iter())
    attributes = {name.rpartition("}")[2] for one in root.iter() for name in one.attrib}
    if root.tag != f"{{{XHTML}}}div" or not plain or attributes - {"lang"} or not "".join(root.itertext()).strip():
        yield Invalid("plans.fhir.narrative", source=path)


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf

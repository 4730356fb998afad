"""FHIR R4: Bulk ndjson and bundles."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from puji.errors import Invalid
from puji.modalities.timelines.cleaning import Row, moment, reading
from puji.modalities.timelines.codes import system_of
from puji.modalities.timelines.timeline import DEATH
from puji.sources import ending
from puji.text import opened, told_lines

TIMES = {
    "Condition": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "Observation": ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "issued"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "MedicationRequest": ("authoredOn",),
    "Immunization": ("occurrenceDateTime", "recorded"),
    "Encounter": ("period",),
}
CODES = {"MedicationRequest": "medicationCodeableConcept", "Immunization": "vaccineCode"}
"""Where the code stands, if not in "code"."""
HTEST = "HTEST"
"""FHIR's security label of what is no real patient's."""
REFUTED = ("entered-in-error", "refuted")
LONGEST_JSON = 50_000_000
"""Characters of a line: one may hold a bundle."""
LARGEST_BUNDLE = 200_000_000
"""Bytes, unpacked: a bundle is read whole."""


def file(path: Path) -> Iterator[Row | Invalid]:
    """The rows of a file: one resource or bundle a line, or one bundle in the whole file.

    Resources of kinds that are not read come out counted, at the end.
    """
    unknown: Counter[str] = Counter()
    for line, told in _contents(path):
        if isinstance(told, Invalid):
            yield told
        else:
            yield from _any(told, line, unknown)
    for kind, count in sorted(unknown.items()):
        yield Invalid("timelines.read.resource", kind=kind, rows=count)


def _contents(path: Path) -> Iterator[tuple[int, Any]]:
    """JSON values with their line; Invalid for a line that is none."""
    if ending(path) == ".json":
        with opened(path) as stream:
            content = stream.read(LARGEST_BUNDLE + 1)
        if len(content) > LARGEST_BUNDLE:
            raise Invalid("timelines.read.large", most=LARGEST_BUNDLE // 10**6)
        if content.strip():
            yield 1, _parsed(content.decode("utf-8-sig", errors="replace"), 1)
        return
    for line in told_lines(path, LONGEST_JSON):
        yield (0, line) if isinstance(line, Invalid) else (line[0], _parsed(line[1], line[0]))


def _parsed(text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return Invalid("timelines.read.json", line=line)


def _any(told: Any, line: int, unknown: Counter[str]) -> Iterator[Row | Invalid]:
    if isinstance(told, Mapping) and told.get("resourceType") == "Bundle":
        entries = told.get("entry")
        places = {}
        resources = [one.get("resource") for one in entries or [] if isinstance(one, Mapping)]
        for entry in entries or []:
            resource = entry.get("resource") if isinstance(entry, Mapping) else None
            if isinstance(resource, Mapping) and resource.get("resourceType") == "Patient":
                places[str(entry.get("fullUrl", ""))] = str(resource.get("id", ""))
        for number, resource in enumerate(resources, 1):
            yield from _resource(resource, number if len(resources) > 1 else line, unknown, places)
        if not resources:
            yield Invalid("timelines.read.empty_bundle", line=line)
    else:
        yield from _resource(told, line, unknown, {})


def _resource(told: Any, line: int, unknown: Counter[str], places: Mapping[str, str]) -> Iterator[Row | Invalid]:
    if not isinstance(told, Mapping) or not isinstance(told.get("resourceType"), str):
        yield Invalid("timelines.read.no_resource", line=line)
        return
    try:
        kind = told["resourceType"]
        if kind == "Patient":
            yield from _patient(told, line)
        elif kind in TIMES:
            yield from _event(told, kind, line, places)
        else:
            unknown[kind[:40]] += 1
    except (AttributeError, TypeError, KeyError, IndexError, OverflowError):
        yield Invalid("timelines.read.shape", line=line)


def _patient(told: Mapping[str, Any], line: int) -> Iterator[Row | Invalid]:
    subject = str(told.get("id", ""))
    if not subject:
        yield Invalid("timelines.read.no_subject", line=line)
        return
    if told.get("gender"):
        yield Row(subject, "sex", None, None, str(told["gender"]), None, "", line)
    if told.get("birthDate"):
        when = moment(str(told["birthDate"]))
        if when is None:
            yield Invalid("timelines.read.date", line=line, column="birthDate")
        else:
            yield Row(subject, "birth", when, None, "", None, "", line)
    if told.get("deceasedDateTime") or told.get("deceasedBoolean") is True:
        when = moment(str(told.get("deceasedDateTime", "")))
        yield Row(subject, "event", when, None, DEATH, None, "", line, synthetic=_synthetic(told))


def _event(told: Mapping[str, Any], kind: str, line: int, places: Mapping[str, str]) -> Iterator[Row | Invalid]:
    reference = str((told.get("subject") or told.get("patient") or {}).get("reference", ""))
    subject = places.get(reference) or reference.removeprefix("urn:uuid:").rsplit("/", 1)[-1]
    if not subject:
        yield Invalid("timelines.read.no_subject", line=line)
        return
    times = [told[name] for name in TIMES[kind] if told.get(name)]
    first = times[0] if times else None
    text = first.get("start") or first.get("end") if isinstance(first, Mapping) else first
    when = None if text is None else moment(str(text))
    if kind == "Encounter":
        last = moment(str(first["end"])) if isinstance(first, Mapping) and first.get("end") else when
        if last is not None:
            yield Row(subject, "end", last, None, "", None, "", line)
        return
    status = [str(told.get("status", ""))]
    status += [str(one.get("code", "")) for one in (told.get("verificationStatus") or {}).get("coding", [])]
    if any(one in REFUTED for one in status):
        yield Invalid("timelines.read.refuted", line=line)
        return
    concept = told.get(CODES.get(kind, "code")) or {}
    found = False
    for part in (told, *told.get("component", [])):
        code = _code(part.get("code") if part is not told else concept)
        quantity = part.get("valueQuantity") or {}
        value = quantity.get("value")
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        found_value, word, remark = reading(str(part.get("valueString") or ""))
        number = found_value if number is None else number
        if quantity.get("comparator"):
            remark = "timelines.read.bound"
        if answer := _code(part.get("valueCodeableConcept")):
            code = code and f"{code}={answer}"
        # A panel without a value of its own is told by its parts.
        if code and (part is not told or number is not None or not told.get("component")):
            found = True
            yield Row(
                subject,
                "event",
                when,
                None,
                code,
                number,
                str(quantity.get("code") or quantity.get("unit") or ""),
                line,
                word,
                remark,
                _synthetic(told),
            )
    if not found:
        yield Invalid("timelines.read.no_code", line=line)


def _synthetic(told: Mapping[str, Any]) -> bool:
    """Whether a resource is labelled as no real patient's."""
    return any(one.get("code") == HTEST for one in (told.get("meta") or {}).get("security") or [])


def _code(concept: Any) -> str:
    """The first coding of a concept as "SYSTEM/code"; its text where it has none."""
    if not isinstance(concept, Mapping):
        return ""
    for coding in concept.get("coding") or []:
        if coding.get("code"):
            return f"{system_of(str(coding.get('system') or 'LOCAL'))}/{coding['code']}"
    text = str(concept.get("text") or "")
    return f"LOCAL/{reading(text).answer or text}" if text else ""

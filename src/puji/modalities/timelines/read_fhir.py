"""FHIR R4: Bulk ndjson and bundles."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from puji.errors import Invalid
from puji.modalities.timelines.cleaning import Row
from puji.modalities.timelines.codes import system_of
from puji.modalities.timelines.timeline import DEATH
from puji.modalities.timelines.values import moment, reading
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
NOT_SO = frozenset(
    (
        "entered-in-error",
        *("refuted", "differential"),  # a differential diagnosis is one of several that exclude each other
        *("registered", "cancelled"),  # Observation: no result yet; not started or not completed. Others: never begun
        *("preparation", "not-done"),  # Procedure, Immunization; one that is "stopped" had begun
        *("draft", "proposal", "plan", "option"),  # MedicationRequest: one that is "stopped" or "on-hold" was in force
        "planned",  # Encounter
    )
)
"""Of the status, verificationStatus and intent of R4's value sets, what says that it did not happen, or not yet."""
NOT_MADE = frozenset(("not-performed", "not-asked", "asked-declined"))
"""Of the reasons why an observation has no value (data-absent-reason), those by which nobody looked."""
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
        return parsed(text)
    except (ValueError, RecursionError):
        return Invalid("timelines.read.json", line=line)


def parsed(text: str) -> Any:
    """The JSON value ``text``. Raises ValueError or RecursionError.

    Halves of characters, which escapes can tell and no file can hold, are spelled as numbers.
    """
    told = json.loads(text)
    if re.search(r"\\u[dD][89a-fA-F]", text):
        told = json.loads(json.dumps(told, ensure_ascii=False).encode("utf-8", "xmlcharrefreplace"))
    return told


@dataclass(frozen=True)
class _Place:
    """Where a resource stands: its line (of a bundle of several its number), its address (fullUrl), and the patients by
    theirs."""

    line: int
    address: str = ""
    patients: Mapping[str, str] = field(default_factory=dict)


def _any(told: Any, line: int, unknown: Counter[str]) -> Iterator[Row | Invalid]:
    if not isinstance(told, Mapping) or told.get("resourceType") != "Bundle":
        yield from _resource(told, _Place(line), unknown)
        return
    entries = told.get("entry")
    if not entries:
        yield Invalid("timelines.read.empty_bundle", line=line)
        return
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        yield Invalid("timelines.read.shape", line=line)
        return
    found = [
        (one.get("resource"), _text(one.get("fullUrl"))) if isinstance(one, Mapping) else (one, "") for one in entries
    ]
    patients = {
        address: _identity(resource, address)
        for resource, address in found
        if address and isinstance(resource, Mapping) and resource.get("resourceType") == "Patient"
    }
    for number, (resource, address) in enumerate(found, 1):
        yield from _resource(resource, _Place(number if len(found) > 1 else line, address, patients), unknown)


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int) else ""


def _resource(told: Any, place: _Place, unknown: Counter[str]) -> Iterator[Row | Invalid]:
    if not isinstance(told, Mapping) or not isinstance(told.get("resourceType"), str):
        yield Invalid("timelines.read.no_resource", line=place.line)
        return
    try:
        kind = told["resourceType"]
        if kind == "Patient":
            yield from _patient(told, place)
        elif kind in TIMES:
            yield from _event(told, kind, place)
        else:
            unknown[kind[:40]] += 1
    except Invalid as refusal:
        yield refusal.at("", place.line)
    except (AttributeError, TypeError, KeyError, IndexError, OverflowError):
        yield Invalid("timelines.read.shape", line=place.line)


_REFERENCE = re.compile(r"(?:.*/)?Patient/(?P<id>[^/?#|]+)|urn:(?:uuid|oid):(?P<urn>[^/?#|]+)|(?P<bare>[A-Za-z0-9.-]+)")
"""A patient by type and identifier, below a server's address or not; by a URN; by the identifier alone, as some write it."""


def _identity(patient: Mapping[str, Any], address: str) -> str:
    """The identifier by which others refer to a patient; '' where there is none."""
    match = _REFERENCE.fullmatch(address)
    return _text(patient.get("id")) or (_named(match) if match else "")


def _named(match: re.Match[str]) -> str:
    return match["id"] or match["urn"] or match["bare"]


def _subject(told: Mapping[str, Any], place: _Place) -> str:
    """Whom a resource is about. Raises Invalid where it does not say, and where its reference leads to no patient's identifier
    (a search, a resource within, a group or a device)."""
    reference = _text((told.get("subject") or told.get("patient") or {}).get("reference"))
    if not reference:
        raise Invalid("timelines.read.no_subject")
    reference = re.sub("/_history/[^/]*$", "", reference)
    if subject := place.patients.get(reference):
        return subject
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise Invalid("timelines.read.reference")
    return _named(match)


def _patient(told: Mapping[str, Any], place: _Place) -> Iterator[Row | Invalid]:
    subject, line = _identity(told, place.address), place.line
    if not subject:
        raise Invalid("timelines.read.no_subject")
    yield Row(subject, "person", None, None, "", None, "", line)
    if gender := _text(told.get("gender")):
        yield Row(subject, "sex", None, None, gender, None, "", line)
    if told.get("birthDate"):
        when = moment(str(told["birthDate"]))
        if when is None:
            yield Invalid("timelines.read.date", line=line, column="birthDate")
        else:
            yield Row(subject, "birth", when, None, "", None, "", line)
    if told.get("deceasedDateTime") or told.get("deceasedBoolean") is True:
        when = moment(str(told.get("deceasedDateTime", "")))
        yield Row(subject, "event", when, None, DEATH, None, "", line, synthetic=_synthetic(told))


def _happened(told: Mapping[str, Any]) -> bool:
    """Whether a resource tells what was, or is; not what was refuted, called off, only planned, or asked not to be done."""
    words = [told.get("status"), told.get("intent")]
    words += [one.get("code") for one in (told.get("verificationStatus") or {}).get("coding") or []]
    return NOT_SO.isdisjoint(map(str, words)) and told.get("doNotPerform") is not True and _made(told)


def _made(part: Mapping[str, Any]) -> bool:
    """Whether somebody looked, though an observation, or a part of it, may have no value."""
    absent = (part.get("dataAbsentReason") or {}).get("coding") or []
    return NOT_MADE.isdisjoint(str(one.get("code")) for one in absent)


def _event(told: Mapping[str, Any], kind: str, place: _Place) -> Iterator[Row | Invalid]:
    subject, line = _subject(told, place), place.line
    if not _happened(told):
        raise Invalid("timelines.read.refuted")
    times = [told[name] for name in TIMES[kind] if told.get(name)]
    first = times[0] if times else None
    text = first.get("start") or first.get("end") if isinstance(first, Mapping) else first
    when = None if text is None else moment(str(text))
    if kind == "Encounter":
        last = moment(str(first["end"])) if isinstance(first, Mapping) and first.get("end") else when
        if last is not None:
            yield Row(subject, "end", last, None, "", None, "", line, referred=True)
        return
    concept = told.get(CODES.get(kind, "code")) or {}
    found = False
    for part in (told, *(one for one in told.get("component") or [] if _made(one))):
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
                synthetic=_synthetic(told),
                referred=True,
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

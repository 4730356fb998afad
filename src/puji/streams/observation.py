"""What a device sends: FHIR R4 Observations as JSON, of which only what is certain is taken.

Whatever is not certainly a reading of this patient, at this time, in this unit, is refused with a reason. Nothing is guessed: a
number that cannot be in its unit is not taken for one in another unit.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from puji.errors import Invalid
from puji.streams.vitals import CODES, COMPONENTS, PRESSURE, PRESSURE_UNITS, Vital

LARGEST = 65_536
"""Bytes of a message."""
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
TAKEN = ("preliminary", "final", "amended", "corrected")
CORRECTIONS = ("amended", "corrected")
WITHDRAWN = "entered-in-error"
ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
"""FHIR's ids; a patient's is a level of a topic, too."""
# FHIR's instant: a reading without a time of day and its offset cannot be placed.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_FIRST, _LAST = 946_684_800_000, 4_102_444_800_000  # the years 2000 to 2099


class Reading(NamedTuple):
    """One number of one patient. ``time``: milliseconds since 1970, UTC; ``value``: in the unit of its vital.

    ``value`` None: the Observation ``id`` was withdrawn. ``correction``: it may change what was sent under this id before.
    """

    patient: str
    vital: str
    time: int
    value: float | None
    id: str
    correction: bool = False


def readings(payload: bytes, patient: str) -> list[Reading]:
    """The readings of ``patient`` that a message holds: one, or the two of a blood pressure; all of them or none.

    Raises Invalid with the reason where it is anything else.
    """
    found, status, key = opened(payload, patient, "Observation", TAKEN)
    time = instant(found.get("effectiveDateTime", found.get("effectiveInstant")))
    told = _values(found, withdrawn=status == WITHDRAWN)
    changes = status in CORRECTIONS or status == WITHDRAWN
    return [Reading(patient, vital.name, time, value, key, changes) for vital, value in told]


def opened(payload: bytes, patient: str, kind: str, taken: Collection[str]) -> tuple[Mapping[str, Any], str, str]:
    """The resource of ``kind`` that a message about ``patient`` is, its status and its id.

    ``taken``: statuses, beside `WITHDRAWN`. Raises Invalid with the reason where it is anything else.
    """
    if len(payload) > LARGEST:
        raise Invalid("streams.refused.large", bytes=len(payload), most=LARGEST)
    found = _object(payload)
    if found.get("resourceType") != kind:
        raise Invalid("streams.refused.resource", kind=kind)
    status, key = found.get("status"), found.get("id")
    if not isinstance(key, str) or not ID.fullmatch(key):
        raise Invalid("streams.refused.id")
    if not isinstance(status, str) or (status != WITHDRAWN and status not in taken):
        raise Invalid("streams.refused.status", known=", ".join((*taken, WITHDRAWN)))
    _check_subject(found, patient)
    return found, status, key


def _object(payload: bytes) -> Mapping[str, Any]:
    def refuse(_: str) -> None:
        raise ValueError("not a number of JSON")

    try:
        found = json.loads(payload.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise Invalid("streams.refused.json") from error
    if not isinstance(found, dict):
        raise Invalid("streams.refused.json")
    return found


def _check_subject(found: Mapping[str, Any], patient: str) -> None:
    subject = found.get("subject")
    reference = subject.get("reference") if isinstance(subject, dict) else None
    if not isinstance(reference, str):
        raise Invalid("streams.refused.subject")
    # Anything else would let one patient's device write into another one's stream.
    if reference != f"Patient/{patient}":
        raise Invalid("streams.refused.patient")


def instant(text: Any) -> int:
    """FHIR's instant in milliseconds since 1970, UTC. Raises Invalid for anything else."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise Invalid("streams.refused.time")
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
        time = math.floor(moment.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise Invalid("streams.refused.time") from error
    if not _FIRST <= time <= _LAST:
        raise Invalid("streams.refused.time")
    return time


def _values(found: Mapping[str, Any], withdrawn: bool) -> list[tuple[Vital, float | None]]:
    codes = coded(found.get("code"), LOINC)
    if PRESSURE in codes:
        return _pressure(found, withdrawn)
    known = [CODES[code] for code in codes if code in CODES]
    if not known:
        raise Invalid("streams.refused.code")
    vital, units = known[0]
    if any(other is not vital for other, _ in known):
        raise Invalid("streams.refused.ambiguous")
    for _, others in known[1:]:
        units = {unit: units[unit] for unit in units if unit in others}
    return [(vital, None if withdrawn else quantity(found.get("valueQuantity"), vital, units))]


def _pressure(found: Mapping[str, Any], withdrawn: bool) -> list[tuple[Vital, float | None]]:
    components = found.get("component")
    if withdrawn:
        return [(vital, None) for vital in COMPONENTS.values()]
    if not isinstance(components, list) or not components:
        raise Invalid("streams.refused.components")
    told: dict[str, tuple[Vital, float | None]] = {}
    for component in components:
        if not isinstance(component, dict):
            raise Invalid("streams.refused.components")
        for code in coded(component.get("code"), LOINC):
            if code not in COMPONENTS or "dataAbsentReason" in component:
                continue
            vital = COMPONENTS[code]
            if vital.name in told:
                raise Invalid("streams.refused.ambiguous")
            told[vital.name] = vital, quantity(component.get("valueQuantity"), vital, PRESSURE_UNITS)
    if not told:
        raise Invalid("streams.refused.components")
    values = {name: value for name, (_, value) in told.items()}
    if len(values) == 2 and (values["diastolic"] or 0.0) >= (values["systolic"] or 0.0):
        raise Invalid("streams.refused.pressure")
    return list(told.values())


def coded(concept: Any, system: str) -> list[str]:
    """The codes of ``system`` that a CodeableConcept has."""
    coding: Any = concept.get("coding") if isinstance(concept, dict) else None
    entries: Iterable[Any] = coding if isinstance(coding, list) else ()
    return [
        one["code"]
        for one in entries
        if isinstance(one, dict) and one.get("system") == system and isinstance(one.get("code"), str)
    ]


def quantity(told: Any, vital: Vital, units: Mapping[str, tuple[float, float]]) -> float:
    """The number of a Quantity in the vital's own unit; ``units``: UCUM -> factor and offset to it.

    Raises Invalid with the reason where there is none, or where it cannot be in its unit.
    """
    if not isinstance(told, dict):
        raise Invalid("streams.refused.value")
    if told.get("comparator") is not None:  # "below 40" is no number
        raise Invalid("streams.refused.comparator")
    number = told.get("value")
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise Invalid("streams.refused.value")
    code = told.get("code")
    if told.get("system") != UCUM or not isinstance(code, str):
        raise Invalid("streams.refused.ucum")
    if code not in units:
        raise Invalid("streams.refused.unit", vital=vital.name, known=", ".join(units))
    factor, offset = units[code]
    try:
        value = float(number) * factor + offset
    except OverflowError as error:
        raise Invalid("streams.refused.value") from error
    if not vital.least <= value <= vital.most:
        least, most = ((edge - offset) / factor for edge in (vital.least, vital.most))
        raise Invalid(
            "streams.refused.impossible", vital=vital.name, unit=code, least=f"{least:.4g}", most=f"{most:.4g}"
        )
    return value


__all__ = [
    "CORRECTIONS",
    "ID",
    "LARGEST",
    "LOINC",
    "TAKEN",
    "UCUM",
    "WITHDRAWN",
    "Reading",
    "coded",
    "instant",
    "opened",
    "quantity",
    "readings",
]

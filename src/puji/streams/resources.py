"""What goes out, as FHIR R4: a forecast as an Observation, an alert as a Flag, each marked as made by a machine.

A forecast is a preliminary Observation of a code of our own: LOINC has none for glucose that is yet to come. For each horizon
it has two components, the median (valueQuantity) and the interval that holds 80 % (valueRange). Where no forecast is made,
dataAbsentReason says so and a note says why. An alert is a Flag, active while it is on, and sent once more as inactive, with
the end of its period, when it is over (https://hl7.org/fhir/R4/flag.html).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from puji.language import translate
from puji.streams.forecaster import Forecast
from puji.streams.observation import LOINC, UCUM
from puji.streams.store import Alert, Outgoing
from puji.streams.vitals import GLUCOSE, VITALS, glucose_shown
from puji.units import glucose_unit

SYSTEM = "urn:puji:streams"
TAG = {"system": "urn:puji", "code": "machine-made", "display": "made by a machine, to be reviewed by a clinician"}
SIMULATED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "code": "HTEST",
    "display": "test health data",
}
"""Security label of what comes from virtual patients (https://hl7.org/fhir/R4/security-labels.html)."""
GLUCOSE_CODE = {"system": LOINC, "code": "99504-3", "display": "Glucose [Mass/volume] in Interstitial fluid"}
READ = {"Cel": "°C", "mm[Hg]": "mmHg"}
"""Units of UCUM as people read them."""
_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_DETAIL = "http://hl7.org/fhir/StructureDefinition/flag-detail"


def moment(time: int) -> str:
    """Milliseconds since 1970 -> FHIR's instant, UTC."""
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _meta(simulated: bool) -> dict[str, Any]:
    return {"tag": [TAG], "security": [SIMULATED]} if simulated else {"tag": [TAG]}


def _coding(code: str, text: str) -> dict[str, Any]:
    return {"coding": [{"system": SYSTEM, "code": code}], "text": text}


def _quantity(value: float) -> dict[str, Any]:
    return {"value": round(value, 1), "unit": "mg/dL", "system": UCUM, "code": "mg/dL"}


def forecast(
    patient: str,
    made: Forecast | None,
    *,
    time: int,
    now: int,
    model: str,
    why: str = "",
    source: str = "",
    simulated: bool = False,
) -> dict[str, Any]:
    """The Observation of a forecast from ``time`` on, made ``now``.

    ``made`` None: there is none, and ``why`` is the key of the reason. ``source``: id of the Observation of the last reading.
    """
    found: dict[str, Any] = {
        "resourceType": "Observation",
        "id": f"forecast-{uuid5(NAMESPACE_URL, f'{SYSTEM}:{patient}:{time}')}",
        "meta": _meta(simulated),
        "status": "preliminary",
        "code": _coding("glucose-forecast", translate("streams.forecast")),
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": moment(time),
        "issued": moment(now),
        "device": {"display": f"Puji ({model})"},
        "method": {"text": translate("streams.method")},
        "note": [{"text": translate("streams.research_use")}],
    }
    if source:
        found["derivedFrom"] = [{"reference": f"Observation/{source}"}]
    if made is None:
        found["dataAbsentReason"] = {"coding": [{"system": _ABSENT, "code": "temp-unknown"}], "text": translate(why)}
        found["note"].insert(0, {"text": translate(why)})
        return found
    components: list[dict[str, Any]] = []
    for one in made.horizons:
        text = translate("streams.in_minutes", minutes=one.minutes)
        components.append(
            {"code": _coding(f"glucose-in-{one.minutes}-min", text), "valueQuantity": _quantity(one.median)}
        )
        edges = {"low": _quantity(one.low), "high": _quantity(one.high)}
        text = translate("streams.interval_in_minutes", minutes=one.minutes)
        components.append({"code": _coding(f"glucose-in-{one.minutes}-min-80-percent", text), "valueRange": edges})
    found["component"] = components
    return found


def flag(
    alert: Alert, *, text: str, source: str = "", until: int | None = None, simulated: bool = False
) -> dict[str, Any]:
    """The Flag of ``alert``; ``until``: when it was over; ``source``: id of the Observation that it is about."""
    period = {"start": moment(alert.since)}
    if until is not None:
        period["end"] = moment(max(until, alert.since))
    found: dict[str, Any] = {
        "resourceType": "Flag",
        "id": alert.id,
        "meta": _meta(simulated),
        "status": "active" if until is None else "inactive",
        "category": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/flag-category", "code": "clinical"}]}
        ],
        "code": _coding(alert.name, text),
        "subject": {"reference": f"Patient/{alert.patient}"},
        "period": period,
        "author": {"display": "Puji"},
    }
    if source:
        found["extension"] = [{"url": _DETAIL, "valueReference": {"reference": f"Observation/{source}"}}]
    return found


def message(name: str, topic: str, resource: Mapping[str, Any]) -> Outgoing:
    """``resource`` as a message."""
    return Outgoing(name, topic, json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))


def said(name: str, value: float | None = None, minutes: int | None = None) -> str:
    """An alert for people: "Glucose is low: 62 mg/dL"."""
    vital, _, kind = name.rpartition("-")
    if vital == GLUCOSE.name:
        unit, shown = glucose_unit(), glucose_shown
    else:
        unit, shown = VITALS[vital].unit if vital in VITALS else "", "{:.4g}".format
    unit = READ.get(unit, unit)
    number = "" if value is None else shown(value)
    told = translate(f"streams.vital.{vital}")
    return translate(f"streams.alert.{kind}", vital=told, value=number, unit=unit, minutes=minutes or 0)


__all__ = ["GLUCOSE_CODE", "SIMULATED", "SYSTEM", "TAG", "flag", "forecast", "message", "moment", "said"]

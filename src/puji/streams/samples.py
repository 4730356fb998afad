"""Messages as devices send them: Observations of what was measured or eaten, MedicationAdministrations of insulin."""

from __future__ import annotations

import json
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from puji.streams.administration import KIND, SHORT_ACTING
from puji.streams.observation import LOINC, UCUM
from puji.streams.resources import GLUCOSE_CODE, SIMULATED, moment
from puji.streams.vitals import (
    CARBOHYDRATE,
    COMPONENTS,
    HEART_RATE,
    MMOL,
    PRESSURE,
    RESPIRATION,
    SPO2,
    TEMPERATURE,
    VITALS,
)

MOLAR = {
    "system": GLUCOSE_CODE["system"],
    "code": "105272-9",
    "display": "Glucose [Moles/volume] in Interstitial fluid",
}
CODING = {
    HEART_RATE.name: ("8867-4", "Heart rate"),
    SPO2.name: ("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry"),
    RESPIRATION.name: ("9279-1", "Respiratory rate"),
    TEMPERATURE.name: ("8310-5", "Body temperature"),
    CARBOHYDRATE.name: ("9059-7", "Carbohydrate intake Estimated"),
}
"""Vital -> its code of LOINC, and what that is called."""


def observation(
    patient: str, time: int, glucose: float, *, molar: bool = False, key: str = "", simulated: bool = True
) -> dict[str, Any]:
    """An Observation of ``glucose`` (mg/dl) at ``time`` (milliseconds since 1970); ``molar``: told in mmol/l."""
    unit = "mmol/L" if molar else "mg/dL"
    value = round(glucose / MMOL, 1) if molar else round(glucose)
    found = _base("Observation", patient, time, key or str(uuid5(NAMESPACE_URL, f"urn:puji:device:{patient}:{time}")))
    found |= {"code": {"coding": [MOLAR if molar else GLUCOSE_CODE]}, "valueQuantity": _quantity(value, unit)}
    return _marked(found, simulated)


def measured(
    patient: str, vital: str, time: int, value: float, *, fahrenheit: bool = False, simulated: bool = True
) -> dict[str, Any]:
    """An Observation of one of `CODING`, ``value`` in its vital's unit; ``fahrenheit``: a temperature told in degrees of it."""
    code, text = CODING[vital]
    unit = "[degF]" if fahrenheit else VITALS[vital].unit
    number = round(value * 9 / 5 + 32, 1) if fahrenheit else value
    found = _base("Observation", patient, time, _key(patient, vital, time))
    found |= {"code": {"coding": [_loinc(code, text)]}, "valueQuantity": _quantity(number, unit)}
    return _marked(found, simulated)


def pressure(patient: str, time: int, systolic: float, diastolic: float, *, simulated: bool = True) -> dict[str, Any]:
    """The panel of a blood pressure, mmHg."""
    found = _base("Observation", patient, time, _key(patient, "pressure", time))
    values = {"systolic": systolic, "diastolic": diastolic}
    found["code"] = {"coding": [_loinc(PRESSURE, "Blood pressure panel with all children optional")]}
    found["component"] = [
        {
            "code": {"coding": [_loinc(code, f"{vital.name.capitalize()} blood pressure")]},
            "valueQuantity": _quantity(values[vital.name], vital.unit),
        }
        for code, vital in COMPONENTS.items()
    ]
    return _marked(found, simulated)


def bolus(patient: str, time: int, units: float, *, simulated: bool = True) -> dict[str, Any]:
    """A MedicationAdministration of ``units`` of rapid-acting insulin at once."""
    found = _administration(patient, time, "bolus") | {"status": "completed", "effectiveDateTime": moment(time)}
    found["dosage"] = {"dose": _quantity(round(units, 3), "[iU]")}
    return _marked(found, simulated)


def basal(patient: str, time: int, rate: float, *, simulated: bool = True) -> dict[str, Any]:
    """A MedicationAdministration of a basal ``rate``, U/h, that begins."""
    found = _administration(patient, time, "basal") | {
        "status": "in-progress",
        "effectivePeriod": {"start": moment(time)},
    }
    found["dosage"] = {"rateQuantity": _quantity(round(rate, 3), "[iU]/h")}
    return _marked(found, simulated)


def told(resource: dict[str, Any]) -> bytes:
    """``resource`` as a device sends it."""
    return json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _base(kind: str, patient: str, time: int, key: str) -> dict[str, Any]:
    head = {"resourceType": kind, "id": key, "status": "final"}
    return {**head, "subject": {"reference": f"Patient/{patient}"}, "effectiveDateTime": moment(time)}


def _administration(patient: str, time: int, what: str) -> dict[str, Any]:
    found = _base(KIND, patient, time, _key(patient, what, time))
    del found["effectiveDateTime"]
    return {**found, "medicationCodeableConcept": {"coding": [SHORT_ACTING]}}


def _key(patient: str, what: str, time: int) -> str:
    return str(uuid5(NAMESPACE_URL, f"urn:puji:device:{patient}:{what}:{time}"))


def _loinc(code: str, text: str) -> dict[str, str]:
    return {"system": LOINC, "code": code, "display": text}


def _quantity(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def _marked(found: dict[str, Any], simulated: bool) -> dict[str, Any]:
    return {**found, "meta": {"security": [SIMULATED]}} if simulated else found


__all__ = ["basal", "bolus", "measured", "observation", "pressure", "told"]

"""Observations as devices send them."""

from __future__ import annotations

import json
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from puji.streams.observation import UCUM
from puji.streams.resources import GLUCOSE_CODE, SIMULATED, moment
from puji.streams.vitals import MMOL

MOLAR = {
    "system": GLUCOSE_CODE["system"],
    "code": "105272-9",
    "display": "Glucose [Moles/volume] in Interstitial fluid",
}


def observation(
    patient: str, time: int, glucose: float, *, molar: bool = False, key: str = "", simulated: bool = True
) -> dict[str, Any]:
    """An Observation of ``glucose`` (mg/dl) at ``time`` (milliseconds since 1970); ``molar``: told in mmol/l."""
    unit = "mmol/L" if molar else "mg/dL"
    value = round(glucose / MMOL, 1) if molar else round(glucose)
    found = {
        "resourceType": "Observation",
        "id": key or str(uuid5(NAMESPACE_URL, f"urn:puji:device:{patient}:{time}")),
        "status": "final",
        "code": {"coding": [MOLAR if molar else GLUCOSE_CODE]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": moment(time),
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
    }
    return {**found, "meta": {"security": [SIMULATED]}} if simulated else found


def told(resource: dict[str, Any]) -> bytes:
    """``resource`` as a device sends it."""
    return json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


__all__ = ["observation", "told"]

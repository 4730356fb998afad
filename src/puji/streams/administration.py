"""Insulin that was given: FHIR R4 MedicationAdministrations as JSON, of which only what is certain is taken.

Two kinds, as pumps and pens tell them: an amount at a time (``dosage.dose``), and a rate that begins (``dosage.rateQuantity``
with the start of ``effectivePeriod``) and stands until the next one. Only rapid-acting insulin: ATC A10AB, or SNOMED CT
411531001. UCUM writes units of insulin as ``[iU]`` or ``[IU]``; FHIR's own examples have ``U``, which is taken, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from puji.errors import Invalid
from puji.streams.observation import WITHDRAWN, Reading, coded, instant, opened, quantity
from puji.streams.vitals import BASAL, BOLUS

KIND = "MedicationAdministration"
TAKEN = ("completed", "in-progress", "stopped")
SNOMED, ATC = "http://snomed.info/sct", "http://www.whocc.no/atc"
SHORT_ACTING = {"system": SNOMED, "code": "411531001", "display": "Short-acting insulin (substance)"}
RAPID = "A10AB"
UNITS = dict.fromkeys(("U", "[iU]", "[IU]"), (1.0, 0.0))
RATES = {f"{unit}/h": (1.0, 0.0) for unit in UNITS}
AT_ONCE = 900_000
"""Milliseconds: an amount that is given over more than a quarter of an hour is no bolus."""


def readings(payload: bytes, patient: str) -> list[Reading]:
    """What was given to ``patient`` by a message: one reading of `BOLUS` or of `BASAL`.

    Raises Invalid with the reason where it is anything else.
    """
    found, status, key = opened(payload, patient, KIND, TAKEN)
    concept = found.get("medicationCodeableConcept")
    rapid = any(code.startswith(RAPID) for code in coded(concept, ATC))
    if not rapid and SHORT_ACTING["code"] not in coded(concept, SNOMED):
        raise Invalid("streams.refused.medicine")
    dosage = found.get("dosage")
    told: Mapping[str, Any] = dosage if isinstance(dosage, dict) else {}
    amount, rate = told.get("dose"), told.get("rateQuantity")
    if (amount is None) == (rate is None):
        raise Invalid("streams.refused.dosage")
    start, end = _when(found)
    vital, units, number = (BASAL, RATES, rate) if amount is None else (BOLUS, UNITS, amount)
    if amount is not None and (end - start > AT_ONCE or status == "in-progress"):
        raise Invalid("streams.refused.period")
    value = None if status == WITHDRAWN else quantity(number, vital, units)
    return [Reading(patient, vital.name, start, value, key, status == WITHDRAWN)]


def _when(found: Mapping[str, Any]) -> tuple[int, int]:
    """``effectiveDateTime``, or both ends of ``effectivePeriod``: milliseconds since 1970; without an end, the start twice."""
    period = found.get("effectivePeriod")
    if not isinstance(period, dict):
        time = instant(found.get("effectiveDateTime"))
        return time, time
    start = instant(period.get("start"))
    end = start if period.get("end") is None else instant(period["end"])
    if end < start:
        raise Invalid("streams.refused.time")
    return start, end


__all__ = ["ATC", "KIND", "RAPID", "RATES", "SHORT_ACTING", "UNITS", "readings"]

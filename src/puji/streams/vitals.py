"""What devices measure and give: codes, units, the numbers that can be, and those that call for somebody.

LOINC and units are those of FHIR's vital signs profile (https://hl7.org/fhir/R4/observation-vitalsigns.html); for glucose
those of HL7's guide for continuous glucose monitoring (99504-3, 105272-9; https://hl7.org/fhir/uv/cgm/) and LOINC's codes for
blood, serum or plasma, and capillary blood. Carbohydrate is told as 9059-7 (estimated) or 9060-5 (measured) in g, as HL7
Finland's profile of macronutrient intake has it; insulin as MedicationAdministration, see `puji.streams.administration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from puji.modalities.plans.units import MOLAR_MASS
from puji.units import glucose_unit

ADULT = 16.0
"""Years from which on the limits of vital signs hold: NEWS2 is not for use in children under 16 (Royal College of Physicians,
2017)."""
MMOL = float(MOLAR_MASS["glucose"] / 10)
"""mg/dl of glucose in one mmol/l, 18.0156: LOINC counts with the same molar mass."""


@dataclass(frozen=True)
class Vital:
    """One thing that is measured, or given.

    ``unit``: UCUM, in which Puji keeps it. ``least``, ``most``: numbers beyond them are errors of a device or of a unit, not of a
    patient. ``below``, ``above``: beyond them somebody must look, ``far_below``: at once; None: never. ``event``: it comes when
    it comes and each one counts, where the others are a course of which one number a step is enough.
    """

    name: str
    unit: str
    least: float
    most: float
    below: float | None = None
    above: float | None = None
    far_below: float | None = None
    event: bool = False


GLUCOSE = Vital("glucose", "mg/dL", 20.0, 600.0, below=70.0, above=250.0, far_below=54.0)
"""Battelino et al., Diabetes Care 42:1593 (2019)."""
# The rest: what alone scores 3 in NEWS2 (Royal College of Physicians, 2017), from 16 years on, on scale 1, in whole numbers.
HEART_RATE = Vital("heart_rate", "/min", 10.0, 350.0, below=41.0, above=130.0)
SPO2 = Vital("spo2", "%", 30.0, 100.0, below=92.0)
RESPIRATION = Vital("respiration", "/min", 1.0, 120.0, below=9.0, above=24.0)
TEMPERATURE = Vital("temperature", "Cel", 25.0, 45.0, below=35.1)
SYSTOLIC = Vital("systolic", "mm[Hg]", 30.0, 350.0, below=91.0, above=219.0)
DIASTOLIC = Vital("diastolic", "mm[Hg]", 10.0, 250.0)
# What nobody eats or no pump gives at one time.
CARBOHYDRATE = Vital("carbohydrate", "g", 0.0, 500.0, event=True)
BOLUS = Vital("bolus", "U", 0.0, 100.0, event=True)
BASAL = Vital("basal", "U/h", 0.0, 35.0, event=True)
"""A rate stands until another one begins."""
VITALS: Mapping[str, Vital] = {
    one.name: one
    for one in (
        *(GLUCOSE, HEART_RATE, SPO2, RESPIRATION, TEMPERATURE, SYSTOLIC, DIASTOLIC),
        *(CARBOHYDRATE, BOLUS, BASAL),
    )
}


def glucose_shown(value: float) -> str:
    """Glucose, mg/dl, as people read it in their unit (`puji.units.glucose_unit`), which is not told."""
    return f"{value / MMOL:.1f}" if glucose_unit() == "mmol/L" else f"{value:.0f}"


PRESSURE = "85354-9"
"""The panel of blood pressure, whose components are `COMPONENTS`."""
COMPONENTS: Mapping[str, Vital] = {"8480-6": SYSTOLIC, "8462-4": DIASTOLIC}
_MASS = ("2339-0", "2345-7", "41653-7", "99504-3")  # blood, serum or plasma, capillary by glucometer, interstitial
_SUBSTANCE = ("15074-8", "14749-6", "14743-9", "105272-9")  # the same
CODES: Mapping[str, tuple[Vital, Mapping[str, tuple[float, float]]]] = {
    **dict.fromkeys(_MASS, (GLUCOSE, {"mg/dL": (1.0, 0.0)})),
    **dict.fromkeys(_SUBSTANCE, (GLUCOSE, {"mmol/L": (MMOL, 0.0)})),
    "8867-4": (HEART_RATE, {"/min": (1.0, 0.0)}),
    "2708-6": (SPO2, {"%": (1.0, 0.0)}),
    "59408-5": (SPO2, {"%": (1.0, 0.0)}),
    "9279-1": (RESPIRATION, {"/min": (1.0, 0.0)}),
    "8310-5": (TEMPERATURE, {"Cel": (1.0, 0.0), "[degF]": (5 / 9, -160 / 9)}),
    "9059-7": (CARBOHYDRATE, {"g": (1.0, 0.0)}),
    "9060-5": (CARBOHYDRATE, {"g": (1.0, 0.0)}),
}
"""LOINC code -> what it measures, and the units that it may come in: UCUM -> factor and offset to `Vital.unit`.

A code of mass does not take mmol/l, nor one of substance mg/dl: code and unit must tell the same.
"""
PRESSURE_UNITS = {"mm[Hg]": (1.0, 0.0)}

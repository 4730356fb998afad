"""What `puji demo` shows of plans: for sepsis a plan and an abstention, for diabetes a plan and a day of a virtual patient."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from puji import registry
from puji.gallery import Section, sections
from puji.language import Text
from puji.modalities.plans.page import parts
from puji.modalities.plans.plan import Plan

FACTS = Path(__file__).with_name("settings") / "sepsis_patient.json"
"""An adult without allergies: what the safety rules of the setting ask for."""
PATIENT = "287 0; 387 0; 69"
"""Untreated so far, now in shock: logged care gave fluids, and vasopressors at four levels."""
DIABETES, CHILD = "plans-diabetes", "child#009"
"""The released model of the setting, and a virtual patient whom its logs do not know."""
RARE = "668"
"""A state that logged care met so seldom that it supports no action."""


def demo(model: Any, seed: int = 0) -> list[Section]:
    """All sections; one that the model cannot do says why."""
    began = time.perf_counter()
    made = plan(model, PATIENT)
    seconds = f"{time.perf_counter() - began:.1f}"
    told = parts(made)
    note = Text("plans.demo.plan.note", {"patient": PATIENT, "seconds": seconds})
    first = [
        Section(Text("plans.demo.plan"), note),
        *(told[name] for name in ("now", "considered")),
    ]
    return [*first, *sections("plans", {"abstained": abstained}, model, seed), *glucose(seed)]


def plan(model: Any, patient: str, **more: Any) -> Plan:
    """The plan for a patient as a person types it, with the facts of `FACTS`."""
    found: Plan = model.predict(patient, patient=str(FACTS), unfamiliar="answer", **more).estimates.plan
    return found


def abstained(model: Any, seed: int) -> Section:
    """What a patient gets whose state was hardly ever met."""
    told = parts(plan(model, RARE))
    return replace(told["considered"], title=Text("plans.demo.abstained"), note=told["none"].note)


def glucose(seed: int = 0) -> list[Section]:
    """A plan for a virtual child's breakfast, and the child's day under basal-bolus and under the plan."""
    from puji.modalities.plans.diabetes import day  # the simulator is compiled, which takes seconds

    usual, planned, made = day.lived(registry.load(DIABETES), CHILD, seed)
    told = parts(made)["now" if made.now else "none"]
    note = Text("plans.demo.diabetes.note", {"patient": CHILD})
    return [replace(told, title=Text("plans.demo.diabetes"), note=note), day.section(CHILD, usual, planned)]

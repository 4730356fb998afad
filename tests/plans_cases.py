"""What the tests of plans share: a patient, orders, and small sets of rules."""

from __future__ import annotations

from dataclasses import replace

from puji.modalities.plans.plan import Order
from puji.modalities.plans.safety import Facts, Observation, Rules, Safety
from puji.modalities.plans.safety.rules import parsed_rules
from puji.modalities.plans.units import Quantity

LISPRO, REGULAR, GLARGINE = "ATC/A10AB04", "ATC/A10AB01", "ATC/A10AE04"
WARFARIN, IBUPROFEN, AMOXICILLIN, CEFAZOLIN = "ATC/B01AA03", "ATC/M01AE01", "ATC/J01CA04", "ATC/J01DB04"
NORADRENALINE, METFORMIN = "ATC/C01CA03", "ATC/A10BA02"
GLUCOSE = "LOINC/2339-0"
ROUTES = ["oral", "subcutaneous", "intravenous"]
ENTRIES = [
    {"medicine": "ATC/A10A", "routes": ROUTES, "most": "100 U"},
    {"medicine": WARFARIN, "routes": ROUTES, "most": "50 mg"},
    {"medicine": IBUPROFEN, "routes": ROUTES, "most": "2 g"},
    {"medicine": "ATC/J01", "routes": ROUTES, "most": "4 g"},
    {"medicine": NORADRENALINE, "routes": ROUTES, "most": "500 mg"},
    {"medicine": METFORMIN, "routes": ROUTES, "most": "2 g"},
]
FORMULARY = {"kind": "allowed", "id": "formulary", "entries": ENTRIES}
FACTS = Facts(
    age=40,
    weight=60,
    pregnant=False,
    allergies=(),
    conditions=(),
    current=(),
    given=(),
    observations=(Observation(GLUCOSE, Quantity(150.0, "mg/dL"), 5.0),),
)


def rules_of(*rules: dict, codes: dict | None = None) -> Rules:
    return parsed_rules({"name": "test", "codes": codes or {}, "rules": [FORMULARY, *rules]})


def layer(*rules: dict, codes: dict | None = None) -> Safety:
    return Safety(rules_of(*rules, codes=codes))


def order(code: str = LISPRO, dose: float = 10.0, unit: str = "U", route: str = "subcutaneous", **more) -> Order:
    return Order(code, Quantity(dose, unit), route, **more)


def facts(**changes) -> Facts:
    return replace(FACTS, **changes)


def reasons(verdict) -> list[str]:
    return [one.reason.removeprefix("plans.safety.") for one in verdict.findings]

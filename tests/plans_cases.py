"""What the tests of plans share: a patient, orders, and small sets of rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

from puji.modalities.plans.episode import Episode
from puji.modalities.plans.episode import Step as Taken
from puji.modalities.plans.modality import Plans
from puji.modalities.plans.plan import Alternative, Branch, Driver, Maker, Order, Outcome, Plan, Step, Support
from puji.modalities.plans.safety import Facts, Given, Observation, Rules, Safety, load_rules
from puji.modalities.plans.safety.rules import EXAMPLE, parsed_rules
from puji.modalities.plans.units import Quantity
from puji.modality import Estimate
from puji.model import Model
from puji.training import fresh

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
DAILY = {
    "kind": "limit",
    "id": "day",
    "medicines": ["ATC/A10A"],
    "of": "total",
    "hours": 24,
    "most": "40 U",
    "excess": "reduce",
}
"""At most 40 units of insulin in 24 hours."""
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


# -- whole plans -------------------------------------------------------------------------------------------------------

MADE = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
MAKER = Maker("insulin", "0.1.0", "0123456789abcdef0123456789abcdef01234567", "a" * 64)
NAMES = {
    "time in range": {"en": "time in range (70-180 mg/dl)", "zh": "血糖达标时间占比（70~180 mg/dl）"},
    "carbohydrate": {"en": "carbohydrate of the meal", "zh": "本餐碳水化合物"},
    "ATC/A10BB01": {"en": "glibenclamide", "zh": "格列本脲"},
}


@cache
def example() -> Safety:
    return Safety(load_rules(EXAMPLE))


def considered(
    dose: float, value: float, cases: int, share: float, who: Facts, code: str = "RXNORM/86009"
) -> Alternative:
    proposed = (order(code, dose),) if dose else ()
    estimate = Estimate(value, value - 60 / cases**0.5, min(100, value + 50 / cases**0.5), unit="%")
    verdict = example().check(who, proposed)
    return Alternative(proposed, Outcome("time in range", estimate, 5, "up"), Support(cases, share), verdict)


def a_plan(**changes) -> Plan:
    """A recommendation with alternatives, of which two are vetoed, and further steps."""
    who = facts(current=(), observations=(Observation(GLUCOSE, Quantity(214.0, "mg/dL"), 4.0),))
    chosen = considered(6, 78.2, 412, 0.34, who)
    others = (
        considered(4, 71.0, 630, 0.41, who),
        considered(0, 41.5, 95, 0.12, who),
        considered(14, 80.1, 22, 0.02, who),
        considered(30, 82.0, 3, 0.001, who),
        considered(10, 60.0, 12, 0.01, replace(who, allergies=("ATC/A10AB01",)), "ATC/A10AB01"),
    )
    later = Step((order("RXNORM/86009", 2),), at=180)
    watch = Step((), at=180)
    highest = Branch(GLUCOSE, Quantity(250, "mg/dL"), None, 0.5, Step((order("RXNORM/86009", 3),), at=360))
    branches = (
        Branch(GLUCOSE, None, Quantity(180, "mg/dL"), 0.71, watch),
        Branch(GLUCOSE, Quantity(180, "mg/dL"), None, 0.29, replace(later, branches=(highest,))),
    )
    drivers = (
        Driver(GLUCOSE, Quantity(214, "mg/dL"), 0.42),
        Driver("carbohydrate", Quantity(45, "g"), 0.31),
        Driver("RXNORM/86009", Quantity(3, "U"), -0.12),
    )
    told = {
        "patient": "Patient/42",
        "made": MADE,
        "maker": MAKER,
        "now": Step(chosen.verdict.orders, branches=branches),
    }
    told |= {"chosen": chosen, "alternatives": others, "drivers": drivers, "names": {**example().rules.naming, **NAMES}}
    return Plan(**{**told, **changes})


def no_plan(**changes) -> Plan:
    """One that abstains: all that was considered is vetoed."""
    who = facts(observations=(Observation(GLUCOSE, Quantity(58.0, "mg/dL"), 4.0),))
    others = (considered(6, 78.2, 412, 0.34, who), considered(4, 71.0, 630, 0.41, who))
    plan = a_plan()
    why = {"abstained": "plans.abstained.vetoed", "now": None, "chosen": None, "alternatives": others, "drivers": ()}
    return replace(plan, **{**why, **changes})


def an_infusion() -> Plan:
    """Long names, an infusion by weight beside a repeated dose, and a probability as the outcome."""
    who = facts(given=(Given(NORADRENALINE, Quantity(0.2, "ug/kg/min"), 0.0, 240.0),))
    limit = {
        "kind": "limit",
        "id": "rate",
        "medicines": [NORADRENALINE],
        "of": "rate",
        "most": "0.3 ug/kg/min",
        "excess": "reduce",
    }
    pair = {"first": [NORADRENALINE], "second": [AMOXICILLIN], "severity": "minor", "source": "test"}
    pair |= {"effect_en": "none that is known", "effect_zh": "未见报道"}
    safety = layer(limit, {"kind": "interaction", "id": "pairs", "pairs": [pair]})

    def one(rate: float, risk: float) -> Alternative:
        infusion = order(NORADRENALINE, rate, "ug/kg/min", "intravenous", minutes=240)
        penicillin = order(AMOXICILLIN, 1.2, "g", "intravenous", minutes=30, times=3, every=480, start=15)
        estimate = Estimate(risk, risk - 0.04, risk + 0.05)
        outcome = Outcome("ICD10/R57.2", estimate, 24 * 90, "down")
        return Alternative(
            (infusion, penicillin), outcome, Support(1234, 0.05), safety.check(who, (infusion, penicillin))
        )

    chosen, another = one(0.35, 0.22), one(0.2, 0.27)
    names = {
        NORADRENALINE: {"en": "norepinephrine bitartrate", "zh": "重酒石酸去甲肾上腺素"},
        AMOXICILLIN: {"en": "amoxicillin and clavulanic acid", "zh": "阿莫西林克拉维酸钾"},
        "ICD10/R57.2": {"en": "death or septic shock", "zh": "死亡或脓毒性休克"},
    }
    told = {
        "now": Step(chosen.verdict.orders),
        "chosen": chosen,
        "alternatives": (another,),
        "drivers": (),
        "names": names,
    }
    return a_plan(patient="Patient/icu-7", **told)


def untrained() -> Model[Episode]:
    """A model of thirty small courses of sepsis that has learned its states and nothing else."""
    modality = Plans()
    records = [
        Episode(str(i), tuple(Taken(str((i + j) % 9), (), str((i * 3 + j) % 25)) for j in range(4)), "survived")
        for i in range(30)
    ]
    modality.learn(records)
    modality.prepare(records)
    return fresh(modality, records, "nano", 0)

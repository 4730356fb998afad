"""What holds of the safety layer whatever it is given, against limits that are computed here a second time."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from puji.language import LANGUAGES, catalogue
from puji.modalities.plans.plan import Order, Verdict
from puji.modalities.plans.safety import Current, Facts, Given, Observation
from puji.modalities.plans.units import Quantity
from tests.plans_cases import (
    AMOXICILLIN,
    DAILY,
    GLARGINE,
    GLUCOSE,
    IBUPROFEN,
    LISPRO,
    NORADRENALINE,
    REGULAR,
    ROUTES,
    WARFARIN,
    layer,
)

MEDICINES = (LISPRO, REGULAR, GLARGINE, WARFARIN, IBUPROFEN, AMOXICILLIN, NORADRENALINE)
UNITS = ("U", "mU", "U/kg", "U/h", "mg", "g", "ug", "mg/kg", "ug/kg/min", "mL", "stone", "")
MILLIGRAMS = {"mg": Fraction(1), "g": Fraction(1000), "ug": Fraction(1, 1000)}
UNITS_OF_ACTION = {"[iU]": Fraction(1), "U": Fraction(1), "m[iU]": Fraction(1, 1000), "mU": Fraction(1, 1000)}

usual = st.sampled_from([0.1, 0.2, 0.5, 1, 2, 5, 6.37, 9, 10, 12, 12.5, 15, 20, 40, 400.0])
strange = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.integers(-(10**30), 10**30), st.none(), st.booleans()
)
numbers = st.one_of(usual, st.floats(1e-6, 2000), strange)
minutes = st.one_of(
    st.sampled_from([0.0, 1.0, 30.0, 60.0, 119.0, 120.0, 240.0, 720.0, 1439.0, 1440.0]), st.floats(0, 3000), strange
)
quantities = st.builds(Quantity, numbers, st.sampled_from(UNITS))
codes = st.sampled_from([*MEDICINES, "ATC/A10A", "RXNORM/5856", "nonsense", ""])
orders = st.builds(
    Order,
    code=codes,
    dose=quantities,
    route=st.sampled_from([*ROUTES, "rectal", "by owl"]),
    start=minutes,
    minutes=minutes,
    times=st.one_of(st.just(1), st.integers(-1, 6)),
    every=minutes,
)
fitting = st.one_of(  # a medicine, and a dose in a unit of its own
    st.tuples(st.sampled_from(MEDICINES[:3]), st.builds(Quantity, usual, st.sampled_from(("U", "U", "U/kg", "mU")))),
    st.tuples(st.sampled_from(MEDICINES[3:]), st.builds(Quantity, usual, st.sampled_from(("mg", "ug/kg/min")))),
)
likely = st.builds(
    lambda fitting, **more: Order(*fitting, **more),
    fitting,
    route=st.sampled_from(ROUTES),
    minutes=st.sampled_from([0.0, 60.0]),
    times=st.sampled_from([1, 1, 3]),
    every=st.sampled_from([60.0, 240.0, 720.0]),
)


def mostly(usual, rare):
    """Five in six of ``usual``; `one_of` would draw both alike."""
    return st.sampled_from([usual] * 5 + [rare]).flatmap(lambda chosen: chosen)


proposals = mostly(
    st.lists(likely, min_size=1, max_size=2).map(tuple), st.lists(st.one_of(likely, orders), max_size=3).map(tuple)
)


def some(values):
    return st.lists(values, max_size=2).map(tuple)


def maybe(values):
    return st.one_of(st.none(), some(values))


at_times = st.sampled_from([0.0, 30.0, 59.0, 60.0, 240.0, 1439.0, 1440.0])
doses = st.builds(
    Given,
    st.sampled_from(MEDICINES),
    st.builds(Quantity, usual, st.sampled_from(["U", "mg", "ug"])),
    at_times,
    at_times,
)
measured = st.builds(
    Observation,
    mostly(st.just(GLUCOSE), st.just("LOINC/15074-8")),
    st.builds(Quantity, st.sampled_from([40.0, 70.0, 120.0, 150.0]), st.just("mg/dL")),
    mostly(st.sampled_from([0.0, 5.0, 30.0]), st.just(31.0)),
)
plausible = st.builds(
    Facts,
    age=mostly(st.just(40), st.sampled_from([12, None])),
    weight=mostly(st.sampled_from([60, 60.5, 100]), st.sampled_from([3.3, None])),
    pregnant=mostly(st.just(False), st.sampled_from([True, None])),
    allergies=mostly(st.just(()), maybe(st.sampled_from(MEDICINES))),
    conditions=mostly(st.just(()), maybe(st.sampled_from(["N18.5", "E11"]))),
    current=mostly(st.just(()), maybe(st.builds(Current, st.sampled_from(MEDICINES)))),
    given=st.one_of(st.just(()), some(doses)),
    observations=st.lists(measured, min_size=1, max_size=2).map(tuple),
)
wild = st.builds(
    Facts,
    age=numbers,
    weight=numbers,
    pregnant=st.sampled_from([False, True, None]),
    allergies=maybe(codes),
    conditions=maybe(st.sampled_from(["N18.5", "E11", "SNOMED/44054006"])),
    current=maybe(st.builds(Current, codes, st.one_of(st.none(), quantities))),
    given=maybe(st.builds(Given, codes, quantities, minutes, minutes)),
    observations=maybe(st.builds(Observation, st.sampled_from([GLUCOSE, "LOINC/15074-8"]), quantities, minutes)),
)
patients = mostly(plausible, wild)

excess = st.sampled_from(["veto", "reduce"])
groups = st.sampled_from([["ATC/A10A"], [LISPRO], ["ATC/A10AB", NORADRENALINE], [NORADRENALINE], [WARFARIN, IBUPROFEN]])
PAIR = {"first": ["ATC/B01A"], "second": ["ATC/M01A"], "effect_en": "x", "effect_zh": "x", "source": "x"}
rules = st.one_of(
    st.builds(
        lambda group, of, most, hours, what: {
            "kind": "limit", "medicines": group, "of": of, "most": f"{most} {what}", "excess": "reduce",
        } | ({"hours": hours} if of == "total" and hours else {}),
        groups, st.sampled_from(["dose", "total"]), st.sampled_from(["5", "12", "40", "0.1"]), st.sampled_from([None, 4, 24]),
        st.sampled_from(["U", "mg", "U/kg", "mg/kg"]),
    ),
    st.builds(
        lambda most, how: {"kind": "limit", "medicines": [NORADRENALINE], "of": "rate"}
        | {"most": f"{most} ug/kg/min", "excess": how},
        st.sampled_from(["0.5", "1", "10"]), excess,
    ),
    st.builds(
        lambda group, unit, how, limits: {"kind": "change", "medicines": group, "of": "dose", "unit": unit, "within": 1440}
        | {"excess": how, **limits},
        groups, st.sampled_from(["U", "mg"]), excess,
        st.sampled_from([{"rise_ratio": 1.5}, {"fall_ratio": 0.5}, {"fall_ratio": 0.9, "rise_ratio": 1.2}]),
    ),
    st.builds(lambda group, gap: {"kind": "interval", "medicines": group, "minutes": gap}, groups, st.sampled_from([60, 120])),
    st.just({"kind": "allergy"}),
    st.builds(lambda level: {"kind": "duplicate", "level": level}, st.sampled_from([4, 5])),
    st.just({"kind": "condition", "conditions": ["ICD10/N18"]}),
    st.builds(lambda effect: {"kind": "pregnancy", "effect": effect}, st.sampled_from(["veto", "caution"])),
    st.just({"kind": "age", "least": 18}),
    st.builds(
        lambda least: {"kind": "observation", "observations": [GLUCOSE], "fresh": 30, "least": least, "medicines": ["ATC/A10A"]},
        st.sampled_from(["70 mg/dL", "130 mg/dL"]),
    ),
    st.builds(
        lambda severity: {"kind": "interaction", "pairs": [{**PAIR, "severity": severity}]}, st.sampled_from(["major", "minor"])
    ),
)  # fmt: skip
sets = st.lists(rules, max_size=5).map(lambda found: [{**rule, "id": f"r{place}"} for place, rule in enumerate(found)])
often = settings(max_examples=200, deadline=None)


def summary(verdict: Verdict) -> tuple:
    return verdict.outcome, verdict.orders, sorted(map(repr, verdict.findings))


@given(sets, patients, proposals)
@often
def test_whatever_it_is_given_it_answers(declared, facts, proposal):
    verdict = layer(*declared).check(facts, proposal)
    vetoes = [one for one in verdict.findings if one.effect == "veto"]
    assert verdict.outcome in ("allowed", "reduced", "vetoed")
    assert (verdict.outcome == "vetoed") == bool(vetoes)
    assert len(verdict.orders) == (0 if vetoes else len(proposal))
    for one in verdict.findings:
        assert all(one.reason in catalogue(language) for language in LANGUAGES)
    for before, after in zip(proposal, verdict.orders, strict=False):
        assert 0 < after.dose.value <= before.dose.value
        assert math.isfinite(after.dose.value)


@given(sets, rules, patients, proposals)
@often
def test_one_more_rule_never_allows_more(declared, another, facts, proposal):
    fewer = layer(*declared).check(facts, proposal)
    more = layer(*declared, {**another, "id": "another"}).check(facts, proposal)
    if fewer.outcome == "vetoed":
        assert more.outcome == "vetoed"
    for less, most in zip(more.orders, fewer.orders, strict=False):
        assert less.dose.value <= most.dose.value
    if fewer.outcome == "reduced":
        assert more.outcome != "allowed"


@given(sets, patients, proposals, st.randoms(use_true_random=False))
@often
def test_the_order_of_rules_does_not_matter(declared, facts, proposal, random):
    mixed = list(declared)
    random.shuffle(mixed)
    assert summary(layer(*declared).check(facts, proposal)) == summary(layer(*mixed).check(facts, proposal))


@given(sets, patients, proposals)
@often
def test_the_same_question_has_the_same_answer(declared, facts, proposal):
    safety = layer(*declared)
    assert safety.check(facts, proposal) == safety.check(facts, proposal)


@given(sets, patients, proposals)
@often
def test_what_passed_passes_again(declared, facts, proposal):
    safety = layer(*declared)
    verdict = safety.check(facts, proposal)
    if verdict.outcome != "vetoed":
        assert safety.check(facts, verdict.orders).outcome == "allowed"


# -- the same limits a second time -------------------------------------------------------------------------------------


def spoken(value: float) -> Fraction:
    return Fraction(repr(float(value)))


def amount(dosing, weight) -> tuple[Fraction, str]:
    """The amount of one administration in milligrams or units, computed apart from the layer."""
    numerator, *below = dosing.dose.unit.split("/")
    table, name = (MILLIGRAMS, "mg") if numerator in MILLIGRAMS else (UNITS_OF_ACTION, "U")
    value = spoken(dosing.dose.value) * table[numerator]
    for part in below:
        value *= {"kg": spoken(weight or 0), "min": spoken(dosing.minutes), "h": spoken(dosing.minutes) / 60}[part]
    return value, name


def delivered(span: tuple[float, float, Fraction], end: float) -> float:
    """How much of an administration reaches the patient within the day before ``end``."""
    start, stop, dose = span
    if start == stop:
        return float(dose) * (end - 1440 < start <= end)
    return float(dose) * max(0.0, min(stop, end) - max(start, end - 1440)) / (stop - start)


def is_insulin(code: str) -> bool:
    return code.startswith("ATC/A10A")


LIMIT = {"kind": "limit", "id": "dose", "medicines": ["ATC/A10A"], "of": "dose", "most": "12 U", "excess": "reduce"}
PER_KG = {"kind": "limit", "id": "kg", "medicines": ["ATC/A10A"], "of": "dose", "most": "0.15 U/kg", "excess": "reduce"}
RATE = {
    "kind": "limit",
    "id": "rate",
    "medicines": [NORADRENALINE],
    "of": "rate",
    "most": "1 ug/kg/min",
    "excess": "reduce",
}
GAP = {"kind": "interval", "id": "gap", "medicines": ["ATC/A10A"], "minutes": 60}
FLOOR = {
    "kind": "observation",
    "id": "floor",
    "medicines": ["ATC/A10A"],
    "observations": [GLUCOSE],
    "fresh": 30,
    "least": "70 mg/dL",
}
ALLERGY = {"kind": "allergy", "id": "allergy"}


@given(patients, proposals)
@settings(max_examples=600, deadline=None)
def test_nothing_passes_that_violates_a_limit(facts, proposal):
    verdict = layer(LIMIT, PER_KG, DAILY, RATE, GAP, FLOOR, ALLERGY).check(facts, proposal)
    insulin = [one for one in verdict.orders if is_insulin(one.code)]
    spans, own = [], []
    for one in insulin:
        dose, unit = amount(one, facts.weight)
        assert unit == "U"
        assert 0 < dose <= 12
        assert dose <= Fraction(15, 100) * spoken(facts.weight)
        glucose = [seen for seen in facts.observations if seen.code == GLUCOSE]
        assert any(seen.age <= 30 and spoken(seen.value.value) >= 70 for seen in glucose)
        assert not any(allergen in one.code or one.code in allergen for allergen in facts.allergies)
        begins = [one.start + n * one.every for n in range(one.times)]
        own += [(begin, begin + one.minutes, dose) for begin in begins]
    past = [one for one in facts.given or () if is_insulin(one.code)] if insulin else []
    spans = sorted(own + [(-one.ago - one.minutes, -one.ago, amount(one, facts.weight)[0]) for one in past])
    for start, stop, _ in spans:
        for end in (start, stop, start + 1439.99, stop + 1439.99):
            if sum(delivered(span, end) for span in own):
                assert sum(delivered(span, end) for span in spans) <= 40 + 1e-9
    if insulin:
        mine = [span for span in spans if span[1] >= 0 or span[0] >= 0]
        before = [span for span in spans if span not in mine]
        for number, (start, _, _) in enumerate(mine):
            ends = [stop for _, stop, _ in before + mine[:number]]
            if start >= 0 and ends:
                assert start - max(ends) >= 60 - 1e-9
    for one in verdict.orders:
        assert one.code in MEDICINES or one.code == "ATC/A10A"
        assert one.route in ROUTES
        if one.code == NORADRENALINE:
            dose, _ = amount(one, facts.weight)
            assert dose / spoken(one.minutes) / spoken(facts.weight) <= Fraction(1, 1000)


@given(
    st.sampled_from(["U", "mU", "U/kg", "U/h"]),
    st.floats(0.4, 2.2),
    st.floats(0.2, 650),
    st.sampled_from([12, 0.7, 100]),
)
@settings(max_examples=200, deadline=None)
def test_a_reduced_dose_is_at_its_limit_but_for_rounding(unit, times, weight, most):
    safety = layer(
        {"kind": "limit", "id": "one", "medicines": [LISPRO], "of": "dose", "most": f"{most} U", "excess": "reduce"}
    )
    facts = Facts(
        age=40, weight=weight, pregnant=False, allergies=(), conditions=(), current=(), given=(), observations=()
    )
    dose = most * times / {"U": 1, "mU": 0.001, "U/kg": weight, "U/h": 0.5}[unit]
    order = Order(LISPRO, Quantity(dose, unit), "oral", minutes=30.0)
    verdict = safety.check(facts, (order,))
    asked = amount(order, weight)[0]
    limit = spoken(most)
    if limit < asked <= min(2 * limit, 100):
        assert verdict.outcome == "reduced"
        left = amount(verdict.orders[0], weight)[0]
        assert limit >= left > limit * Fraction(98, 100)
    else:
        assert verdict.outcome == ("allowed" if asked <= limit else "vetoed")

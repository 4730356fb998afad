"""Each safety rule by examples, units, and attempts to get past the layer or to switch it off."""

import dataclasses
import inspect
import math
from fractions import Fraction

import numpy as np
import pytest
from pydantic import ValidationError

from puji.errors import Invalid
from puji.language import LANGUAGES
from puji.modalities.plans.plan import Order, Verdict
from puji.modalities.plans.safety import Current, Facts, Given, Observation, Safety, load_rules
from puji.modalities.plans.safety.doses import Limit
from puji.modalities.plans.safety.rules import EXAMPLE, parsed_rules
from puji.modalities.plans.units import Quantity, converted, exact, parsed, rounded_down
from tests.plans_cases import (
    AMOXICILLIN,
    CEFAZOLIN,
    DAILY,
    FACTS,
    GLARGINE,
    GLUCOSE,
    IBUPROFEN,
    LISPRO,
    METFORMIN,
    NORADRENALINE,
    REGULAR,
    WARFARIN,
    facts,
    layer,
    order,
    reasons,
    rules_of,
)

# -- units -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        (1, "g", "mg", 1000),
        (1, "mg", "mcg", 1000),
        (1, "mcg", "ng", 1000),
        (Fraction(3, 10), "mg", "ug", 300),
        (1, "U", "mU", 1000),
        (1, "IU", "[iU]", 1),
        (5, "单位", "U", 5),
        (1, "L", "ml", 1000),
        (1, "ug/kg/min", "mg/kg/h", Fraction(6, 100)),
        (24, "mg/d", "mg/h", 1),
        (90, "mg/dL", "g/L", Fraction(9, 10)),
    ],
)
def test_units_convert_exactly(value, unit, to, expected):
    assert converted(Fraction(value), unit, to) == expected
    assert converted(Fraction(expected), to, unit) == value


def test_glucose_between_moles_and_grams():
    assert converted(Fraction(1), "mmol/L", "mg/dL", "glucose") == Fraction("18.0156")
    assert converted(Fraction("18.0156"), "mg/dL", "mmol/L", "glucose") == 1
    with pytest.raises(Invalid, match="cannot be compared"):
        converted(Fraction(1), "mmol/L", "mg/dL")


@pytest.mark.parametrize(
    "pair", [("mg", "mL"), ("mg", "U"), ("mg/kg", "mg"), ("mg/h", "mg"), ("meq", "mmol"), ("mg/m2", "mg/kg")]
)
def test_units_of_different_kinds_are_never_converted(pair):
    with pytest.raises(Invalid):
        converted(Fraction(1), *pair)


@pytest.mark.parametrize(
    "unit", ["MG", "Mg", "tablet", "mg//kg", "mg per kg", "kgs", "u", "mg/", "/kg", "mg" * 30, "ｍｇ"]
)
def test_unknown_units_are_refused(unit):
    assert parsed(" mg\n").code == "mg"  # white space around a unit is no other unit
    with pytest.raises(Invalid):
        parsed(unit)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 1e13, 1e-10, 5e-324, 10**400, True, None, "5", 1j, np.float32(1), [1]]
)
def test_what_is_no_number_in_range_is_refused(value):
    with pytest.raises(Invalid):
        exact(value)


def test_numbers_are_the_decimals_that_they_are_written_as():
    assert exact(0.1) + exact(0.2) == exact(0.3)
    assert exact(np.float64(0.1)) == Fraction(1, 10)
    assert exact(7) == 7
    with pytest.raises(Invalid):
        exact(10**5000)


def test_reduced_doses_are_rounded_down():
    for value in (Fraction(2, 3), Fraction(12345), Fraction(1999, 1000), Fraction(1, 7000)):
        assert 0 < exact(rounded_down(value)) <= value
        assert value - exact(rounded_down(value)) < value / 100


def test_quantities_read_and_written():
    for text in ("0.1 mg/kg", "15 U", "0.000001 g", "1234567.891 mg", "7.35"):
        assert Quantity.read(str(Quantity.read(text))) == Quantity.read(text)
    assert Quantity(0.05, "ug/kg/min").shown("en") == "0.05 mcg/kg/min"
    assert Quantity(0.05, "ug/kg/min").shown("zh") == "0.05 μg/kg/min"
    for text in ("", "mg", ".5 mg", "1. mg", "-1 mg", "nan mg", "1e3 mg", "1 mg 2 mg", "9" * 400 + " mg", "٣ mg"):
        with pytest.raises(Invalid):
            Quantity.read(text)


# -- what may be ordered, and how much ---------------------------------------------------------------------------------

PER_DOSE = {"kind": "limit", "id": "dose", "medicines": ["ATC/A10AB"], "of": "dose", "most": "12 U"}


def test_the_list_is_closed():
    safety = layer()
    assert safety.check(FACTS, (order(),)).outcome == "allowed"
    assert reasons(safety.check(FACTS, (order("ATC/N02AA01", 5, "mg", "oral"),))) == ["not_allowed"]
    assert reasons(safety.check(FACTS, (order(route="rectal"),))) == ["not_allowed"]
    assert reasons(safety.check(FACTS, (order("ATC/A10"),))) == ["not_allowed"]  # wider than what is listed
    assert reasons(safety.check(FACTS, (order(dose=101),))) == ["too_much"]
    assert safety.check(FACTS, ()).outcome == "allowed"


def test_a_dose_limit_vetoes_or_reduces():
    assert layer(PER_DOSE).check(FACTS, (order(dose=12),)).outcome == "allowed"
    assert reasons(layer(PER_DOSE).check(FACTS, (order(dose=12.000001),))) == ["dose"]
    safety = layer({**PER_DOSE, "excess": "reduce"})
    verdict = safety.check(FACTS, (order(dose=20),))
    assert verdict.outcome == "reduced"
    assert verdict.orders == (order(dose=12, unit="[iU]"),)
    assert safety.check(FACTS, (order(dose=24.1),)).outcome == "vetoed"  # less than half would be left
    assert safety.check(FACTS, (order(dose=24),)).orders[0].dose.value == 12


def test_limits_per_kg_need_a_believable_weight():
    safety = layer({**PER_DOSE, "most": "0.1 U/kg", "excess": "reduce"})
    assert safety.check(facts(weight=100), (order(dose=10),)).outcome == "allowed"
    assert safety.check(facts(weight=63.7), (order(dose=10),)).orders[0].dose.value == 6.37
    assert reasons(safety.check(facts(weight=None), (order(dose=1),))) == ["missing"]
    assert reasons(safety.check(facts(weight=None), (order(WARFARIN, 1, "mg/kg", "oral"),))) == ["missing"]
    for weight in (0, -60, math.nan, math.inf, 1e6, 0.01, True, "60"):
        assert reasons(safety.check(facts(weight=weight), (order(dose=1),))) == ["fact"]


def test_infusions_are_judged_by_rate_and_by_amount():
    rate = {"kind": "limit", "id": "rate", "medicines": [NORADRENALINE], "of": "rate", "most": "1 ug/kg/min"}
    dose = {"kind": "limit", "id": "dose", "medicines": [NORADRENALINE], "of": "dose", "most": "14.4 mg"}
    infusion = order(NORADRENALINE, 1, "ug/kg/min", "intravenous", minutes=240)
    assert layer(rate, dose).check(FACTS, (infusion,)).outcome == "allowed"  # 1 x 60 kg x 240 min = 14.4 mg
    longer = dataclasses.replace(infusion, minutes=241)
    assert reasons(layer(rate, dose).check(FACTS, (longer,))) == ["dose"]
    faster = dataclasses.replace(infusion, dose=Quantity(1.01, "ug/kg/min"), minutes=1)
    assert reasons(layer(rate).check(FACTS, (faster,))) == ["rate"]
    assert layer({**rate, "excess": "reduce"}).check(FACTS, (faster,)).orders[0].dose.value == 1
    by_amount = order(NORADRENALINE, 14.4, "mg", "intravenous", minutes=239)
    assert reasons(layer(rate).check(FACTS, (by_amount,))) == ["rate"]
    bolus = order(NORADRENALINE, 1, "ug", "intravenous")
    assert reasons(layer(rate).check(FACTS, (bolus,))) == ["no_duration"]
    endless = order(NORADRENALINE, 1, "ug/kg/min", "intravenous")
    assert set(reasons(layer(rate).check(FACTS, (endless,)))) == {"no_duration"}


def given(dose, ago, code=LISPRO, **more):
    return Given(code, Quantity(dose, "U"), ago, **more)


def test_totals_count_what_was_given_and_what_is_to_come():
    safety = layer(DAILY)
    assert safety.check(facts(given=(given(30, 60),)), (order(dose=10),)).outcome == "allowed"
    assert safety.check(facts(given=(given(30, 60),)), (order(dose=15),)).orders[0].dose.value == 10
    assert safety.check(facts(given=(given(41, 60),)), (order(dose=1),)).outcome == "vetoed"
    assert safety.check(facts(given=(given(40, 1440),)), (order(dose=40),)).outcome == "allowed"
    assert safety.check(facts(given=(given(40, 1439),)), (order(dose=40),)).outcome == "vetoed"
    assert reasons(safety.check(facts(given=None), (order(dose=1),))) == ["missing"]
    assert safety.check(facts(given=(given(40, 0, WARFARIN),)), (order(dose=40),)).outcome == "allowed"
    often = order(dose=11, times=4, every=360)
    assert safety.check(FACTS, (often,)).orders[0].dose.value == 10
    assert safety.check(FACTS, (order(dose=40, times=2, every=1440),)).outcome == "allowed"
    both = (order(LISPRO, 25), order(GLARGINE, 25))
    assert safety.check(FACTS, both).outcome == "vetoed"  # of two orders none is chosen to be reduced
    unknown = facts(given=(Given("LOCAL/x", Quantity(1, "U"), 5.0),))
    assert reasons(safety.check(unknown, (order(dose=1),))) == ["unknown_code"]


def test_an_infusion_counts_while_it_reaches_into_the_window():
    rule = {**DAILY, "medicines": [NORADRENALINE], "most": "10 mg"}
    one = Given(NORADRENALINE, Quantity(1.0, "mg/h"), ago=1430.0, minutes=600.0)
    verdict = layer(rule).check(facts(given=(one,)), (order(NORADRENALINE, 1, "mg", "intravenous"),))
    assert reasons(verdict) == ["total"]
    # Within the day after a dose some of an infusion has run that begins later and ends after that day.
    two = (
        order(NORADRENALINE, 6, "mg", "intravenous"),
        order(NORADRENALINE, 6, "mg", "intravenous", start=1000, minutes=1000),
    )
    assert reasons(layer(rule).check(FACTS, two)) == ["total"]


def test_totals_count_what_the_patient_takes_anyway():
    safety = layer(DAILY)
    taking = facts(current=(Current(GLARGINE, Quantity(35, "U")),))
    assert safety.check(taking, (order(dose=5),)).outcome == "allowed"
    assert safety.check(taking, (order(dose=6),)).orders[0].dose.value == 5
    assert reasons(safety.check(facts(current=(Current(GLARGINE),)), (order(dose=5),))) == ["daily"]
    assert reasons(safety.check(facts(current=None), (order(dose=5),))) == ["missing"]


def test_cumulative_totals_have_no_window():
    rule = {"kind": "limit", "id": "course", "medicines": [AMOXICILLIN], "of": "total", "most": "10 g"}
    past = facts(given=tuple(Given(AMOXICILLIN, Quantity(3.0, "g"), 40_000.0 * n) for n in range(3)))
    assert layer(rule).check(past, (order(AMOXICILLIN, 1000, "mg", "oral"),)).outcome == "allowed"
    assert reasons(layer(rule).check(past, (order(AMOXICILLIN, 1001, "mg", "oral"),))) == ["total"]


CHANGE = {
    "kind": "change",
    "id": "steps",
    "medicines": [NORADRENALINE],
    "of": "rate",
    "unit": "ug/kg/min",
    "within": 300,
}


def running(rate, ago=0.0):
    return (Given(NORADRENALINE, Quantity(rate, "ug/kg/min"), ago, minutes=240),)


def infusion(rate):
    return order(NORADRENALINE, rate, "ug/kg/min", "intravenous", minutes=240)


def test_changes_from_one_step_to_the_next():
    safety = layer({**CHANGE, "rise": "0.1 ug/kg/min", "fall_ratio": 0.5, "excess": "reduce"})
    assert safety.check(facts(given=running(0.2)), (infusion(0.3),)).outcome == "allowed"
    assert safety.check(facts(given=running(0.2)), (infusion(0.4),)).orders[0].dose.value == 0.3
    assert safety.check(facts(given=running(0.2)), (infusion(0.1),)).outcome == "allowed"
    assert reasons(safety.check(facts(given=running(0.2)), (infusion(0.09),))) == ["fall"]
    assert reasons(safety.check(facts(given=running(0.2)), ())) == ["fall"]  # stopping is a fall, too
    assert safety.check(facts(given=running(0.2, ago=301)), ()).outcome == "allowed"
    assert safety.check(FACTS, (infusion(0.1),)).outcome == "allowed"
    assert safety.check(FACTS, (infusion(0.11),)).orders[0].dose.value == 0.1
    assert reasons(safety.check(facts(given=None), ())) == ["missing"]
    ratio = layer({**CHANGE, "rise_ratio": 2})
    assert reasons(ratio.check(facts(given=running(0.2)), (infusion(0.41),))) == ["rise"]
    assert ratio.check(FACTS, (infusion(0.41),)).outcome == "allowed"  # nothing to compare a first dose with


def test_a_reduced_dose_must_not_fall_too_far():
    safety = layer(
        {**CHANGE, "fall_ratio": 0.9},
        {
            "kind": "limit",
            "id": "rate",
            "medicines": [NORADRENALINE],
            "of": "rate",
            "most": "0.5 ug/kg/min",
            "excess": "reduce",
        },
    )
    verdict = safety.check(facts(given=running(0.9)), (infusion(0.9),))
    assert verdict.outcome == "vetoed"
    assert set(reasons(verdict)) == {"rate", "fall"}


def test_intervals():
    safety = layer({"kind": "interval", "id": "gap", "medicines": ["ATC/A10AB"], "minutes": 120})
    assert safety.check(facts(given=(given(5, 120),)), (order(),)).outcome == "allowed"
    assert reasons(safety.check(facts(given=(given(5, 119),)), (order(),))) == ["interval"]
    assert safety.check(facts(given=(given(5, 119),)), (order(start=1),)).outcome == "allowed"
    assert reasons(safety.check(FACTS, (order(times=3, every=119),))) == ["interval"]
    assert reasons(safety.check(FACTS, (order(), order(REGULAR, start=119)))) == ["interval"]
    assert safety.check(facts(given=(given(5, 1, GLARGINE),)), (order(),)).outcome == "allowed"


# -- the patient -------------------------------------------------------------------------------------------------------


def test_allergies_reach_the_subgroup_and_across():
    cross = [["ATC/J01C", "ATC/J01DB"]]
    safety = layer({"kind": "allergy", "id": "allergies", "cross": cross}, codes={"LOCAL/peanut": []})
    amoxicillin, cefazolin = order(AMOXICILLIN, 1, "g", "oral"), order(CEFAZOLIN, 1, "g", "intravenous")
    assert safety.check(FACTS, (amoxicillin, cefazolin)).outcome == "allowed"
    for allergen in (AMOXICILLIN, "ATC/J01CA", "ATC/J01CA01", "ATC/J01", "ATC/J"):
        assert "allergy" in reasons(safety.check(facts(allergies=(allergen,)), (amoxicillin,)))
    assert reasons(safety.check(facts(allergies=("ATC/J01CE01",)), (cefazolin,))) == ["allergy"]
    assert safety.check(facts(allergies=("LOCAL/peanut", IBUPROFEN)), (cefazolin,)).outcome == "allowed"
    assert reasons(safety.check(facts(allergies=("LOCAL/latex",)), (cefazolin,))) == ["unknown_code"]
    assert reasons(safety.check(facts(allergies=None), (cefazolin,))) == ["missing"]


def test_conditions_in_any_edition():
    rule = {
        "kind": "condition",
        "id": "kidney",
        "medicines": [METFORMIN],
        "conditions": ["ICD10/N18.5", "ICD10/E10-E14"],
    }
    with pytest.raises(Invalid):
        layer(rule)  # no chapter of ICD-10
    rule["conditions"] = ["ICD10/N18.5", "ICD10/K70"]
    safety = layer(rule, codes={"SNOMED/46177005": ["ICD10/N18.5"]})
    asked = (order(METFORMIN, 500, "mg", "oral"),)
    for code in ("N18.5", "ICD10CM/N18.5", "ICD10CN/N18.500", "K70.3", "SNOMED/46177005", "ICD10/N18"):
        assert reasons(safety.check(facts(conditions=(code,)), asked)) == ["condition"], code
    assert safety.check(facts(conditions=("N18.3", "E11.9")), asked).outcome == "allowed"
    assert reasons(safety.check(facts(conditions=("SNOMED/44054006",)), asked)) == ["unknown_code"]
    assert reasons(safety.check(facts(conditions=None), asked)) == ["missing"]
    assert safety.check(facts(conditions=None), (order(),)).outcome == "allowed"  # the rule is about another medicine
    chapter = layer({**rule, "conditions": ["ICD10/K00-K93"]})
    assert reasons(chapter.check(facts(conditions=("ICD10CM/K85.90",)), asked)) == ["condition"]


def test_age_and_pregnancy():
    safety = layer({"kind": "age", "id": "age", "least": 18, "most": 65}, {"kind": "pregnancy", "id": "pregnant"})
    assert safety.check(facts(age=18), (order(),)).outcome == "allowed"
    for age in (17.99, 65):
        assert reasons(safety.check(facts(age=age), (order(),))) == ["age"]
    assert reasons(safety.check(facts(age=None), (order(),))) == ["missing"]
    assert reasons(safety.check(facts(pregnant=True), (order(),))) == ["pregnancy"]
    assert reasons(safety.check(facts(pregnant=None), (order(),))) == ["missing"]
    for age in (-1, math.nan, 131, "40"):
        assert reasons(safety.check(facts(age=age), (order(),))) == ["fact"]
    warned = layer({"kind": "pregnancy", "id": "pregnant", "effect": "caution"})
    assert warned.check(facts(pregnant=True), (order(),)).outcome == "allowed"
    assert reasons(warned.check(facts(pregnant=True), (order(),))) == ["pregnancy"]


FLOOR = {
    "kind": "observation",
    "id": "floor",
    "medicines": ["ATC/A10"],
    "observations": [GLUCOSE, "LOINC/15074-8"],
    "substance": "glucose",
    "fresh": 30,
    "least": "70 mg/dL",
    "most": "600 mg/dL",
}


def seen(*values):
    return facts(observations=tuple(Observation(code, Quantity(value, unit), age) for code, value, unit, age in values))


def test_no_insulin_without_a_fresh_glucose_that_is_high_enough():
    safety = layer(FLOOR)
    asked = (order(),)
    assert safety.check(seen((GLUCOSE, 70, "mg/dL", 30)), asked).outcome == "allowed"
    assert reasons(safety.check(seen((GLUCOSE, 69.9, "mg/dL", 5)), asked)) == ["low"]
    assert reasons(safety.check(seen((GLUCOSE, 601, "mg/dL", 5)), asked)) == ["high"]
    assert reasons(safety.check(seen((GLUCOSE, 150, "mg/dL", 30.1)), asked)) == ["stale"]
    assert reasons(safety.check(seen(("LOINC/2345-7", 150, "mg/dL", 5)), asked)) == ["unobserved"]
    assert reasons(safety.check(seen(), asked)) == ["unobserved"]
    assert reasons(safety.check(facts(observations=None), asked)) == ["missing"]
    assert safety.check(seen(("LOINC/15074-8", 3.9, "mmol/L", 5)), asked).outcome == "allowed"
    assert reasons(safety.check(seen(("LOINC/15074-8", 3.88, "mmol/L", 5)), asked)) == ["low"]
    ratio = layer({**FLOOR, "substance": "", "observations": ["LOINC/6301-6"], "least": None, "most": "4.5"})
    assert ratio.check(seen(("LOINC/6301-6", 4.5, "", 5)), asked).outcome == "allowed"
    assert reasons(ratio.check(seen(("LOINC/6301-6", 4.6, "1", 5)), asked)) == ["high"]
    # The last one counts, and of two at one time the worse.
    assert safety.check(seen((GLUCOSE, 50, "mg/dL", 20), (GLUCOSE, 90, "mg/dL", 5)), asked).outcome == "allowed"
    assert reasons(safety.check(seen((GLUCOSE, 90, "mg/dL", 5), (GLUCOSE, 50, "mg/dL", 5)), asked)) == ["low"]
    assert safety.check(seen((GLUCOSE, 150, "furlong", 5)), asked).outcome == "vetoed"
    assert safety.check(seen((GLUCOSE, 150, "mmol", 5)), asked).outcome == "vetoed"
    for value, age in ((math.nan, 5), (150, math.nan), (150, -1), (math.inf, 5)):
        assert reasons(safety.check(seen((GLUCOSE, value, "mg/dL", age)), asked)) == ["fact"]


def test_duplicates():
    safety = layer({"kind": "duplicate", "id": "double", "level": 4, "apart": ["ATC/B01AA"]})
    assert reasons(safety.check(facts(current=(Current(REGULAR),)), (order(),))) == ["duplicate"]
    assert safety.check(facts(current=(Current(GLARGINE),)), (order(),)).outcome == "allowed"
    assert reasons(safety.check(FACTS, (order(), order(REGULAR, 1)))) == ["duplicate"]
    assert reasons(safety.check(facts(current=(Current("ATC/A10"),)), (order(),))) == ["duplicate"]
    warfarin = order(WARFARIN, 3, "mg", "oral")
    assert safety.check(facts(current=(Current(WARFARIN),)), (warfarin,)).outcome == "allowed"
    assert reasons(safety.check(facts(current=None), (order(),))) == ["missing"]
    same = layer({"kind": "duplicate", "id": "double", "level": 5})
    assert same.check(facts(current=(Current(REGULAR),)), (order(),)).outcome == "allowed"
    assert reasons(same.check(facts(current=(Current(LISPRO),)), (order(),))) == ["duplicate"]


PAIR = {"first": [WARFARIN], "second": ["ATC/M01A"], "effect_en": "bleeding", "effect_zh": "出血", "source": "test"}


def interacting(severity, **more):
    return layer({"kind": "interaction", "id": "pairs", "pairs": [{**PAIR, "severity": severity, **more}]})


def test_interactions():
    ibuprofen = order(IBUPROFEN, 400, "mg", "oral")
    taking = facts(current=(Current(WARFARIN),))
    assert reasons(interacting("major").check(taking, (ibuprofen,))) == ["interaction"]
    assert interacting("major").check(taking, (ibuprofen,)).outcome == "vetoed"
    mild = interacting("moderate").check(taking, (ibuprofen,))
    assert (mild.outcome, reasons(mild)) == ("allowed", ["interaction"])
    assert "bleeding" in mild.findings[0].message("en")
    assert "出血" in mild.findings[0].message("zh")
    both = (ibuprofen, order(WARFARIN, 3, "mg", "oral"))
    for orders in (both, both[::-1]):
        assert reasons(interacting("major").check(FACTS, orders)) == ["interaction"]
    # A rule about one medicine sees the others of the proposal, wherever they stand.
    only = layer(
        {"kind": "interaction", "id": "pairs", "medicines": [IBUPROFEN], "pairs": [{**PAIR, "severity": "major"}]}
    )
    for orders in (both, both[::-1]):
        assert reasons(only.check(FACTS, orders)) == ["interaction"]
    before = facts(given=(Given(WARFARIN, Quantity(3, "mg"), 3 * 1440.0),))
    assert interacting("major").check(before, (ibuprofen,)).outcome == "allowed"
    assert interacting("major", days=3).check(before, (ibuprofen,)).outcome == "vetoed"
    # A group in the record may mean one of its medicines.
    assert interacting("major").check(facts(current=(Current("ATC/B01A"),)), (ibuprofen,)).outcome == "vetoed"
    assert reasons(interacting("major").check(facts(current=(Current("RXNORM/5640"),)), (ibuprofen,))) == [
        "unknown_code"
    ]


def test_other_codes_mean_what_the_setting_says():
    codes = {"RXNORM/86009": [LISPRO], "LOCAL/combination": [IBUPROFEN, WARFARIN]}
    safety = layer({**PER_DOSE, "medicines": ["RXNORM/86009"]}, codes=codes)
    assert safety.check(FACTS, (order("RXNORM/86009"),)).outcome == "allowed"
    for code in ("RXNORM/86009", LISPRO, "ATC/A10AB", "ATC/A10A"):
        assert reasons(safety.check(FACTS, (order(code, 13),))) == ["dose"], code
    assert set(reasons(safety.check(FACTS, (order("RXNORM/1"),)))) == {"unknown_code"}
    # No entry covers all that a combination is made of.
    assert reasons(safety.check(FACTS, (order("LOCAL/combination", 1, "mg", "oral"),))) == ["not_allowed"]


# -- attempts to get past it -------------------------------------------------------------------------------------------


class Liar(float):
    """A float that claims to be smaller than everything."""

    __slots__ = ()

    def __lt__(self, other):
        return True

    __le__ = __lt__

    def __gt__(self, other):
        return False

    __ge__ = __gt__

    def __float__(self):
        return 1.0

    def __repr__(self):
        return "1.0"


class LiarInt(int):
    def __index__(self):
        return 1

    __int__ = __index__


class LiarText(str):
    __slots__ = ()

    def __str__(self):
        return LISPRO

    def __eq__(self, other):
        return True

    def startswith(self, *_):
        return True

    __hash__ = str.__hash__


def bad_orders():
    good = order()
    for field, values in {
        "dose": [None, 5, "5 U", Quantity("5", "U"), Quantity(True, "U"), Quantity(0, "U"), Quantity(-1, "U")]
        + [Quantity(value, "U") for value in (math.nan, math.inf, -math.inf, 1e300, 10**400, 1e-320, np.float32(5))]
        + [Quantity(5.0, unit) for unit in ("", "mg", "tablet", None, 5, "U/parsec", "U/kg/kg", "U" * 100)],
        "code": [
            "",
            None,
            5,
            "A10AB04",
            "insulin",
            "ATC/",
            "ATC/A10AB04 ATC/X",
            "ATC/../A10AB04",
            "ATC/*",
            "x" * 10_000,
            "DEATH",
        ],
        "route": ["", None, "Subcutaneous", "sc", "subcutaneous ", 5],
        "start": [-1, math.nan, math.inf, None, "0", 1e9],
        "minutes": [-1, math.nan, 1e9, None],
        "times": [0, -1, 101, 10**9, 2.5, None, True, math.nan],
    }.items():
        for value in values:
            yield dataclasses.replace(good, **{field: value})
    yield dataclasses.replace(good, times=3, every=0)
    yield dataclasses.replace(good, times=3, every=10, minutes=11)


@pytest.mark.parametrize("bad", list(bad_orders()), ids=lambda one: repr(one)[:60].encode("ascii", "replace").decode())
def test_a_malformed_order_is_vetoed(bad):
    for orders in ((bad,), (order(GLARGINE), bad)):
        verdict = layer().check(FACTS, orders)
        assert verdict.outcome == "vetoed"
        assert verdict.orders == ()
        assert all(one.message(language) for one in verdict.findings for language in LANGUAGES)


def test_values_that_lie_about_themselves():
    safety = layer(PER_DOSE)
    assert safety.check(FACTS, (order(dose=Liar(90)),)).outcome == "vetoed"
    assert safety.check(FACTS, (order(dose=10, times=LiarInt(90), every=5),)).orders[0].times == 90
    assert safety.check(FACTS, (order(LiarText("ATC/N02AA01")),)).outcome == "vetoed"
    passed = safety.check(FACTS, (order(dose=Liar(9)),))
    assert type(passed.orders[0].dose.value) is float
    assert passed.orders[0].dose.value == 9.0


@pytest.mark.parametrize(
    "orders", [None, 5, "x", order(), [None], ({},), (object(),), [order()] * 21, iter([order()]), {order()}]
)
def test_what_is_no_list_of_orders_is_vetoed(orders):
    assert layer().check(FACTS, orders).outcome == "vetoed"


def test_an_order_of_another_class_is_vetoed():
    class Sly(Order):
        pass

    assert layer().check(FACTS, (Sly(LISPRO, Quantity(5, "U"), "subcutaneous"),)).outcome == "vetoed"


@pytest.mark.parametrize(
    "broken",
    [
        None,
        5,
        {"weight": 60},
        facts(given=[]),
        facts(given=(None,)),
        facts(given=5),
        facts(allergies=("",)),
        facts(allergies="J01"),
    ]
    + [facts(conditions=("ICD10/nonsense",)), facts(pregnant="no"), facts(pregnant=0), facts(current=("ATC/B01",))]
    + [
        facts(given=(Given(LISPRO, Quantity(value, "U"), ago),))
        for value, ago in ((math.nan, 1.0), (-5, 1.0), (5, -1.0), (5, None))
    ]
    + [facts(given=(Given(LISPRO, Quantity(5, "U"), 1.0, route="sideways"),)), facts(observations=(None,))],
    ids=lambda one: repr(one)[:40],
)
def test_malformed_facts_veto(broken):
    assert layer().check(broken, (order(),)).outcome == "vetoed"


def test_facts_of_another_class_veto():
    class Sly(Facts):
        @property
        def allergies(self):
            return ()

    with pytest.raises(AttributeError):
        Sly()
    assert layer().check(dataclasses.asdict(FACTS), (order(),)).outcome == "vetoed"


def test_a_rule_that_fails_vetoes(monkeypatch):
    safety = layer(PER_DOSE)

    def fails(self, case):
        raise ZeroDivisionError
        yield

    monkeypatch.setattr(Limit, "judge", fails)
    assert reasons(safety.check(FACTS, (order(),))) == ["rule_failed"]
    monkeypatch.setattr(Limit, "judge", lambda self, case: 5)
    assert reasons(safety.check(FACTS, (order(),))) == ["rule_failed"]


def test_it_is_not_switched_off_from_outside():
    assert list(inspect.signature(Safety.check).parameters) == ["self", "facts", "orders"]
    assert list(inspect.signature(Safety).parameters) == ["rules"]
    safety = layer(PER_DOSE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        safety.rules = rules_of()
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
        safety.enabled = False
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
        del safety.rules
    with pytest.raises(ValidationError):
        safety.rules.rules[1].most = Quantity(1e6, "U")
    with pytest.raises(TypeError):
        safety.rules.rules[1] = None
    with pytest.raises(TypeError):
        safety.check(FACTS, (order(dose=50),), enabled=False)
    assert safety.check(FACTS, (order(dose=50),)).outcome == "vetoed"


def test_rules_changed_behind_its_back_veto_everything():
    for change in (
        lambda safety: safety.rules.rules[1].__dict__.update(most=Quantity(1e6, "U")),
        lambda safety: safety.rules.__dict__.update(rules=safety.rules.rules[:1]),
        lambda safety: safety.rules.codes.update({"LOCAL/anything": (LISPRO,)}),
        lambda safety: object.__setattr__(safety, "rules", rules_of()),
        lambda safety: safety.rules.__dict__.clear(),
    ):
        safety = layer(PER_DOSE)
        assert safety.check(FACTS, (order(dose=10),)).outcome == "allowed"
        change(safety)
        assert safety.check(FACTS, (order(dose=10),)).outcome == "vetoed"


def test_the_rules_are_a_copy():
    rules = rules_of(PER_DOSE)
    safety = Safety(rules)
    rules.rules[1].__dict__["most"] = Quantity(1e6, "U")
    rules.codes["LOCAL/anything"] = (LISPRO,)
    assert reasons(safety.check(FACTS, (order(dose=50),))) == ["dose"]


def test_a_rule_of_another_class_is_not_taken():
    class Lenient(Limit):
        def judge(self, case):
            return iter(())

    rules = rules_of(PER_DOSE)
    rules.__dict__["rules"] = (rules.rules[0], Lenient.model_validate_json(rules.rules[1].model_dump_json()))
    assert reasons(Safety(rules).check(FACTS, (order(dose=50),))) == ["dose"]


def test_a_verdict_cannot_be_vetoed_and_hold_orders():
    vetoed = layer().check(FACTS, (order(dose=1000),))
    with pytest.raises(ValueError, match="no orders"):
        Verdict((order(),), vetoed.findings)


def test_every_finding_speaks_both_languages():
    example = load_rules(EXAMPLE)
    safety = Safety(example)
    unwell = facts(
        age=12,
        pregnant=True,
        allergies=(LISPRO,),
        conditions=("E16.2",),
        current=(Current(REGULAR), Current("ATC/A10BB01")),
    )
    verdict = safety.check(
        dataclasses.replace(unwell, observations=()), (order("RXNORM/86009", 40, times=3, every=60),)
    )
    assert verdict.outcome == "vetoed"
    assert {one.rule for one in verdict.findings} >= {
        "adults",
        "pregnancy",
        "allergies",
        "hypoglycaemia",
        "duplicates",
        "formulary",
    }
    for finding in verdict.findings:
        for language in LANGUAGES:
            text = finding.message(language, example.naming)
            assert "{" not in text, text
            assert "plans." not in text, text
    assert any("赖脯胰岛素" in one.message("zh", example.naming) for one in verdict.findings)


def test_the_example_lets_a_usual_dose_pass():
    verdict = Safety(load_rules(EXAMPLE)).check(FACTS, (order("RXNORM/86009", 6),))
    assert (verdict.outcome, verdict.findings) == ("allowed", ())
    assert len(verdict.rules) == 64


def test_without_a_closed_list_there_are_no_rules():
    with pytest.raises(Invalid, match="allowed"):
        parsed_rules({"name": "x", "rules": []})
    with pytest.raises(Invalid, match="allowed"):
        parsed_rules({"name": "x", "rules": [PER_DOSE]})

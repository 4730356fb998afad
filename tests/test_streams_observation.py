"""Reading Observations: what is taken, and that everything else is refused with a reason."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puji.errors import Invalid
from puji.streams.observation import LARGEST, readings
from puji.streams.samples import observation, told
from puji.streams.vitals import CODES, VITALS

TIME = 1_790_000_000_000
GOOD = observation("p1", TIME, 120)


def changed(**fields):
    return {**copy.deepcopy(GOOD), **fields}


def coded(code, value, unit, **fields):
    return changed(
        code={"coding": [{"system": "http://loinc.org", "code": code}]},
        valueQuantity={"value": value, "system": "http://unitsofmeasure.org", "code": unit},
        **fields,
    )


def pressure(systolic, diastolic, unit="mm[Hg]"):
    def part(code, value):
        quantity = {"value": value, "system": "http://unitsofmeasure.org", "code": unit}
        absent = {"dataAbsentReason": {"text": "cuff off"}} if value is None else {"valueQuantity": quantity}
        return {"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, **absent}

    found = changed(
        code={"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
        component=[part("8480-6", systolic), part("8462-4", diastolic)],
    )
    del found["valueQuantity"]
    return found


def read(resource, patient="p1"):
    return readings(told(resource), patient)


def reason(resource, patient="p1"):
    payload = resource if isinstance(resource, bytes) else told(resource)
    with pytest.raises(Invalid) as refusal:
        readings(payload, patient)
    text = refusal.value.message("en"), refusal.value.message("zh")
    assert all(not one.startswith("streams.") and "{" not in one for one in text), text
    return refusal.value.reason.removeprefix("streams.refused.")


@pytest.mark.parametrize(
    ("code", "value", "unit", "vital", "expected"),
    [
        ("2339-0", 126, "mg/dL", "glucose", 126),
        ("2345-7", 126, "mg/dL", "glucose", 126),
        ("41653-7", 126, "mg/dL", "glucose", 126),
        ("99504-3", 126, "mg/dL", "glucose", 126),
        ("15074-8", 7.0, "mmol/L", "glucose", 126.11),
        ("14749-6", 7.0, "mmol/L", "glucose", 126.11),
        ("14743-9", 7.0, "mmol/L", "glucose", 126.11),
        ("105272-9", 7.0, "mmol/L", "glucose", 126.11),
        ("8867-4", 72, "/min", "heart_rate", 72),
        ("2708-6", 97, "%", "spo2", 97),
        ("59408-5", 97, "%", "spo2", 97),
        ("9279-1", 14, "/min", "respiration", 14),
        ("8310-5", 36.6, "Cel", "temperature", 36.6),
        ("8310-5", 98.6, "[degF]", "temperature", 37.0),
    ],
)
def test_each_vital_is_read_in_its_own_unit(code, value, unit, vital, expected):
    (found,) = read(coded(code, value, unit))
    assert (found.patient, found.vital, found.time, found.id) == ("p1", vital, TIME, GOOD["id"])
    assert found.value == pytest.approx(expected, abs=0.01)


def test_every_code_that_is_known_has_a_unit_and_a_vital():
    for code, (vital, units) in CODES.items():
        assert VITALS[vital.name] is vital
        assert units, code


def test_a_blood_pressure_is_two_readings_or_the_one_that_was_measured():
    assert [(one.vital, one.value) for one in read(pressure(120, 80))] == [("systolic", 120), ("diastolic", 80)]
    assert [(one.vital, one.value) for one in read(pressure(120, None))] == [("systolic", 120)]
    assert reason(pressure(80, 120)) == "pressure"
    assert reason(pressure(None, None)) == "components"
    assert reason(pressure(120, 8000)) == "impossible"
    assert reason(pressure(16, 10.6, "kPa")) == "unit"
    assert reason(changed(code=pressure(1, 1)["code"])) == "components"


def test_times_with_any_offset_are_the_same_instant():
    local = changed(effectiveDateTime="2026-09-21T22:13:20+08:00")
    assert read(local)[0].time == TIME
    assert read(changed(effectiveDateTime="2026-09-21T14:13:20.000Z"))[0].time == TIME
    instant = changed(effectiveInstant="2026-09-21T14:13:20Z")
    del instant["effectiveDateTime"]
    assert read(instant)[0].time == TIME


@pytest.mark.parametrize(
    ("resource", "why"),
    [
        (coded("99504-3", 6.7, "mmol/L"), "unit"),  # a code of mass
        (coded("105272-9", 120, "mg/dL"), "unit"),
        (coded("99504-3", 6.7, "mg/dL"), "impossible"),  # mmol/l under the wrong name: not guessed
        (coded("105272-9", 120, "mmol/L"), "impossible"),
        (coded("99504-3", -5, "mg/dL"), "impossible"),
        (coded("99504-3", 10**400, "mg/dL"), "value"),
        (coded("2708-6", 0.97, "%"), "impossible"),
        (coded("8310-5", 98.6, "Cel"), "impossible"),
        (coded("8867-4", 72, "Hz"), "unit"),
        (coded("8302-2", 172, "cm"), "code"),  # body height
        (changed(code={"text": "glucose"}), "code"),
        (changed(code={"coding": [{"system": "http://snomed.info/sct", "code": "99504-3"}]}), "code"),
        (changed(valueQuantity={"value": 120, "unit": "mg/dL"}), "ucum"),
        (changed(valueQuantity={"value": "120", "system": "http://unitsofmeasure.org", "code": "mg/dL"}), "value"),
        (changed(valueQuantity={"value": True, "system": "http://unitsofmeasure.org", "code": "mg/dL"}), "value"),
        (changed(valueQuantity={"value": 40, "comparator": "<"}), "comparator"),
        (changed(valueQuantity=None), "value"),
        (changed(status="cancelled"), "status"),
        (changed(status=None), "status"),
        (changed(id="a b"), "id"),
        (changed(id="x" * 65), "id"),
        (changed(subject={"reference": "Patient/p2"}), "patient"),
        (changed(subject={"reference": "http://elsewhere/Patient/p1"}), "patient"),
        (changed(subject={}), "subject"),
        (changed(effectiveDateTime="2026-09-21"), "time"),
        (changed(effectiveDateTime="2026-09-21T14:13:20"), "time"),  # no offset: another hour elsewhere
        (changed(effectiveDateTime="2026-13-41T14:13:20Z"), "time"),
        (changed(effectiveDateTime="1970-01-01T00:00:00Z"), "time"),  # a clock that was never set
        (changed(effectiveDateTime=["now"]), "time"),
        (changed(resourceType="Bundle"), "resource"),
        (b"", "json"),
        (b"[]", "json"),
        (b"\xff\xfe", "json"),
        (b'{"resourceType": NaN}', "json"),
        (b"[" * 50_000, "json"),
        (b" " * (LARGEST + 1), "large"),
    ],
)
def test_what_is_not_certain_is_refused(resource, why):
    assert reason(resource) == why


def test_two_codes_of_one_observation_must_agree():
    both = [{"system": "http://loinc.org", "code": code} for code in ("2339-0", "99504-3")]
    assert read(changed(code={"coding": both}))[0].value == 120
    mixed = [{"system": "http://loinc.org", "code": code} for code in ("2339-0", "8867-4")]
    assert reason(changed(code={"coding": mixed})) == "ambiguous"
    units = [{"system": "http://loinc.org", "code": code} for code in ("2339-0", "15074-8")]
    assert reason(changed(code={"coding": units})) == "unit"


def test_a_withdrawn_observation_has_no_value():
    (found,) = read(changed(status="entered-in-error"))
    assert found.value is None
    assert found.correction
    assert read(changed(status="corrected"))[0].correction


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "component", "effectiveInstant"]), json_values, max_size=4))
def test_whatever_stands_in_an_element_nothing_crashes(fields):
    try:
        found = readings(json.dumps({**GOOD, **fields}).encode(), "p1")
    except Invalid as refusal:
        assert refusal.reason.startswith("streams.refused.")
    else:
        assert all(one.value is None or VITALS[one.vital].least <= one.value <= VITALS[one.vital].most for one in found)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused(payload):
    with pytest.raises(Invalid):
        readings(payload, "p1")

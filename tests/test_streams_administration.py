"""Insulin and carbohydrate that are told: what is taken, that everything else is refused, and that each counts once."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puji.errors import Invalid
from puji.streams import administration, observation
from puji.streams.samples import basal, bolus, measured, told
from puji.streams.window import Limits

from .streams_cases import MINUTE, NOW, Hands, give, glucose, kept, monitor, reopened, stored, take

GOOD, RATE = bolus("p1", NOW, 2.5), basal("p1", NOW, 0.85)


def read(resource):
    payload = resource if isinstance(resource, bytes) else told(resource)
    return administration.readings(payload, "p1")


def reason(resource):
    with pytest.raises(Invalid) as refusal:
        read(resource)
    text = refusal.value.message("en"), refusal.value.message("zh")
    assert all(not one.startswith("streams.") and "{" not in one for one in text), text
    return refusal.value.reason.removeprefix("streams.refused.")


def changed(good=GOOD, **fields):
    found = {**copy.deepcopy(good), **fields}
    return {key: value for key, value in found.items() if value is not ...}


def dose(value, unit="[iU]", **more):
    return {"dose": {"value": value, "system": "http://unitsofmeasure.org", "code": unit, **more}}


def test_a_bolus_and_a_rate_are_read():
    (found,) = read(GOOD)
    assert (found.vital, found.time, found.value, found.id) == ("bolus", NOW, 2.5, GOOD["id"])
    (found,) = read(RATE)
    assert (found.vital, found.time, found.value) == ("basal", NOW, 0.85)


@pytest.mark.parametrize("unit", ["U", "[iU]", "[IU]"])
def test_units_of_insulin_are_written_in_three_ways(unit):
    assert read(changed(dosage=dose(3, unit)))[0].value == 3
    rate = {"rateQuantity": {"value": 1.2, "system": "http://unitsofmeasure.org", "code": f"{unit}/h"}}
    assert read(changed(RATE, dosage=rate))[0].value == 1.2


def test_any_rapid_acting_insulin_of_atc_is_taken():
    concept = {"coding": [{"system": "http://www.whocc.no/atc", "code": "A10AB05"}]}
    assert read(changed(medicationCodeableConcept=concept))[0].value == 2.5
    slow = {"coding": [{"system": "http://www.whocc.no/atc", "code": "A10AE04"}]}
    assert reason(changed(medicationCodeableConcept=slow)) == "medicine"


PERIOD = {"start": "2026-09-21T08:00:00Z", "end": "2026-09-21T08:10:00Z"}


@pytest.mark.parametrize(
    ("resource", "why"),
    [
        (b"", "json"),
        (b"[1]", "json"),
        (b'{"resourceType": NaN}', "json"),
        (b"x" * 70_000, "large"),
        (glucose(0, 100), "resource"),
        (changed(id="a b"), "id"),
        (changed(id=...), "id"),
        (changed(status="not-done"), "status"),
        (changed(status=["completed"]), "status"),
        (changed(status={}), "status"),
        (changed(status="unknown"), "status"),
        (changed(subject=...), "subject"),
        (changed(subject={"reference": "Patient/p2"}), "patient"),
        (changed(medicationCodeableConcept=...), "medicine"),
        (changed(medicationCodeableConcept=...), "medicine"),
        (changed(medicationCodeableConcept="insulin"), "medicine"),
        (changed(medicationCodeableConcept={"coding": {"code": "411531001"}}), "medicine"),
        (changed(medicationReference={"reference": "Medication/1"}, medicationCodeableConcept=...), "medicine"),
        (changed(dosage=...), "dosage"),
        (changed(dosage=[]), "dosage"),
        (changed(dosage={}), "dosage"),
        (changed(dosage={**GOOD["dosage"], **RATE["dosage"]}), "dosage"),
        (changed(dosage={"dose": 5}), "value"),
        (changed(dosage=dose("5")), "value"),
        (changed(dosage=dose(True)), "value"),
        (changed(dosage=dose(None)), "value"),
        (changed(dosage=dose(10**400)), "value"),
        (changed(dosage=dose(5, comparator="<")), "comparator"),
        (changed(dosage=dose(5, system="x")), "ucum"),
        (changed(dosage=dose(5, "mg")), "unit"),
        (changed(dosage=dose(5, "mL")), "unit"),
        (changed(RATE, dosage={"rateQuantity": dose(5, "[iU]/d")["dose"]}), "unit"),
        (changed(dosage=dose(-1)), "impossible"),
        (changed(dosage=dose(300)), "impossible"),
        (changed(RATE, dosage={"rateQuantity": dose(85, "[iU]/h")["dose"]}), "impossible"),
        (changed(effectiveDateTime=...), "time"),
        (changed(effectiveDateTime="2026-09-21"), "time"),
        (changed(effectiveDateTime=..., effectivePeriod={"end": PERIOD["end"]}), "time"),
        (changed(effectiveDateTime=..., effectivePeriod={"start": PERIOD["end"], "end": PERIOD["start"]}), "time"),
        (changed(effectiveDateTime=..., effectivePeriod={**PERIOD, "end": "2026-09-21T09:00:00Z"}), "period"),
        (changed(status="in-progress"), "period"),
    ],
)
def test_everything_else_is_refused_with_its_reason(resource, why):
    assert reason(resource) == why


def test_a_bolus_over_a_quarter_of_an_hour_is_one():
    assert len(read(changed(effectiveDateTime=..., effectivePeriod=PERIOD))) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "coding", "dose", "start"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([GOOD, RATE]), st.sampled_from(sorted({*GOOD, *RATE})), JSON)
def test_no_field_can_crash_it(good, field, value):
    try:
        payload = json.dumps({**good, field: value}).encode()
    except ValueError:
        return
    try:
        found = administration.readings(payload, "p1")
    except Invalid as refusal:
        assert refusal.reason.startswith("streams.refused.")
    else:
        assert len(found) == 1
        assert found[0].vital in ("bolus", "basal")


def test_carbohydrate_is_an_observation():
    (found,) = observation.readings(told(measured("p1", "carbohydrate", NOW, 45)), "p1")
    assert (found.vital, found.value) == ("carbohydrate", 45)
    wrong = measured("p1", "carbohydrate", NOW, 45)
    wrong["valueQuantity"]["code"] = "kcal"
    with pytest.raises(Invalid, match="unit"):
        observation.readings(told(wrong), "p1")


# -- in the monitor ----------------------------------------------------------------------------------------------------


def test_each_bolus_counts_once_and_all_of_a_step_are_kept(tmp_path):
    clock = Hands()
    one = monitor(tmp_path, clock)
    first, second = bolus("p1", NOW, 2), bolus("p1", NOW + 60_000, 1)
    assert give(one, first, second, first) == ["duplicate"]
    # Hours later both are still there: the window of a course would have kept the first of each step only.
    for minutes in range(0, 300, 5):
        clock.now = NOW + minutes * MINUTE
        take(one, glucose(minutes, 120))
    give(one, bolus("p1", clock.now, 4))
    assert kept(one, vital="bolus") == [(0, 2), (1, 1), (295, 4)]
    # A pump that uploads late is heard; what is older than the window is not.
    assert give(one, bolus("p1", NOW + 90 * MINUTE, 3)) == []
    assert give(one, bolus("p1", NOW - 500 * MINUTE, 3)) == ["stale"]
    again = reopened(one, clock)
    assert kept(again, vital="bolus") == [(0, 2), (1, 1), (90, 3), (295, 4)]


def test_what_was_given_grows_old_and_stays_bounded(tmp_path):
    clock = Hands()
    one = monitor(tmp_path, clock, limits=Limits(most=50, burst=1e6))
    for second in range(0, 3000, 10):
        clock.now = NOW + second * 1000
        give(one, bolus("p1", clock.now, 0.1))
    assert len(kept(one, vital="bolus")) <= 51
    assert len(stored(one)) == len(kept(one, vital="bolus"))
    clock.now += 13 * 60 * MINUTE
    with one.store.batch():
        one.tick()
    assert one.patients == {}
    assert stored(one) == []


def test_insulin_that_was_entered_in_error_is_taken_back(tmp_path):
    one = monitor(tmp_path)
    give(one, GOOD)
    assert give(one, changed(status="entered-in-error")) == []
    assert kept(one, vital="bolus") == [(0, None)]
    assert give(one, GOOD) == ["duplicate"]


def test_events_raise_no_alert_of_silence(tmp_path):
    clock = Hands()
    one = monitor(tmp_path, clock)
    give(one, GOOD, RATE)
    take(one, measured("p1", "carbohydrate", NOW, 45), measured("p1", "temperature", NOW, 36.8))
    clock.now += 120 * MINUTE
    with one.store.batch():
        one.tick()
    assert one.patients["p1"].alerts == {}


def test_insulin_comes_on_its_own_topic(tmp_path):
    one = monitor(tmp_path)
    assert take(one, GOOD) == ["resource"]
    assert give(one, glucose(0, 100)) == ["resource"]
    assert one.topics == ["puji/+/observation", "puji/+/administration"]

"""The monitor without a network: each failure of a device is injected, nothing crashes, and no reading counts twice."""

import pytest

from puji.streams.monitor import ACCEPTED, FRESH
from puji.streams.planner import Proposal
from puji.streams.samples import bolus, measured, told
from puji.streams.vitals import MMOL
from puji.streams.window import Limits

from .streams_cases import MINUTE, NOW, STEP, Hands, Told, flags, give, glucose, kept, monitor, sent, stored, take, tick


def test_a_reading_is_kept_counted_and_forecast(tmp_path):
    one = monitor(tmp_path)
    assert take(one, *(glucose(minutes, 120 + minutes) for minutes in (-10, -5, 0))) == []
    assert kept(one) == [(-10, 110), (-5, 115), (0, 120)]
    assert one.counts == {ACCEPTED: 3}
    ((topic, forecast),) = sent(one, "forecast")
    assert topic == "puji/p1/forecast"
    values = [part["valueQuantity"]["value"] for part in forecast["component"] if "valueQuantity" in part]
    assert values == [120, 120]


def test_mmol_and_mg_stand_in_one_window(tmp_path):
    one = monitor(tmp_path)
    take(one, glucose(-5, 126), glucose(0, 126, molar=True))
    assert kept(one) == [(-5, 126), (0, pytest.approx(7.0 * MMOL))]


def test_duplicates_are_counted_once(tmp_path):
    one = monitor(tmp_path)
    first = glucose(0, 120)
    again = {**first, "id": "another-id"}  # the same patient, code and time
    same_id = {**glucose(-5, 121), "id": first["id"]}
    assert take(one, first, first, again, same_id) == ["duplicate"] * 3
    assert take(one, first) == ["duplicate"]
    assert kept(one) == [(0, 120)]
    assert one.counts == {ACCEPTED: 1, "streams.refused.duplicate": 4}


def test_out_of_order_readings_find_their_place_and_the_track_is_told_again(tmp_path):
    told_to = Told()
    one = monitor(tmp_path, forecaster=told_to)
    for minutes in (-20, -10, 0):
        take(one, glucose(minutes, 100 - minutes))
    assert told_to.tracks[-1].steps == [120, None, 110, None, 100]
    assert len(told_to.tracks) == 1
    assert take(one, glucose(-15, 115), glucose(-5, 105)) == []
    assert told_to.tracks[-1].steps == [120, 115, 110, 105, 100]
    assert len(told_to.tracks) == 2


def test_one_step_at_a_time_and_a_later_reading_of_a_step_changes_nothing(tmp_path):
    told_to, clock = Told(), Hands()
    one = monitor(tmp_path, clock, forecaster=told_to)
    for second in range(0, 700, 10):
        clock.now = NOW + second * 1000
        take(one, glucose(second / 60, 100 + second / 100))
    assert told_to.tracks[0].steps == [100, 103, 106]
    assert len(told_to.tracks) == 1
    assert len(kept(one)) == 70


def test_gaps_are_told_as_gaps_and_after_long_ones_the_track_begins_anew(tmp_path):
    told_to, clock = Told(), Hands()
    one = monitor(tmp_path, clock, forecaster=told_to)
    take(one, glucose(-5, 100), glucose(0, 101))
    clock.now = NOW + 20 * MINUTE
    take(one, glucose(20, 105))
    assert told_to.tracks[-1].steps == [100, 101, None, None, None, 105]
    clock.now = NOW + 30 * 60 * MINUTE
    take(one, glucose(30 * 60, 140))
    assert told_to.tracks[-1].steps == [140]


def test_a_device_that_catches_up_is_forecast_once_a_tick(tmp_path):
    clock, told_to = Hands(), Told()
    one = monitor(tmp_path, clock, forecaster=told_to)
    for minutes in range(-60, 1, 5):
        with one.store.batch():
            one.take("puji/p1/observation", told(glucose(minutes, 120)))
            assert one.settle() == (["p1"] if minutes >= -5 else [])
        assert (one.patients["p1"].forecast is not None) == (minutes >= -5)
    with one.store.batch():
        one.take("puji/p2/observation", told(glucose(-20, 120, "p2")))
        one.settle()
        assert one.patients["p2"].track is None
        one.tick()
        assert one.settle() == ["p2"]
        assert one.patients["p2"].track is not None


def test_a_few_are_forecast_at_a_time_and_those_of_now_before_those_of_the_past(tmp_path):
    one = monitor(tmp_path)
    with one.store.batch():
        for name, minutes in (("late", -20), ("p1", 0), ("p2", 0), ("p3", 0)):
            assert one.take(f"puji/{name}/observation", told(glucose(minutes, 120, name))) is None
        one.tick()
        assert one.waiting
        assert one.settle(2) == ["p1", "p2"]
        assert one.take("puji/p1/observation", told(glucose(1, 120, "p1"))) is None
        assert one.settle(2) == ["p3", "p1"]
        assert one.settle(2) == ["late"]
        assert not one.waiting
        assert one.settle(2) == []


def test_a_vital_of_which_only_one_reading_is_known_is_not_silent(tmp_path):
    clock = Hands()
    one = monitor(tmp_path, clock)
    take(one, measured("p1", "temperature", NOW, 36.8))
    clock.now += 60 * MINUTE
    take(one, measured("p1", "temperature", clock.now, 36.9))
    assert one.patients["p1"].alerts == {}
    clock.now += 181 * MINUTE
    tick(one)
    assert "temperature-stale" in one.patients["p1"].alerts


def test_too_few_readings_give_no_forecast(tmp_path):
    one = monitor(tmp_path)
    take(one, glucose(-30, 100), glucose(-5, 100), glucose(0, 101))
    assert one.patients["p1"].forecast is None
    assert one.patients["p1"].why == "streams.none.history"
    assert sent(one, "forecast") == []


def test_late_readings_are_refused_as_stale(tmp_path):
    one = monitor(tmp_path)
    assert take(one, glucose(0, 120), glucose(-50, 120)) == ["stale"]
    assert take(one, glucose(-13 * 60, 120), patient="p1") == ["stale"]
    # A device that was offline sends what it has saved in order: that is not late.
    other = [glucose(minutes, 120, "p2") for minutes in range(-600, 1, 5)]
    assert take(one, *other, patient="p2") == []
    assert len(kept(one, "p2")) == 121


def test_a_device_with_a_wrong_clock_is_refused_and_does_no_harm(tmp_path):
    one = monitor(tmp_path)
    assert take(one, glucose(0, 120), glucose(120, 130), glucose(60 * 24 * 365, 130)) == ["future", "future"]
    assert take(one, glucose(-5, 121), glucose(1, 122)) == []  # within the tolerance
    assert [minutes for minutes, _ in kept(one)] == [-5, 0, 1]


def test_our_own_clock_may_jump_and_the_stream_goes_on(tmp_path):
    clock = Hands()
    one = monitor(tmp_path, clock)
    take(one, *(glucose(minutes, 120) for minutes in (-10, -5, 0)))
    clock.now = NOW - 60 * MINUTE
    assert take(one, glucose(5, 121)) == ["future"]
    tick(one)
    clock.now = NOW + 60 * MINUTE
    tick(one)
    assert "glucose-stale" in one.patients["p1"].alerts
    clock.now = NOW + 5 * MINUTE
    assert take(one, glucose(5, 121)) == []
    assert one.patients["p1"].alerts == {}
    assert one.patients["p1"].forecast is not None


def test_a_unit_that_fits_only_as_the_other_one_is_refused(tmp_path):
    one = monitor(tmp_path)
    take(one, glucose(-5, 420))
    wrong = glucose(0, 420)
    wrong["valueQuantity"]["value"] = round(430 / MMOL, 1)  # 23.9 "mg/dl": possible by itself
    assert take(one, wrong) == ["unlikely"]
    assert take(one, glucose(0, 60)) == []  # a fall, if a steep one


def test_a_flood_is_refused_and_others_are_heard(tmp_path):
    clock = Hands()
    one = monitor(tmp_path, clock, limits=Limits(rate=2, burst=20))
    flood = [glucose(0, 120, key=f"k{n}") for n in range(100)]
    refused = take(one, *flood)
    assert refused.count("flood") == 80
    assert refused.count("duplicate") == 19
    assert take(one, glucose(0, 110, "p2"), patient="p2") == []
    clock.now += 1000
    assert take(one, glucose(0.01, 120)) == []
    assert one.counts[ACCEPTED] == 3


def test_many_readings_of_one_step_keep_the_window_bounded(tmp_path):
    limits = Limits(most=64, burst=10_000)
    clock = Hands()
    one = monitor(tmp_path, clock, limits=limits)
    for second in range(0, 4000, 10):
        clock.now = NOW + second * 1000
        assert take(one, glucose(second / 60, 120)) == []
    series = one.patients["p1"].window.series["glucose"]
    assert len(series.times) <= 64 + 144
    assert len(stored(one)) == len(series.times)
    assert len(series.ids) <= 65
    # Of what is no longer kept in full, the first reading of each step is left.
    assert [one.patients["p1"].window.step(NOW // STEP + place) for place in range(13)] == [120] * 13


def test_corrections_change_a_reading_and_withdrawals_remove_it(tmp_path):
    told_to = Told()
    one = monitor(tmp_path, forecaster=told_to)
    readings = [glucose(minutes, 120, key=f"k{-minutes}") for minutes in (-10, -5, 0)]
    take(one, *readings)
    assert take(one, {**glucose(-5, 90, key="k5"), "status": "corrected"}) == []
    assert kept(one) == [(-10, 120), (-5, 90), (0, 120)]
    assert told_to.tracks[-1].steps == [120, 90, 120]
    assert take(one, {**glucose(-5, 90, key="k5"), "status": "corrected"}) == ["duplicate"]
    withdrawn = {**glucose(0, 120, key="k0"), "status": "entered-in-error"}
    assert take(one, withdrawn, withdrawn, readings[2]) == ["duplicate", "duplicate"]
    assert kept(one)[-1] == (0, None)
    assert told_to.tracks[-1].steps == [120, 90]
    assert take(one, {**withdrawn, "id": "never-seen"}) == ["unknown"]
    assert take(one, {**glucose(-7, 90, key="k5"), "status": "amended"}) == ["moved"]


def test_strange_topics_and_too_many_patients_are_refused(tmp_path):
    one = monitor(tmp_path, limits=Limits(patients=2))
    with one.store.batch():
        strange = ("puji", "puji/p1", "other/p1/observation", "puji/a b/observation", "puji/p1/x/observation")
        for topic in (*strange, "pujip1/observation"):
            assert one.take(topic, told(glucose(0, 120))).reason == "streams.refused.topic"
    assert take(one, b"garbage", patient="nobody") == ["json"]
    for name in ("p1", "p2"):  # who sends readings takes the place of who sent none
        assert take(one, glucose(0, 120, name), patient=name) == []
    assert take(one, glucose(0, 120, "p3"), patient="p3") == ["patients"]
    assert set(one.patients) == {"p1", "p2"}


# -- alerts ------------------------------------------------------------------------------------------------------------


def test_alerts_begin_once_and_end(tmp_path):
    clock = Hands()
    one = monitor(tmp_path, clock)
    for minutes, value in ((-10, 90), (-5, 80), (0, 69), (5, 68), (10, 71), (15, 73), (20, 50), (25, 60), (30, 300)):
        clock.now = NOW + minutes * MINUTE
        take(one, glucose(minutes, value))
    assert flags(one) == [
        ("glucose-low", "active"),
        ("glucose-low", "inactive"),  # at 73: 71 is too near to the limit
        ("glucose-very_low", "active"),
        ("glucose-low", "active"),  # at 60
        ("glucose-very_low", "inactive"),
        ("glucose-high", "active"),
        ("glucose-low", "inactive"),
    ]
    first, second = (flag for _, flag in sent(one, "alert")[:2])
    assert first["id"] == second["id"]
    assert first["code"]["text"] == "Glucose low: 69 mg/dL"
    assert second["period"]["start"] == first["period"]["start"]
    assert second["period"]["end"] > second["period"]["start"]
    assert [alert.name for alert in one.store.alerts()] == ["glucose-high"]


def test_a_forecast_of_low_glucose_is_an_alert(tmp_path):
    told_to = Told(median=65.0)
    one = monitor(tmp_path, forecaster=told_to)
    take(one, *(glucose(minutes, 90) for minutes in (-10, -5, 0)))
    assert flags(one) == [("glucose-soon_low", "active")]
    assert "65 mg/dL" in sent(one, "alert")[0][1]["code"]["text"]


def test_other_vitals_raise_alerts_too(tmp_path):
    from .test_streams_observation import coded

    one = monitor(tmp_path)
    bad = coded("2708-6", 88, "%", effectiveDateTime=glucose(0, 1)["effectiveDateTime"])
    assert take(one, bad) == []
    assert flags(one) == [("spo2-low", "active")]


def test_a_silent_stream_abstains_and_says_so(tmp_path):
    clock = Hands()
    one = monitor(tmp_path, clock)
    take(one, *(glucose(minutes, 60) for minutes in (-10, -5, 0)))
    assert flags(one) == [("glucose-low", "active")]
    last = one.store.outbox(0, 100)[-1][0]
    clock.now = NOW + int(FRESH * 1000)
    tick(one)
    assert sent(one, after=last) == []
    clock.now += MINUTE
    tick(one)
    tick(one)
    ((_, forecast),) = sent(one, "forecast", last)
    assert "component" not in forecast
    assert forecast["dataAbsentReason"]["coding"][0]["code"] == "temp-unknown"
    assert flags(one, last) == [("glucose-stale", "active")]  # and the low glucose is not thought to be over
    clock.now += 9 * MINUTE
    take(one, glucose(25, 61))
    assert one.patients["p1"].forecast is None  # one reading in half an hour is not enough
    assert flags(one, last)[1:] == [("glucose-stale", "inactive")]
    clock.now += 24 * 60 * MINUTE
    tick(one)
    tick(one)
    assert one.patients == {}
    assert stored(one) == []
    assert one.store.alerts() == []


def test_a_cuff_every_four_hours_is_not_silent_between(tmp_path):
    from .test_streams_observation import pressure

    clock = Hands()
    one = monitor(tmp_path, clock)
    for hours in (0, 4, 8):
        clock.now = NOW + hours * 60 * MINUTE
        take(
            one,
            {**pressure(120, 80), "id": f"k{hours}", "effectiveDateTime": glucose(hours * 60, 1)["effectiveDateTime"]},
        )
    clock.now += 5 * 60 * MINUTE
    tick(one)
    assert one.patients["p1"].alerts == {}


class Asked:
    """A planner that remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def plan(self, patient, window, now, why=""):
        self.asked.append((patient, now, why))
        return Proposal({"resourceType": "CarePlan", "id": f"plan-{patient}", "why": why}, "" if why else "do", why)


def test_a_plan_is_published_where_there_is_a_planner(tmp_path):
    planner = Asked()
    one = monitor(tmp_path, planner=planner)
    take(one, *(glucose(minutes, 90) for minutes in (-10, -5, 0)))
    ((topic, plan),) = sent(one, "plan")
    assert (topic, plan["id"]) == ("puji/p1/plan", "plan-p1")
    assert planner.asked == [("p1", NOW, "")]
    assert one.patients["p1"].plan.text == "do"


def test_a_plan_is_made_anew_when_insulin_or_a_meal_is_told(tmp_path):
    planner, clock = Asked(), Hands()
    one = monitor(tmp_path, clock, planner=planner)
    take(one, *(glucose(minutes, 90) for minutes in (-10, -5, 0)))
    clock.now += MINUTE
    assert take(one, measured("p1", "carbohydrate", NOW + 1000, 40)) == []
    assert give(one, bolus("p1", NOW + 30_000, 3)) == []
    assert [now for _, now, _ in planner.asked] == [NOW, NOW + MINUTE, NOW + MINUTE]
    # Later readings of a step are no reason to plan again.
    assert take(one, glucose(1, 91)) == []
    assert len(planner.asked) == 3


def test_that_there_is_no_plan_is_said_once(tmp_path):
    planner, clock = Asked(), Hands()
    one = monitor(tmp_path, clock, planner=planner)
    take(one, *(glucose(minutes, 90) for minutes in (-10, -5, 0)))
    last = one.store.outbox(0, 100)[-1][0]
    for minutes in (16, 17, 18):
        clock.now = NOW + minutes * MINUTE
        tick(one)
    assert [plan["why"] for _, plan in sent(one, "plan", last)] == ["streams.none.stale"]
    take(one, glucose(18, 90))  # one reading in half an hour is not enough, either
    assert len(sent(one, "plan", last)) == 1


def test_what_goes_out_is_fhir_and_marked_as_made_by_a_machine(tmp_path):
    from fhir.resources.R4B.flag import Flag
    from fhir.resources.R4B.observation import Observation

    clock = Hands()
    one = monitor(tmp_path, clock, simulated=True)
    take(one, *(glucose(minutes, 60) for minutes in (-10, -5, 0)))
    clock.now += 60 * MINUTE
    tick(one)
    found = sent(one)
    assert {resource["resourceType"] for _, resource in found} == {"Observation", "Flag"}
    for _, resource in found:
        {"Observation": Observation, "Flag": Flag}[resource["resourceType"]].model_validate(resource)
        assert resource["meta"]["tag"][0]["code"] == "machine-made"
        assert resource["meta"]["security"][0]["code"] == "HTEST"
        assert resource["subject"] == {"reference": "Patient/p1"}
    assert all(one["status"] == "preliminary" for _, one in found if one["resourceType"] == "Observation")
    Observation.model_validate(glucose(0, 100))

"""Who is silent, who is judged, and in which unit: what a ward relies on when it looks at a stream."""

from __future__ import annotations

import io

import pytest

from puji.modalities.plans.diabetes.safeguard import facts
from puji.modalities.plans.plan import Order
from puji.modalities.plans.safety import Safety, load_rules
from puji.modalities.plans.setting import FOLDER
from puji.modalities.plans.units import Quantity
from puji.streams import resources
from puji.streams.clock import Fast
from puji.streams.samples import measured
from puji.streams.service import Service
from puji.streams.view import table
from puji.units import glucose_unit, use_glucose_unit

from .streams_cases import MINUTE, NOW, Hands, flags, glucose, monitor, reopened, sent, take, tick


@pytest.fixture
def mmol():
    use_glucose_unit("mmol/L")
    yield
    use_glucose_unit(None)


def printed(one, clock, width=200):
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=width).print(table(one, clock, 10, width))
    return stream.getvalue()


def watched(tmp_path, speed=1.0):
    """A monitor whose patient has told half an hour of glucose, and its clock."""
    clock = Hands()
    clock.speed = speed
    one = monitor(tmp_path, clock)
    take(one, *(glucose(minutes, 120) for minutes in range(-30, 1, 5)))
    return clock, one


# -- silence -------------------------------------------------------------------------------------------------------------


def test_the_time_that_the_program_slept_is_no_silence_of_a_device(tmp_path):
    clock, one = watched(tmp_path)
    clock.now += 60 * MINUTE
    one.stalls.add(clock.now, 59 * MINUTE)
    tick(one)
    assert flags(one) == []
    # The old forecast is told no longer all the same.
    assert one.patients["p1"].forecast is None and sent(one, "forecast")[-1][1]["dataAbsentReason"]
    clock.now += 10 * MINUTE
    take(one, glucose(70, 121))
    assert flags(one) == []
    # From then on a device that says nothing is silent after the usual time.
    clock.now += 14 * MINUTE
    tick(one)
    assert flags(one) == []
    clock.now += 2 * MINUTE
    tick(one)
    assert flags(one) == [("glucose-stale", "active")]


def test_one_who_was_awake_for_long_enough_after_it_is_silent(tmp_path):
    clock, one = watched(tmp_path)
    clock.now += 60 * MINUTE
    one.stalls.add(clock.now, 44 * MINUTE)
    tick(one)
    assert flags(one) == [("glucose-stale", "active")]


def test_nobody_was_silent_while_the_program_did_not_run(tmp_path):
    clock, one = watched(tmp_path)
    clock.now += 60 * MINUTE
    again = reopened(one, clock)
    tick(again)
    assert flags(again) == []
    # Who says nothing from then on is silent, and an alert that was on stays on.
    clock.now += 16 * MINUTE
    tick(again)
    assert flags(again) == [("glucose-stale", "active")]
    last = reopened(again, clock)
    tick(last)
    assert "glucose-stale" in last.patients["p1"].alerts and flags(last) == [("glucose-stale", "active")]


class Quiet:
    """A link on which nothing comes."""

    def done(self, message):
        raise AssertionError(message)


@pytest.mark.parametrize("speed", [1.0, 300.0])
def test_a_service_knows_how_long_it_slept(tmp_path, speed):
    clock, one = watched(tmp_path, speed)
    service = Service(Quiet(), one)
    service._batch([])
    for _ in range(3):  # a loop as it is: a fifth of a second
        clock.now += int(200 * speed)
        service._batch([])
    assert one.stalls.told == []
    clock.now += int(3600 * 1000 * speed)
    service._ticked = 0.0
    service._batch([])
    assert flags(one) == []
    usual = min(2 * speed, 300)
    assert [round(length / 1000) for _, length in one.stalls.told] == [3600 * speed - usual]
    assert Fast(300.0).speed == 300.0


def test_virtual_patients_who_live_fast_are_not_silent_when_the_program_is_stopped(tmp_path):
    """Three seconds, at six hundred times: half an hour."""
    clock, one = watched(tmp_path, 600.0)
    service = Service(Quiet(), one)
    service._batch([])
    clock.now += 30 * MINUTE
    service._ticked = 0.0
    service._batch([])
    assert flags(one) == []


def test_a_clock_that_was_set_ahead_and_back_hides_no_silence(tmp_path):
    clock, one = watched(tmp_path)
    service = Service(Quiet(), one)
    service._batch([])
    for jump in (60 * MINUTE, -60 * MINUTE):
        clock.now += jump
        service._ticked = 0.0
        service._batch([])
    for _ in range(16 * 60):
        clock.now += MINUTE // 60
        service._batch([])
    service._ticked = 0.0
    service._batch([])
    assert flags(one) == [("glucose-stale", "active")]


# -- children ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "judged"), [(9.0, False), (15.9, False), (16.0, True), (None, True)])
def test_limits_of_adults_are_not_for_children(tmp_path, age, judged):
    clock = Hands()
    one = monitor(tmp_path, clock, ages={} if age is None else {"p1": age})
    pulse = measured("p1", "heart_rate", NOW, 140)
    assert take(one, pulse, glucose(0, 60)) == []
    # Glucose has the same limits for all.
    assert dict(flags(one)) == {"glucose-low": "active", **({"heart_rate-high": "active"} if judged else {})}
    shown = printed(one, clock)
    assert ("vitals off (<16)" in shown) is not judged and "140" in shown


# -- units ---------------------------------------------------------------------------------------------------------------


def test_glucose_is_shown_in_the_unit_of_the_ward_and_sent_in_one(tmp_path, mmol):
    clock = Hands()
    one = monitor(tmp_path, clock)
    take(one, *(glucose(minutes, 126) for minutes in range(-30, 1, 5)))
    shown = printed(one, clock)
    assert "mmol/L" in shown and "7.0" in shown and "126" not in shown and "mg/dL" not in shown
    assert resources.said("glucose-low", 54.0) == "Glucose low: 3.0 mmol/L"
    assert resources.said("heart_rate-high", 140.0) == "Heart rate high: 140 /min"
    told = sent(one, "forecast")[-1][1]["component"][0]["valueQuantity"]
    assert told["code"] == "mg/dL" and told["value"] == pytest.approx(126, abs=1)


def test_the_environment_may_say_the_unit(monkeypatch):
    assert glucose_unit() == "mg/dL"
    monkeypatch.setenv("PUJI_GLUCOSE_UNIT", "mmol/l")
    assert glucose_unit() == "mmol/L"
    monkeypatch.setenv("PUJI_GLUCOSE_UNIT", "stone")
    assert glucose_unit() == "mg/dL"
    with pytest.raises(ValueError, match="stone"):
        use_glucose_unit("stone")


def test_what_safety_rules_say_of_glucose_follows_the_unit(mmol):
    safety = Safety(load_rules(FOLDER / "diabetes_rules.toml"))
    order = Order("ATC/A10AB", Quantity(1.0, "U"), "subcutaneous")
    (finding,) = safety.check(facts(30, 70, 60, 0), (order,)).findings
    assert "3.3 mmol/L" in finding.message("en") and "3.9 mmol/L" in finding.message("zh")
    use_glucose_unit("mg/dL")
    assert "60 mg/dL" in finding.message("en") and Quantity(5.0, "mg/dL").shown("en") == "5 mg/dL"

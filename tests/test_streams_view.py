"""What people see: the live table in both languages, alerts as lines, and the command's refusals."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from puji import language
from puji.streams import view
from puji.streams.link import Address
from puji.streams.planner import Proposal
from puji.streams.resources import said
from puji.streams.samples import measured, pressure

from .cli_stub import runner
from .streams_cases import MINUTE, NOW, Hands, glucose, monitor, take, tick


@pytest.fixture
def service(tmp_path):
    clock = Hands()
    one = monitor(tmp_path, clock)
    for minutes in range(-60, 1, 5):
        clock.now = NOW + minutes * MINUTE
        for name, value in (("calm", 120), ("low", 60), ("high", 300), ("silent", 110)):
            if name != "silent" or minutes < -30:
                take(one, glucose(minutes, value, name), patient=name)
    take(one, b"garbage", patient="calm")
    tick(one)
    state = SimpleNamespace(connected=True, why="", sent=7)
    return SimpleNamespace(monitor=one, state=state, link=SimpleNamespace(address=Address()))


def drawn(service, width=120, height=30):
    console = Console(file=io.StringIO(), width=width, height=height, highlight=False)
    console.print(view.page(service, service.monitor.clock, 300.0, width, height))
    return console.file.getvalue()


def test_the_table_tells_who_needs_help_first(service):
    lines = drawn(service).splitlines()
    rows = [line.split()[0] for line in lines if line.split() and line.split()[0] in service.monitor.patients]
    assert rows == ["low", "high", "silent", "calm"]
    (low,) = (line for line in lines if line.startswith("low"))
    assert "60" in low and "▁" in low and "low" in low[10:]
    (silent,) = (line for line in lines if line.startswith("silent"))
    assert silent.count("–") == 2
    assert "35" in silent
    assert "1 refused" in drawn(service)
    assert "Research use" in lines[-1]


def test_the_table_speaks_chinese(service):
    language.use("zh")
    try:
        text = drawn(service)
    finally:
        language.use("en")
    assert "偏低" in text and "无数据" in text and "仅供研究" in text and "streams." not in text


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_the_table_fits_the_terminal(service, width):
    text = drawn(service, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert ("▁" in text) == (width >= 100)
    assert "and 1 more" in drawn(service, width, 10)


def test_vital_signs_and_plans_have_columns_where_there_is_room(service):
    one = service.monitor
    take(one, measured("low", "heart_rate", NOW, 140), pressure("low", NOW, 118, 76), patient="low")
    take(one, measured("low", "temperature", NOW, 36.8), patient="low")
    one.planner = SimpleNamespace(plan=lambda *told: None)
    one.patients["low"].plan = Proposal({}, "0.36 U/h + 2.1 U")
    one.patients["calm"].plan = Proposal({}, "", "streams.plan.none.insulin")
    for width, plan, vitals in ((200, True, True), (160, True, True), (100, True, False), (60, False, False)):
        text = drawn(service, width)
        (low,) = (line for line in text.splitlines() if line.startswith("low"))
        (calm,) = (line for line in text.splitlines() if line.startswith("calm"))
        assert ("0.36 U/h + 2.1 U" in low, "none" in calm) == (plan, plan), width
        assert ("118/76" in low, "36.8" in low) == (vitals, vitals), width
        assert all(len(line) <= width for line in text.splitlines())
    assert "HR high" in drawn(service, 160)


def test_alerts_are_told_in_the_units_that_people_read():
    assert said("temperature-low", 34.5) == "Body temperature low: 34.5 °C"
    assert said("systolic-low", 85) == "Systolic pressure low: 85 mmHg"


def test_a_lost_connection_is_seen(service):
    service.state.connected = False
    assert "no connection" in drawn(service)


def test_the_past_in_bars():
    assert view.spark([40, None, 300, 1000, 170]) == "▁ ██▅"


def test_alerts_as_lines_come_once(service):
    stream = io.StringIO()
    with view.Lines(service, stream) as write:
        write()
        write()
    lines = stream.getvalue().splitlines()
    assert sorted(line.split("  ")[1] for line in lines) == ["high", "low", "silent"]
    assert any(line.endswith("Glucose low: 60 mg/dL") for line in lines)


def test_a_broker_that_cannot_be_reached_is_told_once_as_a_line(service):
    stream = io.StringIO()
    with view.Lines(service, stream) as write:
        write()
        service.state.connected, service.state.why = False, "b:1883"
        write()
        write()
        service.state.connected, service.state.why = True, ""
        write()
    told = [line for line in stream.getvalue().splitlines() if "connect" in line]
    assert told == ["no connection to the broker, trying again", "connected"]


REFUSED = [
    ([], "--host"),
    (["--host", "b", "--speed", "2"], "--simulate"),
    (["--host", "b", "--ca", "x"], "--tls"),
    (["--host", "b", "--user", "u", "--password-file", "/nowhere/secret"], "secret"),
    (["--host", "b", "--mqtt", "4"], "3.1.1"),
    (["--host", "b", "--port", "0"], "--port"),
    (["--simulate", "0"], "--simulate"),
    (["--simulate", "2", "--topic", "a/#"], "levels"),
    (["--simulate", "2", "--plans", "nowhere"], "nowhere"),
    (["--simulate", "2", "--plans", "plans"], "diabetes"),
    (["--host", "b", "--plans", "plans"], "--patients"),
    (["--host", "b", "--patients", "/nowhere/doses.csv"], "doses.csv"),
]


@pytest.mark.parametrize(
    ("words", "told"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_the_line_is_checked_before_anything_starts(capsys, words, told):
    code, out, err = runner(capsys)("stream", *words)
    assert code == 2
    assert told in err
    assert not out


def test_that_no_model_for_plans_is_released_is_said_once(tmp_path, monkeypatch, capsys):
    from puji import registry
    from puji.commands.stream import _people, _planner
    from puji.errors import Invalid

    doses = tmp_path / "doses.csv"
    doses.write_text(
        "patient,age,weight,basal,carbohydrate_ratio,correction_factor,current\n"
        "p1,9,31,0.35,20,50,none\np2,9,31,3500,20,50,none\n"
    )
    people = _people(doses, None)
    planner = _planner(None, doses, None, people)
    assert set(planner.settings) == {"p1"}
    assert planner.simulated is False
    told = capsys.readouterr().err
    assert "doses.csv:3" in told
    assert "refused: 1" in told
    assert _people(None, None) == {} and _planner(None, None, None, {}) is None
    monkeypatch.setattr(registry, "shipped", dict)
    assert _planner(None, None, 2, people) is None
    assert capsys.readouterr().err.count("plans-diabetes") == 1
    with pytest.raises(Invalid, match="plans-diabetes"):
        _planner(None, doses, None, people)

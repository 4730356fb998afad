"""What people see: the live table in both languages, alerts as lines, and the command's refusals."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from puji import language
from puji.streams import view
from puji.streams.link import Address

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
    state = SimpleNamespace(connected=True, sent=7)
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


REFUSED = [
    ([], "--host"),
    (["--host", "b", "--speed", "2"], "--simulate"),
    (["--host", "b", "--ca", "x"], "--tls"),
    (["--host", "b", "--user", "u", "--password-file", "/nowhere/secret"], "secret"),
    (["--host", "b", "--mqtt", "4"], "3.1.1"),
    (["--host", "b", "--port", "0"], "--port"),
    (["--simulate", "0"], "--simulate"),
    (["--simulate", "2", "--topic", "a/#"], "levels"),
]


@pytest.mark.parametrize(
    ("words", "told"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_the_line_is_checked_before_anything_starts(capsys, words, told):
    code, out, err = runner(capsys)("stream", *words)
    assert code == 2
    assert told in err
    assert not out

"""What people see of a running stream: a live table in a terminal, or a line for each alert."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import NamedTuple, Protocol, TextIO

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from puji.language import translate
from puji.streams.clock import Clock
from puji.streams.monitor import ACCEPTED, Monitor, Patient
from puji.streams.resources import moment, said
from puji.streams.service import Service
from puji.streams.tokens import STEP
from puji.streams.vitals import GLUCOSE, TEMPERATURE, VITALS, Vital, glucose_shown
from puji.units import glucose_unit

PAST = 24
"""The most steps that are drawn: two hours."""
LEAST, GAP = 10, 2
"""Characters that the past has at least, and between two columns."""
SHOWN = {
    "heart_rate": ("heart_rate",),
    "spo2": ("spo2",),
    "respiration": ("respiration",),
    "pressure": ("systolic", "diastolic"),
    "temperature": ("temperature",),
}
"""Columns of vital signs, and what stands in them."""
EVERY = 0.25
"""Seconds between two pictures."""
BARS = "▁▂▃▄▅▆▇█"
_BOTTOM, _TOP = 40.0, 300.0
_STYLES = {"very_low": "bold white on red", "low": "bold red", "soon_low": "yellow", "high": "magenta", "stale": "dim"}


class View(Protocol):
    """Shows a service; called after each of its batches."""

    def __enter__(self) -> Callable[[], None]: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def spark(values: list[float | None]) -> str:
    """Glucose as one character a step; a space where there is no reading."""
    found = []
    for value in values:
        share = 0.0 if value is None else (min(max(value, _BOTTOM), _TOP) - _BOTTOM) / (_TOP - _BOTTOM)
        found.append(" " if value is None else BARS[min(int(share * len(BARS)), len(BARS) - 1)])
    return "".join(found)


def _style(vital: Vital, value: float) -> str:
    if vital.far_below is not None and value < vital.far_below:
        return _STYLES["very_low"]
    if vital.below is not None and value < vital.below:
        return _STYLES["low"]
    return _STYLES["high"] if vital.above is not None and value > vital.above else ""


class Column(NamedTuple):
    """A column of the table: its header, the least width that it has, and the cell of a patient."""

    header: str
    cell: Callable[[str, Patient], Text]
    least: int = 0
    right: bool = False


def _columns(monitor: Monitor, now: int, past: int) -> dict[str, Column]:
    """All columns by name, in their order from the left; ``past``: characters that the past has."""
    horizons = sorted(
        {one.minutes for found in monitor.patients.values() if found.forecast for one in found.forecast.horizons}
    )
    found = {
        "patient": Column("streams.view.patient", lambda name, _: Text(name)),
        "glucose": Column("", lambda _, patient: _glucose(patient), right=True),
        "past": Column("streams.view.past", lambda _, patient: _past(patient, now, past), past),
    }
    for minutes in horizons or [30, 60]:
        found[f"in {minutes}"] = Column("", partial(_forecast, minutes))
    if monitor.planner is not None:
        found["plan"] = Column("streams.view.plan", lambda _, patient: _plan(patient), 15)
    for name, vitals in SHOWN.items():
        if any(vital in patient.window.series for patient in monitor.patients.values() for vital in vitals):
            header = f"streams.short.vital.{name}"
            found[name] = Column(header, partial(_vital, monitor, vitals), right=True)
    found["alerts"] = Column("streams.view.alerts", partial(_alerts, monitor), 12)
    found["age"] = Column("streams.view.age", lambda _, patient: _age(patient, now), right=True)
    found["refused"] = Column("streams.view.refused", lambda _, patient: _refused(patient), right=True)
    return found


def _header(name: str, column: Column) -> str:
    if name == "glucose":
        return glucose_unit()
    if name.startswith("in "):
        return translate("streams.view.in", minutes=int(name.removeprefix("in ")))
    return translate(column.header)


def table(monitor: Monitor, clock: Clock, most: int, width: int) -> Table:
    """The patients, those with alerts first, up to ``most`` of them, in ``width`` characters.

    What finds no room is left out, first the past, then vital signs, then the plan; the past has what room is left.
    """
    now = clock()
    order = sorted(monitor.patients, key=lambda name: (_urgency(monitor.patients[name]), name))[:most]
    columns = _columns(monitor, now, 0)
    widths = {
        name: GAP
        + max(
            [cell_len(_header(name, one)), one.least, *(one.cell(key, monitor.patients[key]).cell_len for key in order)]
        )
        for name, one in columns.items()
    }
    optional = [name for name in ("plan", *SHOWN) if name in columns]
    room = width - sum(widths[name] for name in columns if name not in (*optional, "past"))
    left_out = {"past"}
    for name in optional:
        if widths[name] <= room:
            room -= widths[name]
        else:
            left_out.add(name)
            room = 0  # the order of what is left out does not change from one picture to the next
    past = min(PAST, room - GAP)
    if past >= LEAST:
        left_out.remove("past")
        columns = _columns(monitor, now, past)
    shown = Table(box=None, pad_edge=False, expand=False, header_style="bold", padding=(0, GAP, 0, 0))
    kept = {name: one for name, one in columns.items() if name not in left_out}
    for name, one in kept.items():
        shown.add_column(
            _header(name, one), justify="right" if one.right else "left", no_wrap=True, min_width=one.least or None
        )
    for key in order:
        shown.add_row(*(one.cell(key, monitor.patients[key]) for one in kept.values()))
    return shown


def _urgency(patient: Patient) -> int:
    kinds = {name.rpartition("-")[2] for name in patient.alerts}
    return next((place for place, kind in enumerate(_STYLES) if kind in kinds), len(_STYLES))


def _latest(patient: Patient, vital: str) -> tuple[int, float] | None:
    """Time and value of the newest reading of a vital."""
    series = patient.window.series.get(vital)
    newest = series.newest() if series else None
    value = None if series is None or newest is None else series.value(newest)
    return None if newest is None or value is None else (newest, value)


def _glucose(patient: Patient) -> Text:
    found = _latest(patient, GLUCOSE.name)
    return Text("–") if found is None else Text(glucose_shown(found[1]), style=_style(GLUCOSE, found[1]))


def _past(patient: Patient, now: int, width: int) -> Text:
    found = _latest(patient, GLUCOSE.name)
    last = (now if found is None else found[0]) // (STEP * 1000)
    return Text(spark([patient.window.step(last - back) for back in range(width - 1, -1, -1)]))


def _forecast(minutes: int, _: str, patient: Patient) -> Text:
    told = {one.minutes: one for one in patient.forecast.horizons} if patient.forecast else {}
    one = told.get(minutes)
    if one is None:
        return Text("–")
    median, low, high = map(glucose_shown, (one.median, one.low, one.high))
    return Text(f"{median:>3} ({low}–{high})")


def _plan(patient: Patient) -> Text:
    if patient.plan is None:
        return Text("–")
    return Text(translate("streams.view.no_plan"), style="dim") if patient.plan.why else Text(patient.plan.text)


def _vital(monitor: Monitor, vitals: Sequence[str], name: str, patient: Patient) -> Text:
    """The newest value of one vital, or of two of one measurement; of children none is judged."""
    text = Text()
    for place, vital in enumerate(vitals):
        found = _latest(patient, vital)
        digits = 1 if vital == TEMPERATURE.name else 0
        shown = Text("–") if found is None else Text(f"{found[1]:.{digits}f}")
        if found is not None and monitor.adult(name):
            shown.stylize(_style(VITALS[vital], found[1]))
        text.append("/" if place else "").append_text(shown)
    return text


def _alerts(monitor: Monitor, name: str, patient: Patient) -> Text:
    text = Text()
    signs = {vital for vitals in SHOWN.values() for vital in vitals} & patient.window.series.keys()
    kinds = list(_STYLES)
    for key in sorted(patient.alerts, key=lambda key: (kinds.index(key.rpartition("-")[2]), key)):
        vital, _, kind = key.rpartition("-")
        told = translate(f"streams.short.{kind}")
        if vital != GLUCOSE.name:
            told = f"{translate(f'streams.short.vital.{vital}')} {told}"
        text.append(" · " if text else "").append(told, style=_STYLES[kind])
    if signs and not monitor.adult(name):
        text.append(" · " if text else "").append(translate("streams.short.child"), style="dim")
    return text


def _age(patient: Patient, now: int) -> Text:
    found = _latest(patient, GLUCOSE.name)
    return Text("–" if found is None else str(max(0, now - found[0]) // 60_000))


def _refused(patient: Patient) -> Text:
    refused = sum(n for what, n in patient.counts.items() if what != ACCEPTED)
    return Text(f"{refused:,}" if refused else "")


def page(service: Service, clock: Clock, speed: float | None, width: int, height: int) -> RenderableType:
    """The whole picture, in ``width`` characters and ``height`` lines."""
    monitor, state = service.monitor, service.state
    where = f"{service.link.address.host}:{service.link.address.port}"
    told = translate("streams.view.connected" if state.connected else "streams.view.lost")
    head = Text.assemble(
        ("puji stream", "bold"), "  ", where, " ", (told, "green" if state.connected else "bold red"),
        "  ", moment(clock())[:19].replace("T", " ") + " UTC",
    )  # fmt: skip
    taken = monitor.counts[ACCEPTED]
    refused = sum(monitor.counts.values()) - taken
    counts = translate(
        "streams.view.counts", patients=len(monitor.patients), taken=taken, refused=refused, sent=state.sent
    )
    most = max(3, height - 7)
    parts: list[RenderableType] = [head]
    if speed is not None:
        parts.append(Text(translate("streams.view.speed", speed=f"{speed:g}")))
    parts += [Text(counts), Text(), table(monitor, clock, most, width)]
    if len(monitor.patients) > most:
        parts.append(Text(translate("streams.view.more", n=len(monitor.patients) - most), style="dim"))
    return Group(*parts, Text(translate("streams.view.stop"), style="dim"))


class LiveView:
    """A table that is drawn anew four times a second."""

    def __init__(self, service: Service, clock: Clock, speed: float | None, stream: TextIO) -> None:
        self._service, self._clock, self._speed = service, clock, speed
        self._console = Console(file=stream, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, screen=False, vertical_overflow="crop")
        self._drawn = 0.0

    def __enter__(self) -> Callable[[], None]:
        self._live.start()
        return self.draw

    def draw(self) -> None:
        """Draw if it is time to."""
        if time.monotonic() - self._drawn >= EVERY:
            self._drawn = time.monotonic()
            size = self._console.size
            self._live.update(page(self._service, self._clock, self._speed, size.width, size.height), refresh=True)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._drawn = 0.0
            self.draw()
        self._live.stop()


class Lines:
    """A line for each alert that begins, and for each connection that is lost or there again, where no terminal shows a table."""

    def __init__(self, service: Service, stream: TextIO) -> None:
        self._service, self._stream = service, stream
        self._known: set[str] = set()
        self._lost = False

    def __enter__(self) -> Callable[[], None]:
        return self.write

    def write(self) -> None:
        """Write what is new."""
        state = self._service.state
        if self._lost != (bool(state.why) and not state.connected):
            self._lost = not self._lost
            self._stream.write(translate("streams.view.lost" if self._lost else "streams.view.connected") + "\n")
        on = {
            alert.id: (name, alert)
            for name, found in self._service.monitor.patients.items()
            for alert in found.alerts.values()
        }
        for key in sorted(on.keys() - self._known, key=lambda key: on[key][1].since):
            name, alert = on[key]
            found = self._service.monitor.patients[name]
            series = found.window.series.get(alert.name.rpartition("-")[0])
            newest = series.newest() if series else None
            value = None if series is None or newest is None else series.value(newest)
            minutes = None
            if alert.name.endswith("soon_low") and found.forecast:
                value, minutes = found.forecast.horizons[0].median, found.forecast.horizons[0].minutes
            self._stream.write(f"{moment(alert.since)}  {name}  {said(alert.name, value, minutes)}\n")
        self._stream.flush()
        self._known = set(on)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


__all__ = ["Lines", "LiveView", "View", "page", "spark", "table"]

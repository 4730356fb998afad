"""What people see of a running stream: a live table in a terminal, or a line for each alert."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TextIO

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
from puji.streams.vitals import GLUCOSE

PAST = 24
"""The most steps that are drawn: two hours."""
TAKEN, LEAST = 90, 10
"""Characters of the other columns; with less than this beside them, the past is left out."""
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


def _style(value: float) -> str:
    if GLUCOSE.far_below is not None and value < GLUCOSE.far_below:
        return _STYLES["very_low"]
    if GLUCOSE.below is not None and value < GLUCOSE.below:
        return _STYLES["low"]
    return _STYLES["high"] if GLUCOSE.above is not None and value > GLUCOSE.above else ""


def table(monitor: Monitor, clock: Clock, most: int, width: int) -> Table:
    """The patients, those with alerts first, up to ``most`` of them, in ``width`` characters; the past has what room is left."""
    horizons = sorted(
        {one.minutes for found in monitor.patients.values() if found.forecast for one in found.forecast.horizons}
    )
    horizons = horizons or [30, 60]
    shown = Table(box=None, pad_edge=False, expand=False, header_style="bold", padding=(0, 2, 0, 0))
    shown.add_column(translate("streams.view.patient"), no_wrap=True)
    shown.add_column(GLUCOSE.unit, justify="right", no_wrap=True)
    past = min(PAST, width - TAKEN)
    if past >= LEAST:
        shown.add_column(translate("streams.view.past"), width=past, no_wrap=True)
    for minutes in horizons:
        shown.add_column(translate("streams.view.in", minutes=minutes), no_wrap=True)
    shown.add_column(translate("streams.view.alerts"), no_wrap=True)
    shown.add_column(translate("streams.view.age"), justify="right", no_wrap=True)
    shown.add_column(translate("streams.view.refused"), justify="right", no_wrap=True)
    now = clock()
    order = sorted(monitor.patients, key=lambda name: (_urgency(monitor.patients[name]), name))
    for name in order[:most]:
        shown.add_row(*_row(name, monitor.patients[name], horizons, now, past))
    return shown


def _urgency(patient: Patient) -> int:
    kinds = {name.rpartition("-")[2] for name in patient.alerts}
    return next((place for place, kind in enumerate(_STYLES) if kind in kinds), len(_STYLES))


def _row(name: str, patient: Patient, horizons: list[int], now: int, past: int) -> list[Text]:
    series = patient.window.series.get(GLUCOSE.name)
    newest = series.newest() if series else None
    value = None if series is None or newest is None else series.value(newest)
    cells = [Text(name)]
    cells.append(Text("–" if value is None else f"{value:.0f}", style="" if value is None else _style(value)))
    last = (now if newest is None else newest) // (STEP * 1000)
    if past >= LEAST:
        cells.append(Text(spark([patient.window.step(last - back) for back in range(past - 1, -1, -1)])))
    told = {one.minutes: one for one in patient.forecast.horizons} if patient.forecast else {}
    for minutes in horizons:
        one = told.get(minutes)
        cells.append(Text("–" if one is None else f"{one.median:3.0f} ({one.low:.0f}–{one.high:.0f})"))
    alerts = Text()
    for key in sorted(patient.alerts, key=lambda key: list(_STYLES).index(key.rpartition("-")[2])):
        kind = key.rpartition("-")[2]
        alerts.append(translate(f"streams.short.{kind}"), style=_STYLES[kind]).append(" ")
    cells.append(alerts)
    age = "–" if newest is None else str(max(0, now - newest) // 60_000)
    refused = sum(n for what, n in patient.counts.items() if what != ACCEPTED)
    return [*cells, Text(age), Text(f"{refused:,}" if refused else "")]


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
    """A line for each alert that begins, where no terminal shows a table."""

    def __init__(self, service: Service, stream: TextIO) -> None:
        self._service, self._stream = service, stream
        self._known: set[str] = set()

    def __enter__(self) -> Callable[[], None]:
        return self.write

    def write(self) -> None:
        """Write what is new."""
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

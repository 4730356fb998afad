"""What is kept of a patient: a bounded window of readings, in which each stands once.

Readings are placed by their own time, whenever they come. Behind an edge, `Limits.late` before the newest reading of a vital,
nothing is placed any more: what comes from there is refused as stale, and of what stands there the first reading of each step
is kept. Before the edge all readings are kept, by time and by id, so that none is counted twice. Insulin and carbohydrate are
kept whole for as long as the window reaches.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field

from puji.errors import Invalid
from puji.streams.observation import Reading
from puji.streams.tokens import STEP
from puji.streams.vitals import GLUCOSE, MMOL, VITALS

STEP_MS = STEP * 1000


@dataclass(frozen=True)
class Limits:
    """How much is kept, and what is refused; times in seconds.

    ``span``: older than this before now is stale. ``late``: so is what comes this long after a newer reading. ``early``:
    further ahead of our clock than this, a device's clock is wrong. ``most``: readings of one vital that are kept in full.
    ``rate``, ``burst``: messages of one patient a second in the long run, and at once; a burst holds what a device has saved
    while the broker was away. ``patients``: the most that are followed.
    """

    span: float = 43_200.0
    late: float = 1_800.0
    early: float = 120.0
    most: int = 2_048
    rate: float = 10.0
    burst: float = 4_000.0
    patients: int = 10_000


@dataclass
class Changes:
    """What placing readings did to a window: what was placed where; for the disk, rows to write and rows to drop (vital,
    time)."""

    placed: list[Reading] = field(default_factory=list)
    written: list[Reading] = field(default_factory=list)
    dropped: list[tuple[str, int]] = field(default_factory=list)


class Series:
    """The readings of one vital, in the order of their times (milliseconds)."""

    def __init__(self, vital: str) -> None:
        known = VITALS.get(vital)
        self.event = known is not None and known.event
        self.times: list[int] = []
        self.values: dict[int, tuple[float | None, str]] = {}
        """Time -> value and id; None: withdrawn."""
        self.ids: dict[str, int] = {}
        """Id -> time, of the readings that are kept in full."""
        self.edge = -1
        """Before this time nothing is placed any more."""

    def newest(self) -> int | None:
        """The time of the newest reading that was not withdrawn."""
        return next((time for time in reversed(self.times) if self.values[time][0] is not None), None)

    def value(self, time: int) -> float | None:
        """What was read at ``time``; None: it was withdrawn."""
        return self.values[time][0]

    def put(self, reading: Reading) -> None:
        """Write ``reading`` at its time."""
        if reading.time not in self.values:
            bisect.insort(self.times, reading.time)
        self.values[reading.time] = reading.value, reading.id
        self.ids[reading.id] = reading.time

    def drop(self, times: Iterable[int]) -> None:
        """Forget the readings of ``times``."""
        gone = set(times)
        self.times = [time for time in self.times if time not in gone]
        for time in gone:
            _, key = self.values.pop(time)
            if self.ids.get(key) == time:
                del self.ids[key]

    def thin(self, now: int, limits: Limits) -> list[int]:
        """Move the edge on; the times that are dropped."""
        if not self.times:
            return []
        oldest = now - int(limits.span * 1000)
        # Whole steps, so that little is done for each reading. Of what was given all is kept, whenever it is told.
        newest = oldest if self.event else self.times[-1] - int(limits.late * 1000)
        edge = max(newest, oldest) // STEP_MS * STEP_MS
        if len(self.times) > limits.most:
            edge = max(edge, self.times[-(3 * limits.most // 4)])
        if edge <= self.edge:
            return []
        known, self.edge = self.edge, edge
        gone: list[int] = []
        step = None
        # What stood behind the old edge was thinned then; it only grows too old.
        for time in self.times[: bisect.bisect_left(self.times, edge)]:
            same = time // STEP_MS == step
            if self.event or time < oldest or (time >= known and (same or self.values[time][0] is None)):
                gone.append(time)
            if time >= oldest and self.values[time][0] is not None:
                step = time // STEP_MS
            key = self.values[time][1]
            if self.ids.get(key) == time:
                del self.ids[key]
        self.drop(gone)
        return gone


class Window:
    """All that is kept of one patient."""

    def __init__(self, patient: str, limits: Limits) -> None:
        self.patient, self.limits = patient, limits
        self.series: dict[str, Series] = {}

    def place(self, readings: list[Reading], now: int) -> Changes:
        """Take ``readings`` of one Observation in, all or none. ``now``: milliseconds since 1970.

        Raises Invalid: streams.refused.future, .stale, .duplicate or .unlikely, and for a correction of nothing, .unknown.
        """
        for reading in readings:
            self._check(reading, now)
        changes = Changes()
        for reading in readings:
            series = self._of(reading.vital)
            if reading.correction and reading.id in series.ids:
                reading = reading._replace(time=series.ids[reading.id])
            series.put(reading)
            changes.placed.append(reading)
            gone = series.thin(now, self.limits)
            if reading.time not in gone:
                changes.written.append(reading)
            changes.dropped += [(reading.vital, time) for time in gone if time != reading.time]
        return changes

    def restore(self, reading: Reading) -> None:
        """Put back what the disk has kept."""
        self._of(reading.vital).put(reading)

    def _of(self, vital: str) -> Series:
        if vital not in self.series:
            self.series[vital] = Series(vital)
        return self.series[vital]

    def settle(self, now: int) -> list[tuple[str, int]]:
        """After `restore`, or as time goes by: drop what has grown old; what was dropped, as (vital, time)."""
        return [(vital, time) for vital, series in self.series.items() for time in series.thin(now, self.limits)]

    def _check(self, reading: Reading, now: int) -> None:
        limits = self.limits
        series = self.series.get(reading.vital) or Series(reading.vital)
        known = series.ids.get(reading.id)
        if reading.correction and known is not None:
            # Corrected or withdrawn: only what changes something is taken.
            if (series.value(known), known) == (reading.value, reading.time):
                raise Invalid("streams.refused.duplicate")
            if reading.value is not None and known != reading.time:
                raise Invalid("streams.refused.moved")
            return
        if reading.value is None:
            raise Invalid("streams.refused.unknown")
        if reading.time > now + int(limits.early * 1000):
            raise Invalid("streams.refused.future", seconds=round((reading.time - now) / 1000))
        if known is not None or reading.time in series.values:
            raise Invalid("streams.refused.duplicate")
        if reading.time < max(series.edge, now - int(limits.span * 1000)):
            raise Invalid("streams.refused.stale", minutes=round((now - reading.time) / 60_000))
        if reading.vital == GLUCOSE.name:
            self._check_unit(reading, series)

    def _check_unit(self, reading: Reading, series: Series) -> None:
        """Refuse what fits the reading before it only if it is in the other unit: 22 mg/dl five minutes after 400."""
        place = bisect.bisect_left(series.times, reading.time)
        before = next((time for time in reversed(series.times[:place]) if series.value(time) is not None), None)
        if before is None or reading.value is None or reading.time - before > 3 * STEP_MS:
            return
        last = series.value(before) or 0.0
        for other in (reading.value * MMOL, reading.value / MMOL):
            if abs(other - last) <= 0.2 * last:
                raise Invalid("streams.refused.unlikely")

    # -- what a forecaster is told -----------------------------------------------------------------------------------

    def first(self, place: int) -> int | None:
        """The time of the first glucose of the step ``place`` (time // `STEP_MS`); None: the step is a gap."""
        series = self.series.get(GLUCOSE.name)
        if series is None:
            return None
        first, stop = (bisect.bisect_left(series.times, edge * STEP_MS) for edge in (place, place + 1))
        times = (series.times[at] for at in range(first, stop))
        return next((time for time in times if series.value(time) is not None), None)

    def step(self, place: int) -> float | None:
        """The glucose of the step ``place``, mg/dl: its first reading; None: a gap."""
        time = self.first(place)
        return None if time is None else self.series[GLUCOSE.name].value(time)

    def steps(self, last: int, most: int) -> list[float | None]:
        """The glucose of up to ``most`` steps that end with ``last``, from the first one that has a reading."""
        found = [self.step(place) for place in range(last - most + 1, last + 1)]
        first = next((place for place, value in enumerate(found) if value is not None), len(found))
        return found[first:]


__all__ = ["STEP_MS", "Changes", "Limits", "Series", "Window"]

"""Who forecasts: the interface, and the simplest one that keeps it.

A forecaster opens a track for a patient, is told one step after the other, and is asked. It keeps nothing that the window
could not tell it again: a track is restored by opening a new one and telling it the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from puji.streams.tokens import HIGHEST, LOWEST


@dataclass(frozen=True)
class Horizon:
    """What is expected ``minutes`` after the last step, mg/dl: the median, and the interval that holds 80 %.

    ``below``: the probability of less than 70 mg/dl, None where the forecaster does not know.
    """

    minutes: int
    median: float
    low: float
    high: float
    below: float | None = None


@dataclass(frozen=True)
class Forecast:
    """The forecast of one patient from its last step on."""

    horizons: tuple[Horizon, ...]


class Track(Protocol):
    """One patient's past, as a forecaster sees it."""

    def feed(self, glucose: float | None) -> None:
        """The next step of `puji.streams.tokens.STEP` seconds, mg/dl; None: there was no reading."""
        ...

    def forecast(self) -> Forecast | None:
        """What comes after the last step that was fed; None before there was one."""
        ...


class Forecaster(Protocol):
    """See the module."""

    name: str
    """Told in what is published."""

    def open(self, patient: str) -> Track:
        """A track to which nothing was told yet."""
        ...


def replay(forecaster: Forecaster, patient: str, steps: Iterable[float | None]) -> Track:
    """A new track that was told ``steps``."""
    track = forecaster.open(patient)
    for glucose in steps:
        track.feed(glucose)
    return track


class Persistence:
    """Glucose stays as it is; what any forecast must beat.

    Parameters
    ----------
    horizons : sequence of int
        Minutes.
    width : float
        Half of the interval at an hour, mg/dl; it grows with the root of time. The default is half the width that held 80 %
        of the virtual patients of `benchmarks.streams_forecaster`.
    """

    name = "persistence"

    def __init__(self, horizons: Sequence[int] = (30, 60), width: float = 43.0) -> None:
        self.horizons, self.width = tuple(horizons), width

    def open(self, patient: str) -> Track:
        """A track."""
        return _Last(self)


class _Last:
    def __init__(self, owner: Persistence) -> None:
        self._owner = owner
        self._last: float | None = None

    def feed(self, glucose: float | None) -> None:
        self._last = self._last if glucose is None else glucose

    def forecast(self) -> Forecast | None:
        if self._last is None:
            return None
        found = []
        for minutes in self._owner.horizons:
            width = self._owner.width * (minutes / 60) ** 0.5
            low, high = (min(max(edge, LOWEST), HIGHEST) for edge in (self._last - width, self._last + width))
            found.append(Horizon(minutes, self._last, min(low, self._last), max(high, self._last)))
        return Forecast(tuple(found))


__all__ = ["Forecast", "Forecaster", "Horizon", "Persistence", "Track", "replay"]

"""What time it is: the system's time, or one that runs faster, for virtual patients."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives milliseconds since 1970, UTC."""


def system() -> int:
    """The system's time."""
    return time.time_ns() // 1_000_000


class Fast:
    """A clock that starts at the system's time, or at ``start`` where that is later, and runs ``speed`` times as fast.

    It never goes back. ``start``: milliseconds since 1970.
    """

    def __init__(self, speed: float, start: int = 0) -> None:
        self.speed = speed
        self._started, self._at = max(system(), start), time.monotonic()

    def __call__(self) -> int:
        """Now, milliseconds since 1970."""
        return self._started + round((time.monotonic() - self._at) * 1000 * self.speed)


def speed_of(clock: Clock) -> float:
    """How many times as fast as the system's time a clock runs."""
    return float(getattr(clock, "speed", 1.0))

"""When this program slept, hung or did not run: no device was silent because of that."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Stalls:
    """``reach``: milliseconds for which a stall is remembered. ``told``: when each was over (milliseconds since 1970), and its
    length."""

    reach: int
    told: list[tuple[int, int]] = field(default_factory=list)

    def add(self, now: int, length: int) -> None:
        """One of ``length`` milliseconds that is over ``now``."""
        self.told = [(end, time) for end, time in self.told if end > now - self.reach] + [(now, length)]

    def back(self, now: int) -> None:
        """The clock was set back to ``now``: what seemed to end later was the clock, set ahead before, and no stall."""
        self.told = [(end, time) for end, time in self.told if end <= now]

    def since(self, time: int) -> int:
        """How many milliseconds of all that were over after ``time``."""
        return sum(length for end, length in self.told if end > time)

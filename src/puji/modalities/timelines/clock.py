"""Ages as tokens: a gap for what follows soon, an age in years and a month for what follows later.

    I10 <+3mo>                 three months after the event before
    I10 <+3mo> <age:58>        ... and a birthday lay between
    I10 <age:58> <month:5>     a year or more after the event before

The clock that encodes goes by the ages that decoding will give back, so that errors of rounding do not add up: an age is
never off by more than `TOLERANCE`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from puji.modalities.timelines.timeline import YEAR

_HOUR = 1 / 24
GAPS: tuple[tuple[str, float, float], ...] = (
    ("<+0>", 0.0, 0.0),
    ("<+30min>", 0.5 * _HOUR, 10 / 1440),
    ("<+3h>", 3 * _HOUR, 1.5 * _HOUR),
    ("<+12h>", 12 * _HOUR, 6 * _HOUR),
    ("<+1d>", 1.0, 0.75),
    ("<+2d>", 2.0, 1.5),
    ("<+3d>", 3.0, 2.5),
    ("<+5d>", 4.5, 3.5),
    ("<+7d>", 7.0, 5.75),
    ("<+10d>", 10.0, 8.5),
    ("<+14d>", 14.0, 12.0),
    ("<+21d>", 21.0, 17.5),
    ("<+1mo>", YEAR / 12, 25.0),
    ("<+6w>", 45.0, 36.0),
    ("<+2mo>", 2 * YEAR / 12, 53.0),
    *((f"<+{months}mo>", months * YEAR / 12, (months - 0.5) * YEAR / 12) for months in range(3, 12)),
    ("<+12mo>", 350.0, 346.0),
)
"""Token, the days that it stands for, and the least days that it is used for."""
OLDEST = 125
"""Years."""
MONTHS = 12
TOLERANCE = 31.0
"""Days: no event comes back further than this from where it was."""

_LEAST = [least for _, _, least in GAPS]
_DAYS = {token: days for token, days, _ in GAPS}
_AGES = {f"<age:{year}>": year for year in range(OLDEST + 1)}
_MONTHS = {f"<month:{month}>": month for month in range(1, MONTHS + 1)}


def tokens() -> list[str]:
    """All tokens of time."""
    return [*_DAYS, *_AGES, *_MONTHS]


def age_token(year: int) -> str:
    """The token of an age in whole years."""
    return f"<age:{year}>"


def _moment(year: int, month: int) -> float:
    """The middle of a month of a year of life, in days."""
    return round((year + (month - 0.5) / MONTHS) * YEAR, 4)


def _later(clock: float, days: float) -> float:
    # Rounded, so that encoding, decoding and the grammar agree on which side of a birthday a sum lies.
    return round(clock + days, 4)


def advance(clock: float, age: float) -> tuple[list[str], float]:
    """The tokens that lead from the age ``clock`` to ``age``, and the age in days that they give, from ``clock`` on.

    An age before ``clock`` is taken for the same moment. Ages above `OLDEST` years are that.
    """
    end = (OLDEST + 1) * YEAR
    age = max(clock, min(age, end - 1e-4))
    year = int(age // YEAR)
    month = min(MONTHS, int((age - year * YEAR) / YEAR * MONTHS) + 1)
    moment = _moment(year, month)
    if moment - clock >= YEAR:
        return [age_token(year), f"<month:{month}>"], moment
    place = bisect_right(_LEAST, age - clock) - 1
    while place and _later(clock, GAPS[place][1]) >= end:  # a gap stands for longer ones than its least
        place -= 1
    token, days, _ = GAPS[place]
    after = _later(clock, days)
    passed = birthday(clock, after)
    return [token, *([passed] if passed else [])], after


def open_tokens(clock: float, least: int = 0, most: int = OLDEST) -> list[str]:
    """What a time told at the age ``clock`` may begin with: a gap, or an age that is a year or more away.

    It is to lie in a year of life from ``least`` to ``most``.
    """
    first = int((clock + YEAR) // YEAR)
    if _moment(first, MONTHS) - clock < YEAR:
        first += 1
    gaps = [token for token, days, _ in GAPS if least <= _later(clock, days) // YEAR <= most]
    return [*gaps, *(age_token(year) for year in range(max(first, least), most + 1))]


def months(clock: float, year: int) -> list[str]:
    """The months of the age ``year`` that are a year or more after ``clock``."""
    return [f"<month:{month}>" for month in range(1, MONTHS + 1) if _moment(year, month) - clock >= YEAR]


def after_gap(clock: float, token: str) -> float | None:
    """The age after a gap; None if ``token`` is none."""
    return _later(clock, _DAYS[token]) if token in _DAYS else None


def birthday(clock: float, after: float) -> str | None:
    """The age token that must follow a gap from ``clock`` to ``after``; None where no birthday lay between."""
    return age_token(int(after // YEAR)) if after // YEAR > clock // YEAR else None


def after_month(year: int, token: str) -> float | None:
    """The age that the month ``token`` of ``year`` stands for; None if it is no month."""
    return _moment(year, _MONTHS[token]) if token in _MONTHS else None


def year_of(token: str) -> int | None:
    """The years of an age token; None for another token."""
    return _AGES.get(token)


def read(clock: float, told: Sequence[str]) -> tuple[float, int] | None:
    """The age that the tokens ``told`` lead to from ``clock``, and how many of them tell it; None if they tell none."""
    if not told:
        return None
    if (after := after_gap(clock, told[0])) is not None:
        return after, 2 if birthday(clock, after) in told[1:2] else 1
    year = year_of(told[0])
    if year is None or len(told) < 2 or (moment := after_month(year, told[1])) is None:
        return None
    return max(clock, moment), 2


def span(days: float) -> str:
    """``days`` for people: years and tenths."""
    return f"{days / YEAR:.1f}" if math.isfinite(days) else "?"

"""When somebody must look: rules on readings and forecasts, deterministic and apart from the model.

An alert is a name, "<vital>-<kind>", and is on or off for a patient. Kinds: low, very_low, high (a reading), soon_low (a
forecast), stale (no reading for too long). A reading that just leaves the range does not end an alert at once, so that a
value at the edge does not raise it again and again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from puji.streams.forecaster import Forecast
from puji.streams.vitals import GLUCOSE, VITALS, Vital

MARGIN = 0.03
"""Share of a limit by which a value must be back in range before an alert is over."""
SOON = 30
"""Minutes ahead that a forecast of low glucose may lie and still raise an alert."""
PREDICTED = f"{GLUCOSE.name}-soon_low"


class Raised(NamedTuple):
    """Why an alert is on: the number, and minutes ahead where it is a forecast."""

    value: float
    minutes: int | None = None


def of_value(vital: Vital, value: float, on: Collection[str]) -> dict[str, Raised]:
    """The alerts that ``value`` raises or keeps up; ``on``: names of those that are on."""
    limits = {"low": (vital.below, -1), "very_low": (vital.far_below, -1), "high": (vital.above, 1)}
    found = {}
    for kind, (limit, sign) in limits.items():
        name = f"{vital.name}-{kind}"
        if limit is None:
            continue
        edge = limit - sign * MARGIN * limit if name in on else limit
        if (value - edge) * sign > 0:
            found[name] = Raised(value)
    if f"{vital.name}-very_low" in found:  # it says more
        found.pop(f"{vital.name}-low", None)
    return found


def of_forecast(forecast: Forecast | None, on: Collection[str]) -> dict[str, Raised]:
    """The alert that a forecast raises: its median is low within `SOON` minutes."""
    limit = (GLUCOSE.below or 0.0) * (1 + MARGIN if PREDICTED in on else 1)
    for one in forecast.horizons if forecast else ():
        if one.minutes <= SOON and one.median < limit:
            return {PREDICTED: Raised(one.median, one.minutes)}
    return {}


def wanted(
    latest: Mapping[str, float],
    forecast: Forecast | None,
    stale: Collection[str],
    on: Collection[str],
    adult: bool = True,
) -> dict[str, Raised | None]:
    """The alerts that should be on, by name.

    ``latest``: vital -> its latest value, however old: that a low glucose was followed by silence does not make it better.
    ``stale``: vitals without a reading for too long. ``adult``: whether the limits of vital signs hold, see `vitals.ADULT`.
    """
    found: dict[str, Raised | None] = {}
    for name, value in latest.items():
        if adult or name == GLUCOSE.name:
            found |= of_value(VITALS[name], value, on)
    low_now = any(f"{GLUCOSE.name}-{kind}" in found for kind in ("low", "very_low"))
    if not low_now and GLUCOSE.name not in stale:
        found |= of_forecast(forecast, on)
    found |= dict.fromkeys(f"{name}-stale" for name in stale)
    return found


__all__ = ["PREDICTED", "Raised", "of_forecast", "of_value", "wanted"]

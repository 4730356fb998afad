"""Heart rate, saturation, respiration, temperature and blood pressure of virtual patients, for trying a stream.

A mean of each patient, a daily rhythm, noise that drifts, and now and then an illness that lasts a day. Only three things
are taken from the literature: oral temperature is 36.8 +- 0.4 degrees, lowest at 6 and highest at 16 to 18 h, and varies by half
a degree (Mackowiak et al., JAMA 268:1578, 1992, as Harrison's Principles of Internal Medicine tells it); pressure falls by 11 / 8
mmHg in sleep (Morris et al., Am. J. Hypertens. 26:822, 2013); heart rate and respiration of children are faster than those of
adults (Fleming et al., Lancet 377:1011, 2011). All other numbers are our choice, so that what is shown is plausible to who
looks at it. Nothing here knows of glucose or insulin, and nothing is learned from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from puji.modalities.plans.diabetes.patients import GROUPS
from puji.streams.tokens import STEP
from puji.streams.vitals import DIASTOLIC, HEART_RATE, RESPIRATION, SPO2, SYSTOLIC, TEMPERATURE

DAY = 86_400


class Rhythm(NamedTuple):
    """How one vital behaves, in its unit.

    ``means``: of adults, adolescents and children; ``apart``: standard deviation between patients; ``swing``: half of the
    difference between day and night, highest at the hour ``peak``; ``noise``: standard deviation of what drifts, of which
    `MEMORY` stays from step to step; ``ill``: what a full illness adds; ``digits``: that a device tells.
    """

    means: tuple[float, float, float]
    apart: float
    swing: float
    peak: float
    noise: float
    ill: float
    digits: int = 0


MEMORY = 0.8
RHYTHMS = {
    HEART_RATE.name: Rhythm((70, 76, 86), 6, 7, 15, 3, 28),
    SPO2.name: Rhythm((97, 97.5, 98), 0.6, 0.4, 15, 0.6, -5),
    RESPIRATION.name: Rhythm((15, 16, 19), 1, 1, 15, 0.8, 8),
    TEMPERATURE.name: Rhythm((36.8, 36.8, 36.8), 0.25, 0.25, 17, 0.07, 1.9, 1),
    SYSTOLIC.name: Rhythm((122, 115, 104), 8, 5.5, 15, 5, -10),
    DIASTOLIC.name: Rhythm((76, 70, 64), 6, 4, 15, 4, -5),
}
ONSET, ILL, RAMP = 0.15, 86_400.0, 7_200.0
"""Illnesses a day; seconds that one lasts; seconds in which it comes and goes."""
LEAST_PULSE = 15.0
"""mmHg that systolic lies above diastolic pressure, at least."""


def signs(groups: Sequence[str], seed: int, start: int) -> Iterator[dict[str, np.ndarray]]:
    """Of patients of the age ``groups``, step by step without end: vital -> (n,), from ``start`` (milliseconds since 1970).

    They live by UTC.
    """
    n = len(groups)
    rng = np.random.default_rng([seed, 8])
    place = [GROUPS.index(group) for group in groups]
    means = {
        name: np.array([one.means[at] for at in place]) + one.apart * rng.standard_normal(n)
        for name, one in RHYTHMS.items()
    }
    drift = {name: rng.standard_normal(n) for name in RHYTHMS}
    began = np.full(n, -np.inf)
    step = 0
    while True:
        second = start / 1000 + step * STEP
        falls = (rng.random(n) < ONSET * STEP / DAY) & (second - began > ILL)
        began = np.where(falls, second, began)
        since = second - began
        ill = np.clip(np.minimum(since, ILL - since) / RAMP, 0.0, 1.0)
        hour = second % DAY / 3600
        found = {}
        for name, one in RHYTHMS.items():
            drift[name] = MEMORY * drift[name] + (1 - MEMORY**2) ** 0.5 * rng.standard_normal(n)
            daily = one.swing * np.cos(2 * np.pi * (hour - one.peak) / 24)
            found[name] = np.round(means[name] + daily + one.noise * drift[name] + one.ill * ill, one.digits)
        found[SPO2.name] = np.minimum(found[SPO2.name], 100.0)
        found[DIASTOLIC.name] = np.minimum(found[DIASTOLIC.name], found[SYSTOLIC.name] - LEAST_PULSE)
        yield found
        step += 1


__all__ = ["RHYTHMS", "signs"]

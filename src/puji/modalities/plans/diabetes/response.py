"""How a patient answers to insulin and carbohydrate, as logged care tells it: a pump's settings are rules of thumb.

Over half an hour glucose changes by what the insulin and the announced carbohydrate that act in it do, by itself towards where
it belongs, and by noise:

    change = a + b (glucose - 140) - response * insulin acting * factor + rise * carbohydrate acting * factor / ratio

What acts when is a matter of two time constants (`doses.Pool`). For each pair of a grid a line is laid through all such half
hours, with a normal prior around 1 on the two multiples; the pair and its line are taken that are the most likely a posteriori,
with log-normal priors around what is usual. Of who announces no meals the nights are taken alone, when nobody eats. Half hours
near low glucose are left out: what people eat against it is told to no pump.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from puji.modalities.plans.diabetes.doses import CARBOHYDRATE, INSULIN, NOISE, Pool, Response, Therapy

MINUTES = 5
"""Between two readings."""
NIGHT = (0, 300)
"""Minutes since midnight between which nobody eats."""
AHEAD, EVERY = 6, 3
"""Readings over which a change is taken, and from one change to the next."""
LOW, BEFORE = 80.0, 6
"""mg/dl, and readings before a change: where one of them or a later one is lower, the change is left out."""
PRIOR = (0.5, 1.0)
"""Standard deviations of the multiples of insulin and carbohydrate, around 1: chosen on logged patients."""
SPREAD = (0.35, 0.5)
"""Standard deviations of the logarithms of the time constants of insulin and carbohydrate, around the usual ones."""
INSULINS, CARBOHYDRATES = (35.0, 45.0, 55.0, 70.0, 85.0, 105.0, 130.0), (25.0, 40.0, 60.0)
"""Minutes: the time constants that are tried."""
LARGE, MEALS = 0.9, 10
"""The share of a patient's announced meals that are not larger than the largest usual one, and of how many that is told."""
BOUNDS, RISES = (0.7, 4.0), (0.5, 4.0)
"""What is believed of the two multiples."""


def response(
    reading: np.ndarray,
    extra: np.ndarray,
    announced: np.ndarray,
    therapy: Therapy,
    patient: np.ndarray,
    minute: int = 0,
) -> Response:
    """How each patient 0, 1, ... answers, each (patients,).

    ``reading``: of the sensor every five minutes, mg/dl, nan where there is none, (n, steps); ``extra``: insulin beyond the basal
    rate, U, and ``announced`` carbohydrate, g, from each reading to the next, (n, steps); ``therapy``: of the n rows;
    ``patient``: whose rows they are, (n,) int; ``minute``: since midnight, of the first reading. As is usual for a patient of
    whom no half hour counts.
    """
    clock = (minute + MINUTES * np.arange(reading.shape[1])) % 1440
    night = (clock >= NIGHT[0]) & (clock < NIGHT[1])
    counting = np.bincount(patient, announced.sum(axis=1)) > 0
    reading = np.where(counting[patient][:, None] | night, reading, np.nan)
    smooth = (reading[:, :-2] + reading[:, 1:-1] + reading[:, 2:]) / 3  # the reading before, at and after a time
    lowest = np.lib.stride_tricks.sliding_window_view(reading, BEFORE + AHEAD + 1, axis=1).min(axis=2)
    at = np.arange(BEFORE, reading.shape[1] - AHEAD - 1, EVERY)
    start, change = smooth[:, at - 1], smooth[:, at + AHEAD - 1] - smooth[:, at - 1]
    kept = (lowest[:, at - BEFORE] >= LOW) & np.isfinite(change)  # nan is not greater
    acting = [
        {tau: _acting(came * scale[:, None], tau, at) for tau in tried}
        for came, scale, tried in (
            (extra, therapy.factor, INSULINS),
            (announced, therapy.factor / therapy.ratio, CARBOHYDRATES),
        )
    ]
    count = int(patient.max()) + 1
    insulin, rise, delay, absorption, noise, largest = Response.usual(count)
    for number in range(count):
        rows = patient == number
        one = kept[rows]
        meals = announced[rows][announced[rows] > 0]
        if len(meals) >= MEALS:
            largest[number] = np.quantile(meals, LARGE)
        if not one.any():
            continue
        here = [{tau: came[rows][one] for tau, came in tried.items()} for tried in acting]
        line, noise[number], taus = _likeliest(start[rows][one], change[rows][one], *here)
        (insulin[number], rise[number]), (delay[number], absorption[number]) = line, taus
    return Response(np.clip(insulin, *BOUNDS), np.clip(rise, *RISES), delay, absorption, noise, largest)


def _likeliest(
    start: np.ndarray, change: np.ndarray, came: Mapping[float, np.ndarray], eaten: Mapping[float, np.ndarray]
) -> tuple[np.ndarray, float, tuple[float, float]]:
    """The line through one patient's half hours, and the time constants of insulin and carbohydrate, that are the likeliest: its
    two multiples, the standard deviation of what it leaves, and the pair. ``start``, ``change``: mg/dl; ``came``, ``eaten``:
    what acts by each time constant, mg/dl; all (half hours,)."""
    usual = np.array([0.0, 0.0, 1.0, 1.0])
    precision = np.diag([0.0, 0.0, *(1 / np.square(PRIOR))]) * NOISE**2
    level = [np.ones(len(start)), start - 140]
    found: tuple[np.ndarray, float, tuple[float, float]] | None = None
    least = np.inf
    for tau, lowers in came.items():
        for eating, raises in eaten.items():
            known = np.column_stack([*level, -lowers, raises])
            off = np.linalg.lstsq(known.T @ known + precision, known.T @ (change - known @ usual), rcond=None)[0]
            rest = change - known @ (usual + off)
            # Twice the negative log posterior; half hours overlap, so one in three counts.
            told = rest @ rest / NOISE**2 / 3 + np.square(off[2:] / PRIOR).sum()
            told += (np.log(tau / INSULIN) / SPREAD[0]) ** 2 + (np.log(eating / CARBOHYDRATE) / SPREAD[1]) ** 2
            if found is None or told < least:
                least, found = told, ((usual + off)[2:], float(rest.std()), (tau, eating))
    if found is None:
        raise ValueError("no time constants to try")
    return found


def _acting(came: np.ndarray, tau: float, at: np.ndarray) -> np.ndarray:
    """Of what ``came`` from each reading to the next, (n, steps), what acts in the half hours from ``at`` on, (n, half hours)."""
    pool = Pool(np.full(len(came), tau))
    acted = np.cumsum(np.stack([pool.take(came[:, step], MINUTES) for step in range(came.shape[1])], axis=1), axis=1)
    found: np.ndarray = acted[:, at + AHEAD - 1] - acted[:, at - 1]
    return found


__all__ = ["response"]

"""How strongly a patient answers to insulin, as logged care tells it: a pump's correction factor is a rule of thumb.

Over half an hour glucose changes by what the insulin and the announced carbohydrate that act in it do, by itself towards where
it belongs, and by noise:

    change = a + b (glucose - 140) - response * insulin acting * factor + rise * carbohydrate acting * factor / ratio

A line through all such half hours, with a normal prior around 1 on the two multiples (the mean of the posterior). Of who
announces no meals the nights are taken alone, when nobody eats. Half hours near low glucose are left out: what people eat
against it is told to no pump.

What is found by day is larger than what insulin alone would do: it is large, too, where meals act fast and strongly, and the
plan was better by it on logged patients than by the nights of all.
"""

from __future__ import annotations

import numpy as np

from puji.modalities.plans.diabetes.doses import CARBOHYDRATE, INSULIN, Pool, Therapy

MINUTES = 5
"""Between two readings."""
NIGHT = (0, 300)
"""Minutes since midnight between which nobody eats."""
AHEAD, EVERY = 6, 3
"""Readings over which a change is taken, and from one change to the next."""
LOW, BEFORE = 80.0, 6
"""mg/dl, and readings before a change: where one of them or a later one is lower, the change is left out."""
NOISE, PRIOR = 15.0, (0.5, 1.0)
"""Standard deviations, chosen on logged patients: of a change, mg/dl; of the multiples of insulin and carbohydrate, around 1."""
BOUNDS = (0.7, 3.0)
"""What is believed of a response."""


def response(
    reading: np.ndarray,
    extra: np.ndarray,
    announced: np.ndarray,
    therapy: Therapy,
    patient: np.ndarray,
    minute: int = 0,
) -> np.ndarray:
    """How many times as strongly as ``therapy`` says insulin acts, for each patient 0, 1, ..., (patients,).

    ``reading``: of the sensor every five minutes, mg/dl, nan where there is none, (n, steps); ``extra``: insulin beyond the basal
    rate, U, and ``announced`` carbohydrate, g, from each reading to the next, (n, steps); ``therapy``: of the n rows;
    ``patient``: whose rows they are, (n,) int; ``minute``: since midnight, of the first reading. 1 for a patient of whom
    no half hour counts.
    """
    clock = (minute + MINUTES * np.arange(reading.shape[1])) % 1440
    night = (clock >= NIGHT[0]) & (clock < NIGHT[1])
    counting = np.bincount(patient, announced.sum(axis=1)) > 0
    reading = np.where(counting[patient][:, None] | night, reading, np.nan)
    acting = [
        np.cumsum(_acted(came, tau), axis=1) * scale[:, None]
        for came, tau, scale in (
            (extra, INSULIN, therapy.factor),
            (announced, CARBOHYDRATE, therapy.factor / therapy.ratio),
        )
    ]
    smooth = (reading[:, :-2] + reading[:, 1:-1] + reading[:, 2:]) / 3  # the reading before, at and after a time
    lowest = np.lib.stride_tricks.sliding_window_view(reading, BEFORE + AHEAD + 1, axis=1).min(axis=2)
    at = np.arange(BEFORE, reading.shape[1] - AHEAD - 1, EVERY)
    start, change = smooth[:, at - 1], smooth[:, at + AHEAD - 1] - smooth[:, at - 1]
    insulin, meal = (one[:, at + AHEAD - 1] - one[:, at - 1] for one in acting)
    kept = (lowest[:, at - BEFORE] >= LOW) & np.isfinite(change)  # nan is not greater
    found = np.ones(int(patient.max()) + 1)
    precision = np.diag([0.0, 0.0, *(1 / np.square(PRIOR))]) * NOISE**2
    for number in range(len(found)):
        rows = patient == number
        if not kept[rows].any():
            continue
        one = kept[rows]
        told = np.column_stack([np.ones(one.sum()), start[rows][one] - 140, -insulin[rows][one], meal[rows][one]])
        usual = np.array([0.0, 0.0, 1.0, 1.0])
        off = np.linalg.lstsq(told.T @ told + precision, told.T @ (change[rows][one] - told @ usual), rcond=None)[0]
        found[number] = (usual + off)[2]
    return np.clip(found, *BOUNDS)


def _acted(came: np.ndarray, tau: float) -> np.ndarray:
    """Of what ``came`` from each reading to the next, what acted until then, (n, steps)."""
    pool = Pool(len(came), tau)
    return np.stack([pool.take(came[:, step], MINUTES) for step in range(came.shape[1])], axis=1)


__all__ = ["response"]

"""How well glucose was controlled: time in ranges, risk indices, runs that ended early; intervals and paired differences.

Ranges: Battelino et al., Diabetes Care 42:1593 (2019). Risk: Kovatchev, Cox, Gonder-Frederick & Clarke, Diabetes Care 20:1655
(1997), f(g) = 1.509 (ln(g)^1.084 - 5.381) with g in mg/dl; 10 f(g)^2 on average over time, of g where f < 0 (LBGI, low) and
where f > 0 (HBGI, high); BGRI is their sum.

After an early end glucose is held at its last value, so that the time that was lost counts as spent there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from puji import intervals
from puji.modalities.plans.diabetes.loop import Course
from puji.modalities.plans.diabetes.patients import GROUPS, Patients
from puji.modality import Metric

BETTER = {
    "in_range": "up",
    "below_70": "down",
    "below_54": "down",
    "above_250": "down",
    "lbgi": "down",
    "hbgi": "down",
    "bgri": "down",
    "minimum": "",
    "ended": "down",
}
"""The measures of a run: the first four in % of time, ``minimum`` in mg/dl, ``ended`` in % of runs."""
RESAMPLES = 2000


def risks(glucose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Risk of low and of high glucose at each moment; ``glucose``: mg/dl, any shape, above 1."""
    bent = 1.509 * (np.log(glucose) ** 1.084 - 5.381)
    risk = 10 * bent**2
    return np.where(bent < 0, risk, 0.0), np.where(bent > 0, risk, 0.0)


def measure(glucose: np.ndarray, ended: np.ndarray) -> dict[str, np.ndarray]:
    """The measures of each run, (n,), in the order of `BETTER`; ``glucose``: mg/dl, (n, times); ``ended``: (n,) bool."""
    low, high = (risk.mean(axis=1) for risk in risks(glucose))

    def share(held: np.ndarray) -> np.ndarray:
        return np.asarray(100 * held.mean(axis=1))

    return {
        "in_range": share((glucose >= 70) & (glucose <= 180)),
        "below_70": share(glucose < 70),
        "below_54": share(glucose < 54),
        "above_250": share(glucose > 250),
        "lbgi": low,
        "hbgi": high,
        "bgri": low + high,
        "minimum": glucose.min(axis=1),
        "ended": 100.0 * ended,
    }


def scores(course: Course) -> dict[str, np.ndarray]:
    """The measures of each run of ``course``, by its true glucose, (n,)."""
    return measure(course.glucose, course.ended)


def summary(
    values: Mapping[str, np.ndarray], patients: Patients, resamples: int = RESAMPLES
) -> dict[str, dict[str, Metric]]:
    """Means of measures over all runs ("all") and over those of each age group, with intervals that resampling patients gives.

    ``values``: (n,) each, of the rows of ``patients``.
    """
    groups = patients.groups
    parts = {"all": np.ones(len(patients), dtype=bool)} | {name: groups == name for name in GROUPS}
    return {
        part: {
            name: _mean(value[rows], patients.rows[rows], BETTER.get(name, ""), resamples)
            for name, value in values.items()
        }
        for part, rows in parts.items()
        if rows.any()
    }


def difference(
    values: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray], patients: Patients, resamples: int = RESAMPLES
) -> dict[str, dict[str, Metric]]:
    """`summary` of ``values`` less ``others``, run by run: row i of both is the same patient with the same meals and sensor."""
    return summary({name: value - others[name] for name, value in values.items()}, patients, resamples)


def _mean(values: np.ndarray, patient: np.ndarray, better: str, resamples: int) -> Metric:
    cluster = np.unique(patient, return_inverse=True)[1]
    return intervals.clustered(values, cluster, resamples, better)


__all__ = ["BETTER", "difference", "measure", "risks", "scores", "summary"]

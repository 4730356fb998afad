"""Figures of merit with their 95 % intervals."""

from __future__ import annotations

import math

import numpy as np

from puji.modality import Metric
from puji.resampling import resampled

Z = 1.959964
"""Of the normal distribution, 95 % lie within so many standard deviations."""


def proportion(hits: int, n: int, better: str = "up") -> Metric:
    """``hits`` of ``n`` with Wilson's interval: J. Am. Stat. Assoc. 22:209 (1927)."""
    if n == 0:
        return Metric(math.nan, 0, better)
    p = hits / n
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    # Rounding must not keep the bounds of none and all off 0 and 1.
    low, high = (0.0 if hits == 0 else middle - half), (1.0 if hits == n else middle + half)
    return Metric(p, n, better, low, high)


def average(values: np.ndarray, better: str = "up") -> Metric:
    """Mean of ``values`` with its normal interval."""
    n = len(values)
    if n == 0:
        return Metric(math.nan, 0, better)
    mean = float(values.mean(dtype=np.float64))
    half = Z * float(values.std(ddof=1, dtype=np.float64)) / math.sqrt(n) if n > 1 else math.inf
    return Metric(mean, n, better, mean - half, mean + half)


def clustered(values: np.ndarray, cluster: np.ndarray, resamples: int, better: str = "up", seed: int = 0) -> Metric:
    """Mean of ``values`` with the interval that resampling whole clusters (patients) gives; ``cluster``: (n,) int from 0."""
    size = int(cluster.max(initial=-1)) + 1
    sums, counts = np.bincount(cluster, values, size), np.bincount(cluster, minlength=size)
    low, high = resampled(lambda drawn: sums[drawn].sum() / max(1, counts[drawn].sum()), size, resamples, seed)
    return Metric(float(sums.sum() / counts.sum()), len(values), better, low, high)

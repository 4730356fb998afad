"""Bootstrap intervals and ranks, of numbers alone, so that the engine may use them too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def resampled(measure: Callable[[np.ndarray], float], n: int, resamples: int, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap interval of ``measure``, which is given the numbers, (n,) from 0, of those that were drawn."""
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(n, size=n) for _ in range(resamples))
    low, high = np.nanquantile([measure(numbers) for numbers in drawn], (0.025, 0.975))
    return float(low), float(high)


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, (n,); equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]

"""Numbers <-> bin tokens: each property is cut into equally filled bins of the training molecules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from puji.modalities.molecules.tokens import BINS
from puji.modality import Estimate

STEPS = 20
"""Quantiles kept inside each bin, so that a range narrower than a bin is still told from another."""


@dataclass(frozen=True, eq=False)
class Bins:
    """The bins of one property. ``quantiles``: shape (BINS * STEPS + 1,), ascending, from the smallest to the largest."""

    quantiles: NDArray[np.float64]

    @classmethod
    def of(cls, values: Sequence[float]) -> Bins:
        """The bins of ``values``, shape (n,), n >= 1."""
        points = np.quantile(np.asarray(values, dtype=np.float64), np.linspace(0, 1, BINS * STEPS + 1))
        return cls(np.round(points, 4))

    @property
    def edges(self) -> NDArray[np.float64]:
        """The edges between bins, shape (BINS - 1,)."""
        return self.quantiles[STEPS:-1:STEPS]

    def index(self, value: float) -> int:
        """The bin that holds ``value``; beyond the learned range the first or the last."""
        return int(np.searchsorted(self.edges, value, side="right"))

    def holds(self, low: float, high: float) -> bool:
        """Whether any part of ``low`` to ``high`` lies where training molecules lie."""
        return bool(high >= self.quantiles[0] and low <= self.quantiles[-1])

    def draw(self, low: float, high: float, rng: np.random.Generator) -> int:
        """A bin between ``low`` and ``high``, as often as training molecules fall there."""
        inside = self.quantiles[(self.quantiles >= low) & (self.quantiles <= high)]
        return self.index(float(rng.choice(inside)) if len(inside) else (low + high) / 2)

    def medians(self) -> NDArray[np.float64]:
        """The middle of each bin, shape (BINS,). A bin left empty by ties has that of its lower edge."""
        return self.quantiles[STEPS // 2 :: STEPS]

    def estimate(self, log_likelihoods: NDArray[np.float64], unit: str, coverage: float = 0.8) -> Estimate:
        """Value and interval from the natural-log likelihood of each bin, shape (BINS,).

        The value is the mean of the bins' medians weighted by their probabilities; the interval leaves equal
        probability outside on either side, and counts a bin's probability as spread evenly over its width.
        """
        weights = np.exp(log_likelihoods - np.max(log_likelihoods))
        weights /= weights.sum()
        below = np.concatenate([[0.0], np.cumsum(weights)])
        below /= below[-1]
        edges = self.quantiles[::STEPS]
        low, high = np.interp([(1 - coverage) / 2, (1 + coverage) / 2], below, edges)
        return Estimate(
            value=float(weights @ self.medians()),
            low=float(low),
            high=float(high),
            unit=unit,
            coverage=coverage,
        )

"""From logits to tokens: temperature, top-k, top-p, masks, and a random number that belongs to the row alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from puji.engine.step import kernels

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. The default is the model's own distribution.

    Parameters
    ----------
    temperature : float
        Logits are divided by it; 0 takes the most likely token.
    top_k : int or None
        Only the k most likely of the allowed tokens (and those that tie with the last).
    top_p : float or None
        Only the smallest set of most likely tokens whose probability reaches p (Holtzman et al. 2020), after temperature
        and top-k.

    Raises
    ------
    ValueError
        If temperature is negative or not finite, top_k below 1, or top_p outside (0, 1].
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature {self.temperature}: must be 0 or more")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k {self.top_k}: must be 1 or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p}: must be above 0 and at most 1")


def floors(logits: Array, allowed: Array, sampling: Sampling) -> Array:
    """The logit below which top-k and top-p drop a token, per row: (n, vocabulary), bool (n, vocabulary) -> (n,)."""
    floor = np.full(len(logits), -np.inf, np.float32)
    if sampling.temperature == 0 or (sampling.top_k is None and sampling.top_p is None):
        return floor
    kept = np.where(allowed, logits, np.float32(-np.inf))
    if sampling.top_k is not None and sampling.top_k < kept.shape[1]:
        floor = np.partition(kept, -sampling.top_k, axis=1)[:, -sampling.top_k]
        kept = np.where(kept >= floor[:, None], kept, np.float32(-np.inf))
    if sampling.top_p is not None and sampling.top_p < 1:
        order = -np.sort(-kept, axis=1)
        best = np.where(np.isfinite(order[:, :1]), order[:, :1], 0.0).astype(np.float64)
        weights = np.exp((order - best) / sampling.temperature)
        cumulative = np.cumsum(weights, axis=1)
        last = (cumulative < sampling.top_p * cumulative[:, -1:]).sum(axis=1)
        floor = order[np.arange(len(order)), np.minimum(last, order.shape[1] - 1)]
    return floor


class Sampler:
    """Draws tokens; keeps its buffers, so it is not shared between threads."""

    def __init__(self, vocabulary: int, sampling: Sampling) -> None:
        self.sampling = sampling
        self._scratch: Array = np.zeros(2 * vocabulary, np.float32)

    def draw(self, logits: Array, masks: Array, which: Array, seeds: Array, steps: Array) -> tuple[Array, Array, Array]:
        """A token, its natural-log probability, and that of the best token that was allowed, for each of n rows.

        logits (n, vocabulary) float32; masks (k, vocabulary) bool, of which row i obeys ``masks[which[i]]``; seeds and
        steps (n,) uint64: the random number is a function of these two. Token -1 where nothing is allowed. The
        log-probability is the model's own: before mask, temperature, top-k and top-p.
        """
        n = len(logits)
        tokens, logprobs, likeliest, draws = np.empty(n, np.int64), np.empty(n), np.empty(n), np.empty(n)
        kernels.uniforms(seeds, steps, draws)
        floor = floors(logits, masks[which], self.sampling) if self._cuts else np.full(n, -np.inf, np.float32)
        kernels.choose(
            logits,
            masks,
            which,
            floor,
            float(self.sampling.temperature),
            draws,
            self._scratch,
            tokens,
            logprobs,
            likeliest,
        )
        return tokens, logprobs, likeliest

    @property
    def _cuts(self) -> bool:
        return self.sampling.top_k is not None or self.sampling.top_p is not None

"""Looking ahead from a live sequence: many continuations of a `Session` at once.

The same as to fork the session once for each of them and to sample and feed one token after the other, in one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import LlamaForCausalLM

from puji.engine.sampling import Sampler, Sampling
from puji.engine.session import Session
from puji.engine.step import Precision, Step, prepare

Array = np.ndarray[Any, Any]


class Ahead:
    """Room for ``rows`` continuations, used for one session after the other; not shared between threads.

    Parameters
    ----------
    network : LlamaForCausalLM
        That of the sessions.
    rows : int
        The most continuations at once.
    dtype : "auto", "float32" or "bfloat16"
        Precision of the matrix products, that of the sessions.
    """

    def __init__(self, network: LlamaForCausalLM, rows: int, dtype: Precision = "auto") -> None:
        # Any number of rows does: equal bits with other batches are not promised here, as they are not by sessions.
        self._step = Step(prepare(network, dtype), rows, (rows,))
        self._sampler = Sampler(self._step.weights.vocabulary, Sampling())
        self._slots: Array = np.arange(rows)
        self._pad: int | None = network.config.pad_token_id

    def __call__(self, session: Session, length: int, seeds: Sequence[int], allowed: Array | None = None) -> Array:
        """``length`` tokens of each of len(seeds) continuations, (len(seeds), length) int64; the session stays as it is.

        Row i draws what ``session.fork().sample(seeds[i], allowed=allowed)`` draws, and so on token by token. ``allowed``:
        (vocabulary,) bool, in each place; by default all but padding.

        Raises ValueError if there are more seeds than rows, nothing was fed yet, nothing is allowed, or the context has no room
        left: a fork would slide its window here.
        """
        cache, logits, position = session.state()
        n, weights = len(seeds), self._step.weights
        if n > len(self._slots):
            raise ValueError(f"{n} continuations where there is room for {len(self._slots)}")
        if position + length - 1 > weights.context:
            raise ValueError(f"{length} tokens ahead of {position} pass the context of {weights.context}")
        self._step.cache[:, :n, :position] = cache
        mask = np.ones((1, weights.vocabulary), np.bool_) if allowed is None else np.array(allowed, np.bool_)[None]
        if self._pad is not None:
            mask[0, self._pad] = False
        keys = np.array([seed % 2**64 for seed in seeds], np.uint64)
        which, slots = np.zeros(n, np.int64), self._slots[:n]
        found: Array = np.empty((n, length), np.int64)
        rows = np.repeat(logits, n, axis=0)
        for place in range(length):
            steps = np.full(n, session.length + place, np.uint64)
            found[:, place] = self._sampler.draw(rows, mask, which, keys, steps)[0]
            if place == 0 and n and found[0, 0] < 0:
                raise ValueError("no token is allowed")
            if place + 1 < length:
                rows = self._step(found[:, place], slots, np.full(n, position + place))
        return found

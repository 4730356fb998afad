"""One live sequence: fed token by token as events arrive, asked what comes next, and forked to look ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import LlamaForCausalLM

from puji.engine import window
from puji.engine.sampling import Sampler, Sampling
from puji.engine.step import Precision, Step, prepare

Array = np.ndarray[Any, Any]

SIZES = (1, 8, 32)
"""Tokens fed at once: one event at a time, or a history in pieces."""


class Session:
    """A sequence with its own key-value cache.

    Parameters
    ----------
    network : LlamaForCausalLM
        Its weights are read once, at the start.
    header_ids : sequence of int
        Fed first; stays in view when the window slides (see `puji.engine.window`). May be empty.
    dtype : "auto", "float32" or "bfloat16"
        Precision of the matrix products.

    Raises
    ------
    ValueError
        If an id is outside the vocabulary, or the header leaves no room in the context.
    """

    def __init__(self, network: LlamaForCausalLM, header_ids: Sequence[int] = (), dtype: Precision = "auto") -> None:
        self._step = Step(prepare(network, dtype), 1, SIZES)
        self._pad: int | None = network.config.pad_token_id
        self._header = len(header_ids)
        self._seen: list[int] = []
        self._logits: Array | None = None
        self.length = 0
        """Number of tokens fed so far."""
        window.check(self._header, self._header, self._step.weights.context)
        self.feed(header_ids)

    def feed(self, ids: Sequence[int]) -> None:
        """Append ``ids``. Raises ValueError, and feeds none, if one is outside the vocabulary."""
        weights = self._step.weights
        if not all(0 <= token < weights.vocabulary for token in ids):
            raise ValueError("ids outside the vocabulary")
        if not len(ids):
            return
        position = len(self._seen)
        self.length += len(ids)
        together = [*self._seen, *ids]
        self._seen = window.visible(together, self._header, weights.context)
        if len(self._seen) < len(together):
            position = 0
        slots: Array = np.zeros(SIZES[-1], np.int64)
        while position < len(self._seen):
            stop = min(position + SIZES[-1], len(self._seen))
            tokens = np.array(self._seen[position:stop], np.int64)
            logits = self._step(tokens, slots[: stop - position], np.arange(position, stop))
            self._logits = logits[-1:].copy()
            position = stop

    def next_logprobs(self) -> Array:
        """Natural-log probability of each next token under the model's own distribution, (vocabulary,) float64.

        Raises ValueError before anything was fed.
        """
        logits = self._last()[0].astype(np.float64)
        shifted = logits - logits.max()
        result: Array = shifted - np.log(np.exp(shifted).sum())
        return result

    def sample(self, seed: int, sampling: Sampling | None = None, allowed: Array | None = None) -> int:
        """Draw the next token without feeding it: a function of ``seed`` and of what was fed.

        ``allowed``: (vocabulary,) bool, by default all but padding. Raises ValueError if nothing is allowed.
        """
        logits = self._last()
        mask = np.ones((1, logits.shape[1]), np.bool_) if allowed is None else np.array(allowed, np.bool_)[None]
        if self._pad is not None:
            mask[0, self._pad] = False
        sampler = Sampler(logits.shape[1], sampling or Sampling())
        seeds, steps = np.array([seed % 2**64], np.uint64), np.array([self.length], np.uint64)
        token = int(sampler.draw(logits, mask, np.zeros(1, np.int64), seeds, steps)[0][0])
        if token < 0:
            raise ValueError("no token is allowed")
        return token

    def fork(self) -> Session:
        """A session that has seen the same and goes its own way."""
        twin = object.__new__(Session)
        twin._step = self._step.fork(len(self._seen))
        twin._pad, twin._header, twin.length = self._pad, self._header, self.length
        twin._seen = list(self._seen)
        twin._logits = None if self._logits is None else self._logits.copy()
        return twin

    def state(self) -> tuple[Array, Array, int]:
        """What was seen, to go on elsewhere (see `puji.engine.ahead`): not to be changed.

        Its keys and values (layers, 1, positions, heads, width), the logits of the next token (1, vocabulary), and how many
        positions are filled. Raises ValueError before anything was fed.
        """
        position = len(self._seen)
        return self._step.cache[:, :, :position], self._last(), position

    def _last(self) -> Array:
        if self._logits is None:
            raise ValueError("nothing was fed yet")
        return self._logits

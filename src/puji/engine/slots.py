"""Rows being decoded together: whoever finishes leaves, and the next prompt takes the slot."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from puji.engine import window
from puji.engine.grammar import GrammarTable
from puji.engine.sampling import Sampler, Sampling
from puji.engine.step import ROWS, Step, Weights

Array = np.ndarray[Any, Any]
Ending = Literal["end", "length", "dead", "stop"]
FORCED = -12.0
"""Natural-log probability, under the model alone, of the best of several tokens that the grammar allows, below which a row is
dead. A single token is no choice: a network that learned under the grammar has learned nothing of it."""

KNOWN = 16
"""Prompts whose keys and values are kept for rows to come."""

ENDINGS: tuple[Ending, ...] = ("end", "length", "dead", "stop")
END, LENGTH, DEAD, STOP = range(4)
GOING = -1


@dataclass(frozen=True)
class Prompt:
    """What a row starts from.

    Parameters
    ----------
    ids : tuple of int
        At least one id.
    seed : int
        The row's sample is a function of the weights, ``ids`` and this alone (taken modulo 2**64).
    header : int
        How many leading ids stay in view when the window slides.
    """

    ids: tuple[int, ...]
    seed: int
    header: int


@dataclass(frozen=True)
class Decoded:
    """A finished row.

    Parameters
    ----------
    index : int
        Place of its prompt, from 0.
    ids : list of int
        What was generated after the prompt, with the end token if it was produced.
    logprob : float
        Natural logarithm of the probability of ``ids`` under the model's own distribution: over the whole vocabulary,
        before mask, temperature, top-k and top-p. Equal to `puji.engine.score.score` up to rounding.
    ended : str
        "end": by the end token; "length": ``max_new_tokens`` reached; "dead": the grammar allowed nothing more;
        "stop": the caller's rule said so.
    """

    index: int
    ids: list[int]
    logprob: float
    ended: Ending


@dataclass(frozen=True)
class Rules:
    """What is the same for all rows of a call of decode."""

    end: int
    max_new_tokens: int
    sampling: Sampling
    grammar: GrammarTable | None
    stop: Callable[[int, int], bool] | None
    pad: int | None  # never drawn; no grammar allows it


class Slots:
    """Up to ``slots`` rows, each at its own position; not shared between threads.

    Before a step, all but the last id of new prompts is fed in one go, equal prompts once; what is in view after the
    window has slid is fed in the same way.
    """

    def __init__(self, weights: Weights, slots: int, rules: Rules) -> None:
        self.weights, self.rules = weights, rules
        self._step = Step(weights, slots)
        self._sampler = Sampler(weights.vocabulary, rules.sampling)
        self._grammar = None if rules.grammar is None else rules.grammar.fresh()
        self._mask: Array = np.ones((1, weights.vocabulary), np.bool_)
        if rules.pad is not None:
            self._mask[0, rules.pad] = False
        self._rows: Array = np.empty(0, np.int64)  # slots in use
        self._free = list(range(slots))
        self._seen: Array = np.zeros((slots, weights.context + 1), np.int64)  # ids in view
        self._fill, self._position, self._header = (np.zeros(slots, np.int64) for _ in range(3))
        self._index, self._state = (np.zeros(slots, np.int64) for _ in range(2))
        self._seed, self._made = (np.zeros(slots, np.uint64) for _ in range(2))
        self._logprob: Array = np.zeros(slots)
        self._prompts: OrderedDict[bytes, Array] = OrderedDict()  # cached keys and values of the last prompts
        self._out: Array = np.zeros((slots, min(rules.max_new_tokens, 64)), np.int64)

    @property
    def room(self) -> int:
        """Number of free slots."""
        return len(self._free)

    def __len__(self) -> int:
        """Number of rows being decoded."""
        return len(self._rows)

    def admit(self, index: int, prompt: Prompt) -> None:
        """Put ``prompt`` into a free slot. Raises ValueError if it has no ids, unknown ids or a header without room."""
        ids, context = prompt.ids, self.weights.context
        if not ids or not all(0 <= token < self.weights.vocabulary for token in ids):
            raise ValueError(f"prompt {index} is empty or has ids outside the vocabulary")
        window.check(prompt.header, len(ids), context)
        seen = window.visible(ids, prompt.header, context)
        slot = self._free.pop()
        self._seen[slot, : len(seen)] = seen
        self._fill[slot], self._position[slot], self._header[slot] = len(seen), 0, prompt.header
        self._index[slot], self._seed[slot] = index, prompt.seed % 2**64
        self._made[slot], self._logprob[slot] = 0, 0.0
        if self._grammar is not None:
            self._state[slot] = self._grammar.start(ids)
        self._rows = np.append(self._rows, slot)

    def step(self) -> list[Decoded]:
        """Feed one id to each row and draw the next; the rows that finished."""
        rows = self._rows
        self._prefill(rows[self._position[rows] < self._fill[rows] - 1])
        positions = self._position[rows]
        logits = self._step(self._seen[rows, positions], rows, positions)
        self._position[rows] = positions + 1
        return self._draw(rows, logits)

    def _prefill(self, rows: Array) -> None:
        """Feed ``rows`` all but the last of the ids that they see."""
        alike: dict[bytes, list[int]] = {}
        for slot in rows.tolist():
            alike.setdefault(self._seen[slot, : self._fill[slot] - 1].tobytes(), []).append(slot)
        new = [slots[0] for prompt, slots in alike.items() if prompt not in self._prompts]
        if new:
            counts = self._fill[new] - 1
            slots = np.repeat(new, counts)
            positions = np.concatenate([np.arange(count) for count in counts])
            tokens = self._seen[slots, positions]
            for start in range(0, len(slots), ROWS):
                part = slice(start, start + ROWS)
                self._step(tokens[part], slots[part], positions[part])
        cache = self._step.cache
        for prompt, (first, *others) in alike.items():
            count = int(self._fill[first]) - 1
            if (known := self._prompts.get(prompt)) is None:
                known = cache[:, first, :count].copy()
                if not self._made[first]:  # what is in view after sliding does not come again
                    self._prompts[prompt] = known
            else:
                self._prompts.move_to_end(prompt)
                others = [first, *others]
            for slot in others:
                cache[:, slot, :count] = known
        while len(self._prompts) > KNOWN:
            self._prompts.popitem(last=False)
        self._position[rows] = self._fill[rows] - 1

    def _draw(self, rows: Array, logits: Array) -> list[Decoded]:
        rules, grammar = self.rules, self._grammar
        if grammar is None:
            masks, which = self._mask, np.zeros(len(rows), np.int64)
        else:
            which = grammar.which(self._state[rows])
            masks = grammar.masks
        made = self._made[rows]
        tokens, logprobs, likeliest = self._sampler.draw(logits, masks, which, self._seed[rows], made)
        if int(made.max()) == self._out.shape[1]:
            self._out = np.concatenate([self._out, np.zeros_like(self._out)], axis=1)
        self._out[rows, made] = tokens
        dead = tokens < 0
        if grammar is not None:
            # The grammar forbids all that the model would say: it has lost its way, and would go on to the greatest length.
            lost = np.flatnonzero(likeliest < FORCED)
            dead[lost] |= masks[which[lost]].sum(1) != 1
        made += ~dead
        self._made[rows] = made
        self._logprob[rows] += np.where(dead, 0.0, logprobs)
        ended = np.where(made >= rules.max_new_tokens, LENGTH, GOING)
        ended[tokens == rules.end] = END
        ended[dead] = DEAD
        if rules.stop is not None:
            for i in np.flatnonzero(ended == GOING):
                if rules.stop(int(self._index[rows[i]]), int(tokens[i])):
                    ended[i] = STOP
        going = ended == GOING
        self._extend(rows[going], tokens[going])
        return [self._finish(int(rows[i]), ENDINGS[ended[i]]) for i in np.flatnonzero(~going)]

    def _extend(self, rows: Array, tokens: Array) -> None:
        """Append ``tokens`` to what ``rows`` see; slide where the context is passed."""
        fill = self._fill[rows]
        self._seen[rows, fill] = tokens
        self._fill[rows] = fill + 1
        for slot in rows[fill == self.weights.context]:
            seen = window.visible(self._seen[slot].tolist(), int(self._header[slot]), self.weights.context)
            self._seen[slot, : len(seen)] = seen
            self._fill[slot], self._position[slot] = len(seen), 0
        if self._grammar is not None and len(rows):
            self._state[rows] = self._grammar.advance(self._state[rows], tokens)
            if self._grammar.full:
                self._state[self._rows] = self._grammar.compact(self._state[self._rows])

    def _finish(self, slot: int, ended: Ending) -> Decoded:
        self._rows = self._rows[self._rows != slot]
        self._free.append(slot)
        ids = self._out[slot, : int(self._made[slot])].tolist()
        return Decoded(int(self._index[slot]), ids, float(self._logprob[slot]), ended)

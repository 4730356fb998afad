"""Drawing records from a trained network until as many are accepted as were wanted; steps 4 and 5 of flow.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from puji import flow
from puji.batch import Batch, Generated
from puji.engine.decode import Decoded, Prompt, Sampling
from puji.errors import Invalid
from puji.modality import Grammar, Record

if TYPE_CHECKING:
    from puji.model import Model

WAVE = 16
"""Least number of draws made at a time when records are wanted that some draws fail to give."""
PATIENCE = 50
"""Generation gives up after this many times as many draws as records wanted, and at least `HOPE`."""
HOPE = 2000
"""Draws after which it gives up if none was accepted."""
LARGEST = 10_000_000
"""Most records that one call generates: a larger number is far more often a slip than a wish."""


@dataclass(frozen=True)
class Drawing:
    """How records are drawn.

    ``temperature``: None for the modality's own, mostly 1. ``top_k``, ``top_p``: off by default. ``grammar``: forbid tokens that
    cannot lead to a valid record. ``unique``: refuse a record that was drawn before in the same call.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    grammar: bool = True
    unique: bool = False

    def sampling(self, usual: float) -> Sampling:
        """What the engine is told; ``usual``: the modality's temperature. Raises Invalid for values out of range."""
        temperature = usual if self.temperature is None else self.temperature
        try:
            return Sampling(temperature=temperature, top_k=self.top_k, top_p=self.top_p)
        except ValueError as error:
            raise Invalid("generate.sampling", why=str(error)) from error


def draw(model: Model[Record], n: int, batch: Batch[Record], how: Drawing) -> Iterator[Generated[Record]]:
    """Draw in waves until ``n`` records are accepted; accept in the order of the draws, whatever finishes first.

    ``batch`` counts attempts and refusals as they come. Raises Invalid for ``n`` or sampling out of range.
    """
    if not isinstance(n, int) or not 1 <= n <= LARGEST:
        raise Invalid("generate.number", n=n, largest=LARGEST)
    sampling = how.sampling(model.modality.temperature)
    rules = model.modality.grammar(batch.conditions) if how.grammar else None
    each = model.modality.drafts(batch.conditions)
    accepted = 0
    seen: set[Record] = set()
    most = max(PATIENCE * n, HOPE)
    while accepted < n and (tried := batch.attempts // each) < (most if accepted else HOPE):
        yielded = accepted / tried if tried else 1.0
        missing = n - accepted
        size = missing if not tried else max(WAVE, int(1.1 * missing / max(yielded, 0.05)))
        size = min(size, (most if accepted else HOPE) - tried)
        outcomes = _wave(model, batch, size * each, sampling, rules)
        for outcome in outcomes if each == 1 else _chosen(model, batch, outcomes, each):
            if not isinstance(outcome, Invalid) and how.unique:
                if outcome.record in seen:
                    outcome = Invalid("generate.duplicate")
                else:
                    seen.add(outcome.record)
            if isinstance(outcome, Invalid):
                batch.refuse(outcome)
                continue
            accepted += 1
            yield outcome
            if accepted == n:
                break


def _chosen(
    model: Model[Record], batch: Batch[Record], outcomes: Iterator[Generated[Record] | Invalid], each: int
) -> Iterator[Generated[Record] | Invalid]:
    """Of each ``each`` draws the one record that the modality makes of them, and the refusals."""
    while drafts := list(islice(outcomes, each)):
        accepted = [one for one in drafts if not isinstance(one, Invalid)]
        yield from (one for one in drafts if isinstance(one, Invalid))
        if accepted:
            place, record = model.modality.choose([one.record for one in accepted], batch.conditions)
            yield (
                replace(accepted[0], record=record, log_likelihood=None)
                if place is None
                else replace(accepted[place], record=record)
            )


def _wave(
    model: Model[Record], batch: Batch[Record], size: int, sampling: Sampling, grammar: Grammar | None
) -> Iterator[Generated[Record] | Invalid]:
    """Draws number ``batch.attempts`` and following, ``size`` of them, in order."""
    first = batch.attempts
    prompts: dict[int, list[str]] = {}

    def ask() -> Iterator[Prompt]:
        for attempt in range(first, first + size):
            rng = np.random.default_rng([batch.seed, attempt])
            tokens = model.modality.prompt(batch.conditions, rng)
            prompts[attempt] = tokens
            ids, header = model.encoded(tokens)
            yield Prompt(tuple(ids), seed=int(rng.integers(2**63)), header=header)

    room = model.modality.longest or model.network.config.max_position_embeddings
    decoded = flow.decode(model.network, model.vocabulary, ask(), grammar, sampling=sampling, max_new_tokens=room)
    early: dict[int, Decoded] = {}
    turn = 0
    with closing(decoded):
        for one in decoded:
            early[one.index] = one
            while turn in early:
                done = early.pop(turn)
                attempt = first + turn
                turn += 1
                batch.attempts += 1
                yield _finish(model, batch, done, attempt, prompts.pop(attempt))


def _finish(
    model: Model[Record], batch: Batch[Record], decoded: Decoded, attempt: int, prompt: Sequence[str]
) -> Generated[Record] | Invalid:
    if decoded.ended != "end":
        return Invalid(f"generate.{decoded.ended}")
    record = flow.postprocess(model.modality, model.vocabulary, decoded.ids, prompt)
    if isinstance(record, Invalid):
        return record
    try:
        kept = model.modality.accept(record, batch.conditions)
    except Invalid as refusal:
        return refusal
    return Generated(kept, decoded.logprob if kept == record else None, attempt, tuple(prompt))

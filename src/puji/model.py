"""A trained model of one modality: generate, predict, explain, embed. The steps are those of flow.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal

import numpy as np
import torch
from pydantic import BaseModel, ValidationError
from transformers import LlamaForCausalLM

from puji import flow
from puji.batch import Batch, Generated
from puji.engine import attention, checkpoint, explain, score
from puji.engine.decode import Decoded, Prompt, Sampling
from puji.engine.vocabulary import Vocabulary
from puji.errors import Invalid
from puji.files import atomic_write
from puji.interrupts import heard
from puji.modality import END, Answer, Candidates, Estimate, Futures, Grammar, Modality, Raw, Record
from puji.tables import TABLES, write_table

WAVE = 16
"""Least number of draws made at a time when records are wanted that some draws fail to give."""
PATIENCE = 50
"""Generation gives up after this many times as many draws as records wanted, and at least `HOPE`."""
HOPE = 2000
"""Draws after which it gives up if none was accepted."""
ENDINGS = {"image/svg+xml": ".svg", "image/png": ".png"}
"""Of files of pictures, by their MIME type."""
LARGEST = 10_000_000
"""Most records that one call generates: a larger number is far more often a slip than a wish."""


@dataclass
class Explanation:
    """What drove an answer.

    ``scores``: contribution of each token to ``target``, shape (len(tokens),), in the target's unit; ``attention``: rollout
    from row to column, shape (len(tokens), len(tokens)); ``completeness_error``: what integrated gradients leave unexplained
    (None for occlusion).
    """

    target: str
    method: str
    tokens: list[str]
    scores: np.ndarray
    attention: np.ndarray
    value: float
    completeness_error: float | None
    pictures: dict[str, str | bytes] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write the picture to a .svg or .png file, or the scores to a table. Raises Invalid for an ending there is not."""
        target = Path(path)
        pictures = {ENDINGS[mime]: content for mime, content in self.pictures.items() if mime in ENDINGS}
        ending = target.suffix.lower()
        if ending in pictures:
            atomic_write(target, pictures[ending])
        elif ending in ENDINGS.values():
            raise Invalid("write.format", source=str(target), formats=", ".join([*pictures, *TABLES]))
        else:
            write_table(self.rows(), target)

    def rows(self) -> list[dict[str, Any]]:
        """One row per token: its place, itself and its score."""
        return [
            {"place": place, "token": token, "score": float(score)}
            for place, (token, score) in enumerate(zip(self.tokens, self.scores, strict=True))
        ]


class Model(Generic[Record]):
    """A modality, its vocabulary and a trained network.

    Parameters
    ----------
    provenance : mapping
        How the weights came about; see `puji.training.fit`.
    """

    def __init__(
        self,
        modality: Modality[Record],
        vocabulary: Vocabulary,
        network: LlamaForCausalLM,
        provenance: Mapping[str, Any],
        name: str = "",
    ) -> None:
        self.modality = modality
        self.vocabulary = vocabulary
        network.train(False)
        self.network = network
        self.provenance = dict(provenance)
        self.name = name or modality.name

    @property
    def card(self) -> dict[str, Any]:
        """Training data with hash and licence, commit, seed, minutes, machine, measured numbers."""
        return self.provenance

    # -- generate ----------------------------------------------------------------------------------------------------

    def generate(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        grammar: bool = True,
        unique: bool = False,
        conditions: BaseModel | Mapping[str, Any] | None = None,
        on_record: Callable[[Generated[Record]], None] | None = None,
        **asked: Any,
    ) -> Batch[Record]:
        """Generate ``n`` records.

        Parameters
        ----------
        n : int
            Accepted records wanted, 1 to `LARGEST`.
        seed : int
            Draw k of a call depends on (seed, k) alone.
        temperature, top_k, top_p :
            Off by default: the model's own distribution.
        grammar : bool
            Forbid tokens that cannot lead to a valid record.
        unique : bool
            Refuse a record that was generated before in this call.
        conditions, **asked :
            What to ask for: an instance of the modality's Conditions, or its fields.

        Returns a batch with fewer than ``n`` records where drawing on seemed hopeless; ``rejected`` says why.
        Raises Invalid for conditions that no record can have, or if no record at all was accepted.
        """
        batch: Batch[Record] = self.empty_batch(seed, self.conditions(conditions, asked))
        options: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        drawn = self.stream(n, batch=batch, grammar=grammar, unique=unique, **options)
        # Closed at once also on an error, so that no thread draws on.
        with heard(), closing(drawn):
            for one in drawn:
                batch.generated.append(one)
                if on_record:
                    on_record(one)
        if not batch.generated:
            raise batch.nothing()
        return batch

    def stream(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        grammar: bool = True,
        unique: bool = False,
        conditions: BaseModel | Mapping[str, Any] | None = None,
        batch: Batch[Record] | None = None,
        **asked: Any,
    ) -> Generator[Generated[Record], None, None]:
        """As `generate`, one record at a time as soon as it is there, in the order of the draws.

        ``batch``: one from `empty_batch`, whose seed and conditions hold then; it counts attempts and refusals as they come.
        """
        if batch is None:
            batch = self.empty_batch(seed, self.conditions(conditions, asked))
        yield from self._draw(n, batch, self._sampling(n, temperature, top_k, top_p), grammar, unique)

    def conditions(self, conditions: BaseModel | Mapping[str, Any] | None, asked: Mapping[str, Any]) -> BaseModel:
        """The modality's Conditions from an instance or its fields; Invalid names the field that is wrong."""
        if isinstance(conditions, self.modality.Conditions) and not asked:
            return conditions
        base = conditions.model_dump() if isinstance(conditions, BaseModel) else conditions or {}
        if not isinstance(base, Mapping):
            known = ", ".join(self.modality.Conditions.model_fields)
            raise Invalid("options.conditions", kind=type(conditions).__name__, known=known)
        found: BaseModel = validated(self.modality.Conditions, {**base, **asked})
        return found

    def empty_batch(self, seed: int, conditions: BaseModel) -> Batch[Record]:
        """A batch to be filled, with the origin that each of its rows carries."""
        if not isinstance(seed, int) or seed < 0:
            raise Invalid("generate.seed", source="--seed", seed=seed)
        origin = {"synthetic": True, "model": f"puji {self.name} {self.provenance.get('version', '')}".strip()}
        return Batch(self.modality, conditions, seed, origin, notes=self.modality.warnings(conditions))

    def _sampling(self, n: int, temperature: float, top_k: int | None, top_p: float | None) -> Sampling:
        if not isinstance(n, int) or not 1 <= n <= LARGEST:
            raise Invalid("generate.number", n=n, largest=LARGEST)
        try:
            return Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
        except ValueError as error:
            raise Invalid("generate.sampling", why=str(error)) from error

    def _draw(
        self, n: int, batch: Batch[Record], sampling: Sampling, grammar: bool, unique: bool
    ) -> Iterator[Generated[Record]]:
        """Draw in waves until ``n`` records are accepted; accept in the order of the draws, whatever finishes first."""
        rules = self.modality.grammar(batch.conditions) if grammar else None
        accepted = 0
        seen: set[Record] = set()
        most = max(PATIENCE * n, HOPE)
        while accepted < n and batch.attempts < (most if accepted else HOPE):
            yielded = accepted / batch.attempts if batch.attempts else 1.0
            missing = n - accepted
            wave = missing if not batch.attempts else max(WAVE, int(1.1 * missing / max(yielded, 0.05)))
            wave = min(wave, (most if accepted else HOPE) - batch.attempts)
            for outcome in self._wave(batch, wave, sampling, rules):
                if not isinstance(outcome, Invalid) and unique and outcome.record in seen:
                    outcome = Invalid("generate.duplicate")
                if isinstance(outcome, Invalid):
                    batch.refuse(outcome)
                    continue
                if accepted == n:
                    break
                seen.add(outcome.record) if unique else None
                accepted += 1
                yield outcome
                if accepted == n:
                    break

    def _wave(
        self, batch: Batch[Record], size: int, sampling: Sampling, grammar: Grammar | None
    ) -> Iterator[Generated[Record] | Invalid]:
        """Draws number ``batch.attempts`` and following, ``size`` of them, in order."""
        first = batch.attempts
        prompts: dict[int, list[str]] = {}

        def ask() -> Iterator[Prompt]:
            for attempt in range(first, first + size):
                rng = np.random.default_rng([batch.seed, attempt])
                tokens = self.modality.prompt(batch.conditions, rng)
                prompts[attempt] = tokens
                ids, header = flow.pinned(self.modality, self.vocabulary, tokens)
                yield Prompt(tuple(ids), seed=int(rng.integers(2**63)), header=header)

        room = self.network.config.max_position_embeddings
        decoded = flow.decode(self.network, self.vocabulary, ask(), grammar, sampling=sampling, max_new_tokens=room)
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
                    yield self._finish(done, attempt, prompts.pop(attempt), batch.conditions)

    def _finish(
        self, decoded: Decoded, attempt: int, prompt: Sequence[str], conditions: BaseModel
    ) -> Generated[Record] | Invalid:
        if decoded.ended != "end":
            return Invalid(f"generate.{decoded.ended}")
        record = flow.postprocess(self.modality, self.vocabulary, decoded.ids, prompt)
        if isinstance(record, Invalid):
            return record
        try:
            self.modality.accept(record, conditions)
        except Invalid as refusal:
            return refusal
        return Generated(record, decoded.logprob, attempt, tuple(prompt))

    # -- predict -----------------------------------------------------------------------------------------------------

    def predict(self, record: Record | str, ask: BaseModel | None = None, **asked: Any) -> Answer:
        """Compare how likely the engine finds each possible answer, or what share of sampled futures comes to pass.

        ``record`` may be given as text. ``ask`` or its fields: an instance of the modality's Ask.
        """
        known = self.record(record)
        question = self.modality.question(known, ask or validated(self.modality.Ask, asked))
        estimates = self._compare(question) if isinstance(question, Candidates) else self._sample(question)
        likelihood, familiar = self._familiar(known)
        return Answer(estimates, likelihood, familiar, notes=("predict.unfamiliar",) if familiar is False else ())

    def familiar(self, record: Record | str) -> bool | None:
        """Whether a record is like the training data; None where the checkpoint does not tell."""
        return self._familiar(self.record(record))[1]

    def _familiar(self, record: Record) -> tuple[float, bool | None]:
        total, per_token = (float(found[0]) for found in self._likelihood([record]))
        limit = self.provenance.get("familiarity", {}).get("nats_per_token")
        return total, None if limit is None else per_token >= limit

    def _compare(self, question: Candidates) -> Mapping[str, Estimate]:
        prompts = [flow.pinned(self.modality, self.vocabulary, one.prompt) for one in question.candidates]
        continuations = [self.vocabulary.encode(one.continuation) for one in question.candidates]
        pairs = [(ids, continuation) for (ids, _), continuation in zip(prompts, continuations, strict=True)]
        return question.answer(score.score(self.network, pairs, headers=[header for _, header in prompts]))

    def _sample(self, question: Futures, seed: int = 0) -> Mapping[str, Estimate]:
        start, header = flow.pinned(self.modality, self.vocabulary, question.prompt)
        prompts = (Prompt(tuple(start), seed=seed * question.n + row, header=header) for row in range(question.n))
        decoded = flow.decode(
            self.network,
            self.vocabulary,
            prompts,
            max_new_tokens=100 * self.network.config.max_position_embeddings,
            stop=lambda ids: question.stop(self.vocabulary.decode(ids)),
        )
        futures = {one.index: self.vocabulary.decode(one.ids) for one in decoded}
        return question.answer([futures[row] for row in range(question.n)])

    def log_likelihood(self, records: Sequence[Record | str] | str) -> np.ndarray:
        """Natural log of the probability of each record's body, shape (len(records),)."""
        return self._likelihood([self.record(record) for record in _several(records)])[0]

    def _likelihood(self, records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
        """Of each whole body, and per token."""
        told = [flow.pinned(self.modality, self.vocabulary, self.modality.encode(record)) for record in records]
        pairs = [(ids[:1], ids[1:]) for ids, _ in told]
        totals = score.score(self.network, pairs, headers=[header for _, header in told])
        return totals, totals / np.array([max(1, len(ids) - 1) for ids, _ in told])

    # -- explain -----------------------------------------------------------------------------------------------------

    def explain(
        self,
        record: Record | str,
        *,
        target: str,
        method: Literal["integrated_gradients", "occlusion"] = "integrated_gradients",
    ) -> Explanation:
        """Which tokens drove the predicted ``target`` (a name that `predict` estimates).

        Raises Invalid for a target or method that there is not.
        """
        known = self.record(record)
        tokens, values = self.modality.target(known, target)
        ids = self.vocabulary.encode(tokens)
        if len(ids) != len(tokens):
            raise Invalid("explain.spelled", modality=self.name)
        aim = explain.Target([self.vocabulary.ids[token] for token in values], list(values.values()), "expectation")
        neutral = self.vocabulary.ids[self.modality.neutral]
        markers = (0, -1)  # they frame the record and say nothing about it
        if method == "integrated_gradients":
            found = explain.integrated_gradients(self.network, ids, aim, neutral, keep=markers)
        elif method == "occlusion":
            found = explain.occlusion(self.network, ids, aim, neutral, keep=markers)
        else:
            raise Invalid("explain.method", method=method)
        seen = attention.rollout(attention.attention_maps(self.network, ids))
        pictures = self.modality.render_explanation(known, tokens, found.scores, seen)
        return Explanation(target, method, tokens, found.scores, seen, found.value, found.completeness_error, pictures)

    def embed(self, records: Sequence[Record | str] | str) -> np.ndarray:
        """Mean of the last hidden states over each record's tokens, shape (len(records), width)."""
        known = [self.record(record) for record in _several(records)]
        told = [flow.pinned(self.modality, self.vocabulary, self.modality.encode(record)) for record in known]
        return score.embed(self.network, [ids for ids, _ in told], headers=[header for _, header in told])

    # -- records and files -------------------------------------------------------------------------------------------

    def record(self, record: Record | str | Raw) -> Record:
        """A record, from itself, from text or from what a file held. Raises Invalid."""
        if isinstance(record, str):
            return self.modality.parse(record)
        if isinstance(record, Raw):
            return self.modality.preprocess(record)
        return record

    def read(self, source: str | Path) -> Iterator[Record | Invalid]:
        """Clean records of a file or folder; what is refused comes out as Invalid, with its reason and place."""
        if not Path(source).exists():
            raise Invalid("data.missing", source=str(source))
        return flow.preprocess(self.modality, Path(source))

    def save(self, folder: str | Path, card: str = "", dtype: torch.dtype = torch.bfloat16) -> None:
        """Write a checkpoint folder, whole or not at all. Raises Invalid if that fails."""
        kept = checkpoint.Checkpoint(
            self.network,
            self.vocabulary,
            self.modality.name,
            self.modality.version,
            self.modality.state(),
            {**self.provenance, "saved": time.strftime("%Y-%m-%d")},
        )
        checkpoint.save(kept, Path(folder), splitter=self.modality.splitter, end=END, card=card, dtype=dtype)


def _several(records: Sequence[Any] | str) -> Sequence[Any]:
    """A text alone is one record, not its characters."""
    return [records] if isinstance(records, str) else records


def validated(kind: type[BaseModel], fields: Mapping[str, Any]) -> Any:
    """An instance of ``kind`` from its fields; what is wrong comes out as Invalid naming the field."""
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        option = ".".join(str(part) for part in first["loc"])
        if isinstance(cause, Invalid):
            raise cause.at(f"--{option}" if option else "", None) from error
        if first["type"] == "extra_forbidden":
            raise Invalid("options.unknown", source=f"--{option}", known=", ".join(kind.model_fields)) from error
        raise Invalid("options.wrong", source=f"--{option}", why=first["msg"]) from error

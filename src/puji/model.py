"""A trained model of one modality: generate, predict, explain, embed. The steps are those of flow.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Generic, Literal

import numpy as np
import torch
from pydantic import BaseModel
from transformers import LlamaForCausalLM

from puji import flow
from puji.batch import Batch, Generated
from puji.engine import attention, checkpoint, explain, score
from puji.engine.decode import Prompt
from puji.engine.explain import Attribution
from puji.engine.target import Target, evaluate
from puji.engine.vocabulary import Vocabulary
from puji.errors import Invalid
from puji.explanation import Explanation
from puji.generation import Drawing, draw
from puji.interrupts import heard
from puji.modality import END, Answer, Candidate, Candidates, Estimate, Futures, Modality, Piece, Raw, Record
from puji.options import merged

DRAWING = Drawing()
UNFAMILIAR = 0.01
"""Share of held-out records that count as unlike the training data."""
MOST_LOST = 0.01
"""Share of sampled futures without an end above which the answer says so."""


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
        """Training data with hash and licence, commit, seed, minutes, machine."""
        return self.provenance

    # -- generate ----------------------------------------------------------------------------------------------------

    def generate(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        temperature: float | None = None,
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
        temperature : float, optional
            Below 1: likelier, less varied records. None: the modality's own, mostly 1.
        top_k, top_p :
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
        batch: Batch[Record] = self.empty_batch(seed, conditions, **asked)
        drawn = self.stream(n, batch, Drawing(temperature, top_k, top_p, grammar, unique))
        # Closed at once also on an error, so that no thread draws on.
        with heard(), closing(drawn):
            for one in drawn:
                batch.generated.append(one)
                if on_record:
                    on_record(one)
        if not batch.generated:
            raise batch.nothing()
        return batch

    def stream(self, n: int, batch: Batch[Record], how: Drawing = DRAWING) -> Generator[Generated[Record], None, None]:
        """As `generate`, one record at a time as soon as it is there, in the order of the draws.

        ``batch``: one from `empty_batch`, which says the seed and the conditions; it counts attempts and refusals as they come.
        """
        yield from draw(self, n, batch, how)

    def empty_batch(
        self, seed: int = 0, conditions: BaseModel | Mapping[str, Any] | None = None, **asked: Any
    ) -> Batch[Record]:
        """A batch to be filled, with the origin that each of its rows carries; arguments as those of `generate`."""
        _check_seed(seed, 2**63 - 1)
        wanted = merged(self.modality.Conditions, conditions, asked)
        origin = {"synthetic": True, "model": f"puji {self.name} {self.provenance.get('version', '')}".strip()}
        return Batch(self.modality, wanted, seed, origin, notes=self.modality.warnings(wanted))

    # -- predict -----------------------------------------------------------------------------------------------------

    def predict(
        self, record: Record | str, ask: BaseModel | Mapping[str, Any] | None = None, *, seed: int = 0, **asked: Any
    ) -> Answer:
        """Compare how likely the engine finds each possible answer, or what share of sampled futures comes to pass.

        ``record`` may be given as text. ``ask``, ``**asked``: an instance of the modality's Ask, or its fields. ``seed``: of the
        futures.
        """
        _check_seed(seed, 2**32 - 1)
        known = self.record(record)
        wanted = merged(self.modality.Ask, ask, asked)
        question = self.modality.question(known, wanted)
        tokens, familiar = self._familiar(self.modality.evidence(known, wanted))
        likelihood = float(tokens.sum())
        if familiar is False and getattr(wanted, "unfamiliar", "answer") == "abstain":
            notes = [*self.modality.notes, "predict.abstained"]
            return Answer({}, likelihood, familiar, tuple(notes), tokens)
        notes = [*self.modality.notes, *question.notes]
        if isinstance(question, Candidates):
            estimates = question.answer(self.compare(question.candidates))
            notes += [] if estimates else ["predict.unsure"]
        else:
            estimates, lost = self._sample(question, seed)
            notes += ["predict.lost"] if lost > MOST_LOST else []
        notes += ["predict.unfamiliar"] if familiar is False else []
        return Answer(estimates, likelihood, familiar, tuple(notes), tokens)

    def familiar(self, record: Record | str) -> bool | None:
        """Whether a record is like the training data; None where the checkpoint does not tell."""
        return self._familiar(self.record(record))[1]

    def _familiar(self, record: Record) -> tuple[np.ndarray, bool | None]:
        """The natural log of the probability of each token of the record's body, and whether it is like the training data."""
        limit = self.provenance.get("familiarity", {}).get("nats_per_token")
        told, telling = self.modality.encode(record), self.modality.telling(record)
        tokens = self._token_likelihoods([told, telling] if telling != told else [told])
        familiar = self.modality.familiar(record, tokens[-1])
        if familiar is None and limit is not None:
            familiar = _per_token(tokens[-1]) >= limit
        return tokens[0], familiar

    def encoded(self, tokens: Sequence[str]) -> flow.Encoded:
        """What a record or a prompt says, as ids. Raises Invalid where what has to stay in view leaves no room for more."""
        told, most = flow.encode(self.modality, self.vocabulary, tokens), self.network.config.max_position_embeddings
        if told.header >= most:
            raise Invalid("model.header", n=told.header, most=most - 1)
        return told

    def compare(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """Natural-log likelihood of each continuation after its prompt, shape (len(candidates),)."""
        prompts = [self.encoded(one.prompt) for one in candidates]
        continuations = [self.vocabulary.encode(one.continuation) for one in candidates]
        pairs = [(ids, continuation) for (ids, _), continuation in zip(prompts, continuations, strict=True)]
        return score.score(self.network, pairs, headers=[header for _, header in prompts])

    def _sample(self, question: Futures, seed: int) -> tuple[Mapping[str, Estimate], float]:
        """The answer, and the share of futures that came to a dead end or to no end: they say nothing and do not count."""
        start, header = self.encoded(question.prompt)
        prompts = (Prompt(tuple(start), seed=seed * 2**32 + row, header=header) for row in range(question.n))
        clocks = [question.clock() for _ in range(question.n)]
        decoded = flow.decode(
            self.network,
            self.vocabulary,
            prompts,
            question.grammar,
            max_new_tokens=100 * self.network.config.max_position_embeddings,
            stop=lambda row, token: clocks[row](self.vocabulary.words[token]),
        )
        ran = {one.index: self.vocabulary.decode(one.ids) for one in decoded if one.ended in ("end", "stop")}
        if not ran:
            raise Invalid("predict.all_lost")
        return question.answer([ran[row] for row in sorted(ran)]), 1 - len(ran) / question.n

    def log_likelihood(self, records: Sequence[Record | str] | str) -> np.ndarray:
        """Natural log of the probability of each record's body, shape (len(records),)."""
        return self._likelihood([self.modality.encode(self.record(record)) for record in _several(records)])[0]

    def token_log_likelihoods(self, records: Sequence[Record | str] | str) -> list[np.ndarray]:
        """Natural log of the probability of each token of each record's body after those before it; 0 for the first."""
        return self._token_likelihoods([self.modality.encode(self.record(record)) for record in _several(records)])

    def _likelihood(self, bodies: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Natural log of the probability of each body after its first token, and that per token."""
        found = self._token_likelihoods(bodies)
        return np.array([one.sum() for one in found]), np.array([_per_token(one) for one in found])

    def _token_likelihoods(self, bodies: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Natural log of the probability of each id of each body after those before it; 0 for the first."""
        told = [self.encoded(tokens) for tokens in bodies]
        return score.token_logprobs(self.network, [ids for ids, _ in told], headers=[header for _, header in told])

    def measure_familiarity(self, records: Sequence[Record], seed: int = 0) -> None:
        """Learn from held-out ``records`` (or, where there are none, training records) what is unlike the training data."""
        rng = np.random.default_rng(seed)
        told = [self.modality.telling(self.modality.excerpt(record, rng)) for record in records]
        limit = float(np.quantile(self._likelihood(told)[1], UNFAMILIAR))
        self.provenance["familiarity"] = {"nats_per_token": limit, "quantile": UNFAMILIAR, "n": len(told)}

    # -- explain -----------------------------------------------------------------------------------------------------

    def explain(
        self,
        record: Record | str,
        *,
        target: str,
        method: Literal["integrated_gradients", "occlusion", "leave_one_out"] = "integrated_gradients",
    ) -> Explanation:
        """Which tokens drove the predicted ``target`` (a name that `predict` estimates).

        "leave_one_out": how the answer differs for the record without each of the modality's pieces (an event, say).
        Raises Invalid for a target or method that there is not.
        """
        known = self.record(record)
        tokens, values = self.modality.target(known, target)
        ids = self.vocabulary.encode(tokens)
        if len(ids) != len(tokens):
            raise Invalid("explain.spelled")
        context = self.network.config.max_position_embeddings
        if len(ids) > context:
            raise Invalid("explain.long", tokens=len(ids), most=context)
        aim = Target([self.vocabulary.ids[token] for token in values], list(values.values()), "expectation")
        neutral = self.vocabulary.ids[self.modality.neutral]
        markers = (0, -1)  # they frame the record and say nothing about it
        pieces = self.modality.pieces(known, tokens)
        if method == "integrated_gradients":
            found = explain.integrated_gradients(self.network, ids, aim, neutral, keep=markers)
        elif method == "occlusion":
            found = explain.occlusion(self.network, ids, aim, neutral, keep=markers)
        elif method == "leave_one_out" and any(piece.without is not None for piece in pieces):
            found = self._leave_one_out(ids, aim, pieces, target)
        else:
            raise Invalid("explain.method", method=method, modality=self.modality.name)
        seen = attention.rollout(attention.attention_maps(self.network, ids))
        pictures = self.modality.render_explanation(known, tokens, found.scores, seen)
        return Explanation(
            self.modality.name,
            target,
            method,
            tokens,
            found.scores,
            seen,
            found.value,
            found.completeness_error if method == "integrated_gradients" else None,
            pieces,
            pictures,
        )

    def _leave_one_out(self, ids: Sequence[int], aim: Target, pieces: Sequence[Piece], target: str) -> Attribution:
        """A piece's score, at its first token, is the answer less that for the record without it."""
        left = [piece for piece in pieces if piece.without is not None]
        told = [self.vocabulary.encode(self.modality.target(piece.without, target)[0]) for piece in left]
        value, *others = evaluate(self.network, [ids, *told], aim)
        scores = np.zeros(len(ids))
        for piece, other in zip(left, others, strict=True):
            scores[piece.places[0]] = value - other
        total = float(value - np.mean(others))
        return Attribution(scores, float(value), total, float("nan"), "leave_one_out")

    def embed(self, records: Sequence[Record | str] | str) -> np.ndarray:
        """Mean of the last hidden states over each record's tokens, shape (len(records), width)."""
        known = [self.record(record) for record in _several(records)]
        told = [self.encoded(self.modality.encode(record)) for record in known]
        return score.embed(self.network, [ids for ids, _ in told], headers=[header for _, header in told])

    # -- records and files -------------------------------------------------------------------------------------------

    def record(self, record: Record | str | Raw) -> Record:
        """A record, from itself, from text or from what a file held. Raises Invalid."""
        if isinstance(record, str):
            return self.modality.parse(record)
        if isinstance(record, Raw):
            return self.modality.preprocess(record)
        if not isinstance(record, wanted := self.modality.kind_of_record()):
            raise Invalid("record.kind", given=type(record).__name__, wanted=wanted.__name__)
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


def _check_seed(seed: int, most: int) -> None:
    """Raises Invalid unless ``seed`` is a whole number from 0 to ``most``."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= most:
        raise Invalid("generate.seed", source="--seed", seed=seed, most=most)


def _per_token(logprobs: np.ndarray) -> float:
    return float(logprobs.sum()) / max(1, len(logprobs) - 1)


def _several(records: Sequence[Any] | str) -> Sequence[Any]:
    """A text alone is one record, not its characters."""
    return [records] if isinstance(records, str) else records

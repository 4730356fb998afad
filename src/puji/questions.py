"""What a modality asks of the engine and what comes of it: questions, grammars, answers, explanations' pieces, figures of merit.

All of it is plain data that `puji.modality` hands on: import it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

SPELLED = "<spelled>"
"""Among the tokens that a grammar allows: any token that has no id of its own and is spelled in bytes."""


@dataclass(frozen=True)
class Estimate:
    """A predicted quantity: its value, an interval that holds ``coverage`` of the model's probability, its unit.

    ``about``: what it refers to where its name does not say it (a similar name, a code), for people; None: its name does.
    """

    value: float
    low: float
    high: float
    unit: str = ""
    coverage: float = 0.8
    about: str | None = None


@dataclass(frozen=True)
class Answer:
    """What `Model.predict` says about one record."""

    estimates: Mapping[str, Estimate]
    log_likelihood: float | None = None  # natural log, whole record
    familiar: bool | None = None  # False: unlike the training data, so the estimates should not be trusted
    notes: tuple[str, ...] = ()  # message keys
    token_log_likelihoods: np.ndarray | None = field(default=None, compare=False, repr=False)
    """Natural log of the probability of each token of the record's body after those before it; 0 for the first."""


@dataclass(frozen=True)
class Candidate:
    """A continuation whose likelihood after its prompt the engine is asked for."""

    prompt: Sequence[str]
    continuation: Sequence[str]


@dataclass(frozen=True)
class Candidates:
    """A question answered by comparing continuations.

    ``answer`` receives the natural-log likelihoods, one per candidate, shape (n_candidates,), and gives estimates by name.
    """

    candidates: Sequence[Candidate]
    answer: Callable[[np.ndarray], Mapping[str, Estimate]]
    notes: tuple[str, ...] = ()  # message keys


@dataclass(frozen=True)
class Futures:
    """A question answered by sampling ``n`` continuations of ``prompt`` and reducing them.

    ``clock`` makes, for each future, what sees its tokens one by one and says whether it has run its course (a horizon
    reached).
    """

    prompt: Sequence[str]
    n: int
    clock: Callable[[], Callable[[str], bool]]
    answer: Callable[[Sequence[Sequence[str]]], Mapping[str, Estimate]]
    grammar: Grammar | None = None
    notes: tuple[str, ...] = ()  # message keys


Question = Candidates | Futures


@dataclass(frozen=True)
class Piece:
    """What an explanation tells as one thing: its name, its tokens' places in what `Modality.target` gave, and the record
    without it, where there is such a record."""

    name: str
    places: Sequence[int]
    without: Any = None

    def score(self, scores: np.ndarray) -> float:
        """What the piece adds, by the ``scores`` of all tokens, (n_tokens,)."""
        return float(scores[list(self.places)].sum())


@dataclass(frozen=True)
class Metric:
    """One figure of merit. ``better`` is "up", "down" or "" (context); ``low``/``high`` an interval if one was computed."""

    value: float
    n: int
    better: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Assessment:
    """What a model's predictions of records are worth: figures of merit, and a maker of pictures (`puji.gallery.Figure`)."""

    metrics: Mapping[str, Metric]
    figures: Callable[[], Sequence[Any]] = tuple


class Grammar(Protocol):
    """What may follow what, on token strings, one row at a time; the engine turns it into tables as it goes.

    States are hashable and immutable: rows that are in the same state share all work.
    """

    def start(self, prompt: Sequence[str]) -> Hashable:
        """The state in which generation begins after ``prompt``."""
        ...

    def allowed(self, state: Hashable) -> Collection[str]:
        """The tokens that may come next, `SPELLED` among them where it may be any text.

        Empty means that the row is at a dead end and is refused.
        """
        ...

    def advance(self, state: Hashable, token: str) -> Hashable:
        """The state after ``token``."""
        ...


class Nothing(BaseModel):
    """What can be asked of a modality that takes no conditions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

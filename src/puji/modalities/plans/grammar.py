"""What may follow what in an episode: observations, an action, observations ..., how it ended."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import NamedTuple

from puji.modalities.plans.book import PLAN, Book, action_token, feature_token, outcome_token
from puji.modalities.plans.episode import Step
from puji.modality import END, SPELLED


class State(NamedTuple):
    """``kind``: "start", "begin" (features may come), "observing", "acting", "acted", "ended", "over"; ``told``: what was
    told of the state that is being observed."""

    kind: str
    told: tuple[str, ...] = ()


class EpisodeGrammar:
    """Episodes of a setting."""

    def __init__(self, book: Book) -> None:
        self.actions = tuple(action_token(one.code) for one in book.setting.actions)
        self.outcomes = tuple(outcome_token(one) for one in book.setting.outcomes)
        self.features = tuple(feature_token(one) for one in book.features)
        self.tree: dict[tuple[str, ...], dict[str, None]] = {}
        """What was told of a state -> what may come next of it."""
        self.columns: list[tuple[str, ...]] = []
        """Where states are told in columns, the tokens of each."""
        if book.setting.discrete:
            for state in book.states:
                told = book.observed(Step(state))
                for place, token in enumerate(told):
                    self.tree.setdefault(tuple(told[:place]), {})[token] = None
        else:
            self.columns = [
                tuple(f"<c{level}:{code}>" for code in range(len(centres)))
                for level, centres in enumerate(book.centres)
            ]
            for one, edges in zip(book.setting.observed, book.edges, strict=True):
                self.columns.append(tuple(f"<{one.column}:{number}>" for number in (*range(len(edges) + 1), "?")))

    def _next(self, told: tuple[str, ...]) -> tuple[str, ...]:
        """What may come next of a state; none where it is whole."""
        if self.columns:
            return self.columns[len(told)] if len(told) < len(self.columns) else ()
        if not self.tree:  # nothing was learned: a state is whatever somebody calls it
            return () if told else (SPELLED,)
        return tuple(self.tree.get(told, ()))

    def start(self, prompt: Sequence[str]) -> Hashable:
        """The state after ``prompt``."""
        state = State("start")
        for token in prompt:
            state = self.advance(state, token)
        return state

    def allowed(self, state: Hashable) -> Collection[str]:
        """The tokens that may come next."""
        assert isinstance(state, State)
        if state.kind == "start":
            return (PLAN,)
        if state.kind == "begin":
            return (*self.features, *self._next(()))
        if state.kind == "observing":
            return self._next(state.told)
        if state.kind == "acting":
            return (*self.actions, END)
        if state.kind == "acted":
            return (*self._next(()), *self.outcomes, END)
        return (END,) if state.kind == "ended" else ()

    def advance(self, state: Hashable, token: str) -> State:
        """The state after ``token``."""
        assert isinstance(state, State)
        if token == END:
            return State("over")
        if token == PLAN or token.startswith("<f:"):
            return State("begin")
        if token in self.actions:
            return State("acted")
        if token in self.outcomes:
            return State("ended")
        told = (*state.told, token) if state.kind == "observing" else (token,)
        return State("observing", told) if self._next(told) else State("acting")

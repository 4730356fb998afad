"""What may follow what in a name, so that the kind, the stem, the length and the first letters asked for are kept."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple

from puji.modalities.names.stems import by_token
from puji.modalities.names.tokens import KINDS, LETTERS, LONGEST, SHORTEST, SUFFIX_LENGTH, Kind, kind_token
from puji.modality import END


class Plan(NamedTuple):
    """What a row must become: its kinds, the letters it begins with, holds inside and ends with, its length."""

    kinds: tuple[Kind, ...]
    prefix: str
    infix: str
    suffix: str
    low: int
    high: int


class State(NamedTuple):
    """Where a row stands: the kind (None: still to be told), letters so far, how much of infix and suffix is matched."""

    plan: Plan
    kind: Kind | None
    n: int
    inside: int
    ending: int
    done: bool = False


@lru_cache(maxsize=4096)
def matched(word: str, n: int, letter: str) -> int:
    """Letters of ``word`` that stand at the end of a text after ``letter``, where ``n`` stood before (Knuth-Morris-Pratt)."""
    text = word[:n] + letter
    return next(size for size in range(min(len(text), len(word)), -1, -1) if text.endswith(word[:size]))


class NameGrammar:
    """Letters within the length; the parts that are asked for stand in their places.

    ``kinds``, ``first`` and the span ``low`` to ``high`` hold for all rows; a stem and a length are read from a row's prompt.
    """

    def __init__(
        self, kinds: tuple[Kind, ...] = KINDS, first: str = "", low: int = SHORTEST, high: int = LONGEST
    ) -> None:
        self.kinds = kinds
        self.first, self.low, self.high = first, low, high

    def start(self, prompt: Sequence[str]) -> State:
        """Before the kind."""
        parts = {"prefix": self.first, "infix": "", "suffix": ""}
        kinds, low, high = self.kinds, self.low, self.high
        for token in prompt:
            if (stem := by_token().get(token)) is not None:
                if stem.place != "prefix" or len(stem.letters) >= len(self.first):
                    parts[stem.place] = stem.letters
                kinds = ("generic",)
            elif token.startswith("<length:"):
                low = high = int(token[8:-1])
        return State(Plan(kinds, low=low, high=high, **parts), None, 0, 0, 0)

    def allowed(self, state: Hashable) -> Collection[str]:
        """Kinds, then letters after which the rest still has room, then END."""
        if not isinstance(state, State) or state.done:
            return ()
        plan = state.plan
        if state.kind is None:
            return [kind_token(kind) for kind in plan.kinds]
        low, high = (SUFFIX_LENGTH, SUFFIX_LENGTH) if state.kind == "suffix" else (plan.low, plan.high)
        found = []
        if state.n < len(plan.prefix):
            letters: Collection[str] = plan.prefix[state.n]
        else:
            letters = LETTERS
        for letter in letters:
            after = self.advance(state, letter)
            if self._fits(after, low, high):
                found.append(letter)
        if low <= state.n <= high and not self._missing(state):
            found.append(END)
        return found

    def _fits(self, state: State, low: int, high: int) -> bool:
        """Whether the plan can be fulfilled in ``low`` to ``high`` letters."""
        shortest = state.n + self._missing(state)
        if not state.plan.suffix or low <= shortest:
            return shortest <= high  # any letters may stand between
        # The end that has begun would come too early: it must begin once more.
        return max(state.n, len(state.plan.prefix)) + len(state.plan.suffix) <= high

    @staticmethod
    def _missing(state: State) -> int:
        """Fewest letters without which the plan is not fulfilled."""
        plan = state.plan
        missing = max(0, len(plan.prefix) - state.n)
        if plan.infix:
            # One letter must follow the infix; what is matched of it before the name's own beginning ends does not count.
            return max(missing, len(plan.infix) - state.inside + 1)
        if plan.suffix:
            return max(missing, len(plan.suffix) - state.ending)
        # A beginning is not the whole name.
        return missing or int(bool(plan.prefix) and state.n == len(plan.prefix))

    def advance(self, state: Hashable, token: str) -> State:
        """After a kind, a letter or END. Raises TypeError for a state that is not of this grammar."""
        if not isinstance(state, State):
            raise TypeError("not a state of this grammar")
        if token == END:
            return state._replace(done=True)
        if state.kind is None:
            kind = next(kind for kind in KINDS if kind_token(kind) == token)
            return state._replace(kind=kind)
        plan = state.plan
        inside, ending = state.inside, state.ending
        n = min(state.n + 1, LONGEST + 1)
        if plan.infix:
            whole = len(plan.infix)
            if inside > whole:
                pass  # the infix stood before, with a letter after it
            elif inside == whole:
                inside = whole + 1
            elif state.n > 0:
                inside = matched(plan.infix, inside, token)
        if plan.suffix and state.n > 0:
            # A stem is not the whole name: matching begins after the first letter.
            ending = matched(plan.suffix, ending, token)
        return State(plan, state.kind, n, inside, ending)

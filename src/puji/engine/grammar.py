"""A grammar on token strings, turned into an automaton on ids that is filled in as rows pass through it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from puji.engine.vocabulary import Vocabulary

if TYPE_CHECKING:
    from puji.modality import Grammar

Array = np.ndarray[Any, Any]

ENTRIES = 2**22
"""Transitions kept at once (4 bytes each); with more states than fit, the table starts anew."""


@dataclass(frozen=True, eq=False)
class Without(Set[str]):
    """The tokens ``most`` but for some: what a grammar may allow where a large set, always the same, loses a few of its members.

    ``less`` must have ids of their own in the vocabulary. Each such set costs the table a row, not a set.
    """

    most: frozenset[str]
    less: frozenset[str]

    def __contains__(self, token: object) -> bool:
        return token in self.most and token not in self.less

    def __iter__(self) -> Iterator[str]:
        return iter(self.most - self.less)

    def __len__(self) -> int:
        return len(self.most - self.less)

    @classmethod
    def _from_iterable(cls, tokens: Iterable[Any]) -> frozenset[Any]:
        """What the operations of sets give."""
        return frozenset(tokens)


class _Place(NamedTuple):
    """Where a row stands: a state of the grammar, and how far into spelling its next token.

    ``spelled`` is None between tokens. ``joined`` says that a byte stood before, so that a separator must come before
    the next spelled token.
    """

    state: Hashable
    spelled: bytes | None
    joined: bool


class GrammarTable:
    """Masks and transitions of ``grammar`` for ids of ``vocabulary``. States are small integers.

    The grammar is asked once for each state and transition that is met; rows in the same state then share the answer. A
    token that it allows and the vocabulary lacks is spelled byte by byte, which the grammar does not see. Where it allows
    ``anything`` (a word that stands for all such tokens), any bytes that begin a text of UTF-8 may follow.

    Parameters
    ----------
    grammar : Grammar
        What may follow what, on token strings.
    vocabulary : Vocabulary
        Ids of the token strings.
    limit : int or None
        States kept before the table starts anew; by default as many as keep it under 16 MB.
    """

    def __init__(
        self,
        grammar: Grammar,
        vocabulary: Vocabulary,
        *,
        limit: int | None = None,
        anything: str | None = None,
    ) -> None:
        self.grammar = grammar
        self.vocabulary = vocabulary
        self.anything = anything
        self.limit = limit or max(256, ENTRIES // len(vocabulary))
        self._clear()

    def _clear(self) -> None:
        size = len(self.vocabulary)
        self._places: list[_Place] = []
        self._states: dict[_Place, int] = {}
        self._which: Array = np.full(64, -1, np.int64)
        self._next: Array = np.full((64, size), -1, np.int32)
        self._mask_of: dict[Hashable, int] = {}
        self._split: dict[frozenset[str], tuple[frozenset[int], dict[bytes, str]]] = {}
        self.masks: Array = np.zeros((64, size), np.bool_)

    def fresh(self) -> GrammarTable:
        """An empty table of the same grammar, for another thread."""
        return GrammarTable(self.grammar, self.vocabulary, limit=self.limit, anything=self.anything)

    def __len__(self) -> int:
        """Number of states met."""
        return len(self._places)

    @property
    def full(self) -> bool:
        """Whether `compact` is due."""
        return len(self._places) > self.limit

    def compact(self, states: Array) -> Array:
        """Forget all but ``states``; their new numbers."""
        places = [self._places[state] for state in states]
        self._clear()
        return np.array([self._number(place) for place in places], np.int64)

    def start(self, prompt: Sequence[int]) -> int:
        """The state in which generation begins after the ids ``prompt``."""
        state = self.grammar.start(self.vocabulary.decode(prompt))
        return self._number(_Place(state, None, bool(prompt) and prompt[-1] >= self.vocabulary.first_byte))

    def which(self, states: Array) -> Array:
        """The rows of `masks`, which say what ids may come next, that hold for ``states``, (n,) int64. None is a dead end."""
        result = self._which[states]
        for i in np.flatnonzero(result < 0):
            state = int(states[i])
            if self._which[state] < 0:
                self._which[state] = self._mask(self._places[state])
            result[i] = self._which[state]
        return result

    def advance(self, states: Array, ids: Array) -> Array:
        """The states after ``ids``, (n,) int64. Raises ValueError if an id is not allowed in its state."""
        result = self._next[states, ids].astype(np.int64)
        for i in np.flatnonzero(result < 0):
            state, index = int(states[i]), int(ids[i])
            if not self.masks[self.which(np.array([state]))[0], index]:
                raise ValueError(f"id {index} is not allowed by the grammar here")
            result[i] = self._number(self._after(self._places[state], index))
            self._next[state, index] = result[i]
        return result

    def _number(self, place: _Place) -> int:
        state = self._states.get(place)
        if state is None:
            state = self._states[place] = len(self._places)
            self._places.append(place)
            if state == len(self._which):
                self._which = np.concatenate([self._which, np.full_like(self._which, -1)])
                self._next = np.concatenate([self._next, np.full_like(self._next, -1)])
        return state

    def along(self, prompt: Sequence[int], body: Sequence[int]) -> Array:
        """What is allowed at each place of ``body``, which follows ``prompt``: (len(body), vocabulary) bool.

        The id that stands there is always allowed, whatever the grammar says; nothing is forbidden after a dead end.
        """
        found = np.ones((len(body), len(self.vocabulary)), np.bool_)
        place = self._places[self.start(prompt)]
        for at, index in enumerate(body):
            if len(self._mask_of) > self.limit or self.full:
                self._clear()
            row = self._mask(place)  # which may make `masks` anew
            mask = self.masks[row]
            if not mask.any():
                break
            found[at] = mask
            found[at, index] = True
            place = self._after(place, index)
        return found

    def _mask(self, place: _Place) -> int:
        """The row of `masks` that holds at ``place``."""
        allowed = self.grammar.allowed(place.state)
        if not isinstance(allowed, Without):
            return self._row(self._allowed(place, allowed))
        base = self._row(self._allowed(place, allowed.most))
        if place.spelled:  # the rest of a token that is spelled, and what may follow it
            return base
        key = base, allowed.less
        if key not in self._mask_of:
            row = self.masks[base].copy()
            row[[self.vocabulary.ids[token] for token in allowed.less]] = False
            self._append(key, row)
        return self._mask_of[key]

    def _row(self, ids: frozenset[int]) -> int:
        if ids not in self._mask_of:
            row = np.zeros(len(self.vocabulary), np.bool_)
            row[list(ids)] = True
            self._append(ids, row)
        return self._mask_of[ids]

    def _append(self, key: Hashable, row: Array) -> None:
        index = self._mask_of[key] = len(self._mask_of)
        if index == len(self.masks):
            self.masks = np.concatenate([self.masks, np.zeros_like(self.masks)])
        self.masks[index] = row

    def _options(self, tokens: Collection[str]) -> tuple[frozenset[int], dict[bytes, str]]:
        """Ids of the ``tokens`` that the grammar allows, and the spelling of those that have none."""
        allowed = frozenset(tokens)
        if allowed not in self._split:
            ids, spelled = set(), {}
            for token in allowed:
                index = self.vocabulary.ids.get(token)
                if index is not None and self.vocabulary.pad < index < self.vocabulary.spell:
                    ids.add(index)
                elif token and token != self.anything:
                    spelled[token.encode()] = token
            self._split[allowed] = frozenset(ids), spelled
        return self._split[allowed]

    def _allowed(self, place: _Place, tokens: Collection[str] | None = None) -> frozenset[int]:
        """Ids that may come next at ``place``, where the grammar allows ``tokens``."""
        if tokens is None:
            tokens = self.grammar.allowed(place.state)
        ids, spelled = self._options(tokens)
        first_byte = self.vocabulary.first_byte
        if self.anything is not None and self.anything in tokens:
            return self._free(place, ids)
        if place.spelled is None:
            if spelled and place.joined:
                return ids | {self.vocabulary.spell}
            return ids | {first_byte + word[0] for word in spelled} if spelled else ids
        done = len(place.spelled)
        ids = frozenset(
            first_byte + word[done] for word in spelled if len(word) > done and word.startswith(place.spelled)
        )
        if place.spelled in spelled:
            # A spelled token has no end of its own: what may follow it ends it.
            after = self.grammar.advance(place.state, spelled[place.spelled])
            ids |= self._allowed(_Place(after, None, True))
        return ids

    def _free(self, place: _Place, ids: frozenset[int]) -> frozenset[int]:
        """What may follow where any text may be spelled."""
        first_byte = self.vocabulary.first_byte
        if place.spelled is None and place.joined:
            return ids | {self.vocabulary.spell}
        done = place.spelled or b""
        following = frozenset(first_byte + byte for byte in _utf8(done))
        if place.spelled is None:
            return ids | following
        if done and not _unfinished(done) and done.decode() not in self.vocabulary:
            after = self.grammar.advance(place.state, done.decode())
            following |= self._allowed(_Place(after, None, True))
        return following

    def _after(self, place: _Place, index: int) -> _Place:
        state, first_byte = place.state, self.vocabulary.first_byte
        if index >= first_byte:
            return _Place(state, (place.spelled or b"") + bytes([index - first_byte]), False)
        if place.spelled:
            state = self.grammar.advance(state, place.spelled.decode())
        if index == self.vocabulary.spell:
            return _Place(state, b"", False)
        return _Place(self.grammar.advance(state, self.vocabulary.words[index]), None, False)


def _unfinished(text: bytes) -> int:
    """Bytes that the last character of ``text``, valid UTF-8 so far, still lacks."""
    for back in range(1, min(4, len(text)) + 1):
        byte = text[-back]
        if byte < 0x80:
            return 0
        if byte >= 0xC0:
            return (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) - back
    return 0


def _utf8(text: bytes) -> Sequence[int]:
    """The bytes that may follow ``text`` in UTF-8 (RFC 3629), without control characters."""
    if not _unfinished(text):
        return _FIRST
    low, high = 0x80, 0xBF
    # No overlong forms, surrogates or numbers beyond Unicode.
    if text[-1] >= 0xC0:
        low = {0xE0: 0xA0, 0xF0: 0x90}.get(text[-1], low)
        high = {0xED: 0x9F, 0xF4: 0x8F}.get(text[-1], high)
    return range(low, high + 1)


_FIRST = (*range(0x20, 0x7F), *range(0xC2, 0xF5))

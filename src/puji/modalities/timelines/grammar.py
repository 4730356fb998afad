"""What may follow what in a timeline: a code, its quantile, its time; ages that only rise; nothing after the end."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple

from puji.engine.grammar import Without
from puji.modalities.timelines import clock
from puji.modalities.timelines.codebook import Codebook
from puji.modalities.timelines.timeline import DEATH, YEAR
from puji.modalities.timelines.tokens import DECADES, FOLLOWED, QUANTILES, SEEN, SEXES, START, UNKNOWN_BIRTH, UNTIL
from puji.modality import END, SPELLED

SEX, BIRTH, CODE, TIME, BIRTHDAY, MONTH, LAST = range(7)
"""What is told next. TIME: a quantile (where the code has some) or the beginning of a time."""


class State(NamedTuple):
    """Where a row stands: what comes next, the age in days, the bins of the code told, whether the record ends with it.

    ``after``: the age once the birthday that must be told has been; the year, where a month comes next. ``until``: the year of
    life to which the prompt says that the patient was followed, -1 if it does not. ``following``: whether the code told is
    `FOLLOWED`. ``had``: what was told and comes once in a life.
    """

    what: int
    age: float = 0.0
    bins: int = 0
    last: bool = False
    empty: bool = True
    after: float = 0.0
    until: int = -1
    following: bool = False
    had: frozenset[str] = frozenset()

    @property
    def naming(self) -> bool:
        """Whether a code comes next."""
        return self.what == CODE


class TimelineGrammar:
    """Any code of ``book``, or one that is spelled where there are such, each with its time.

    ``follow``: whether a record may end alive. A code that came twice to nobody in training may not come twice, one
    of one sex not to the other.
    """

    def __init__(self, book: Codebook, follow: bool = True) -> None:
        self._once = book.once
        self._barred = {token: book.barred(sex) for sex, token in SEXES.items()}
        codes = frozenset({*book.codes, SPELLED} if book.spelled else book.codes)
        self._codes = {True: codes, False: codes | {FOLLOWED} if follow else codes}
        self._bins = {code: len(found[2]) for code, found in book.edges.items()}

    def start(self, prompt: Sequence[str]) -> State:
        """After the tokens of ``prompt`` from `START` on."""
        before = prompt[: prompt.index(START)] if START in prompt else ()
        state = State(SEX, until=next((YEARS[token] for token in before if token in YEARS), -1))
        told = prompt[prompt.index(START) + 1 :] if START in prompt else prompt
        for token in told:
            state = self.advance(state, token)
        return state

    def allowed(self, state: Hashable) -> Collection[str]:
        """The tokens that may come next."""
        if not isinstance(state, State):
            return ()
        if state.what == SEX:
            return _SEXES
        if state.what == BIRTH:
            return _BIRTHS
        if state.what == CODE:
            return Without(self._codes[state.empty], state.had) if state.had else self._codes[state.empty]
        if state.what == TIME:
            return _times(state.age, state.bins, state.until, state.following)
        if state.what == BIRTHDAY:
            return _only(clock.age_token(int(state.after // YEAR)))
        if state.what == MONTH:
            return _months(state.age, int(state.after))
        return _END

    def advance(self, state: Hashable, token: str) -> State:
        """The state after ``token``. Raises TypeError for a state that is not of this grammar."""
        if not isinstance(state, State):
            raise TypeError("not a state of this grammar")
        if state.what == SEX:
            # What the other sex alone can have is as if it had been: it does not come.
            return state._replace(what=BIRTH, had=self._barred.get(token, state.had))
        if state.what == BIRTH:
            return state._replace(what=CODE)
        if state.what == CODE:
            last = token in (FOLLOWED, DEATH)
            empty = state.empty and token in (FOLLOWED, SEEN)
            bins = self._bins.get(token, 0)
            had = state.had | {token} if token in self._once else state.had
            return State(TIME, state.age, bins, last, empty, until=state.until, following=token == FOLLOWED, had=had)
        if state.what == TIME:
            if token in _QUANTILES:
                return state._replace(bins=0)
            if (after := clock.after_gap(state.age, token)) is not None:
                if clock.birthday(state.age, after):
                    return state._replace(what=BIRTHDAY, after=after)
                return self._done(state, after)
            return state._replace(what=MONTH, after=float(clock.year_of(token) or 0))
        if state.what == BIRTHDAY:
            return self._done(state, state.after)
        if state.what == MONTH:
            return self._done(state, clock.after_month(int(state.after), token) or state.age)
        return state

    @staticmethod
    def _done(state: State, age: float) -> State:
        return State(LAST if state.last else CODE, age, empty=state.empty, until=state.until, had=state.had)


YEARS = {token: year for year, token in UNTIL.items()}
_SEXES = frozenset(SEXES.values())
_BIRTHS = frozenset({UNKNOWN_BIRTH, *(f"<born:{decade}s>" for decade in DECADES)})
_QUANTILES = frozenset(QUANTILES)
_END = frozenset({END})


@lru_cache(maxsize=1024)
def _only(token: str) -> frozenset[str]:
    return frozenset({token})


@lru_cache(maxsize=65536)
def _times(age: float, bins: int, until: int, following: bool) -> frozenset[str]:
    # Nothing is known beyond the year to which a patient is followed, and that is where following ends.
    bounded = until >= age // YEAR
    least, most = (until if following else 0, until) if bounded else (0, clock.OLDEST)
    found = clock.open_tokens(age, least, most) or clock.open_tokens(age)
    # Many ages have the same tokens: equal sets should be one object.
    return _same(frozenset({*found, *QUANTILES[:bins]}))


@lru_cache(maxsize=65536)
def _months(age: float, year: int) -> frozenset[str]:
    return _same(frozenset(clock.months(age, year)))


_sets: dict[frozenset[str], frozenset[str]] = {}


def _same(found: frozenset[str]) -> frozenset[str]:
    return _sets.setdefault(found, found)

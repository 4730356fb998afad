"""What may follow what: the sections in their order; in a text, plans and sentences in turn.

A plan tells findings of the input, or denies what the input does not hold. Behind `REST` each sentence begins with a finding that
was not told before, and the findings section ends when all are told. No word is spelled: it would be one that nobody wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from puji.modalities.reports.check import NORMAL as NORMALS
from puji.modalities.reports.plan import (
    ABSENT,
    FINDING,
    NORMAL,
    QUALIFIER,
    REST,
    SAYS,
    UNCERTAIN,
    Unit,
    ends,
    opens,
    stated,
    units,
)
from puji.modalities.reports.tags import BROADER, named_by
from puji.modalities.reports.tokens import FINDINGS, GIVEN, IMPRESSION, INDICATION, REPORT, SECTIONS, SMALLER, Lexis
from puji.modalities.reports.words import CLOSING
from puji.modality import END, SPELLED

NEXT = dict(pairwise(SECTIONS))
PLAN, WORDS, ENDED = "plan", "words", "ended"


@dataclass(frozen=True)
class Place:
    """Where a row stands: the section; of the input, its tokens so far; of the text, the findings that are still to be told, the
    plan and the words of the sentence as far as they matter."""

    section: str
    given: tuple[str, ...] = ()
    left: frozenset[Unit] = frozenset()
    part: str = PLAN
    plan: tuple[Unit, ...] = ()
    first: tuple[str, ...] = ()
    """The first two words at most: whether they are the number of a list."""
    rest: bool = False
    """Whether `REST` was told."""


class ReportGrammar:
    """What a model that speaks ``lexis`` may say."""

    def __init__(self, lexis: Lexis) -> None:
        self.spelled = () if lexis.words else (SPELLED,)  # who knows no word can but spell
        self.words = frozenset((*lexis.words, SMALLER, *self.spelled))
        self.closing = frozenset(word for word in lexis.words if word in CLOSING)
        self.names = (*(FINDING + one for one in lexis.names), *(ABSENT + one for one in lexis.absent))
        self.qualifiers = tuple(QUALIFIER + one for one in lexis.qualifiers)
        self._texts = {token: self.words | {token} for token in (GIVEN, REST, IMPRESSION, END)}
        self._texts[""] = self.words
        self._lexis = lexis
        self._told = lru_cache(maxsize=4096)(self._tellable)
        self._denials = lru_cache(maxsize=4096)(self._deniable)

    def _tellable(self, given: tuple[str, ...]) -> tuple[Unit, ...]:
        """The findings of an input that plans tell: those that the rules know and training showed."""
        shown = (one for one in units(given) if self.spelled or one.name in self._lexis.of(one.state))
        known = (one for one in shown if named_by(one))
        return tuple(dict.fromkeys(map(stated, known)))

    def _deniable(self, given: tuple[str, ...]) -> frozenset[str]:
        """What may be said to be absent or normal."""
        present: set[str] = set()
        for one in units(given):
            present |= named_by(one) if one.state != "absent" else frozenset()
        denied = present | {BROADER[name] for name in present if name in BROADER}
        normal = (NORMAL + what for what, (_, others) in NORMALS.items() if not others & present)
        return frozenset((*(ABSENT + name for name in self._lexis.absent if name not in denied), *normal))

    def start(self, prompt: Sequence[str]) -> Hashable:
        """Where the prompt ends."""
        state: Hashable = Place(REPORT)
        for token in prompt:
            state = self.advance(state, token)
        return state

    def allowed(self, state: Hashable) -> Collection[str]:
        """The tokens that may come next."""
        assert isinstance(state, Place)
        section = state.section
        if section == REPORT:
            return (INDICATION,)
        if section == INDICATION:
            return self._texts[GIVEN]
        if section == GIVEN:
            return self._input(state.given)
        if section == END:
            return ()
        if state.part == WORDS:
            return self._texts[self._follows(state)] if state.first else self.words
        if state.plan:
            return self._more(state)
        found = self._first(state)
        if state.part == ENDED:
            found |= self.closing
        if state.part == ENDED or state.rest or state.left or section == IMPRESSION:  # findings are never empty
            found.add(self._follows(state))
        return found - {""}

    def _follows(self, state: Place) -> str:
        """What may close the sentences that may say anything, or what follows the section; "" where neither may yet."""
        if state.section == FINDINGS and not state.rest:
            return REST
        return NEXT[state.section] if not state.rest or not state.left else ""

    def _first(self, state: Place) -> set[str]:
        """What a plan may begin with."""
        if state.rest:
            return {one[0] for one in state.left}
        return {SAYS, *self.spelled, *(one[0] for one in self._told(state.given)), *self._denials(state.given)}

    def _more(self, state: Place) -> set[str]:
        """What may follow in a plan that has begun."""
        told, now, before = self._told(state.given), state.plan[-1], set(state.plan)
        # Several findings begin with the same token: what was told is not gone on to again.
        among = (state.left if state.rest and len(state.plan) == 1 else set(told)) - set(state.plan[:-1])
        found = {one[len(now)] for one in among if len(one) > len(now) and one[: len(now)] == now}
        found.update(self.spelled)
        if self.spelled or now in among or (len(now) == 1 and now[0] in self._denials(state.given)):
            found |= {one[0] for one in told if one not in before}
            found |= {one for one in self._denials(state.given) if (one,) not in before}
            found.add(SAYS)
        return found

    def _input(self, given: tuple[str, ...]) -> Collection[str]:
        if not given or given[-1] == UNCERTAIN:  # nothing follows a state
            return (*self.names, *self.spelled, FINDINGS)
        name = next(one for one in reversed(given) if opens(one))
        doubt = () if name.startswith(ABSENT) else (UNCERTAIN,)
        return (*self.names, *self.qualifiers, *doubt, *self.spelled, FINDINGS)

    def advance(self, state: Hashable, token: str) -> Hashable:
        """The place after ``token``."""
        assert isinstance(state, Place)
        if token in SECTIONS:
            return Place(token, state.given, frozenset(self._told(state.given)) if token == FINDINGS else frozenset())
        if state.section == GIVEN:
            return replace(state, given=(*state.given, token))
        if state.section not in (FINDINGS, IMPRESSION) or (state.part == ENDED and token in CLOSING):
            return state
        if token == REST:
            return replace(state, part=PLAN, first=(), rest=True)
        if token == SAYS:
            return replace(state, left=state.left - set(state.plan), part=WORDS, plan=(), first=())
        if state.part != WORDS:
            begins = opens(token) or token.startswith(NORMAL) or not state.plan
            last = (token,) if begins else (*state.plan[-1], token)
            return replace(state, part=PLAN, plan=(*(state.plan if begins else state.plan[:-1]), last))
        first = (*state.first, token)
        if ends(first):
            return replace(state, part=ENDED, first=())
        return replace(state, first=first if len(first) == 1 and token.isdigit() else ("",))

"""What may follow what: the sections in their order, findings in one, words in the others."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from itertools import pairwise

from puji.modalities.reports.tokens import (
    FINDING,
    FINDINGS,
    GIVEN,
    IMPRESSION,
    INDICATION,
    QUALIFIER,
    REPORT,
    SECTIONS,
    SMALLER,
    STATE_TOKENS,
)
from puji.modality import END, SPELLED


class ReportGrammar:
    """``words``, ``names``, ``qualifiers``: the tokens there are of each. ``names`` may be spelled in the header only."""

    def __init__(self, words: Sequence[str], names: Sequence[str], qualifiers: Sequence[str]) -> None:
        words = (*words, SMALLER)
        following = dict(pairwise(SECTIONS))
        text = {section: frozenset((*words, SPELLED, following[section])) for section in (INDICATION, IMPRESSION)}
        states = STATE_TOKENS.values()
        self._allowed: dict[str, frozenset[str]] = {
            REPORT: frozenset((INDICATION,)),
            **text,
            GIVEN: frozenset((*names, SPELLED, FINDINGS)),
            FINDING: frozenset((*names, *qualifiers, *states, SPELLED, FINDINGS)),
            QUALIFIER: frozenset((*names, SPELLED, FINDINGS)),
            FINDINGS: frozenset((*words, SPELLED)),  # never empty
            f"{FINDINGS}+": frozenset((*words, SPELLED, IMPRESSION)),
            END: frozenset(),
        }

    def start(self, prompt: Sequence[str]) -> Hashable:
        """The section that the prompt ends in."""
        state: Hashable = REPORT
        for token in prompt:
            state = self.advance(state, token)
        return state

    def allowed(self, state: Hashable) -> Collection[str]:
        """By section: words, or findings; and what opens the next one."""
        return self._allowed[str(state)]

    def advance(self, state: Hashable, token: str) -> Hashable:
        """The section after ``token``; among findings, whether a qualifier may follow."""
        if token in SECTIONS:
            return token
        if state in (GIVEN, FINDING, QUALIFIER):
            # A qualifier may follow a name or a qualifier, but not a state.
            return QUALIFIER if token in STATE_TOKENS.values() else FINDING
        return f"{FINDINGS}+" if state == FINDINGS else state

"""Questions about a patient's future: sampled futures that run until a horizon, or the next event alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from puji.engine.vocabulary import BYTES, SPELL
from puji.errors import Invalid
from puji.intervals import proportion
from puji.language import current
from puji.modalities.timelines import clock, views
from puji.modalities.timelines.codebook import Codebook
from puji.modalities.timelines.conditions import Ask, Outcome, groups, horizons, within
from puji.modalities.timelines.grammar import LAST, State, TimelineGrammar
from puji.modalities.timelines.timeline import DEATH, YEAR, Timeline
from puji.modalities.timelines.tokens import FOLLOWED, UNTIL, born_token, history, seen
from puji.modality import Candidate, Candidates, Estimate, Futures

LIKELIEST = 10
"""Outcomes that are told where none is asked for."""
MOST = 0.9
"""Share of the patients of a decade of birth whose follow-up ends at the age that a future is told to be followed to, or before.
Far away, so that the end is not near: where a record ends with its last event, one is sure to happen just before it."""
_BYTES = frozenset((SPELL, *BYTES))


def until_now(record: Timeline, now: float | None) -> Timeline:
    """The record as it was known at the age ``now`` in years (None: its end), where it then ends.

    Raises Invalid for an age beyond the record, and for a patient who had died.
    """
    age = record.end if now is None else now * YEAR
    if not 0 <= age <= record.end + 1:
        raise Invalid("timelines.now", now=now, end=clock.span(record.end))
    known = record.until(age)
    if known.died:
        raise Invalid("timelines.dead")
    return replace(known, end=age)


def prompt_of(book: Codebook, record: Timeline) -> tuple[list[str], float]:
    """The tokens of a record that nothing followed until its end, and the age of the clock after them, in days."""
    told, at = history(book, record)
    pause = seen(at, record.end)
    return [*told, *pause], clock.advance(at, record.end)[1] if pause else at


def futures(book: Codebook, record: Timeline, ask: Ask, followed: Mapping[str, np.ndarray]) -> Futures:
    """Sample what may happen until the farthest horizon and count. See `Ask`."""
    known = until_now(record, ask.now)
    wanted = horizons(ask.horizon)
    asked = asked_of(book, ask)
    told, start = prompt_of(book, known)
    stop = start + wanted[-1] * YEAR
    until = followed_to(born_token(record.born), int(stop // YEAR) + 1, followed)
    told_until = until > start // YEAR
    prompt = [UNTIL[until], *told] if told_until else told
    # Told how long it is looked, the end of that says that nothing more happens until then; it must keep its probability.
    grammar = TimelineGrammar(book, follow=told_until)
    begun = grammar.start(prompt)

    def answer(drawn: Sequence[Sequence[str]]) -> Mapping[str, Estimate]:
        paths = [list(events(grammar, begun, tokens)) for tokens in drawn]
        # What has been before is not news, and a measurement says more about the clinic than about the patient.
        outcomes = asked or likeliest(paths, {*book.edges, *(book.token(event.code) for event in known.events)}, stop)
        return {
            within(one.name, years): replace(share(paths, one, start + years * YEAR), about=named(book, one))
            for one in outcomes
            for years in wanted
        }

    notes = told_by_others(book, ask)
    return Futures(prompt, ask.futures, lambda: Clock(grammar, begun, stop), answer, grammar, notes)


def followed_to(born: str, least: int, followed: Mapping[str, np.ndarray]) -> int:
    """The age in years to which a patient of the decade ``born`` is said to be followed: one to which training patients were,
    ``least`` or more if there is such; 0 where nobody was followed."""
    ends = views.ends(born, followed)
    everybody = followed.get("", ends)
    if ends.sum() == 0:
        return 0
    usual = int(np.searchsorted(ends.cumsum(), MOST * ends.sum()))
    later = np.flatnonzero(everybody)
    later = later[later >= max(usual, least)]
    return int(later[0] if len(later) else np.flatnonzero(everybody)[-1])


def events(grammar: TimelineGrammar, state: State, tokens: Sequence[str]) -> Iterator[tuple[str, float]]:
    """The codes and ages in days that generated ``tokens`` tell after ``state``; an unfinished one is left out."""
    code = ""
    for token in tokens:
        if state.what == LAST:
            return
        before, state = state, grammar.advance(state, token)
        if before.naming:
            code = token
        if (state.naming or state.what == LAST) and code != FOLLOWED:
            yield code, state.age


def asked_of(book: Codebook, ask: Ask) -> list[Outcome] | None:
    """The outcomes asked for, as codes that ``book`` tells; None where none is asked for.

    A code is taken as the user's mapping has it; where neither it nor one below it was learned, the one above stands for it, if
    that is finer than a chapter. Raises Invalid for an outcome of which nothing is left.
    """
    if not ask.outcomes:
        return None
    found = []
    for one in groups(ask.outcomes):
        codes = {told for code in one.codes if (told := book.answerable(code))}
        if not codes:
            hint = book.hint(min(one.codes))
            raise Invalid("timelines.unknown_code", source="--outcomes", code=one.name[:40], hint=hint)
        found.append(Outcome(one.name, frozenset(codes)))
    return found


def told_by_others(book: Codebook, ask: Ask) -> tuple[str, ...]:
    """The message to show where the code above one asked for stands for it."""
    codes = [code for one in groups(ask.outcomes) for code in one.codes] if ask.outcomes else []
    return ("timelines.told_by_parent",) if any(book.answerable(code) != book.mapped(code) for code in codes) else ()


def named(book: Codebook, outcome: Outcome) -> str | None:
    """What people call an outcome of one code, in the current language; None where its own name must do."""
    (code, *others) = outcome.codes
    return None if others or outcome.name != code else book.name(code, current()) or None


def likeliest(paths: Sequence[Sequence[tuple[str, float]]], past: Collection[str], stop: float) -> list[Outcome]:
    """What happens most often and is not among the codes of the ``past``, and death."""
    counts = Counter(code for path in paths for code in {code for code, age in path if age <= stop} - {*past})
    counts.pop(DEATH, None)
    ordered = sorted(counts, key=lambda code: (-counts[code], code))
    return [Outcome(code, frozenset({code})) for code in (*ordered[:LIKELIEST], DEATH)]


def share(paths: Sequence[Sequence[tuple[str, float]]], outcome: Outcome, stop: float) -> Estimate:
    """How often ``outcome`` happens until the age ``stop``, with Wilson's 95 % interval of sampling (not of the model)."""
    hits = sum(any(age <= stop and outcome.holds(code) for code, age in path) for path in paths)
    found = proportion(hits, len(paths))
    low, high = found.low or 0.0, found.high or 0.0
    return Estimate(found.value, low, high, coverage=0.95)


def next_event(book: Codebook, record: Timeline, ask: Ask) -> Candidates:
    """What the next event will be, if there is one: straight from the distribution of the next token."""
    known = until_now(record, ask.now)
    told, _ = prompt_of(book, known)
    asked = asked_of(book, ask)
    codes = [code for code in book.codes if code != FOLLOWED]

    def answer(log_likelihoods: np.ndarray) -> Mapping[str, Estimate]:
        shares = np.exp(log_likelihoods - np.max(log_likelihoods))
        shares /= shares.sum()
        best = asked or [Outcome(codes[i], frozenset({codes[i]})) for i in np.argsort(-shares)[:LIKELIEST]]
        found = {}
        for one in best:
            p = float(sum(share for code, share in zip(codes, shares, strict=True) if one.holds(code)))
            found[one.name] = Estimate(p, p, p, coverage=1.0, about=named(book, one))
        return found

    return Candidates([Candidate(told, [code]) for code in codes], answer, told_by_others(book, ask))


class Clock:
    """Sees the tokens of one future, and says when it has run its course: at the age ``stop`` in days, or with death."""

    def __init__(self, grammar: TimelineGrammar, state: State, stop: float) -> None:
        self.grammar, self.state, self.stop = grammar, state, stop
        self.spelling = False

    def __call__(self, token: str) -> bool:
        """Whether to stop after ``token``."""
        if token in _BYTES:
            self.spelling = True  # a code without a token of its own, byte by byte
            return False
        if self.spelling:
            self.spelling = False
            self.state = self.grammar.advance(self.state, "?")
        self.state = self.grammar.advance(self.state, token)
        return self.state.what == LAST or self.state.age > self.stop

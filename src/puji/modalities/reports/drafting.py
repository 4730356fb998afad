"""One draft out of several: the one that agrees with the findings and that the others are most like, repaired where it has to be.

Repairing takes away sentences that say what was not found, or what the input does not tell (beyond.py), and puts in sentences
of the other drafts that say what is missing; where none of them does, a sentence of ours, marked as such. What still does not
agree is flagged.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest

from puji.modalities.reports.beyond import beyond
from puji.modalities.reports.check import Check, Expected
from puji.modalities.reports.labeller import mentions
from puji.modalities.reports.metrics import consensus
from puji.modalities.reports.notes import notes
from puji.modalities.reports.phrases import phrase
from puji.modalities.reports.report import Given, Line, Report
from puji.modalities.reports.tags import named_by, qualifiers_near
from puji.modalities.reports.words import joined, sentences, words

OURS = "ours"
"""Flag of a sentence that no network wrote."""
NUMBER = re.compile(r"\d{1,2}\.")
"""The number of a list: a sentence of its own, as `sentences` cuts."""
CRITICAL = ("pneumothorax", "pneumomediastinum", "pneumoperitoneum", "tuberculosis")
"""Findings that somebody has to be told of at once; ours, no standard's."""


def critical(report: Report) -> list[str]:
    """The critical findings of the input, present or uncertain."""
    found = {name for one in report.given if one.state != "absent" for name in named_by(one)}
    return [name for name in CRITICAL if name in found]


def agreement(report: Report) -> str:
    """Of a draft "agrees", "repaired" or "flagged"; "" of a report that is none."""
    if not report.lines:
        return ""
    return "flagged" if report.flags else "repaired" if report.repaired else "agrees"


def best(drafts: Sequence[Report], expected: Expected) -> tuple[int, Check]:
    """The place of the draft with the fewest faults, of these the one most like the others; and its check."""
    checks = [expected.check(draft.text) for draft in drafts]
    likeness = consensus([" ".join(words(draft.findings)).lower() for draft in drafts])
    place = min(range(len(drafts)), key=lambda number: (checks[number].faults, -likeness[number]))
    return place, checks[place]


def drafted(
    drafts: Sequence[Report], given: Sequence[Given], indication: str, language: str | None = None
) -> tuple[int, Report]:
    """The place of the best of ``drafts`` (at least one), and the draft of ``given`` that is made of it, with what caused each
    sentence. ``language``: that of a sentence of ours; None: the draft's."""
    expected = Expected(given, indication)
    # Of a draft that says nothing else than what the input does not tell, nothing would be left.
    usable = [number for number, draft in enumerate(drafts) if _tells(draft.findings, expected)]
    usable = usable or [*range(len(drafts))]
    chosen_of, found = best([drafts[number] for number in usable], expected)
    place = usable[chosen_of]
    chosen = replace(once(drafts[place]), given=tuple(given), indication=indication)
    wrong = bool(found.faults or beyond(chosen.text, expected))
    ours: frozenset[str] = frozenset()
    if wrong:
        chosen, ours = repaired(chosen, drafts, expected, language or chosen.language)
    findings, impression = (joined(numbered(list(sentences(text)))) for text in (chosen.findings, chosen.impression))
    chosen = replace(chosen, findings=findings or chosen.findings, impression=impression)
    left = expected.check(chosen.text)
    flags = (
        *(f"missing:{name}" for name in left.missing),
        *(f"added:{name}" for name in left.added),
        *(f"contradicted:{name}" for name in left.contradicted),
        *beyond(chosen.text, expected),
    )
    told = lines(chosen, expected, ours)
    return place, replace(chosen, lines=told, flags=flags, repaired=wrong)


def once(report: Report) -> Report:
    """``report`` without the sentences that it says again in the same section, be it in other words: no finding, state, site or
    degree, and no number, that did not stand there."""
    return replace(report, findings=_once(report.findings), impression=_once(report.impression))


def _once(text: str) -> str:
    kept: list[str] = []
    said: dict[tuple[str, str], list[set[str]]] = {}
    for sentence in sentences(text):
        found = [((one.finding, one.state), set(qualifiers_near(sentence, one))) for one in mentions(sentence)]
        again = bool(found) and all(any(near <= one for one in said.get(key, ())) for key, near in found)
        if (sentence in kept and not NUMBER.fullmatch(sentence)) or (again and not re.search(r"\d", sentence)):
            continue
        for key, near in found:
            said.setdefault(key, []).append(near)
        kept.append(sentence)
    return joined(kept)


def numbered(told: Sequence[str]) -> list[str]:
    """The sentences of a list with numbers, some of which were taken out: the numbers in turn, none before a single sentence."""
    kept = [
        one
        for one, after in zip_longest(told, told[1:])
        if not NUMBER.fullmatch(one) or (after is not None and not NUMBER.fullmatch(after))
    ]
    places = [place for place, one in enumerate(kept) if NUMBER.fullmatch(one)]
    for number, place in enumerate(places, 1):
        kept[place] = f"{number}."
    return [one for one in kept if not NUMBER.fullmatch(one)] if len(places) == 1 else kept


def lines(report: Report, expected: Expected, ours: Iterable[str] = ()) -> tuple[Line, ...]:
    """What caused each sentence of both sections, by the rules; whether it is ours; and its `notes`."""
    told = [*sentences(report.findings), *sentences(report.impression)]
    noted = notes(told, expected)
    return tuple(
        Line(expected.causes(one), (OURS, *kinds) if one in ours else kinds)
        for one, kinds in zip(told, noted, strict=True)
    )


def repaired(
    draft: Report, drafts: Sequence[Report], expected: Expected, language: str
) -> tuple[Report, frozenset[str]]:
    """``draft`` with other sentences, and those of them that are ours."""
    pool = _pool(drafts, expected)
    findings = [one for one in sentences(draft.findings) if not _wrong(one, expected)]
    impression = [one for one in sentences(draft.impression) if not _wrong(one, expected)]
    ours: set[str] = set()
    for _ in range(len(expected.states)):
        missing = expected.check(joined(findings + impression)).missing
        if not missing:
            break
        sentence = next((one for one, _ in pool if one not in findings and missing[0] in _states(one, expected)), None)
        if sentence is None:
            told = expected.given[missing[0]][0]
            sentence = phrase(missing[0], expected.states[missing[0]], told.qualifiers, language)
            if sentence is None:
                break
            ours.add(sentence)
        findings.insert(_place(findings, expected), sentence)
    if not findings:
        findings = list(sentences(draft.findings))
    return replace(draft, findings=joined(findings), impression=joined(impression)), frozenset(ours)


def _tells(text: str, expected: Expected) -> bool:
    """Whether a sentence of a text says nothing that the input does not tell."""
    return any(not beyond(one, expected) for one in sentences(text))


def _pool(drafts: Sequence[Report], expected: Expected) -> list[tuple[str, int]]:
    """Sentences of the drafts that state what was found and nothing wrong, the most frequent first."""
    counts = Counter(one for draft in drafts for one in dict.fromkeys(sentences(draft.findings)))
    good = [(one, n) for one, n in counts.items() if expected.causes(one) and not _wrong(one, expected)]
    return sorted(good, key=lambda pair: (-pair[1], pair[0]))


def _wrong(sentence: str, expected: Expected) -> bool:
    found = expected.check(sentence)
    return bool(found.added or found.contradicted or beyond(sentence, expected))


def _states(sentence: str, expected: Expected) -> frozenset[str]:
    """The findings that a sentence states as they were given."""
    return frozenset(expected.states) - set(expected.check(sentence).missing)


def _place(findings: Sequence[str], expected: Expected) -> int:
    """Behind the last sentence that states a finding; at the beginning where there is none."""
    told = [number for number, one in enumerate(findings, 1) if expected.causes(one)]
    return told[-1] if told else 0

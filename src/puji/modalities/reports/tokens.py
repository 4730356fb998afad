"""Report <-> tokens.

    <report> <indication> cough <given> finding:pleural-effusion /left /small <findings> small left pleural effusion .
    <impression> small effusion . <end>

The name of a finding, each of its qualifiers, a word and a Chinese character is one token each; what has none is spelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from puji.errors import Invalid
from puji.modalities.reports.labeller import State
from puji.modalities.reports.report import Given, Report
from puji.modalities.reports.words import text_of, words
from puji.modality import END

REPORT, INDICATION, GIVEN, FINDINGS, IMPRESSION = "<report>", "<indication>", "<given>", "<findings>", "<impression>"
SECTIONS = (REPORT, INDICATION, GIVEN, FINDINGS, IMPRESSION, END)
"""In the order in which they stand."""
STATE_TOKENS: dict[State, str] = {"absent": "<absent>", "uncertain": "<uncertain>"}
SMALLER = "<"
"""A sign that tokens which are no words begin with, and a word of its own."""
FIXED = (END, REPORT, INDICATION, GIVEN, FINDINGS, IMPRESSION, *STATE_TOKENS.values(), SMALLER)
FINDING, QUALIFIER = "finding:", "/"
OFTEN = 2
"""Times that a word stands in the training texts to be a token."""


def name_token(name: str) -> str:
    """The token of a finding's name."""
    return FINDING + name


def given_tokens(given: Iterable[Given]) -> list[str]:
    """The tokens of findings."""
    told: list[str] = []
    for one in given:
        told += [name_token(one.name), *(QUALIFIER + part for part in one.qualifiers)]
        told += [STATE_TOKENS[one.state]] if one.state in STATE_TOKENS else []
    return told


def header(indication: str, given: Iterable[Given]) -> list[str]:
    """What a draft starts from: up to `FINDINGS`."""
    return [REPORT, INDICATION, *words(indication), GIVEN, *given_tokens(given), FINDINGS]


def body(report: Report) -> list[str]:
    """All tokens of a report."""
    told = header(report.indication, report.given)
    return [*told, *words(report.findings), IMPRESSION, *words(report.impression), END]


def learned(reports: Iterable[Report]) -> tuple[list[str], list[str], list[str]]:
    """Words, names of findings and qualifiers that stand in ``reports`` often enough, sorted."""
    told: Counter[str] = Counter()
    names: Counter[str] = Counter()
    qualifiers: Counter[str] = Counter()
    for report in reports:
        told.update(words(report.indication) + words(report.findings) + words(report.impression))
        names.update(one.name for one in report.given)
        qualifiers.update(part for one in report.given for part in one.qualifiers)
    often = (sorted(key for key, count in found.items() if count >= OFTEN) for found in (told, names, qualifiers))
    first, second, third = often
    return [word for word in first if word != SMALLER], second, third


def parsed(tokens: Sequence[str]) -> Report:
    """The report that ``tokens`` tell. Raises Invalid where sections are missing or out of order."""
    parts: dict[str, list[str]] = {}
    section = ""
    for token in tokens:
        if token in SECTIONS:
            if token in parts or SECTIONS.index(token) != len(parts):
                raise Invalid("reports.sections")
            section = token
            parts[token] = []
        elif not section:
            raise Invalid("reports.sections")
        else:
            parts[section].append(token)
    if len(parts) != len(SECTIONS) or parts[REPORT] or parts[END]:
        raise Invalid("reports.sections")
    given = tuple(_findings(parts[GIVEN]))
    findings, impression = text_of(parts[FINDINGS]), text_of(parts[IMPRESSION])
    if not findings:
        raise Invalid("reports.empty")
    return Report(text_of(parts[INDICATION]), given, findings, impression)


def _findings(tokens: Sequence[str]) -> Iterator[Given]:
    states = {token: state for state, token in STATE_TOKENS.items()}
    now: Given | None = None
    for token in tokens:
        if token.startswith(FINDING) and len(token) > len(FINDING):
            if now is not None:
                yield now
            now = Given(token.removeprefix(FINDING))
        elif now is None:
            raise Invalid("reports.sections")
        elif token in states:
            now = Given(now.name, now.qualifiers, states[token])
        elif token.startswith(QUALIFIER) and now.state == "present":
            now = Given(now.name, (*now.qualifiers, token.removeprefix(QUALIFIER)))
        else:
            raise Invalid("reports.sections")
    if now is not None:
        yield now

"""Report <-> tokens.

    <report> <indication> cough <given> finding:pleural effusion /left /small <findings>
    no:pneumothorax <says> no pneumothorax . <rest> finding:pleural effusion /left /small <says> small left pleural effusion .
    <impression> finding:pleural effusion /left /small <says> small effusion . <end>

The name of a finding, each of its qualifiers, a word and a Chinese character is one token each; what has none is spelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from puji.errors import Invalid
from puji.modalities.reports.check import NORMAL as NORMALS
from puji.modalities.reports.labeller import State, findings_of, lexicon
from puji.modalities.reports.plan import (
    ABSENT,
    CALLED,
    FINDING,
    NORMAL,
    QUALIFIER,
    REST,
    SAYS,
    UNCERTAIN,
    findings_section,
    planned,
    section,
    unit,
    units,
)
from puji.modalities.reports.report import Given, Report
from puji.modalities.reports.tags import BROADER, consistent, named_by
from puji.modalities.reports.words import cleaned, text_of, words
from puji.modality import END

REPORT, INDICATION, GIVEN, FINDINGS, IMPRESSION = "<report>", "<indication>", "<given>", "<findings>", "<impression>"
SECTIONS = (REPORT, INDICATION, GIVEN, FINDINGS, IMPRESSION, END)
"""In the order in which they stand."""
SMALLER = "<"
"""A sign that tokens which are no words begin with, and a word of its own."""
NORMAL_TOKENS = tuple(NORMAL + what for what in NORMALS)
CALLED_TOKENS = tuple(CALLED + name for name in sorted({*lexicon(), *BROADER.values()}))
FIXED = (
    END,
    REPORT,
    INDICATION,
    GIVEN,
    FINDINGS,
    IMPRESSION,
    UNCERTAIN,
    SAYS,
    REST,
    *NORMAL_TOKENS,
    *CALLED_TOKENS,
    SMALLER,
)
OFTEN = 2
"""Times that a word stands in the training texts to be a token."""


@dataclass
class Lexis:
    """What training reports say often enough to be tokens, sorted: words; names of findings, present or uncertain, and of absent
    ones; qualifiers. ``language``: that of most reports."""

    words: list[str]
    names: list[str]
    absent: list[str]
    qualifiers: list[str]
    language: str = "en"

    def of(self, state: State) -> list[str]:
        """The names of findings in a state."""
        return self.absent if state == "absent" else self.names

    def tokens(self) -> list[str]:
        """All tokens."""
        told = ((FINDING, self.names), (ABSENT, self.absent), (QUALIFIER, self.qualifiers))
        return [*FIXED, *(sign + one for sign, some in told for one in some), *self.words]


def header(indication: str, given: Iterable[Given]) -> list[str]:
    """What a draft starts from: up to `FINDINGS`."""
    return [REPORT, INDICATION, *words(indication), GIVEN, *(token for one in given for token in unit(one)), FINDINGS]


def body(report: Report) -> list[str]:
    """All tokens of a report."""
    told = findings_section(report.given, words(report.findings))
    return [
        *header(report.indication, report.given),
        *told,
        IMPRESSION,
        *section(report.given, words(report.impression)),
        END,
    ]


def learned(reports: Iterable[Report]) -> Lexis:
    """The lexis of ``reports``."""
    told, names, absent, qualifiers, languages = (Counter[str]() for _ in range(5))
    for report in reports:
        languages[report.language] += 1
        told.update(words(report.indication) + words(report.findings) + words(report.impression))
        given = consistent(report.given, report.text)
        for one in given:
            (absent if one.state == "absent" else names).update({one.name, *named_by(one)})
            qualifiers.update(one.qualifiers)
        absent.update(name for name, state in findings_of(report.text).items() if state == "absent")
    often = [_often(found) for found in (told, names, absent, qualifiers)]
    language = max(languages, key=lambda one: languages[one], default="en")
    return Lexis([word for word in often[0] if word != SMALLER], often[1], often[2], often[3], language)


def _often(found: Counter[str]) -> list[str]:
    return sorted(key for key, count in found.items() if count >= OFTEN)


def parsed(tokens: Sequence[str]) -> Report:
    """The report that ``tokens`` tell, without its plans. Raises Invalid where sections are missing or out of order."""
    parts: dict[str, list[str]] = {}
    name = ""
    for token in tokens:
        if token in SECTIONS:
            if token in parts or SECTIONS.index(token) != len(parts):
                raise Invalid("reports.sections")
            name = token
            parts[token] = []
        elif not name:
            raise Invalid("reports.sections")
        else:
            parts[name].append(token)
    if len(parts) != len(SECTIONS) or parts[REPORT] or parts[END]:
        raise Invalid("reports.sections")
    try:
        given = tuple(units(parts[GIVEN]))
    except ValueError as error:
        raise Invalid("reports.sections") from error
    spoken = ([one for one in parts[name] if not planned(one)] for name in (FINDINGS, IMPRESSION))
    findings, impression = (cleaned(text_of(one)) for one in spoken)
    if not findings:
        raise Invalid("reports.empty")
    return Report(text_of(parts[INDICATION]), given, findings, impression)

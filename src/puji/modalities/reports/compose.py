"""Reports that nobody wrote: one finding more, or one fewer, than in a report, with the sentence that states it.

What is found together in a few training reports is a small part of what can be found together. A network that sees sentences come
and go with their findings learns that a sentence hangs on its finding, and not on the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from puji.modalities.reports.check import Expected
from puji.modalities.reports.labeller import findings_of
from puji.modalities.reports.report import Given, Report
from puji.modalities.reports.tags import consistent, named_by
from puji.modalities.reports.words import joined, sentences

MOST = 3
"""Findings that come into a report, at most."""


@dataclass(frozen=True)
class Statement:
    """A sentence, and the findings of its report that it states, which are all that it states."""

    sentence: str
    given: tuple[Given, ...]

    @property
    def names(self) -> frozenset[str]:
        """The findings by the names of the rules."""
        return frozenset(name for one in self.given for name in named_by(one))


def statements(reports: Sequence[Report]) -> dict[str, list[Statement]]:
    """By finding, the sentences of findings sections that state it, with all that they state."""
    found: dict[str, list[Statement]] = {}
    for report in reports:
        given = consistent(report.given, report.text)
        for sentence in sentences(report.findings):
            told = {name for name, state in findings_of(sentence).items() if state != "absent"}
            stated = tuple(one for one in given if one.state != "absent" and named_by(one) & told)
            if told and stated and not Expected(stated).check(sentence).faults:
                one = Statement(sentence, stated)
                for name in sorted(one.names):
                    found.setdefault(name, []).append(one)
    return found


def more(report: Report, pool: Mapping[str, Sequence[Statement]], rng: np.random.Generator) -> Report:
    """``report`` with statements out of ``pool`` in its findings section, and without the sentences that they make wrong.

    Each finding comes as often as any other: the rare ones are those that a network has to be taught.
    """
    names = list(pool)
    given = list(report.given)
    told = list(sentences(report.findings))
    for _ in range(int(rng.integers(1, MOST + 1))):
        some = pool[names[int(rng.integers(len(names)))]]
        one = some[int(rng.integers(len(some)))]
        if one.names & {name for other in given for name in named_by(other)}:
            continue
        given = [*given, *one.given]
        told.insert(int(rng.integers(len(told) + 1)), one.sentence)
    expected = Expected(given)
    kept = [sentence for sentence in told if not expected.check(sentence).contradicted]
    longer = replace(report, findings=joined(kept) or report.findings, impression="")
    return replace(longer, given=consistent(tuple(given), longer.text))


def fewer(report: Report, rng: np.random.Generator) -> Report:
    """``report`` without one of its findings and the sentences that state it; itself where they state others, too."""
    given = [one for one in report.given if one.state != "absent" and named_by(one)]
    if not given:
        return report
    names = named_by(given[int(rng.integers(len(given)))])
    told = list(sentences(report.findings))
    kept = [one for one in told if not names & {name for name, s in findings_of(one).items() if s != "absent"}]
    if not kept or len(kept) == len(told):
        return report
    shorter = replace(report, findings=joined(kept), impression="")
    return replace(shorter, given=consistent(report.given, shorter.text))

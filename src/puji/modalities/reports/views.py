"""The training sequences of a report.

What stands before `FINDINGS` is told so that the text says the same (`tags.consistent`); some of it is left out or told by
another name, in any order, so that a draft does not hang on how its input is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from puji.modalities.reports.compose import Statement, fewer, more
from puji.modalities.reports.report import Given, Report
from puji.modalities.reports.tags import consistent, named_by
from puji.modalities.reports.tokens import FINDINGS, IMPRESSION, body
from puji.modality import View

HEADER = 0.1
"""Loss weight of the indication and the findings: learned only so that reports can be drawn without any input."""
BARE = 0.25
"""Share of the views without the indication."""
RENAMED = 0.15
"""How often a finding is told by the name that the rules have for it."""
ABSENT = 0.3
"""How often an absent finding that the text names is told."""


FEWER = 0.25
"""Share of these with fewer."""
COMPOSED = 0.5
"""Share of the views with more findings or fewer than the report; see compose.py."""


def view(report: Report, rng: np.random.Generator, pool: Mapping[str, Sequence[Statement]] | None = None) -> View:
    """One sequence of a report; ``pool``: statements by finding that may come into it."""
    report = replace(report, given=consistent(report.given, report.text))
    composed = bool(pool) and rng.random() < COMPOSED
    if pool and composed:
        report = fewer(report, rng) if rng.random() < FEWER else more(report, pool, rng)
    given = [one for one in report.given if one.state != "absent" or rng.random() < ABSENT]
    order = rng.permutation(len(given)) if rng.random() < 0.5 else range(len(given))
    told = tuple(_renamed(given[place], rng) for place in order)
    indication = "" if rng.random() < BARE else report.indication
    tokens = body(replace(report, indication=indication, given=tuple(dict.fromkeys(told))))
    read = tokens.index(FINDINGS) + 1
    last = tokens.index(IMPRESSION) + 1 if composed else len(tokens)  # nobody wrote an impression of that
    weights = [0.0] + [HEADER] * (read - 1) + [1.0] * (last - read) + [0.0] * (len(tokens) - last)
    return View(tokens, weights)


def _renamed(given: Given, rng: np.random.Generator) -> Given:
    names = sorted(named_by(given) - {given.name})
    return replace(given, name=names[0]) if names and rng.random() < RENAMED else given

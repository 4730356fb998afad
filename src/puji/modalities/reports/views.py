"""The training sequences of a report.

What stands before `FINDINGS` is told so that the text says the same (`tags.consistent`); some of it is left out or told by
another name, in any order, so that a draft does not hang on how its input is written.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from puji.modalities.reports.report import Given, Report
from puji.modalities.reports.tags import consistent, named_by
from puji.modalities.reports.tokens import FINDINGS, body
from puji.modality import View

HEADER = 0.1
"""Loss weight of the indication and the findings: learned only so that reports can be drawn without any input."""
BARE = 0.25
"""Share of the views without the indication."""
RENAMED = 0.15
"""How often a finding is told by the name that the rules have for it."""
ABSENT = 0.3
"""How often an absent finding that the text names is told."""


def view(report: Report, rng: np.random.Generator) -> View:
    """One sequence of a report."""
    given = [one for one in consistent(report.given, report.text) if one.state != "absent" or rng.random() < ABSENT]
    order = rng.permutation(len(given)) if rng.random() < 0.5 else range(len(given))
    told = tuple(_renamed(given[place], rng) for place in order)
    indication = "" if rng.random() < BARE else report.indication
    tokens = body(replace(report, indication=indication, given=tuple(dict.fromkeys(told))))
    read = tokens.index(FINDINGS) + 1
    return View(tokens, [0.0] + [HEADER] * (read - 1) + [1.0] * (len(tokens) - read))


def _renamed(given: Given, rng: np.random.Generator) -> Given:
    names = sorted(named_by(given) - {given.name})
    return replace(given, name=names[0]) if names and rng.random() < RENAMED else given

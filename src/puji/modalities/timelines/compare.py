"""Pictures of a cohort beside a reference: how common each code is, ages at the end, events of a patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from puji import figures
from puji.errors import Invalid
from puji.gallery import Figure
from puji.language import LANGUAGES, Text, translate
from puji.modalities.timelines import fidelity
from puji.modalities.timelines.metrics import reference, usable
from puji.modalities.timelines.timeline import YEAR, Timeline
from puji.modality import Raw


def pictures(samples: Sequence[Raw | Invalid], references: Mapping[str, Sequence[Raw | Invalid]]) -> Sequence[Figure]:
    """Three pictures in each language; none without a reference."""
    if not references:
        return ()
    cohorts = (reference({name: usable(found) for name, found in references.items()}), usable(samples))
    return [
        Figure({language: _codes(*cohorts, language) for language in LANGUAGES}, Text("timelines.figure.codes")),
        *(
            Figure(
                {language: _curves(*cohorts, what, language) for language in LANGUAGES},
                Text(f"timelines.figure.{what}"),
            )
            for what in ("ends", "numbers")
        ),
    ]


def _codes(real: Sequence[Timeline], other: Sequence[Timeline], language: str) -> str:
    counts = [Counter(code for one in cohort for code in fidelity.codes(one)) for cohort in (real, other)]
    codes = sorted(set(counts[0]) | set(counts[1]))
    x, y = (
        np.array([max(count[code], 0.5) for code in codes]) / len(cohort)
        for count, cohort in zip(counts, (real, other), strict=True)
    )
    with figures.canvas(3.6, 3.2) as figure:
        panel = figure.subplots()
        least = min(x.min(), y.min())
        panel.loglog([least, 1], [least, 1], color=figures.GREY, linewidth=0.8, linestyle=":")
        panel.loglog(x, y, "o", markersize=2.5, alpha=0.6)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(lambda share, _: f"{share:g}")  # no mathematical signs that the font lacks
        _axes(panel, language, "share_real", "share_synthetic")
        return figures.svg(figure)


def _curves(real: Sequence[Timeline], other: Sequence[Timeline], what: str, language: str) -> str:
    with figures.canvas(3.6, 3.2) as figure:
        panel = figure.subplots()
        for cohort, name in ((real, "real"), (other, "synthetic")):
            values = np.sort([one.end / YEAR if what == "ends" else len(one.events) for one in cohort])
            shares = np.arange(1, len(values) + 1) / len(values)
            panel.step(values, 100 * shares, where="post", label=translate(f"timelines.figure.{name}", language))
        panel.legend(fontsize=8)
        _axes(panel, language, what, "cumulative")
        return figures.svg(figure)


def _axes(panel: Any, language: str, x: str, y: str) -> None:
    panel.set_xlabel(translate(f"timelines.figure.axis.{x}", language))
    panel.set_ylabel(translate(f"timelines.figure.axis.{y}", language))

"""Pictures of patients: the past on a line, futures as a fan of cumulative incidence, what drove a risk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from puji import figures
from puji.language import current, translate
from puji.modalities.timelines.conditions import outcome_within
from puji.modalities.timelines.timeline import DEATH, YEAR, Event, Timeline
from puji.modality import Estimate
from puji.units import shown

MOST_EVENTS = 40
"""Events with a label in one picture; of more, the last ones."""
MOST_OUTCOMES = 6
MOST_PATIENTS = 8
LEVELS = 6
"""Heights of the labels."""
INCHES = 8.4
"""Width of a whole picture without its margins."""


Naming = Callable[[str, str], str]
"""From a code and a language to its name, '' where there is none."""


def unnamed(code: str, language: str) -> str:
    """No code has a name."""
    return ""


def short(code: str, language: str | None = None, naming: Naming = unnamed) -> str:
    """A code as a picture writes it: by its name, or without its system."""
    if code == DEATH:
        return translate("timelines.death", language)
    return naming(code, language or current()) or code.partition("/")[2] or code


def picture(
    record: Timeline,
    estimates: Mapping[str, Estimate] | None = None,
    scores: Sequence[float] | None = None,
    kind: str = "svg",
    language: str | None = None,
    naming: Naming = unnamed,
) -> str | bytes:
    """One patient: events over age; with ``estimates`` their cumulative incidence from the end on; with ``scores`` (one for
    each event) bars of what drove a risk.

    Raises Invalid for another ``kind`` than "svg" and "png".
    """
    figures.check(kind, "timelines")
    language = language or current()
    curves = incidence(estimates or {})
    with figures.canvas(9.2, 3.2 if scores is None else 4.0) as figure:
        if curves:
            past, panel = figure.subplots(1, 2, width_ratios=(3, 2))
            _fan(panel, curves, record.end / YEAR, language, naming)
        elif scores is not None:
            past, panel = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
            _bars(panel, record, scores, language)
        else:
            past = figure.subplots()
        _past(past, record, language, naming, 0.56 if curves else 1.0)
        if scores is None:
            past.set_xlabel(translate("timelines.figure.age", language))
        return figures.drawn(figure, kind)


def many(records: Sequence[Timeline], kind: str, naming: Naming = unnamed, language: str | None = None) -> str | bytes:
    """The first `MOST_PATIENTS` patients in one picture. Raises Invalid for another ``kind`` than "svg" and "png"."""
    figures.check(kind, "timelines")
    language = language or current()
    first = list(records[:MOST_PATIENTS])
    with figures.canvas(9.2, 2.9 * len(first)) as figure:
        for panel, record in zip(np.atleast_1d(figure.subplots(len(first), 1)), first, strict=True):
            _past(panel, record, language, naming)
        return figures.drawn(figure, kind)


def incidence(estimates: Mapping[str, Estimate]) -> dict[str, np.ndarray]:
    """Estimates of what comes within some years as curves by outcome, (n, 4): years, probability, low, high; highest first."""
    found: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    for name, one in estimates.items():
        if told := outcome_within(name):
            found[told[0]].append((told[1], one.value, one.low, one.high))
    curves = {name: np.array([(0.0, 0.0, 0.0, 0.0), *sorted(points)]) for name, points in found.items()}
    return dict(sorted(curves.items(), key=lambda item: -item[1][-1, 1])[:MOST_OUTCOMES])


def labels(
    events: Sequence[Event], first: float, span: float, *, per_year: float, language: str, naming: Naming
) -> Iterator[tuple[float, str, int, str]]:
    """Age, text, height and alignment of the labels for which there is room, none over another: what was diagnosed or given
    before what was measured, the later before the earlier.

    ``first`` and ``span``: the years that the picture shows; ``per_year``: inches of a year.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in range(LEVELS)]
    told: set[tuple[str, int]] = set()
    for event in sorted(events, key=lambda event: (event.value is not None, -event.age)):
        text = short(event.code, language, naming)
        if event.value is not None:
            text += f" {event.value:.3g} {shown(event.unit, language)}".rstrip()
        age = event.age / YEAR
        if (event.code, int(age)) in told:
            continue  # once a year is enough
        told.add((event.code, int(age)))
        # A letter is about .055 inches wide at this size, a hanzi twice that.
        width = (sum(1 + (ord(letter) >= 0x2E80) for letter in text) * 0.055 + 0.12) / per_year
        left = age - width / 2
        side = "center"
        if left < first - 0.03 * span:
            left, side = age, "left"
        elif left + width > first + 0.97 * span:
            left, side = age - width, "right"
        for level, others in enumerate(taken):
            if all(left + width <= start or left >= stop for start, stop in others):
                others.append((left, left + width))
                yield age, text, level + 1, side
                break


def _past(panel: Any, record: Timeline, language: str, naming: Naming, share: float = 1.0) -> None:
    who = [translate(f"timelines.sex.{record.sex or 'unknown'}", language)]
    if record.born is not None:
        who.append(translate("timelines.figure.born", language, decade=record.born // 10 * 10))
    panel.set_title(translate("timelines.figure.past", language, who=translate("cli.comma", language).join(who)))
    end = record.end / YEAR
    events = record.events[-MOST_EVENTS:]
    first = events[0].age / YEAR if events else 0.0
    panel.set_xlim(first - 0.03 * (end - first + 1), end + 0.08 * (end - first + 1))
    panel.set_ylim(-0.4, LEVELS + 0.6)
    panel.axhline(0, color=figures.GREY, linewidth=1.2)
    span = 1.11 * (end - first + 1)
    panel.plot([event.age / YEAR for event in events], [0] * len(events), "o", color=figures.ACCENT, markersize=4)
    for age, text, height, side in labels(
        events, first, span, per_year=INCHES * share / span, language=language, naming=naming
    ):
        panel.plot([age, age], [0, height - 0.25], color=figures.RULE, linewidth=0.8, zorder=0)
        panel.text(age, height, text, fontsize=7.5, va="center", ha=side)
    panel.set_yticks([])
    panel.grid(False)
    panel.spines["left"].set_visible(False)


def _fan(panel: Any, curves: Mapping[str, np.ndarray], end: float, language: str, naming: Naming) -> None:
    panel.set_title(translate("timelines.figure.future", language))
    for name, points in curves.items():
        years = end + points[:, 0]
        (line,) = panel.plot(years, 100 * points[:, 1], label=short(name, language, naming))
        panel.fill_between(
            years, 100 * points[:, 2], 100 * points[:, 3], color=line.get_color(), alpha=0.15, linewidth=0
        )
    panel.set_xlabel(translate("timelines.figure.age", language))
    panel.set_ylabel(translate("timelines.figure.share", language))
    panel.set_ylim(0)
    panel.legend(fontsize=8, loc="upper left")


def _bars(panel: Any, record: Timeline, scores: Sequence[float], language: str) -> None:
    ages = [event.age / YEAR for event in record.events]
    width = 0.006 * (record.end / YEAR - min(ages, default=0.0) + 1)
    colours = [figures.CYCLE[1] if score > 0 else figures.CYCLE[3] for score in scores]
    panel.bar(ages, scores, width=width, color=colours)
    panel.axhline(0, color=figures.GREY, linewidth=0.8)
    panel.set_ylabel(translate("timelines.figure.score", language))
    panel.set_xlabel(translate("timelines.figure.age", language))

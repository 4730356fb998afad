"""The figure of a plan: what is predicted of each action, with its interval, and how far logged care covers it."""

from __future__ import annotations

from textwrap import wrap

from matplotlib.axes import Axes

from puji import figures
from puji.language import current, translate
from puji.modalities.plans import words
from puji.modalities.plans.plan import Alternative, Plan
from puji.modalities.plans.units import unit_shown

MOST = 12
"""Actions in one figure: the recommended one and those after it."""
LETTERS = 26
"""Of a medicine's name; a hanzi counts twice."""
LINES = 3
"""Orders of an action that are named."""
COLOURS = {"allowed": figures.CYCLE[3], "reduced": figures.CYCLE[2], "vetoed": "#9aa8ab"}


def alternatives(plan: Plan, kind: str = "svg", language: str | None = None) -> str | bytes:
    """The considered actions, the recommended one on top, vetoed ones in grey with a cross.

    Raises Invalid for another ``kind`` than "svg" and "png".
    """
    figures.check(kind, "plans")
    language = language or current()
    # Outcomes of another name could not stand on the same axis.
    shown = [one for one in plan.considered if one.outcome.name == plan.considered[0].outcome.name][:MOST]
    labels = [_label(plan, one, language) for one in shown]
    tallest = max((label.count("\n") for label in labels), default=0)
    with figures.canvas(8.6, 1.3 + (0.3 + 0.2 * tallest) * max(1, len(shown))) as figure:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
        _intervals(left, plan, shown, labels, language)
        _cases(right, shown, language)
        return figures.drawn(figure, kind)


def _intervals(panel: Axes, plan: Plan, shown: list[Alternative], labels: list[str], language: str) -> None:
    for place, one in enumerate(shown):
        estimate, colour = one.outcome.estimate, _colour(plan, one)
        scale = 100 if estimate.unit == "" else 1
        vetoed = one.verdict.outcome == "vetoed"
        ends = [scale * estimate.low, scale * estimate.high]
        panel.plot(ends, [place, place], color=colour, linewidth=2.4, linestyle=":" if vetoed else "-")
        panel.plot(
            scale * estimate.value,
            place,
            "X" if vetoed else "o",
            color=colour,
            markersize=9 if one is plan.chosen else 7,
        )
    panel.set_yticks(range(len(shown)), labels)
    for text, one in zip(panel.get_yticklabels(), shown, strict=True):
        text.set(color=figures.INK if one is plan.chosen else figures.GREY, linespacing=1.35)
    panel.invert_yaxis()
    panel.set_ylim(len(shown) - 0.5, -0.5)
    panel.grid(axis="y", visible=False)
    if shown:
        outcome = shown[0].outcome
        unit = "%" if outcome.estimate.unit == "" else unit_shown(outcome.estimate.unit, language)
        told = {
            "name": plan.name(outcome.name, language),
            "within": words.duration(60 * outcome.hours, language),
            "unit": f"{unit}{translate('plans.comma', language)}" if unit else "",
        }
        panel.set_xlabel(translate(f"plans.figure.outcome.{outcome.better}", language, **told))


def _cases(panel: Axes, shown: list[Alternative], language: str) -> None:
    most = max([1, *(one.support.cases for one in shown)])
    for place, one in enumerate(shown):
        panel.barh(place, one.support.cases, height=0.34, color=figures.RULE)
        share = f"{one.support.cases:,} ({100 * one.support.probability:.2g}%)"
        panel.text(one.support.cases + 0.03 * most, place, share, va="center", fontsize=8.5, color=figures.GREY)
    panel.set_xlim(0, 1.75 * most)
    panel.set_xticks([])
    panel.tick_params(axis="y", length=0, labelleft=False)
    panel.grid(visible=False)
    panel.spines["left"].set_visible(False)
    panel.spines["bottom"].set_visible(False)
    panel.set_xlabel(translate("plans.figure.support", language), linespacing=1.35)


def _colour(plan: Plan, one: Alternative) -> str:
    return figures.ACCENT if one is plan.chosen else COLOURS[one.verdict.outcome]


def _label(plan: Plan, one: Alternative, language: str) -> str:
    """Each order on a line of its own, its dose never cut off, and below them what became of the action."""
    lines = []
    for order in one.orders[:LINES]:
        name = words.giving(order, plan, language) or plan.name(order.code, language)
        longest = LETTERS // 2 if any(ord(letter) >= 0x2E80 for letter in name) else LETTERS
        name = name if len(name) <= longest else f"{name[: longest - 1]}…"
        lines.append(f"{name} {order.dose.shown(language)}")
    if not one.orders:
        title = one.title.get(language) or translate("plans.order.none", language)
        lines += wrap(title, LETTERS // 2 if any(ord(letter) >= 0x2E80 for letter in title) else LETTERS)[:LINES]
    if len(one.orders) > LINES:
        lines.append(translate("plans.figure.more", language, count=len(one.orders) - LINES))
    mark = "chosen" if one is plan.chosen else one.verdict.outcome
    return "\n".join(lines if mark == "allowed" else [*lines, translate(f"plans.figure.{mark}", language)])

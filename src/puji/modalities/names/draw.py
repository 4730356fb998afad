"""Pictures of names: a table in which each stands beside the known names that are nearest to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from puji import figures
from puji.errors import Invalid
from puji.language import current, translate

MOST_DRAWN = 40
"""Names in one picture; of more, the first are drawn."""
LETTER = 0.13
"""Width of a letter of a name; the picture is 10 wide."""
SHOWN = 3
"""Neighbours of a name."""
COLOURS = {"high": "#d1495b", "moderate": "#e09f3e", "low": "#0b7a75"}


def picture(rows: Sequence[Mapping[str, Any]], kind: str = "svg", language: str | None = None) -> str | bytes:
    """The names of ``rows`` with their nearest known names, the bar as long as the combined score, coloured by its band.

    Raises Invalid for another ``kind`` than "svg" and "png", and for no rows.
    """
    figures.check(kind, "names")
    if not rows:
        raise Invalid("names.no_rows")
    language = language or current()
    shown = rows[:MOST_DRAWN]
    with figures.canvas(8.2, 0.75 + 0.36 * len(shown)) as figure:
        panel = figure.subplots()
        panel.set_axis_off()
        panel.set_xlim(0, 10)
        panel.set_ylim(len(shown) + 0.3, -1.1)
        bar = max(2.6, LETTER * max(len(str(row["name"])) for row in shown))
        heads = ((0.0, "name"), (bar, "similarity"), (bar + 2.6, "nearest"))
        for x, head in heads:
            panel.text(
                x, -0.75, translate(f"names.column.{head}", language), color=figures.GREY, va="center", fontsize=9.5
            )
        for place, row in enumerate(shown):
            score, band = float(row.get("similarity") or 0.0), str(row.get("band") or "low")
            panel.text(0.0, place, str(row["name"]), va="center", fontsize=11)
            panel.barh(place, 1.7, height=0.42, left=bar, color=figures.RULE)
            panel.barh(place, 1.7 * score, height=0.42, left=bar, color=COLOURS[band])
            panel.text(bar + 1.8, place, f"{score:.2f}", va="center", fontsize=9, color=figures.GREY)
            nearest = [part for part in str(row.get("nearest") or "").split("; ") if part][:SHOWN]
            flags = str(row.get("flags") or "")
            panel.text(bar + 2.6, place, "   ".join(nearest), va="center", fontsize=9.5)
            if flags:
                panel.text(bar + 2.6, place + 0.32, flags, va="center", fontsize=7.5, color=COLOURS["high"])
        panel.text(0, len(shown), translate("names.notice", language), fontsize=8, color=figures.GREY, va="center")
        return figures.drawn(figure, kind)

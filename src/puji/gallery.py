"""One self-contained page that shows what models generate: pictures, numbers and origin, in English and Chinese.

A modality names the module whose ``demo(model, seed) -> list[Section]`` says what it shows (`Modality.shown_by`); without one, a
few records are drawn. The page needs no network and no script: style, pictures and the part of the Chinese font that it uses
are inside it, and the languages are switched by CSS.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

from puji.errors import Invalid
from puji.language import LANGUAGES, Text, catalogue, translate
from puji.tables import flat, plain

Picture = str | bytes
"""An SVG element as text, or a PNG file as bytes."""

MOST_ROWS = 60
LONG = 48
"""Characters of a sentence in a table above which it may take several lines."""


@dataclass(frozen=True)
class Figure:
    """A picture, or one for each language, with a caption and short facts about it.

    ``wide``: as wide as the page, else a card in a grid. ``note``: what a reader should notice, in a warning colour.
    """

    picture: Picture | Mapping[str, Picture]
    caption: Text | str = ""
    facts: Sequence[tuple[Text | str, str]] = ()
    note: Text | None = None
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """One thing that is shown: a title, what one sees, pictures, and a table whose columns may have names to translate."""

    title: Text
    note: Text | None = None
    figures: Sequence[Figure] = ()
    table: Sequence[Mapping[str, Any]] = ()
    columns: Mapping[str, Text] = field(default_factory=dict)

    def rows(self, language: str) -> list[dict[str, Any]]:
        """The table with its columns and texts in ``language``."""

        def told(value: Any) -> Any:
            return value.text(language) if isinstance(value, Text) else value

        return [{told(self.columns.get(name, name)): told(value) for name, value in row.items()} for row in self.table]


@dataclass(frozen=True)
class Chapter:
    """All sections of one modality, and the card of the model that made them."""

    name: str
    card: Mapping[str, Any]
    sections: Sequence[Section]


def demonstrate(model: Any, seed: int = 0) -> list[Section]:
    """What ``model``'s modality shows of it; by default a dozen records."""
    if not model.modality.shown_by:
        return [samples(model, seed)]
    return list(import_module(model.modality.shown_by).demo(model, seed))


def sections(
    modality: str, makers: Mapping[str, Callable[[Any, int], Section]], model: Any, seed: int
) -> list[Section]:
    """What ``makers`` give, by name; one that the model cannot do says why, under the title ``<modality>.demo.<name>``."""
    made = []
    for name, maker in makers.items():
        try:
            made.append(maker(model, seed))
        except Invalid as refusal:
            made.append(Section(Text(f"{modality}.demo.{name}"), Text(refusal.reason, refusal.details)))
    return made


def samples(model: Any, seed: int = 0, n: int = 12) -> Section:
    """``n`` records drawn without conditions, with their pictures if there are any."""
    batch = model.generate(n, seed=seed)
    figures = []
    for record in batch.records:
        rendered = model.modality.render(record)
        picture = rendered.get("image/svg+xml") or rendered.get("image/png")
        if picture is not None:
            figures.append(Figure(picture, str(rendered.get("text/plain", ""))))
    details = {"count": len(batch), "refused": sum(batch.refusals().values()), "attempts": batch.attempts}
    return Section(Text("gallery.samples"), Text("gallery.samples.note", details), figures, batch.rows())


def page(
    chapters: Sequence[Chapter], language: str, *, seed: int = 0, date: str | None = None, kind: str = "gallery"
) -> str:
    """The whole HTML page, opening in ``language``; ``kind``: of its messages: "gallery", "report" (of an evaluation)."""
    from puji import figures

    body = "\n".join(_chapter(chapter) for chapter in chapters)
    made = {"date": date or time.strftime("%Y-%m-%d"), "version": version("puji"), "seed": seed}
    parts = {
        "language": language,
        "title": escape(translate(f"{kind}.title", language)),
        "heading": _both(f"{kind}.title"),
        "lead": _both(f"{kind}.lead"),
        "research": _both("puji.research_use"),
        "synthetic": _both(f"{kind}.records"),
        "made": _both(f"{kind}.made" if f"{kind}.made" in catalogue("en") else "gallery.made", made),
        "label": escape(translate("gallery.language", language)),
        "body": body,
    }
    for name in LANGUAGES:
        parts[f"checked_{name}"] = "checked" if name == language else ""
    template = Template((Path(__file__).parent / "gallery_template.html").read_text("utf-8"))
    written = [template.template, *parts.values()]
    return template.substitute(parts, font=figures.font_face(written))


def _both(key: str, details: Mapping[str, Any] | None = None) -> str:
    return both(Text(key, details or {}))


def both(text: Text | str) -> str:
    """``text`` as HTML in all languages, of which CSS shows one."""
    if isinstance(text, str):
        return escape(text)
    return "".join(f'<span class="{name}" lang="{name}">{escape(text.text(name))}</span>' for name in LANGUAGES)


def _chapter(chapter: Chapter) -> str:
    heading = _both(f"{chapter.name}.name") if f"{chapter.name}.name" in catalogue("en") else escape(chapter.name)
    summary = _both(f"{chapter.name}.summary") if f"{chapter.name}.summary" in catalogue("en") else ""
    sections = "\n".join(map(_section, chapter.sections))
    return (
        f'<section class="chapter" id="{escape(chapter.name)}"><h2>{heading}</h2><p class="summary">{summary}</p>'
        f"{sections}{_origin(chapter.card)}</section>"
    )


def _section(section: Section) -> str:
    parts = [f"<article><h3>{both(section.title)}</h3>"]
    if section.note is not None:
        parts.append(f'<p class="note">{both(section.note)}</p>')
    wide = [figure for figure in section.figures if figure.wide]
    cards = [figure for figure in section.figures if not figure.wide]
    parts += [_figure(figure) for figure in wide]
    if cards:
        parts.append(f'<div class="grid">{"".join(map(_figure, cards))}</div>')
    if section.table and cards:
        parts.append(f"<details><summary>{_both('gallery.table')}</summary>{_table(section)}</details>")
    elif section.table:
        parts.append(_table(section))
    return "".join([*parts, "</article>"])


def _figure(figure: Figure) -> str:
    caption = both(figure.caption)
    if isinstance(figure.picture, Mapping):
        images = "".join(
            f'<span class="{name}">{_image(picture, figure.caption, name)}</span>'
            for name, picture in figure.picture.items()
        )
    else:
        images = _image(figure.picture, figure.caption, "en")
    facts = "".join(f"<span><b>{both(name)}</b> {escape(value)}</span>" for name, value in figure.facts)
    note = f'<span class="alarm">{both(figure.note)}</span>' if figure.note is not None else ""
    lines = (f"<code>{caption}</code>" if isinstance(figure.caption, str) else caption) if caption else ""
    told = f'<span class="facts">{facts}{note}</span>' if facts or note else ""
    below = f"<figcaption>{lines}{told}</figcaption>" if lines or told else ""
    return f'<figure class="{"wide" if figure.wide else "card"}">{images}{below}</figure>'


def _image(picture: Picture, caption: Text | str, language: str) -> str:
    """As an ``img``, so that names inside one SVG cannot collide with those of another."""
    kind, data = ("svg+xml", picture.encode("utf-8")) if isinstance(picture, str) else ("png", picture)
    words = caption if isinstance(caption, str) else caption.text(language)
    return f'<img alt="{escape(words)}" src="data:image/{kind};base64,{base64.b64encode(data).decode("ascii")}">'


def _cell(value: Any, numeric: bool = False) -> str:
    value = plain(value)
    if value is None:
        return '<td class="number">–</td>' if numeric else "<td>–</td>"
    if isinstance(value, bool):
        return f"<td>{'✓' if value else '–'}</td>"
    if isinstance(value, int | float):
        return f'<td class="number">{_number(value)}</td>'
    if isinstance(value, Text):
        long = any(len(value.text(language)) > LONG for language in LANGUAGES)
        return f'<td class="long">{both(value)}</td>' if long else f"<td>{both(value)}</td>"
    return f"<td>{escape(str(value))}</td>"


def _number(value: float) -> str:
    """Three digits, or all of a whole number."""
    size = abs(value)
    places = 0 if isinstance(value, int) or size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{places}f}".replace("-", "−")


def _table(section: Section) -> str:
    rows = section.table[:MOST_ROWS]
    names = list(rows[0])
    numeric = {
        name
        for name in names
        if all(isinstance(row.get(name), int | float | None) for row in rows)
        and any(row.get(name) is not None for row in rows)
    }
    head = "".join(
        f'<th class="{"number" if name in numeric else "text"}">{both(section.columns.get(name, name))}</th>'
        for name in names
    )
    body = "".join("<tr>" + "".join(_cell(row.get(name), name in numeric) for name in names) + "</tr>" for row in rows)
    left = len(section.table) - len(rows)
    more = f'<p class="more">{_both("gallery.more_rows", {"count": left})}</p>' if left else ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}'


def _origin(card: Mapping[str, Any]) -> str:
    pairs = [(name, value) for name, value in flat(dict(card)) if value not in (None, "", [])]
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in pairs)
    return f"<details><summary>{_both('gallery.origin')}</summary><dl>{items}</dl></details>" if items else ""

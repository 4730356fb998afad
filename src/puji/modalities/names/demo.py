"""What `puji demo` shows of names: generic ones for a few stems, brands, biologic suffixes, and names in use, each beside the
names that it could be mistaken for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from puji.gallery import Figure, Section, sections
from puji.language import LANGUAGES, Text, translate
from puji.modalities.names.draw import picture
from puji.modalities.names.suffix import doses
from puji.modalities.names.tokens import Name

STEMS = ("-tinib", "-xaban", "-gliptin")
PER_STEM = 5
BRAND = {"kind": "brand", "length": "6:8", "syllables": "2:3"}
COUNT = 12
KNOWN = ("celebrex", "lamictal", "zantac", "toradol")
"""Brands that were confused with others: FDA, ISMP; Kondrak & Dorr, COLING 2004."""
COLUMNS = {name: Text(f"names.column.{name}") for name in ("name", "stem", "stem_zh", "similarity", "band", "nearest")}


def demo(model: Any, seed: int = 0) -> list[Section]:
    """All sections; one that the model cannot do says why."""
    makers = {"generic": generic, "brand": brand, "suffix": suffix, "screened": screened}
    return sections("names", makers, model, seed)


def generic(model: Any, seed: int) -> Section:
    """Generic names for each of `STEMS`."""
    return _generated("generic", model, seed, [{"stem": stem, "n": PER_STEM} for stem in STEMS])


def brand(model: Any, seed: int) -> Section:
    """Brand names of a length and number of syllables."""
    return _generated("brand", model, seed, [{**BRAND, "n": COUNT}])


def suffix(model: Any, seed: int) -> Section:
    """Suffixes of biologics; only their letters are shown, since they are compared with nothing but other suffixes."""
    batch, details = _drawn(model, seed, [{"kind": "suffix", "n": COUNT}])
    table = [{"name": row["name"]} for row in batch]
    return Section(Text("names.demo.suffix"), Text("names.demo.suffix.note", details), (), table, COLUMNS)


def screened(model: Any, seed: int) -> Section:
    """Names in use beside their nearest ones."""
    rows = [model.modality.row(Name("brand", name)) for name in KNOWN]
    return _section("screened", rows, {"n": len(rows)})


def _drawn(model: Any, seed: int, asked: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of what each of ``asked`` gave, and the figures that a note tells."""
    began = time.perf_counter()
    batches = [model.generate(seed=seed, unique=True, **one) for one in asked]
    rows = [row for batch in batches for row in batch.rows()]
    attempts = sum(batch.attempts for batch in batches)
    return rows, {"n": len(rows), "attempts": attempts, "seconds": f"{time.perf_counter() - began:.1f}"}


def _generated(name: str, model: Any, seed: int, asked: Sequence[Mapping[str, Any]]) -> Section:
    rows, details = _drawn(model, seed, asked)
    return _section(name, rows, details)


def _section(name: str, rows: Sequence[Mapping[str, Any]], details: Mapping[str, Any]) -> Section:
    """A picture in each language and a table, the names of one stem beside each other, the least confusable first."""
    ordered = sorted(rows, key=lambda row: (row["stem"], row["similarity"] or 0.0))
    table = [
        {column: Text(f"names.band.{row[column]}") if column == "band" else row[column] for column in COLUMNS}
        for row in ordered
    ]
    note = Text(f"names.demo.{name}.note", details)
    return Section(Text(f"names.demo.{name}"), note, [Figure(_pictures(ordered), wide=True)], table, COLUMNS)


def _pictures(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The rows drawn in each language, with the abbreviations that a name holds; that it is in use is no news here."""
    drawn = {}
    for language in LANGUAGES:
        flagged = []
        for row in rows:
            held = ", ".join(doses(row["name"]))
            flagged.append({**row, "flags": translate("names.flag.dose", language, word=held) if held else ""})
        drawn[language] = str(picture(flagged, "svg", language))
    return drawn

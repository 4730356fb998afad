"""Molecules from the field's file formats, one at a time, in bounded memory; what cannot be read is refused with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import polars as pl
import polars.selectors as cs

from puji.errors import Invalid
from puji.modalities.molecules.molecule import parse
from puji.modality import Raw
from puji.sources import cells, chunks, column, each_file, ending, parquet
from puji.text import Line, lines

ENDINGS = (".smi", ".smiles", ".txt", ".csv", ".tsv", ".parquet", ".pq", ".sdf", ".sd", ".mol")
"""File name endings that `read` knows, each also with ``.gz``."""

COLUMNS = (
    *("smiles", "isomeric_smiles", "isosmiles", "canonical_smiles", "structure", "molecule", "mol", "compound"),
    *("结构式", "结构", "分子", "化合物"),
)
"""Names of the column that holds the SMILES, whatever their case; where there are several, the first of these."""

LONGEST_RECORD = 1_000_000
"""Characters of one record of an SDF."""
LOOKED_AT = 20
"""Rows that are tried where no column's name tells which holds the SMILES."""


def read(source: Path) -> Iterator[Raw | Invalid]:
    """Yield the molecules of a file, or of all files in a folder that have a known ending, as SMILES or Mol blocks.

    The column of a table that holds the SMILES is found by its name, else by what parses.
    A file that holds nothing, is binary, damaged, missing or of an unknown kind comes out as one Invalid.
    """
    yield from each_file(source, ENDINGS, _file)


def _file(path: Path) -> Iterator[Raw | Invalid]:
    kind = ending(path)
    if kind in (".parquet", ".pq"):
        return _parquet(path)
    if kind in (".sdf", ".sd", ".mol"):
        return _sdf(path)
    if kind in (".csv", ".tsv"):
        return _table(path, "\t" if kind == ".tsv" else None)
    return _smiles(path)


def _smiles(path: Path) -> Iterator[Raw | Invalid]:
    """A SMILES, then perhaps white space and a name, on each line; comments begin with "#"."""
    for line in lines(path):
        if isinstance(line, Invalid):
            yield line
            continue
        number, text = line
        words = text.split(maxsplit=1)
        if not words or words[0].startswith("#") or (number == 1 and words[0].lower() in COLUMNS):
            continue
        yield Raw(words[0], str(path), number)


def _table(path: Path, separator: str | None) -> Iterator[Raw | Invalid]:
    """One molecule a line. A quoted cell must not hold a line break."""
    numbered = lines(path)
    for line in numbered:
        if isinstance(line, Invalid):
            yield line
        elif line[1].strip():
            break
    else:
        return
    number, header = line
    separator = separator or max(",;\t", key=header.count)
    names = [name.strip() for name in cells(header, separator)]
    place = _named(names, number)
    rest: Iterator[Line | Invalid] = numbered
    if place is None:
        first = list(islice(numbered, LOOKED_AT))
        rows = [cells(one[1], separator) for one in first if not isinstance(one, Invalid)]
        place = _parsing(rows or [names])
        rest = chain(first, numbered)
        if place is not None and place < len(names) and _parses(names[place]):
            rest = chain([line], rest)
    if place is None:
        raise Invalid("molecules.read.no_column", line=number, columns=", ".join(names[:20]))
    for line in rest:
        if isinstance(line, Invalid):
            yield line
        elif line[1].strip():
            row = cells(line[1], separator)
            if place < len(row):
                yield Raw(row[place].strip(), str(path), line[0])
            else:
                yield Invalid("molecules.read.short_row", line=line[0], columns=len(names))


def _named(names: list[str], line: int | None = None) -> int | None:
    """The place of the column of SMILES by its name; None if no name tells. Raises Invalid where it stands twice."""
    return column(names, COLUMNS, line)


def _parsing(rows: Iterable[list[str]]) -> int | None:
    """The column in which most cells are SMILES, the first of equals; None if there is none."""
    counts: dict[int, int] = {}
    for row in rows:
        for place, cell in enumerate(row):
            counts[place] = counts.get(place, 0) + _parses(cell)
    best = max(counts, key=lambda place: (counts[place], -place), default=None)
    return best if best is not None and counts[best] else None


def _parses(text: str) -> bool:
    try:
        parse(text.strip())
    except Invalid:
        return False
    return True


def _parquet(path: Path) -> Iterator[Raw | Invalid]:
    """Line numbers are row numbers, counted from 1."""
    with parquet(path) as scanned:
        table = scanned.with_columns(cs.categorical().cast(pl.String))
        kinds = table.collect_schema()
        names = [name for name, kind in kinds.items() if kind == pl.String]
        place = _named(names)
        if place is None:
            looked_at = table.select(names).head(LOOKED_AT).collect().rows()
            place = _parsing([[str(cell) for cell in row] for row in looked_at])
        if place is None:
            told = ", ".join(f"{name} ({kind})" for name, kind in islice(kinds.items(), 20))
            raise Invalid("molecules.read.no_column", columns=told)
        for first, piece in chunks(table.select(names[place])):
            for number, cell in enumerate(piece.to_series(), first):
                yield Raw(cell or "", str(path), number)


def _sdf(path: Path) -> Iterator[Raw | Invalid]:
    """The Mol block of each record, with the line at which it begins. Data fields are passed over."""
    block: list[str] = []
    size, first, whole, refused = 0, 1, False, False

    def record() -> Iterator[Raw | Invalid]:
        if refused or not any(text.strip() for text in block):
            return
        yield (
            Raw("\n".join(block) + "\n", str(path), first) if whole else Invalid("molecules.read.truncated", line=first)
        )

    number = 0
    for line in lines(path):
        if isinstance(line, Invalid):
            if not whole and not refused:
                refused = True
                yield line
            continue
        number, text = line
        if text.startswith("$$$$"):
            yield from record()
            block, size, first, whole, refused = [], 0, number + 1, False, False
        elif not whole and not refused:
            block.append(text)
            size += len(text) + 1
            whole = text.startswith("M  END")
            if size > LONGEST_RECORD:
                block, refused = [], True
                yield Invalid("molecules.read.long_record", line=first, limit=LONGEST_RECORD)
    yield from record()

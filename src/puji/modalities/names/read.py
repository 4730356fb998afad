"""Names from text files and tables, one at a time, in bounded memory; what cannot be read is refused with its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from puji.errors import Invalid
from puji.modalities.names.tokens import KINDS
from puji.modality import Raw
from puji.sources import cells, chunks, column, each_file, ending, parquet
from puji.text import told_lines

ENDINGS = (".txt", ".csv", ".tsv", ".parquet", ".pq")
"""File name endings that `read` knows, each also with ``.gz``."""

COLUMNS = (
    *("name", "names", "drug", "drug_name", "drugname", "generic", "brand", "inn", "usan", "text"),
    *("名称", "药名", "药品名称", "英文名", "英文名称"),
)
"""Names of the column that holds the names, whatever their case, the likeliest first."""
KIND_COLUMNS = ("kind", "类别", "名称类别")
"""Names of the column that tells what a name names."""
KIND_WORDS: dict[str, str] = {kind: kind for kind in KINDS} | {"通用名": "generic", "商品名": "brand", "后缀": "suffix"}


def read(source: Path) -> Iterator[Raw | Invalid]:
    """The names of a file, or of all files in a folder that have a known ending, as "name" or "kind:name".

    A file that holds nothing, is binary, damaged, missing or of an unknown kind comes out as one Invalid.
    """
    yield from each_file(source, ENDINGS, _file)


def _file(path: Path) -> Iterator[Raw | Invalid]:
    kind = ending(path)
    if kind in (".parquet", ".pq"):
        return _parquet(path)
    if kind == ".txt":
        return _plain(path)
    return _table(path, "\t" if kind == ".tsv" else None)


def _plain(path: Path) -> Iterator[Raw | Invalid]:
    """One name a line; comments begin with "#"."""
    for line in told_lines(path):
        yield line if isinstance(line, Invalid) else Raw(line[1].strip(), str(path), line[0])


def _table(path: Path, separator: str | None) -> Iterator[Raw | Invalid]:
    """One name a line. A table of one column needs no heading; a quoted cell must not hold a line break."""
    places: tuple[int, int | None] | None = None
    for line in told_lines(path):
        if isinstance(line, Invalid):
            yield line
            continue
        number, text = line
        separator = separator or max(",;\t", key=text.count)
        row = [cell.strip() for cell in cells(text, separator)]
        if places is None:
            place, kind = _columns(row, number)
            places = (place or 0, kind)
            if place is not None:
                continue
            if len(row) > 1:
                raise Invalid("names.read.no_column", line=number, columns=", ".join(row[:20]))
        place, kind = places
        if place >= len(row):
            yield Invalid("names.read.row", line=number)
        else:
            yield _told(row[place], row[kind] if kind is not None and kind < len(row) else "", path, number)


def _columns(names: Sequence[str], line: int | None = None) -> tuple[int | None, int | None]:
    """The places of the columns of names and of kinds. Raises Invalid where one stands twice."""
    return column(names, COLUMNS, line), column(names, KIND_COLUMNS, line)


def _told(name: str, kind: str, path: Path, line: int) -> Raw | Invalid:
    """A name, its kind in front of it where the table tells one."""
    word = kind.strip().lower()
    if word and word not in KIND_WORDS:
        return Invalid("names.kind", line=line, value=kind[:40], known=", ".join(KINDS))
    return Raw(f"{KIND_WORDS[word]}:{name}" if word else name, str(path), line)


def _parquet(path: Path) -> Iterator[Raw | Invalid]:
    """Line numbers are row numbers, counted from 1."""
    with parquet(path) as scanned:
        names = scanned.collect_schema().names()
        place, kind = _columns(names)
        if place is None:
            raise Invalid("names.read.no_column", columns=", ".join(names[:20]))
        told = pl.lit("") if kind is None else pl.col(names[kind]).cast(pl.String, strict=False)
        table = scanned.select(pl.col(names[place]).cast(pl.String, strict=False).alias("name"), told.alias("kind"))
        for first, piece in chunks(table):
            for line, (name, word) in enumerate(piece.rows(), first):
                yield _told(name or "", word or "", path, line)

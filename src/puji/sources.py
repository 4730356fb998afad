"""What reading a file or a folder of files has in common, whatever the files hold."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TypeVar

import polars as pl

from puji.errors import Invalid
from puji.text import LONGEST_LINE, Line, opened

Item = TypeVar("Item")

DAY = 86_400
"""Seconds."""
EPOCH = date(1970, 1, 1).toordinal()
CHUNK = 50_000
"""Rows of a Parquet file that are to be held at once."""
TALLEST = 1000
"""Lines of a quoted cell."""


def ending(path: Path) -> str:
    """The ending of a file's name in lower case, without ".gz"."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def each_file(
    source: Path, endings: Sequence[str], read_file: Callable[[Path], Iterator[Item | Invalid]]
) -> Iterator[Item | Invalid]:
    """What ``read_file`` yields of ``source``, or of all files in that folder whose ending is one of ``endings``.

    A file that holds nothing, is missing, damaged or of an unknown kind comes out as one Invalid, and the others go on; every
    Invalid has its place.
    """
    files = [source]
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.is_file() and ending(path) in endings)
        if not files:
            yield Invalid("read.folder", source=str(source), endings=", ".join(endings))
    for path in files:
        yield from placed(path, _checked(path, endings, read_file))


def _checked(
    path: Path, endings: Sequence[str], read_file: Callable[[Path], Iterator[Item | Invalid]]
) -> Iterator[Item | Invalid]:
    if refusal := unreachable(path):
        raise refusal
    if ending(path) not in endings:
        raise Invalid("read.ending", endings=", ".join(endings))
    found = False
    for item in read_file(path):
        found = True
        yield item
    if not found:
        raise Invalid("read.nothing")


def placed(source: Path | str, items: Iterable[Item | Invalid]) -> Iterator[Item | Invalid]:
    """``items``, which are read from ``source``, every Invalid with its place; what stops the reading comes out as Invalid."""
    try:
        for item in items:
            yield item.at(str(source), item.line) if isinstance(item, Invalid) else item
    except Invalid as refusal:
        yield refusal.at(str(source), refusal.line)
    except OSError as error:
        yield _failure(error, source)


def unreachable(path: Path) -> Invalid | None:
    """Why ``path`` leads to no file or folder (there is none, links in a circle, no right to look); None if it leads to one."""
    try:
        path.stat()
    except OSError as error:
        return _failure(error, path)
    return None


def _failure(error: OSError, source: Path | str) -> Invalid:
    if isinstance(error, FileNotFoundError):
        return Invalid("read.missing", source=str(source))
    return Invalid("read.failed", source=str(source), why=error.strerror or str(error))


@contextmanager
def parquet(path: Path) -> Iterator[pl.LazyFrame]:
    """A Parquet file, unpacked first if it is gzip. Raises Invalid for one that is damaged."""
    with tempfile.TemporaryDirectory(prefix="puji-") as folder:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        plain = path
        if packed:
            plain = Path(folder) / "table.parquet"
            with opened(path) as unpacked, plain.open("wb") as target:
                shutil.copyfileobj(unpacked, target)
        try:
            yield pl.scan_parquet(plain, glob=False)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise Invalid("text.damaged") from error


def chunks(table: pl.LazyFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """``table`` in pieces of `CHUNK` rows, each with the number of its first row, counted from 1.

    Dates before the year 1 and after 9999, which Python has not, come as its first and last: one stray date stops nothing.
    """
    start = 0
    while len(piece := table.slice(start, CHUNK).collect()):
        yield start + 1, piece.with_columns(_within(name, kind) for name, kind in piece.schema.items())
        start += CHUNK


def _within(name: str, kind: pl.DataType) -> pl.Expr:
    if isinstance(kind, pl.Date):
        unit, margin = 1, 0
    elif isinstance(kind, pl.Datetime) and kind.time_unit != "ns":  # nanoseconds do not reach so far
        unit = DAY * {"us": 10**6, "ms": 10**3}[kind.time_unit]
        margin = 0 if kind.time_zone is None else 2  # days, by which a place's clock may be off
    else:
        return pl.col(name)
    first, last = ((day - EPOCH) * unit for day in (1 + margin, date.max.toordinal() + 1 - margin))
    return pl.col(name).to_physical().clip(first, last - 1).cast(kind)


def cells(line: str, separator: str, *, strict: bool = False) -> list[str]:
    """The cells of one line of a table; none if the line is no row, or where ``strict`` has a quote that is out of place."""
    try:
        return next(csv.reader([line], delimiter=separator, strict=strict), [])
    except csv.Error:
        return []


def rows(numbered: Iterable[Line | Invalid], separator: str) -> Iterator[tuple[int, list[str]] | Invalid]:
    """The rows of a table whose quoted cells may hold line breaks, each with the number of its first line.

    A line with a quote that is never closed, or closed within a cell, is refused and the next one read by itself, so that the
    rows below it are not taken for its text. A cell has at most `TALLEST` lines and `LONGEST_LINE` characters.
    """
    source = iter(numbered)
    waiting: deque[Line | Invalid] = deque()
    while (line := waiting.popleft() if waiting else next(source, None)) is not None:
        if isinstance(line, Invalid):
            yield line
            continue
        number, text = line
        row = cells(text + "\n", separator)
        if row and row[-1].endswith("\n"):  # the break belongs to a quoted cell
            row = []
            size, block = len(text), [text]
            for place in range(TALLEST):
                if place == len(waiting):
                    waiting.extend(islice(source, 1))
                more = waiting[place] if place < len(waiting) else None
                if more is None or isinstance(more, Invalid) or (size := size + len(more[1])) > LONGEST_LINE:
                    break
                block.append(more[1])
                if more[1].count('"') % 2:
                    row = cells("\n".join(block), separator, strict=True)
                    break
            if not row:
                yield Invalid("read.quote", line=number)
                continue
            for _ in block[1:]:
                waiting.popleft()
        yield number, row


def column(names: Sequence[str], known: Sequence[str], line: int | None = None) -> int | None:
    """The place of the first of the ``known`` headings, in lower case, that is among ``names``; None if there is none.

    Raises Invalid, with the ``line`` of the headings, where that one stands twice: which is meant, nobody can tell.
    """
    lower = [name.strip().lstrip("\ufeff").lower() for name in names]
    found = next((name for name in known if name in lower), None)
    if found is None:
        return None
    if lower.count(found) > 1:
        raise Invalid("read.heading_twice", line=line, name=names[lower.index(found)].strip()[:40])
    return lower.index(found)

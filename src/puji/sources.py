"""What reading a file or a folder of files has in common, whatever the files hold."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import polars as pl

from puji.errors import Invalid
from puji.text import opened

Item = TypeVar("Item")

CHUNK = 50_000
"""Rows of a Parquet file that are to be held at once."""


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
    except FileNotFoundError:
        yield Invalid("read.missing", source=str(source))
    except OSError as error:
        yield Invalid("read.failed", source=str(source), why=error.strerror or str(error))


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
    """``table`` in pieces of `CHUNK` rows, each with the number of its first row, counted from 1."""
    start = 0
    while len(piece := table.slice(start, CHUNK).collect()):
        yield start + 1, piece
        start += CHUNK


def cells(line: str, separator: str) -> list[str]:
    """The cells of one line of a table; none if the line is no row. A quoted cell must not hold a line break."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []

"""Results: a table for people in a terminal, CSV in a pipe, or a file that appears whole or not at all."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import click

from puji.commands.interface import one_of
from puji.errors import Invalid
from puji.files import whole
from puji.language import translate

TABLES = ("csv", "jsonl", "parquet")
FORMATS = one_of("table", "csv", "jsonl")


def note(key: str, **details: Any) -> None:
    """Tell people something on stderr."""
    click.echo(translate(key, **details), err=True)


def ending(path: Path) -> str:
    """The ending of ``path`` that says its format, lower case, without the dot and without ``.gz``."""
    return path.suffix.lower().lstrip(".")


def check_ending(path: Path, known: Iterable[str]) -> None:
    """Raise Invalid if the ending of ``path`` is none of ``known``."""
    names = [name.lower().lstrip(".") for name in known]
    if ending(path) not in names:
        raise Invalid("cli.format", source=str(path), ending=path.suffix, known=", ".join(f".{name}" for name in names))


class Rows(Protocol):
    """Takes rows one by one."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row."""


def plain(value: Any) -> Any:
    """``value`` as a CSV cell or JSON value."""
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


class CsvRows:
    """Rows as CSV; the first one names the columns."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.writer: csv.DictWriter[str] | None = None

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        if self.writer is None:
            self.writer = csv.DictWriter(self.stream, list(row), extrasaction="ignore", restval="", lineterminator="\n")
            self.writer.writeheader()
        cells = {key: plain(value) for key, value in row.items()}
        self.writer.writerow(
            {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in cells.items()}
        )


class JsonRows:
    """Rows as JSON, one a line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        cells = {key: plain(value) for key, value in row.items()}
        self.stream.write(json.dumps(cells, ensure_ascii=False, default=str) + "\n")


class TableRows:
    """Rows collected for a table on the terminal."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []

    def write(self, row: Mapping[str, Any]) -> None:
        """Keep one row."""
        self.rows.append(row)


class ParquetRows(TableRows):
    """Rows collected for a Parquet file."""

    def save(self, path: Path) -> None:
        """Write the file."""
        import polars

        polars.DataFrame([{key: plain(value) for key, value in row.items()} for row in self.rows]).write_parquet(path)


@contextmanager
def rows_to(out: Path | None, form: str | None) -> Iterator[Rows]:
    """Where rows go: the file ``out`` (csv, jsonl or parquet), or stdout in the format ``form``."""
    if out is None:
        with _stdout(form) as rows:
            yield rows
        return
    check_ending(out, TABLES)
    with whole(out) as path:
        if ending(out) == "parquet":
            table = ParquetRows()
            yield table
            table.save(path)
            return
        with path.open("w", encoding="utf-8", newline="") as stream:
            yield CsvRows(stream) if ending(out) == "csv" else JsonRows(stream)


def as_table(out: Path | None, form: str | None) -> bool:
    """Whether the result is shown as a table for people."""
    return out is None and (form == "table" or (form is None and sys.stdout.isatty()))


@contextmanager
def _stdout(form: str | None) -> Iterator[Rows]:
    if as_table(None, form):
        table = TableRows()
        yield table
        if table.rows:
            print_table(table.rows)
    else:
        yield JsonRows(sys.stdout) if form == "jsonl" else CsvRows(sys.stdout)
    sys.stdout.flush()


def shown(value: Any) -> str:
    """``value`` as people read it in a table."""
    value = plain(value)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return translate("cli.yes" if value else "cli.no")
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:,.2f}".rstrip("0").rstrip(".")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def print_table(rows: Sequence[Mapping[str, Any]], stream: TextIO | None = None) -> None:
    """Print ``rows``; a single one is printed upright, a name and a value a line.

    Columns that do not fit beside each other are left out and named below: a table folded to slivers helps nobody.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream or sys.stdout, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, show_header=len(rows) > 1, pad_edge=False, header_style="bold")
    names = list(rows[0])
    if len(rows) == 1:
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in rows[0].items():
            table.add_row(Text(name), Text(shown(value)))
    else:
        names = fitting(rows, console.width)
        for name in names:
            numeric = all(isinstance(plain(row.get(name)), int | float | None) for row in rows)
            table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(shown(row.get(name))) for name in names))
    console.print(table)
    if left := [name for name in rows[0] if name not in names]:
        note("cli.more_columns", names=", ".join(left))


def fitting(rows: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """The first columns of ``rows`` that fit beside each other in ``width`` characters; at least one."""
    from rich.cells import cell_len

    names: list[str] = []
    for name in rows[0]:
        width -= max(cell_len(name), *(cell_len(shown(row.get(name))) for row in rows)) + 3
        if names and width < 0:
            break
        names.append(name)
    return names


@contextmanager
def progress(key: str, total: int) -> Iterator[Any]:
    """A progress bar on stderr if that is a terminal; gives a function to call once for each finished record."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    words = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*words, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(translate(key), total=total)
        yield lambda *_: bar.advance(task)

"""Results: a table for people in a terminal, CSV in a pipe, or a file that appears whole or not at all."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from puji.commands.fields import modality_class
from puji.commands.interface import Typed, one_of, option
from puji.errors import Invalid
from puji.files import check_writable
from puji.language import current, has_text, label, translate
from puji.tables import TABLES, ChosenRows, CsvRows, JsonRows, Rows, TableRows, plain, table

FORMATS = one_of("table", "csv", "jsonl")
NARROWEST = 20
"""Characters; a column of text is folded to no fewer."""


def note(key: str, **details: Any) -> None:
    """Tell people something on stderr."""
    click.echo(translate(key, **details), err=True)


def exists(path: Path) -> bool:
    """Whether there is a file, folder or link ``path``, wherever that leads; what cannot even be a path is none."""
    return os.path.lexists(path)


def check_out(out: Path | None, form: str | None, known: Sequence[str] = TABLES) -> None:
    """Raise Invalid now if the file ``out`` could not be written later or is at odds with ``--format``.

    ``known``: the endings of the formats that can be written there.
    """
    if out is None:
        return
    if out.is_dir():
        # Some formats are folders.
        reason = "cli.out_exists" if out.suffix.lower() in known else "cli.out_is_folder"
        raise Invalid(reason, option="--out", value=str(out))
    if out.suffix.lower() not in known:
        raise Invalid("cli.format", source=f"--out {out}", ending=out.suffix, known=", ".join(known))
    if form is not None and out.suffix.lower() != f".{form}":
        raise Invalid("cli.format_and_out", form=form, out=str(out))
    check_writable(out)


def check_columns(columns: Sequence[str] | None, out: Path | None, tables: Sequence[str] = TABLES) -> None:
    """Raise Invalid if ``--columns`` is asked for where ``out`` is none of the ``tables``."""
    if columns is not None and out is not None and out.suffix.lower() not in tables:
        raise Invalid("cli.columns_table", out=str(out))


def check_folder(out: Path) -> None:
    """Raise Invalid now if no folder could be made at ``out`` later."""
    place = next(path for path in (out.absolute(), *out.absolute().parents) if exists(path))
    if not place.is_dir():
        raise Invalid("cli.not_a_folder", option="--out", value=str(place))
    try:
        check_writable(place / ".puji-check")
    except Invalid as refusal:
        raise Invalid(refusal.reason, source=f"--out {out}", **refusal.details) from refusal


def columns_option() -> click.Option:
    """``--columns``."""
    return option("--columns", kind=COLUMNS, metavar="cli.metavar.names")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in re.split("[,，]", text) if part.strip()))
    if not names:
        raise ValueError(text)
    return names


COLUMNS = Typed("columns", _names, "cli.not_names")


@contextmanager
def rows_to(
    out: Path | None, form: str | None, modality: str = "", columns: Sequence[str] | None = None
) -> Iterator[Rows]:
    """Where rows go: the file ``out`` (csv, jsonl or parquet), or stdout in the format ``form``.

    ``modality``: whose words people read in the table; ``columns``: which ones are wanted, in which order; None: all.
    """
    with _stdout(form, modality, folded=columns is not None) if out is None else table(out) as rows:
        yield rows if columns is None else ChosenRows(rows, columns)


def as_table(out: Path | None, form: str | None) -> bool:
    """Whether the result is shown as a table for people."""
    return out is None and (form == "table" or (form is None and on_terminal()))


def form_of(out: Path | None, form: str | None) -> str:
    """The format that rows get: "table", "csv", "jsonl" or "parquet"."""
    if out is not None:
        return out.suffix.lower()[1:]
    return "table" if as_table(None, form) else form or "csv"


def on_terminal() -> bool:
    """Whether people see stdout as it comes."""
    return sys.stdout is not None and sys.stdout.isatty()


@contextmanager
def _stdout(form: str | None, modality: str, folded: bool) -> Iterator[Rows]:
    if sys.stdout is None:
        raise Invalid("cli.no_stdout")
    if as_table(None, form):
        kept = TableRows()
        yield kept
        if kept.rows:
            print_table(kept.rows, modality, folded=folded)
    else:
        yield JsonRows(sys.stdout) if form == "jsonl" else CsvRows(sys.stdout)
    sys.stdout.flush()


def shown(value: Any, modality: str = "", column: str = "") -> str:
    """``value`` as people read it in the ``column`` of a table of ``modality``."""
    value = plain(value)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return translate("cli.yes" if value else "cli.no")
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1 else f"{value:,.2f}"
    if isinstance(value, str) and modality:
        return str(modality_class(modality).wording(column, value).text(current()))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def heading(name: str, modality: str = "") -> str:
    """The column ``name`` of ``modality`` as people read it, where the catalogues have it."""
    told = modality_class(modality).wording("column", name).text(current()) if modality else name
    told = label(name, f"cli.column.{name}") if told == name else told
    told = modality_class(modality).wording("predicted", name).text(current()) if modality and told == name else told
    whole, _, part = name.rpartition("_")
    if told == name and whole and has_text(f"cli.column_of.{part}"):
        return translate(f"cli.column_of.{part}", name=heading(whole, modality))
    return told


def print_table(
    rows: Sequence[Mapping[str, Any]], modality: str = "", stream: TextIO | None = None, *, folded: bool = False
) -> None:
    """Print ``rows`` of ``modality``; a single one is printed upright, a name and a value a line.

    Columns that do not fit beside each other are left out and named below, unless all of them were asked for (``folded``) or the
    widest text can be folded to `NARROWEST` characters or more: a table folded to slivers helps nobody.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if (stream := stream or sys.stdout) is None:
        return
    console = Console(file=stream, highlight=False)
    printed = Table(box=box.SIMPLE_HEAD, show_header=len(rows) > 1, pad_edge=False, header_style="bold")
    names = list(rows[0])
    if len(rows) == 1:
        printed.add_column(style="bold")
        printed.add_column(overflow="fold")
        for name, value in rows[0].items():
            printed.add_row(Text(heading(name, modality)), Text(shown(value, modality, name)))
    else:
        widths = fitting(rows, 10**6 if folded else console.width, modality)
        names = list(widths)
        for name, width in widths.items():
            numeric = all(isinstance(plain(row.get(name)), int | float | None) for row in rows)
            told = Text(heading(name, modality))
            printed.add_column(told, justify="right" if numeric else "left", overflow="fold", max_width=width)
        for row in rows:
            printed.add_row(*(Text(shown(row.get(name), modality, name)) for name in names))
    console.print(printed)
    if left := [name for name in rows[0] if name not in names]:
        note("cli.more_columns", names=", ".join(left))


def fitting(rows: Sequence[Mapping[str, Any]], width: int, modality: str = "") -> dict[str, int]:
    """The first columns of ``rows`` that fit beside each other in ``width`` characters, at least one, and their widths.

    A heading may take two lines, and the cells of the widest column of text several, where all columns then fit.
    """
    from rich.cells import cell_len

    wanted: dict[str, int] = {}
    for name in rows[0]:
        told = heading(name, modality)
        # A long Chinese heading can be broken anywhere, one of four characters (eight cells) and others only between words.
        longest = max(len(word) if word.isascii() else min(cell_len(word), 8) for word in told.split() or [""])
        needed = max(
            longest, (cell_len(told) + 1) // 2, *(cell_len(shown(row.get(name), modality, name)) for row in rows)
        )
        wanted[name] = needed
    widest = max(wanted, key=lambda name: (isinstance(rows[0].get(name), str), wanted[name]))
    room = width - sum(needed + 3 for name, needed in wanted.items() if name != widest) - 3
    if NARROWEST <= room < wanted[widest] and isinstance(rows[0].get(widest), str):
        wanted[widest] = room
    found: dict[str, int] = {}
    for name, needed in wanted.items():
        width -= needed + 3
        if found and width < 0:
            break
        found[name] = needed
    return found


@contextmanager
def progress(key: str, total: int | None = None, rows_on_terminal: bool = False) -> Iterator[Any]:
    """A progress bar on stderr if that is a terminal; gives a function to call once for each finished record.

    Where ``total`` is not known before, the function is called with how many are done, of how many.

    There is none where rows appear on the terminal one by one: they say how far the work is.
    """
    if rows_on_terminal or sys.stderr is None or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    words = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Rich would send what is written to stdout, a pipe or a file perhaps, to the terminal.
    with Progress(*words, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(translate(key), total=total)
        if total is None:
            yield lambda done, most: bar.update(task, completed=done, total=most)
        else:
            yield lambda: bar.advance(task)

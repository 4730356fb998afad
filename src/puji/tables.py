"""Rows as CSV, JSON lines or Parquet: the same cells whether a batch is saved at once or rows come one by one."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from puji.errors import Invalid
from puji.files import whole
from puji.language import current

TABLES = (".csv", ".jsonl", ".parquet")


class Rows(Protocol):
    """Takes rows one by one."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row."""


def plain(value: Any) -> Any:
    """``value`` in Python's own types; None for a number that is none (nan) or without bounds."""
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    return value


def flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Nested mappings as (``a.b``, value) pairs."""
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for key, inner in value.items() for pair in flat(inner, f"{prefix}.{key}" if prefix else str(key))]


def _told(value: Any) -> Any:
    """``value`` with eight significant digits, as text formats write it."""
    if isinstance(value, float):
        return float(f"{value:.8g}")
    if isinstance(value, dict):
        return {key: _told(inner) for key, inner in value.items()}
    return [_told(inner) for inner in value] if isinstance(value, list) else value


def _cell(value: Any) -> Any:
    """``value`` as CSV has it: nothing for None, true and false as in JSON, a list with spaces between."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    return " ".join(str(_cell(inner)) for inner in value) if isinstance(value, list) else value


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
        self.writer.writerow({key: _cell(_told(plain(value))) for key, value in row.items()})


class JsonRows:
    """Rows as JSON, one a line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        cells = {key: _told(plain(value)) for key, value in row.items()}
        self.stream.write(json.dumps(cells, ensure_ascii=False, allow_nan=False, default=str) + "\n")


class TableRows:
    """Rows that are kept until all are there."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []

    def write(self, row: Mapping[str, Any]) -> None:
        """Keep one row."""
        self.rows.append(row)


class ChosenRows:
    """Of each row the ``columns``, in this order, for ``rows``. Raises Invalid where a row has none of such a name."""

    def __init__(self, rows: Rows, columns: Sequence[str]) -> None:
        self.rows = rows
        self.columns = columns

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        for name in self.columns:
            if name not in row:
                raise Invalid("cli.no_column", source="--columns", name=name[:40], known=", ".join(row))
        self.rows.write({name: row[name] for name in self.columns})


@contextmanager
def table(target: Path) -> Iterator[Rows]:
    """Rows of a csv, jsonl or parquet file, by its ending; it appears whole when all are written, or not at all.

    Raises Invalid for another ending, a full disk or a folder that cannot be written.
    """
    ending = target.suffix.lower()
    if ending not in TABLES:
        raise Invalid("write.format", source=str(target), formats=", ".join(TABLES))
    with whole(target) as path:
        if ending == ".parquet":
            import polars

            kept = TableRows()
            yield kept
            rows = [{key: plain(value) for key, value in row.items()} for row in kept.rows]
            polars.DataFrame(rows, infer_schema_length=None).write_parquet(path)
            return
        # Excel takes a CSV without this mark for one in the encoding of the machine, and spoils what is Chinese in it.
        marked = ending == ".csv" and current() == "zh"
        with path.open("w", encoding="utf-8-sig" if marked else "utf-8", newline="") as stream:
            yield CsvRows(stream) if ending == ".csv" else JsonRows(stream)


def write_table(rows: Sequence[Mapping[str, Any]], target: Path) -> None:
    """Write ``rows`` as csv, jsonl or parquet, by the ending of ``target``; whole or not at all. Raises as `table`."""
    with table(target) as written:
        for row in united(rows):
            written.write(row)


def united(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """``rows``, each with the columns of all; None where it has none. The longest row says their order."""
    names = dict.fromkeys(name for row in (max(rows, key=len, default={}), *rows) for name in row)
    return ({name: row.get(name) for name in names} for row in rows)

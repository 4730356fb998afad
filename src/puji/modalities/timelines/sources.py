"""Patients from MEDS, FHIR R4, OMOP and tables: recognised by what the files are, one whole patient at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from puji.errors import Invalid
from puji.modalities.timelines import read_fhir, read_omop, read_tables
from puji.modalities.timelines.cleaning import Row, patients
from puji.modality import Raw
from puji.sources import chunks, each_file, ending, parquet
from puji.text import told_lines

ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".ndjson", ".jsonl", ".json", ".duckdb")
"""File name endings that `read` knows, each also with ``.gz``."""
JSON_LINES = (".ndjson", ".jsonl", ".json")


def read(source: Path) -> Iterator[Raw | Invalid]:
    """The patients of a file, or of all files in a folder; a patient may be spread over many.

    What is dropped, duplicates and impossible times among it, comes out as Invalid, counted by reason and file.
    """
    omop = source.is_dir() and read_omop.is_omop(source)
    yield from patients(read_omop.folder(source) if omop else _told(source))


def _told(source: Path) -> Iterator[tuple[Row, str] | Raw | Invalid]:
    """What each file tells: rows about patients, or whole patients where Puji wrote it."""

    def file(path: Path) -> Iterator[tuple[Row, str] | Raw | Invalid]:
        kind = ending(path)
        if kind in JSON_LINES and _own(path):
            yield from _dumped(told_lines(path, read_fhir.LONGEST_JSON), path)
            return
        if kind in (".parquet", ".pq") and _column(path):
            yield from _dumped(_records(path), path)
            return
        if kind in JSON_LINES:
            rows = read_fhir.file(path)
        elif kind == ".duckdb":
            rows = read_omop.database(path)
        else:
            rows = read_tables.file(path)
        for row in rows:
            yield row if isinstance(row, Invalid) else (row, str(path))

    # The names of codes and splits that a MEDS folder keeps beside its data are no events.
    beside = source / "metadata"
    found: Iterator[tuple[Row, str] | Raw | Invalid] = each_file(source, ENDINGS, file)
    for item in found:
        if not (isinstance(item, Invalid) and Path(item.source).is_relative_to(beside)):
            yield item


def _own(path: Path) -> bool:
    """Whether a file holds timelines as Puji dumps them."""
    try:
        lines = told_lines(path, read_fhir.LONGEST_JSON)
        first = next((line for line in lines if not isinstance(line, Invalid)), None)
        told = None if first is None or not first[1].lstrip().startswith("{") else json.loads(first[1])
    except (Invalid, OSError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and ("record" in told or {"events", "sex"} <= told.keys())


def _column(path: Path) -> bool:
    """Whether a Parquet file is a table of generated patients, which carries each whole."""
    try:
        with parquet(path) as scanned:
            return "record" in scanned.collect_schema().names()
    except (Invalid, OSError):
        return False


def _records(path: Path) -> Iterator[tuple[int, str]]:
    with parquet(path) as scanned:
        for first, piece in chunks(scanned.select("record")):
            yield from enumerate(piece["record"].cast(str).to_list(), first)


def _dumped(lines: Iterable[tuple[int, str] | Invalid], path: Path) -> Iterator[Raw | Invalid]:
    """Timelines as `Timeline.dump` tells them, or rows of a table of generated ones, with that under "record"."""
    for line in lines:
        if isinstance(line, Invalid):
            yield line
            continue
        try:
            told = read_fhir.parsed(line[1])
            record = told.get("record", told) if isinstance(told, dict) else told
            yield Raw(read_fhir.parsed(record) if isinstance(record, str) else record, str(path), line[0])
        except (ValueError, RecursionError):
            yield Invalid("timelines.read.json", line=line[0])

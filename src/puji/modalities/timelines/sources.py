"""Patients from MEDS, FHIR R4, OMOP and tables: recognised by what the files are, one whole patient at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from puji.modalities.timelines import read_fhir, read_omop, read_tables
from puji.modalities.timelines.cleaning import Row, patients
from puji.modality import Invalid, Raw
from puji.sources import each_file, ending, placed
from puji.text import told_lines

ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".ndjson", ".jsonl", ".json", ".duckdb")
"""File name endings that `read` knows, each also with ``.gz``."""
JSON_LINES = (".ndjson", ".jsonl", ".json")


def read(source: Path) -> Iterator[Raw | Invalid]:
    """The patients of a file, or of all files in a folder; a patient may be spread over many.

    What is dropped, duplicates and impossible times among it, comes out as Invalid, counted by reason and file.
    """
    if source.is_dir() and read_omop.is_omop(source):
        yield from patients(read_omop.folder(source))
    elif ending(source) in JSON_LINES and _own(source):
        yield from placed(source, _dumped(source))
    else:
        yield from patients(_rows(source))


def _rows(source: Path) -> Iterator[tuple[Row, str] | Invalid]:
    def file(path: Path) -> Iterator[tuple[Row, str] | Invalid]:
        kind = ending(path)
        if kind in JSON_LINES:
            rows = read_fhir.file(path)
        elif kind == ".duckdb":
            rows = read_omop.database(path)
        else:
            rows = read_tables.file(path)
        for row in rows:
            yield row if isinstance(row, Invalid) else (row, str(path))

    # The names of codes and splits that a MEDS folder keeps beside its data are no events.
    yield from (item for item in each_file(source, ENDINGS, file) if not _metadata(item))


def _metadata(item: tuple[Row, str] | Invalid) -> bool:
    return isinstance(item, Invalid) and "metadata" in Path(item.source).parts


def _own(path: Path) -> bool:
    """Whether a file holds timelines as Puji dumps them."""
    try:
        first = next((line for line in told_lines(path) if not isinstance(line, Invalid)), None)
    except (Invalid, OSError):
        return False
    return first is not None and first[1].lstrip().startswith("{") and '"events"' in first[1] and '"sex"' in first[1]


def _dumped(path: Path) -> Iterator[Raw | Invalid]:
    for line in told_lines(path):
        if isinstance(line, Invalid):
            yield line
            continue
        try:
            yield Raw(json.loads(line[1]), str(path), line[0])
        except ValueError:
            yield Invalid("timelines.read.json", line=line[0])

"""OMOP CDM 5.4: a folder of CSV tables, or a DuckDB file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from puji.errors import Invalid
from puji.modalities.timelines.cleaning import Row
from puji.modalities.timelines.codes import system_of
from puji.modalities.timelines.read_tables import result
from puji.modalities.timelines.read_tables import time_of as moment
from puji.modalities.timelines.timeline import DEATH
from puji.modalities.timelines.values import SEXES, Reading
from puji.sources import cells, column, rows
from puji.text import lines, told_lines

EVENTS: dict[str, tuple[str, tuple[str, ...], str | None, str | None]] = {
    "condition_occurrence": ("condition_concept_id", ("condition_start_datetime", "condition_start_date"), None, None),
    "drug_exposure": ("drug_concept_id", ("drug_exposure_start_datetime", "drug_exposure_start_date"), None, None),
    "procedure_occurrence": ("procedure_concept_id", ("procedure_datetime", "procedure_date"), None, None),
    "measurement": (
        *("measurement_concept_id", ("measurement_datetime", "measurement_date")),
        *("value_as_number", "unit_source_value"),
    ),
    "observation": (
        *("observation_concept_id", ("observation_datetime", "observation_date")),
        *("value_as_number", "unit_source_value"),
    ),
}
"""Table -> columns of the concept, of the time (the first that is filled), of the value and of its unit."""
ENDS = {
    "observation_period": ("observation_period_end_date",),
    "visit_occurrence": ("visit_end_datetime", "visit_end_date"),
}
TABLES = ("concept", "person", "death", *ENDS, *EVENTS)
"""In the order in which they are read: the concepts first."""


def is_omop(folder: Path) -> bool:
    """Whether a folder has the table of persons, or one of events with the columns that OMOP gives it."""
    return _table(folder, "person") is not None or any(
        path is not None and {"person_id", concept} <= set(_names(path))
        for path, concept in ((_table(folder, name), concept) for name, (concept, *_) in EVENTS.items())
    )


def folder(source: Path) -> Iterator[tuple[Row, str] | Invalid]:
    """The rows of a folder of CSV tables; without a concept table codes are "OMOP/<concept id>"."""
    if _table(source, "person") is None:
        yield Invalid("timelines.read.no_person_file", source=str(source))
        return
    concepts: dict[str, str] = {}
    synthetic = _synthetic(source)
    for name in TABLES:
        path = _table(source, name)
        if path is None:
            continue
        try:
            for row in _rows(name, _lines(path), concepts):
                if isinstance(row, Invalid):
                    yield row.at(str(path), row.line)
                else:
                    yield row._replace(synthetic=synthetic), str(path)
        except Invalid as refusal:
            yield refusal.at(str(path), refusal.line)


def _synthetic(source: Path) -> bool:
    """Whether a folder says that its patients are synthetic, as those that Puji writes do."""
    path = _table(source, "cdm_source")
    told = _lines(path) if path is not None else ()
    return any("synthetic" in str(cell.get("cdm_source_name")) for _, cell in told if not isinstance(cell, Invalid))


def database(path: Path) -> Iterator[Row | Invalid]:
    """The rows of a DuckDB file. Raises Invalid where duckdb is not installed or the file is no OMOP database."""
    try:
        import duckdb
    except ImportError as error:
        raise Invalid("timelines.read.duckdb") from error
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            tables = {
                name.lower(): name
                for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()
            }
            if "person" not in tables:
                raise Invalid("timelines.read.no_person")
            concepts: dict[str, str] = {}
            for name in TABLES:
                if name in tables:
                    yield from _rows(name, _fetched(connection.execute(f'select * from "{tables[name]}"')), concepts)
    except duckdb.Error as error:
        raise Invalid("text.damaged") from error


def _table(source: Path, name: str) -> Path | None:
    endings = (f"{name}.csv", f"{name}.csv.gz")
    return next((path for path in sorted(source.iterdir()) if path.name.lower() in endings), None)


def _names(path: Path) -> list[str]:
    """The headings of a table in lower case; none where it cannot be read."""
    try:
        first = next((line[1] for line in told_lines(path) if not isinstance(line, Invalid)), "")
    except (Invalid, OSError):
        return []
    return [name.strip().lower() for name in cells(first, _separator(first))]


def _separator(heading: str) -> str:
    return "\t" if "\t" in heading else ","


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str] | Invalid]]:
    """Line and cells by heading of each row. Raises Invalid for a heading that stands twice."""
    numbered = lines(path)
    for heading in numbered:
        if not isinstance(heading, Invalid):
            break
        yield heading.line or 0, heading
    else:
        return
    separator = _separator(heading[1])
    names = [name.strip().lstrip("\ufeff").lower() for name in cells(heading[1], separator)]
    for name in names:
        column(names, (name,) if name else (), heading[0])
    for row in rows(numbered, separator):
        if isinstance(row, Invalid):
            yield row.line or 0, row
        elif row[1]:
            yield row[0], dict(zip(names, row[1], strict=False))


def _fetched(found: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of what a query ``found``, as `_lines` gives those of a file."""
    columns = [column[0].lower() for column in found.description]
    rows = chain.from_iterable(iter(lambda: found.fetchmany(10_000), []))
    for line, values in enumerate(rows, 1):
        yield line, dict(zip(columns, values, strict=True))


def _rows(
    name: str, cells: Iterable[tuple[int, Mapping[str, Any] | Invalid]], concepts: dict[str, str]
) -> Iterator[Row | Invalid]:
    """The rows that the ``cells`` of the table ``name`` tell; its own fill ``concepts`` instead."""
    for line, cell in cells:
        if isinstance(cell, Invalid):
            yield cell
        elif name == "concept":
            concepts[_text(cell.get("concept_id"))] = _code(cell)
        else:
            yield from _row(name, cell, line, concepts)


def _row(name: str, cell: Mapping[str, Any], line: int, concepts: Mapping[str, str]) -> Iterator[Row | Invalid]:
    subject = _text(cell.get("person_id"))
    if not subject:
        yield Invalid("timelines.read.no_subject", line=line)
    elif name == "person":
        yield Row(subject, "person", None, None, "", None, "", line)
        concept, source = (_text(cell.get(name)) for name in ("gender_concept_id", "gender_source_value"))
        yield Row(subject, "sex", None, None, concept if concept in SEXES else source, None, "", line)
        when = moment(cell.get("birth_datetime"))
        if when is None and (year := _text(cell.get("year_of_birth"))):
            parts = [
                _text(cell.get(part)) or default for part, default in (("month_of_birth", "7"), ("day_of_birth", "1"))
            ]
            try:
                when = moment(f"{int(float(year)):04d}-{int(float(parts[0])):02d}-{int(float(parts[1])):02d}")
            except (ValueError, OverflowError):
                when = None
            if when is None:
                yield Invalid("timelines.read.date", line=line, column="year_of_birth")
        if when is not None:
            yield Row(subject, "birth", when, None, "", None, "", line)
    elif name == "death":
        when = _first(cell, ("death_datetime", "death_date"))
        yield Row(subject, "event", when, None, DEATH, None, "", line, referred=True)
    elif name in ENDS:
        if (when := _first(cell, ENDS[name])) is not None:
            yield Row(subject, "end", when, None, "", None, "", line, referred=True)
    else:
        concept, times, value, unit = EVENTS[name]
        identifier = _text(cell.get(concept))
        if identifier in ("", "0"):
            # No standard concept: the source's own code says more than zero.
            source = _text(cell.get(concept.replace("_concept_id", "_source_value")))
            if not source:
                yield Invalid("timelines.read.no_code", line=line)
                return
            code = source
        else:
            code = concepts.get(identifier) or f"OMOP/{identifier}"
        told, answer, remark = Reading() if value is None else result(cell.get(value))
        if told is None and not answer and (concept := _text(cell.get("value_as_concept_id"))) not in ("", "0"):
            code += f"={concepts.get(concept) or f'OMOP/{concept}'}"
        unit_told = _text(cell.get(unit)) if unit else ""
        when = _first(cell, times)
        yield Row(subject, "event", when, None, code, told, unit_told, line, answer, remark, referred=True)


def _first(cell: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    return next((when for name in names if (when := moment(cell.get(name))) is not None), None)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _code(concept: Mapping[str, Any]) -> str:
    return f"{system_of(_text(concept.get('vocabulary_id')) or 'OMOP')}/{_text(concept.get('concept_code'))}"

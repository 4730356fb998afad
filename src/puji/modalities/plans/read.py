"""Logged trajectories: CSV and Parquet with a row a step, MEDS, and episodes as Puji writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from puji.errors import Invalid
from puji.modalities.plans.episode import Episode, Step, check_setting, checked
from puji.modalities.plans.setting import Setting
from puji.modality import Raw
from puji.sources import cells, chunks, column, each_file, ending, parquet
from puji.text import lines, told_lines

ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".jsonl", ".ndjson", ".json")
PARQUET = (".parquet", ".pq")
JSON_LINES = (".jsonl", ".ndjson", ".json")
COLUMNS: dict[str, tuple[str, ...]] = {
    "subject": ("subject", "subject_id", "patient", "patient_id", "患者编号", "病案号", "患者"),
    "step": ("step", "time", "t", "步", "时间"),
    "state": ("state", "状态"),
    "action": ("action", "操作", "处置", "措施"),
    "reward": ("reward", "奖励"),
    "outcome": ("outcome", "结局", "转归"),
    "features": ("features", "特征"),
    "code": ("code",),
    "value": ("numeric_value",),
}
"""Headings in lower case. A table with "code" and "numeric_value" is MEDS; of others "features" may hold several words."""
ACTION, OUTCOME, FEATURE = "ACTION//", "OUTCOME//", "FEATURE//"
"""Beginnings of the codes that tell actions, outcomes and features in MEDS; others are observed columns, or STATE//."""
STATE = "STATE//"


@dataclass
class _Row:
    """A step before its neighbours are known."""

    order: float
    state: str = ""
    values: dict[str, float] = field(default_factory=dict)
    action: str = ""
    reward: float = 0.0
    outcome: str = ""
    features: tuple[str, ...] = ()
    line: int = 0


@dataclass
class _Patient:
    rows: dict[float, _Row] = field(default_factory=dict)
    features: set[str] = field(default_factory=set)
    source: str = ""
    refused: Invalid | None = None


def read(source: Path, setting: Setting) -> Iterator[Raw | Invalid]:
    """The episodes of a file, or of all files in a folder, one whole patient at a time; a patient may be spread over many.

    A patient of whom a row cannot be read is refused as a whole: a step that is missing would make two others neighbours.
    """
    patients: dict[str, _Patient] = {}

    def file(path: Path) -> Iterator[Raw | Invalid]:
        if ending(path) in JSON_LINES:
            yield from _dumped(path, setting)
            return
        count = 0
        for subject, row in _rows(path, setting):
            count += 1
            patient = patients.setdefault(subject, _Patient(source=str(path)))
            try:
                _add(patient, row)
            except Invalid as refusal:
                line = row.line if isinstance(row, _Row) else refusal.line
                patient.refused = patient.refused or refusal.at(str(path), line)
        if count:
            yield Raw(None)  # the file held something; its patients come when all files are read

    for item in each_file(source, ENDINGS, file):
        if isinstance(item, Invalid) or item.content is not None:
            yield item
    for subject in list(patients):
        yield _whole(subject, patients.pop(subject), setting)


def _dumped(path: Path, setting: Setting) -> Iterator[Raw | Invalid]:
    for told in told_lines(path):
        if isinstance(told, Invalid):
            yield told
            continue
        line, text = told
        if text.strip():
            try:
                episode = checked(text)
                check_setting(episode, setting)
                yield Raw(episode, str(path), line)
            except Invalid as refusal:
                yield refusal.at(str(path), line)


def _add(patient: _Patient, row: _Row | str | Invalid) -> None:
    if isinstance(row, Invalid):
        raise row
    if isinstance(row, str):
        patient.features.add(row)
        return
    known = patient.rows.setdefault(row.order, row)
    patient.features |= {*row.features}
    if known is row:
        return
    # In MEDS one time is told by several rows; in a table, twice is a contradiction.
    for name in ("state", "action", "outcome"):
        mine, other = getattr(known, name), getattr(row, name)
        if mine and other and mine != other:
            raise Invalid("plans.read.twice", column=name)
        setattr(known, name, mine or other)
    known.values.update(row.values)
    known.reward += row.reward


def _whole(subject: str, patient: _Patient, setting: Setting) -> Raw | Invalid:
    if patient.refused is not None:
        return patient.refused
    rows = [patient.rows[order] for order in sorted(patient.rows)]
    line = rows[0].line if rows else None
    outcome = next((row.outcome for row in reversed(rows) if row.outcome), "")
    if rows and not (rows[-1].state or rows[-1].values or rows[-1].action):
        rows.pop()  # the outcome alone
    steps = tuple(_observed(row, setting) for row in rows)
    try:
        episode = checked(Episode(subject, steps, outcome, tuple(sorted(patient.features))))
        check_setting(episode, setting)
    except Invalid as refusal:
        return refusal.at(patient.source, line)
    return Raw(episode, patient.source, line)


def _observed(row: _Row, setting: Setting) -> Step:
    values = tuple(row.values.get(one.column) for one in setting.observed)
    return Step(row.state, values, row.action, row.reward)


def _rows(path: Path, setting: Setting) -> Iterator[tuple[str, _Row | str | Invalid]]:
    """Whose, and the step (or a feature, or why not) that each row of a table tells. Raises Invalid for missing columns."""
    if ending(path) in PARQUET:
        with parquet(path) as scanned:
            names = scanned.collect_schema().names()
            places = _places(names, setting)
            for first, piece in chunks(scanned.select([names[place] for place in places.values()])):
                for line, values in enumerate(piece.iter_rows(), first):
                    yield _row(dict(zip(places, values, strict=True)), line, setting)
        return
    separator = "\t" if ending(path) == ".tsv" else None
    found: Mapping[str, int] | None = None
    for told in lines(path):
        if isinstance(told, Invalid):
            raise told
        line, text = told
        if not text.strip():
            continue
        separator = separator or max(",;\t", key=text.count)
        parts = cells(text, separator)
        if found is None:
            found = _places(parts, setting, line)
            continue
        cell: dict[str, Any] = {name: parts[place] if place < len(parts) else None for name, place in found.items()}
        yield _row(cell, line, setting)


def _places(names: Sequence[str], setting: Setting, line: int | None = None) -> dict[str, int]:
    wanted = dict(COLUMNS)
    if column(names, COLUMNS["code"], line) is None:
        wanted |= {f"={one.column}": (one.column.lower(),) for one in setting.observed}
    found = {name: place for name, known in wanted.items() if (place := column(names, known, line)) is not None}
    if "code" in found:
        missing = [name for name in ("subject", "step") if name not in found]
    else:
        needed = ["state"] if setting.discrete else [f"={one.column}" for one in setting.observed]
        missing = [name.lstrip("=") for name in ("subject", "step", "action", *needed) if name not in found]
    if missing:
        told = ", ".join(name[:30] for name in names[:20])
        raise Invalid("plans.read.columns", line=line, missing=", ".join(missing), columns=told)
    return found


def _row(cell: Mapping[str, Any], line: int, setting: Setting) -> tuple[str, _Row | str | Invalid]:
    subject = _text(cell.get("subject"))
    try:
        if not subject:
            raise Invalid("plans.read.no_subject")
        code = _text(cell.get("code"))
        if code.startswith(FEATURE):
            return subject, code[len(FEATURE) :]
        found = _Row(_order(cell.get("step")), line=line)
        if "code" in cell:
            _event(found, code, cell.get("value"), setting)
        else:
            found.state = _text(cell.get("state")) if setting.discrete else ""
            found.action, found.outcome = _text(cell.get("action")), _text(cell.get("outcome"))
            found.reward = _number(cell.get("reward")) or 0.0
            found.features = tuple(_text(cell.get("features")).split())
            for one in setting.observed:
                if (value := _number(cell.get(f"={one.column}"))) is not None:
                    one.check(value)
                    found.values[one.column] = value
    except Invalid as refusal:
        return subject, refusal.at("", line)
    return subject, found


def _event(row: _Row, code: str, value: Any, setting: Setting) -> None:
    """What one event of MEDS tells about its time; events that the setting does not name are left out."""
    if code.startswith(ACTION):
        row.action = code[len(ACTION) :]
    elif code.startswith(OUTCOME):
        row.outcome = code[len(OUTCOME) :]
    elif code.startswith(STATE) and setting.discrete:
        row.state = code[len(STATE) :]
    elif code == "REWARD":
        row.reward = _number(value) or 0.0
    for one in setting.observed:
        if one.column == code and (number := _number(value)) is not None:
            one.check(number)
            row.values[code] = number


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip()


def _order(value: Any) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    found = None
    try:
        found = _number(value)
    except Invalid:
        try:
            found = datetime.fromisoformat(str(value).strip()).timestamp()
        except ValueError:
            found = None
    if found is None:
        raise Invalid("plans.read.step", value=str(value)[:40])
    return found


def _number(value: Any) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        if "_" in str(value):  # Python takes 1_000 for a number
            raise ValueError(value)
        found = float(value)
    except (TypeError, ValueError) as error:
        raise Invalid("plans.episode.number", value=str(value)[:40]) from error
    return None if found != found else found

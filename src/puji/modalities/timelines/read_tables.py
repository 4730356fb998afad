"""Tables of events: CSV and Parquet with columns as people name them, and MEDS shards."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from puji.errors import Invalid
from puji.modalities.timelines.cleaning import Row
from puji.modalities.timelines.codes import system_of
from puji.modalities.timelines.timeline import DEATH, YEAR
from puji.modalities.timelines.values import Reading, moment, number, reading, seconds
from puji.sources import cells, chunks, column, ending, parquet
from puji.text import lines

COLUMNS: dict[str, tuple[str, ...]] = {
    "subject": (
        *("subject", "subject_id", "patient", "patient_id", "person_id", "id", "mrn"),
        *("患者编号", "患者id", "病人id", "病案号", "住院号", "登记号", "患者"),
    ),
    "time": (
        "time",
        "date",
        "datetime",
        "timestamp",
        "when",
        "日期",
        "时间",
        "就诊日期",
        "诊断日期",
        "检验时间",
        "入院日期",
        "出院日期",
    ),
    "age": ("age", "age_years", "年龄", "就诊年龄"),
    "age_days": ("age_days", "日龄"),
    "code": (
        "code",
        "icd",
        "icd10",
        "diagnosis",
        "concept",
        "编码",
        "诊断编码",
        "主要诊断编码",
        "疾病诊断编码",
        "疾病编码",
        "icd编码",
        "项目编码",
        "代码",
    ),
    "system": ("system", "vocabulary", "vocabulary_id", "code_system", "编码系统", "编码体系"),
    "value": ("value", "numeric_value", "result", "value_as_number", "数值", "结果", "检验结果", "值"),
    "unit": ("unit", "units", "单位"),
    "sex": ("sex", "gender", "性别"),
    "birth": ("birth", "birth_date", "birthdate", "born", "date_of_birth", "dob", "出生日期", "出生年月"),
    "death": ("death", "death_date", "deceased", "date_of_death", "死亡日期"),
    "synthetic": ("synthetic",),
    "end": ("end", "followed_until", "last_contact", "随访截止", "末次随访日期"),
    "end_age": ("end_age", "followed_until_age", "随访截止年龄"),
}
"""Headings in lower case."""
BIRTHS = ("MEDS_BIRTH", "BIRTH")
ENDED = "PUJI//FOLLOWED"
"""The code by which MEDS cohorts of ours tell until when a patient was followed."""
GENDER = ("GENDER//", "GENDER/", "SEX//", "SEX/")


_DAYS: dict[str | None, float] = {
    **dict.fromkeys((None, "岁", "周岁", "y", "yr", "years"), YEAR),
    **dict.fromkeys(("月", "个月", "m", "months"), YEAR / 12),
    **dict.fromkeys(("天", "日", "d", "days"), 1.0),
}
"""The unit of an age -> days."""
_AGE = re.compile(r"(.+?)\s*(" + "|".join(sorted(filter(None, _DAYS), key=len, reverse=True)) + ")?")


def file(path: Path) -> Iterator[Row | Invalid]:
    """The rows of a table. Raises Invalid if there is no column for the subject, the code, or the time or age."""
    if ending(path) in (".parquet", ".pq"):
        with parquet(path) as scanned:
            names = scanned.collect_schema().names()
            places = columns(names)
            for first, piece in chunks(scanned.select([names[place] for place in places.values()])):
                for line, values in enumerate(piece.iter_rows(), first):
                    yield from row(dict(zip(places, values, strict=True)), line)
        return
    separator = "\t" if ending(path) == ".tsv" else None
    found: Mapping[str, int] | None = None
    for told in lines(path):
        if isinstance(told, Invalid):
            yield told
            continue
        line, text = told
        # Above the heading "#" begins a comment; below it a patient may be called so.
        if not text.strip() or (found is None and text.startswith("#")):
            continue
        separator = separator or max(",;\t", key=text.count)
        parts = cells(text, separator)
        if found is None:
            found = columns(parts, line)
        elif max(found.values()) >= len(parts):
            yield Invalid("timelines.read.row", line=line)
        else:
            yield from row({name: parts[place] for name, place in found.items()}, line, comma=separator == ";")


def columns(names: Sequence[str], line: int | None = None) -> dict[str, int]:
    """Where each known column stands. Raises Invalid if a needed one is missing, and where a heading stands twice."""
    places = {name: column(names, known, line) for name, known in COLUMNS.items()}
    found = {name: place for name, place in places.items() if place is not None}
    missing = [name for name in ("subject", "code") if name not in found]
    if not {"time", "age", "age_days"} & set(found):
        missing.append("time")
    if missing:
        told = ", ".join(name[:30] for name in names[:20])
        raise Invalid("timelines.read.columns", line=line, missing=", ".join(missing), columns=told)
    return found


def row(cell: Mapping[str, Any], line: int, comma: bool = False) -> Iterator[Row | Invalid]:
    """The rows that one line of a table tells: an event, and the sex, birth, death and end where it has them.

    ``comma``: of numbers, as where semicolons divide the cells.
    """
    subject = _text(cell.get("subject"))
    if not subject:
        yield Invalid("timelines.read.no_subject", line=line)
        return
    synthetic = _text(cell.get("synthetic")).lower() == "true"
    for kind in ("sex", "birth", "death", "end"):
        if told := _text(cell.get(kind)):
            yield from _about(subject, kind, cell[kind], told, line, synthetic)
    if _text(cell.get("end_age")):
        until = age_of(cell["end_age"], comma)
        if until is None:
            yield Invalid("timelines.read.no_age", line=line, column="end_age")
        else:
            yield Row(subject, "end", None, until, "", None, "", line)
    code = _text(cell.get("code"))
    time = time_of(cell.get("time"))
    if code in BIRTHS:
        yield Row(subject, "birth", time, None, "", None, "", line)
        return
    if mark := next((mark for mark in GENDER if code.upper().startswith(mark)), None):
        yield Row(subject, "sex", None, None, code[len(mark) :], None, "", line)
        return
    if not code:
        if not any(_text(cell.get(kind)) for kind in ("sex", "birth", "death", "end", "end_age")):
            yield Invalid("timelines.read.no_code", line=line)
        return
    if code == ENDED:
        yield Row(subject, "end", time, None, "", None, "", line)
        return
    age = None
    if (days := _number(cell.get("age_days"), comma)) is not None:
        age = days
    elif (told_age := age_of(cell.get("age"), comma)) is not None:
        age = told_age
    if system := _text(cell.get("system")):
        code = f"{system_of(system)}/{code}"
    value, answer, remark = result(cell.get("value"), comma)
    yield Row(subject, "event", time, age, code, value, _text(cell.get("unit")), line, answer, remark, synthetic)


def _about(subject: str, kind: str, raw: Any, told: str, line: int, synthetic: bool) -> Iterator[Row | Invalid]:
    if kind == "sex":
        yield Row(subject, "sex", None, None, told, None, "", line)
        return
    when = time_of(raw)
    if when is None:
        yield Invalid("timelines.read.date", line=line, column=kind)
    elif kind == "birth":
        yield Row(subject, "birth", when, None, "", None, "", line)
    elif kind == "death":
        yield Row(subject, "event", when, None, DEATH, None, "", line, synthetic=synthetic)
    else:
        yield Row(subject, "end", when, None, "", None, "", line)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def time_of(value: Any) -> float | None:
    """Seconds since 1970 of a cell; None if it is no time."""
    if isinstance(value, date | datetime):
        return seconds(value)
    return None if value is None else moment(str(value))


def age_of(value: Any, comma: bool = False) -> float | None:
    """Days of an age in years as people write it: 65, 65.5, 65岁, 6月, 20天; None if it is none."""
    if isinstance(value, int | float):
        return float(value) * YEAR
    match = _AGE.fullmatch(unicodedata.normalize("NFKC", _text(value)).lower())
    years = None if match is None else _number(match[1], comma)
    return None if match is None or years is None else years * _DAYS[match[2]]


def result(value: Any, comma: bool = False) -> Reading:
    """What a cell tells as a result."""
    if isinstance(value, int | float):
        return Reading(float(value))
    return reading(_text(value), comma)


def _number(value: Any, comma: bool = False) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    return None if value is None or not str(value).strip() else number(str(value), comma)

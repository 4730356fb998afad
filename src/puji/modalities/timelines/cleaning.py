"""From rows of any format to patients: gathered by subject in bounded memory, cleaned, everything refused counted."""

from __future__ import annotations

import math
import re
import tempfile
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from time import time
from typing import Literal, NamedTuple

import polars as pl

from puji.errors import Invalid
from puji.modalities.timelines.clock import OLDEST
from puji.modalities.timelines.codes import LOCAL, is_death, normalised, pair
from puji.modalities.timelines.timeline import DEATH, YEAR, Event, Sex, Timeline
from puji.modality import Raw
from puji.units import ucum

Kind = Literal["event", "birth", "sex", "end"]
HELD = 200_000
"""Rows in memory; beyond, they go to `BUCKETS` files on disk by subject."""
BUCKETS = 64
DAY = 86400.0
OPEN = tuple(datetime(year, 12, 31, tzinfo=UTC).timestamp() for year in (2099, 2999, 9999))
"""Dates that stand for an end that has not come."""
SEXES: dict[str, Sex] = {
    **dict.fromkeys(("female", "f", "女", "女性", "2", "8532", "gender//f", "gender//female"), "female"),
    **dict.fromkeys(("male", "m", "男", "男性", "1", "8507", "gender//m", "gender//male"), "male"),
}


class Row(NamedTuple):
    """One thing that a file tells about a subject.

    ``time``: seconds since 1970; ``age``: days; of an event at least one of them. ``code``: of an event; the word of a sex.
    ``answer``: a result that is no number, see `Reading`; ``remark``: reason to be counted though the row is kept;
    ``synthetic``: of no real patient.
    """

    subject: str
    kind: Kind
    time: float | None
    age: float | None
    code: str
    value: float | None
    unit: str
    line: int
    answer: str = ""
    remark: str = ""
    synthetic: bool = False


_SCHEMA = {
    "subject": pl.String,
    "kind": pl.String,
    "time": pl.Float64,
    "age": pl.Float64,
    "code": pl.String,
    "value": pl.Float64,
    "unit": pl.String,
    "line": pl.Int64,
    "answer": pl.String,
    "remark": pl.String,
    "synthetic": pl.Boolean,
    "source": pl.String,
}


class Refusals:
    """Counts by reason and file, with the line of the first."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[int]] = {}

    def add(self, reason: str, source: str, line: int, **details: str) -> None:
        """One more."""
        key = (reason, source, tuple(sorted(details.items())))
        counted = self.found.setdefault(key, [0, line])
        counted[0] += 1
        counted[1] = min(counted[1], line)

    def told(self) -> Iterator[Invalid]:
        """One Invalid for each reason and file."""
        for (reason, source, details), (count, line) in self.found.items():
            yield Invalid(reason, source=source, line=line or None, rows=count, **dict(details))


def patients(rows: Iterable[tuple[Row, str] | Raw | Invalid]) -> Iterator[Raw | Invalid]:
    """A `Timeline` for each subject that ``rows`` (each with its file) tell of, then what was dropped, counted.

    Refusals and whole patients in ``rows`` come out at once.
    """
    refused = Refusals()
    held: list[tuple[Row, str]] = []
    with tempfile.TemporaryDirectory(prefix="puji-") as folder:
        spilled = 0
        for item in rows:
            if isinstance(item, Raw | Invalid):
                yield item
                continue
            held.append(item)
            if len(held) >= HELD:
                _spill(held, Path(folder), spilled)
                spilled += 1
                held.clear()
        if not spilled:
            yield from _patients(held, refused)
        else:
            _spill(held, Path(folder), spilled)
            held.clear()
            for bucket in range(BUCKETS):
                if files := sorted(Path(folder).glob(f"{bucket}-*.parquet")):
                    table = pl.concat([pl.read_parquet(path) for path in files])
                    yield from _patients(((Row(*row[:-1]), row[-1]) for row in table.iter_rows()), refused)
    yield from refused.told()


def _spill(held: list[tuple[Row, str]], folder: Path, number: int) -> None:
    parts: dict[int, list[tuple[object, ...]]] = defaultdict(list)
    for row, source in held:
        parts[zlib.crc32(row.subject.encode()) % BUCKETS].append((*row, source))
    for bucket, some in parts.items():
        pl.DataFrame(some, schema=_SCHEMA, orient="row").write_parquet(folder / f"{bucket}-{number:06d}.parquet")


def _patients(rows: Iterable[tuple[Row, str]], refused: Refusals) -> Iterator[Raw | Invalid]:
    subjects: dict[str, list[tuple[Row, str]]] = defaultdict(list)
    for row, source in rows:
        subjects[row.subject].append((row, source))
    for subject, some in subjects.items():
        source, line = some[0][1], min(row.line for row, _ in some)
        try:
            record = timeline(subject, some, refused)
        except Invalid as refusal:
            yield refusal.at(source, line or None)
            continue
        if record is None:
            yield Invalid("timelines.read.no_events", source=source, line=line or None)
        else:
            yield Raw(record, source, line or None)


def timeline(subject: str, rows: list[tuple[Row, str]], refused: Refusals) -> Timeline | None:
    """One patient: events cleaned and in order; None if there is none left. Raises Invalid for one who died nobody knows when."""
    births = [row for row, _ in rows if row.kind == "birth" and row.time is not None]
    sexes = {SEXES[word] for row, _ in rows if row.kind == "sex" and (word := _plain(row.code)) in SEXES}
    sex: Sex = sexes.pop() if len(sexes) == 1 else ""
    birth = min((row.time for row in births if row.time is not None), default=None)
    for kind, several in (("sex", len(sexes) > 1), ("birth", any(row.time != birth for row in births))):
        if several:
            source, line = next((source, row.line) for row, source in reversed(rows) if row.kind == kind)
            refused.add(f"timelines.read.two.{kind}", source, line)
    birth = _born([row for row, _ in rows]) if birth is None else birth
    times = [row.time for row, _ in rows if row.kind == "event" and row.time is not None]
    start = birth if birth is not None else min(times, default=0.0)
    rows = list(_until_today(rows, times, refused))
    dead = [row for row, _ in rows if row.kind == "event" and is_death(row.code)]
    deaths = [age for row in dead if (age := _age(row, start)) is not None and age >= 0]
    death = min(deaths, default=None)
    if dead and death is None:
        raise Invalid("timelines.read.dead_undated")
    found: set[Event] = set()
    end = 0.0
    for row, source in rows:
        if row.kind in ("birth", "sex"):
            continue
        age = _age(row, start)
        if row.kind == "end":
            if age is None or age > OLDEST * YEAR or row.time in OPEN:
                refused.add("timelines.read.end", source, row.line)
            else:
                end = max(end, age)
            continue
        for event in _events(row, age, death, source, refused):
            if event in found:
                refused.add("timelines.read.duplicate", source, row.line)
            found.add(event)
    if not found:
        return None
    ordered = sorted(found, key=lambda event: (event.age, event.code == DEATH, event.code, event.value or 0.0))
    born = None if birth is None else datetime.fromtimestamp(birth, UTC).year
    last = ordered[-1].age
    return Timeline(sex, born, tuple(ordered), last if death is not None else max(last, end), subject)


def _until_today(
    rows: Iterable[tuple[Row, str]], times: Iterable[float], refused: Refusals
) -> Iterator[tuple[Row, str]]:
    """``rows`` without events that are dated after today; ``times``: of all events, in seconds since 1970."""
    today = time() + DAY  # it is tomorrow somewhere
    if min(times, default=0.0) > today:
        today = math.inf  # dates that are shifted to hide whose they are, as in MIMIC, lie far ahead all together
    for row, source in rows:
        if row.kind == "event" and row.time is not None and row.time > today and not row.synthetic:
            refused.add("timelines.read.future", source, row.line)
        else:
            yield row, source


def _events(row: Row, age: float | None, death: float | None, source: str, refused: Refusals) -> Iterator[Event]:
    """The events of a row, two where it tells a dagger and an asterisk code; none, counted, if it cannot be."""
    if age is None:
        refused.add("timelines.read.no_time", source, row.line)
    elif not -1 <= age <= OLDEST * YEAR:
        refused.add("timelines.read.impossible_age", source, row.line)
    elif death is not None and is_death(row.code) and age > death:
        refused.add("timelines.read.duplicate", source, row.line)
    elif death is not None and age > death + 1:
        refused.add("timelines.read.after_death", source, row.line)
    else:
        value = row.value
        if value is not None and not math.isfinite(value):
            refused.add("timelines.read.value", source, row.line)
            value = None
        if row.remark:
            refused.add(row.remark, source, row.line)
        age = min(max(age, 0.0), death) if death is not None else max(age, 0.0)
        for told in pair(row.code):
            try:
                code = normalised(told)
            except Invalid as refusal:
                refused.add(refusal.reason, source, row.line, **refusal.details)
                continue
            if row.answer and code != DEATH:
                code = f"{code}={LOCAL}/{row.answer}"
            yield Event(round(age, 4), code, value, ucum(row.unit) if value is not None else "")


def _age(row: Row, start: float) -> float | None:
    return row.age if row.time is None else (row.time - start) / DAY


def _born(rows: Iterable[Row]) -> float | None:
    """When a patient was born whose file tells ages beside dates, in seconds since 1970; None where there are none.

    An age in whole years leaves a year open, which every further date narrows: the middle of what is left.
    """
    told = [row for row in rows if row.kind == "event" and row.time is not None and row.age is not None]
    latest = [(row.time or 0.0) - (row.age or 0.0) * DAY for row in told]
    if not latest:
        return None
    whole = all(abs((row.age or 0.0) / YEAR - round((row.age or 0.0) / YEAR)) < 1e-6 for row in told)
    return min(latest) if not whole else (min(latest) + max(latest) - YEAR * DAY) / 2


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().lower()


_CHINESE = re.compile(r"(\d{4})年(\d{1,2})月(?:(\d{1,2})日?)?(.*)")
_HALVES = ("上午", "下午", "中午", "凌晨", "早上", "晚上")
_NUMBERS = re.compile(r"(\d{4})[-/.]?(\d{2}|\d(?=[-/.]))[-/.]?(\d{1,2})?(.*)")


def moment(text: str) -> float | None:
    """Seconds since 1970 of a date as people write it, with or without a time; None if it is none.

    ISO 8601, 2024/3/5, 20240305, 2024年3月5日 14:30; a time zone is kept, without one the time counts as UTC.
    """
    told = unicodedata.normalize("NFKC", text).strip()
    if re.fullmatch(r"\d{4}年?", told):
        told = f"{told[:4]}-07-01"
    elif re.fullmatch(r"\d{4}-\d{2}", told):
        told += "-15"
    if match := (_CHINESE.fullmatch(told) or _NUMBERS.fullmatch(told)):
        year, month, day, rest = match.groups()
        half = next((word for word in _HALVES if rest.strip().startswith(word)), "")
        clock = re.sub("[时点]", ":", rest.strip().removeprefix(half).strip(" Tt")).replace("分", ":").rstrip("秒: ")
        told = f"{year}-{int(month):02d}-{int(day or 15):02d}"
        if clock:
            hour, sign, more = clock.partition(":")
            if half in ("下午", "晚上") and hour.isdigit() and int(hour) < 12:
                hour = str(int(hour) + 12)
            told += f" {int(hour):02d}:{more or '00'}" if (sign or half) and hour.isdigit() else f" {clock}"
    try:
        found = datetime.fromisoformat(told)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def seconds(when: date | datetime) -> float:
    """Seconds since 1970 of a date; one without a time zone counts as UTC."""
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def number(text: str, comma: bool = False) -> float | None:
    """A number as people write it (full-width digits, "1,024.5"); None if it is none. ``comma``: "7,9" is 7.9."""
    told = unicodedata.normalize("NFKC", text).strip()
    told = told.replace(",", ".") if comma and "." not in told and told.count(",") == 1 else told.replace(",", "")
    try:
        return float(told)
    except ValueError:
        return None


class Reading(NamedTuple):
    """A result: its number, or in a word what was found ("positive", "2+"), and why something of it was left out."""

    value: float | None = None
    answer: str = ""
    remark: str = ""


ANSWERS = {
    **dict.fromkeys(("positive", "pos", "+", "阳性", "阳", "检出", "detected", "reactive", "反应性"), "positive"),
    **dict.fromkeys(("negative", "neg", "-", "阴性", "阴", "未检出", "not detected", "nonreactive"), "negative"),
    **dict.fromkeys(("weakly positive", "weak positive", "弱阳性", "±", "+-", "+/-", "trace"), "weak_positive"),
    **{
        written: f"{grade}+"
        for grade in range(1, 5)
        for written in (f"{grade}+", *(["+" * grade] if grade > 1 else []))
    },
}
"""Results without a number, in lower case -> the word that tells them."""
_WRAPPED = re.compile(r"(阳性|阴性|弱阳性)?\s*\((\S+)\)")
"""阳性(+), (-)"""


def reading(text: str, comma: bool = False) -> Reading:
    """A result as people write it: a number, one with a comparator or an arrow, or a word such as 阳性; empty for no text."""
    told = unicodedata.normalize("NFKC", text).strip().rstrip("↑↓").strip()
    word = told.lower()
    if wrapped := _WRAPPED.fullmatch(word):
        word = wrapped[1] or wrapped[2]
    if word in ANSWERS or not word:
        return Reading(answer=ANSWERS.get(word, ""))
    bare = told.lstrip("<>=≤≥~ ")
    value = number(bare, comma)
    if value is None:
        return Reading(remark="timelines.read.text")
    return Reading(value, remark="timelines.read.bound" if bare != told else "")

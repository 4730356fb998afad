"""From rows of any format to patients: gathered by subject in bounded memory, cleaned, everything refused counted."""

from __future__ import annotations

import math
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Literal, NamedTuple

import polars as pl

from puji.errors import Invalid
from puji.modalities.timelines.clock import OLDEST
from puji.modalities.timelines.codes import LOCAL, is_death, normalised, pair
from puji.modalities.timelines.timeline import DEATH, YEAR, Event, Sex, Timeline
from puji.modalities.timelines.values import SEX_SIGNS, plain, sex_of
from puji.modality import Raw
from puji.units import ucum

Kind = Literal["event", "birth", "sex", "end", "person"]
HELD = 200_000
"""Rows in memory; beyond, they go to `BUCKETS` files on disk by subject."""
BUCKETS = 64
MOST_KINDS = 20
"""Of one reason in one file, what is told with its own details; further kinds are counted together."""
DAY = 86400.0
OPEN = tuple(datetime(year, 12, 31, tzinfo=UTC).timestamp() for year in (2099, 2999, 9999))
"""Dates that stand for an end that has not come."""


class Row(NamedTuple):
    """One thing that a file tells about a subject; of kind "person": that there is such a one.

    ``time``: seconds since 1970; ``age``: days; of an event at least one of them. ``code``: of an event; the word of a sex.
    ``answer``: a result that is no number, see `Reading`; ``remark``: reason to be counted though the row is kept;
    ``synthetic``: of no real patient; ``referred``: it refers to a person of whom another row must tell.
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
    referred: bool = False


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
    "referred": pl.Boolean,
    "source": pl.String,
}


class Refusals:
    """Counts by reason and file, with the line of the first."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[int]] = {}
        self.kinds: Counter[tuple[str, str]] = Counter()

    def add(self, reason: str, source: str, line: int, **details: str) -> None:
        """One more."""
        key = (reason, source, tuple(sorted(details.items())))
        if key not in self.found and details:
            self.kinds[reason, source] += 1
            if self.kinds[reason, source] > MOST_KINDS:
                key = (reason, source, tuple((name, "…") for name in sorted(details)))
        counted = self.found.setdefault(key, [0, line])
        counted[0] += 1
        counted[1] = min(counted[1], line)

    def told(self) -> Iterator[Invalid]:
        """One Invalid for each reason and file."""
        for (reason, source, details), (count, line) in self.found.items():
            yield Invalid(reason, source=source, line=line or None, rows=count, **dict(details))


class Seen:
    """What all rows together show, whoever they are about: how each file codes the sex, and whether persons are told of."""

    def __init__(self) -> None:
        self.signs: dict[str, set[str]] = defaultdict(set)
        self.persons = False

    def add(self, row: Row, source: str) -> None:
        """One more row."""
        self.persons = self.persons or row.kind == "person"
        if row.kind == "sex" and (word := plain(row.code)) in SEX_SIGNS:
            self.signs[source].add(word)

    def unknown(self, rows: Iterable[tuple[Row, str]]) -> bool:
        """Whether ``rows``, all those of one subject, refer to a person of whom nothing is told, where others are told of."""
        return self.persons and all(row.referred for row, _ in rows)


def patients(rows: Iterable[tuple[Row, str] | Raw | Invalid]) -> Iterator[Raw | Invalid]:
    """A `Timeline` for each subject that ``rows`` (each with its file) tell of, then what was dropped, counted.

    Refusals and whole patients in ``rows`` come out at once.
    """
    refused, seen = Refusals(), Seen()
    held: list[tuple[Row, str]] = []
    with tempfile.TemporaryDirectory(prefix="puji-") as folder:
        spilled = 0
        for item in rows:
            if isinstance(item, Raw | Invalid):
                yield item
                continue
            held.append(item)
            seen.add(*item)
            if len(held) >= HELD:
                _spill(held, Path(folder), spilled)
                spilled += 1
                held.clear()
        if not spilled:
            yield from _patients(held, seen, refused)
        else:
            _spill(held, Path(folder), spilled)
            held.clear()
            for bucket in range(BUCKETS):
                if files := sorted(Path(folder).glob(f"{bucket}-*.parquet")):
                    table = pl.concat([pl.read_parquet(path) for path in files])
                    kept = ((Row(*row[:-1]), row[-1]) for row in table.iter_rows())
                    yield from _patients(kept, seen, refused)
    yield from refused.told()


def _spill(held: list[tuple[Row, str]], folder: Path, number: int) -> None:
    parts: dict[int, list[tuple[object, ...]]] = defaultdict(list)
    for row, source in held:
        parts[zlib.crc32(row.subject.encode()) % BUCKETS].append((*row, source))
    for bucket, some in parts.items():
        pl.DataFrame(some, schema=_SCHEMA, orient="row").write_parquet(folder / f"{bucket}-{number:06d}.parquet")


def _patients(rows: Iterable[tuple[Row, str]], seen: Seen, refused: Refusals) -> Iterator[Raw | Invalid]:
    subjects: dict[str, list[tuple[Row, str]]] = defaultdict(list)
    for row, source in rows:
        subjects[row.subject].append((row, source))
    for subject, some in subjects.items():
        if seen.unknown(some):
            for row, source in some:
                refused.add("timelines.read.nobody", source, row.line)
            continue
        source, line = some[0][1], min(row.line for row, _ in some)
        try:
            record = timeline(subject, some, seen, refused)
        except Invalid as refusal:
            yield refusal.at(source, line or None)
            continue
        if record is None:
            yield Invalid("timelines.read.no_events", source=source, line=line or None)
        else:
            yield Raw(record, source, line or None)


def timeline(subject: str, rows: list[tuple[Row, str]], seen: Seen, refused: Refusals) -> Timeline | None:
    """One patient: events cleaned and in order; None if there is none left. Raises Invalid for one who died nobody knows when."""
    sex = _sex(rows, seen, refused)
    births = [(row, source) for row, source in rows if row.kind == "birth" and row.time is not None]
    birth = min((row.time for row, _ in births if row.time is not None), default=None)
    if other := [(row, source) for row, source in births if row.time != birth]:
        refused.add("timelines.read.two.birth", other[0][1], other[0][0].line)
    birth = _born([row for row, _ in rows]) if birth is None else birth
    if birth is None and any(row.kind == "event" and row.time is None and row.age is not None for row, _ in rows):
        rows = list(_undated(rows, refused))
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
        if row.kind not in ("event", "end"):
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


def _sex(rows: Iterable[tuple[Row, str]], seen: Seen, refused: Refusals) -> Sex:
    """The sex that ``rows`` tell, '' where they tell none or both; each word that is not understood is counted once."""
    told = {(plain(row.code), source): row for row, source in rows if row.kind == "sex"}
    found: set[Sex] = set()
    for (word, source), row in told.items():
        sex = sex_of(word, seen.signs[source])
        if sex is None:
            refused.add("timelines.read.sex", source, row.line, word=row.code[:20])
        elif sex:
            found.add(sex)
    if len(found) > 1:
        (_, source), row = next(reversed(told.items()))
        refused.add("timelines.read.two.sex", source, row.line)
    return found.pop() if len(found) == 1 else ""


def _undated(rows: Iterable[tuple[Row, str]], refused: Refusals) -> Iterator[tuple[Row, str]]:
    """``rows`` without those that tell a date: where ages tell the events, only a birth would relate it to them."""
    for row, source in rows:
        if row.time is None:
            yield row, source
        else:
            refused.add("timelines.read.undated", source, row.line)


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
    told = [
        row
        for row in rows
        if row.kind == "event" and row.time is not None and row.age is not None and 0 <= row.age <= OLDEST * YEAR
    ]
    latest = [(row.time or 0.0) - (row.age or 0.0) * DAY for row in told]
    if not latest:
        return None
    whole = all(abs((row.age or 0.0) / YEAR - round((row.age or 0.0) / YEAR)) < 1e-6 for row in told)
    return min(latest) if not whole else (min(latest) + max(latest) - YEAR * DAY) / 2

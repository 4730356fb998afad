"""What glucose sensors and insulin pumps export, as logged care of the setting "diabetes": one row a reading or a dose.

    python -m puji.modalities.plans.pump_log export.csv --patients patients.csv --out care.jsonl

``export.csv`` has the columns subject, time (2026-03-01T08:05 or 2026/3/1 8:05, by the clock on the wall, without a zone),
glucose (mg/dl, or mmol/l with ``--unit mmol/L``), insulin (U, a bolus), basal (U/h, from then on; without the column the
patient's own rate), carbohydrate (g, as announced); cells may be empty. ``patients.csv``: the settings of the pumps, as
`puji stream --patients` has them.

Columns, actions and rewards are those of simulated care (`diabetes.care.episodes`): a decision every quarter of an hour, told by
`Calculator.columns`, followed by the action that is nearest to what was given. An episode ends where readings are missing or
something was done that is none of the setting's actions; the next one begins behind it. A row whose dose cannot be read makes
unknown what is on board: for `FORGOTTEN` minutes nothing is decided. A row that stands there twice counts once. An export of a
week or more tells how the subject answers to insulin, too, and the pump's settings are mended by it.
The last step of the last episode is now: its action is open.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from puji.errors import Invalid
from puji.files import whole
from puji.language import LANGUAGES, translate, use
from puji.modalities.plans.diabetes.control import Dose
from puji.modalities.plans.diabetes.doses import (
    BASAL,
    CORRECTION,
    INTERVAL,
    MEAL,
    READINGS,
    Calculator,
    Response,
    Therapy,
)
from puji.modalities.plans.diabetes.response import response
from puji.modalities.plans.episode import LONGEST, Episode, Step
from puji.modalities.plans.setting import Setting, load_setting
from puji.modalities.plans.units import converted, exact
from puji.sources import cells, column
from puji.streams import vitals
from puji.text import lines

EVERY = 5
"""Minutes between two readings of a sensor; what an export tells is put on this grid."""
COLUMNS = {
    "subject": ("subject", "patient", "patient_id", "患者编号", "患者"),
    "time": ("time", "timestamp", "时间"),
    "glucose": ("glucose", "血糖", "葡萄糖"),
    "insulin": ("insulin", "bolus", "大剂量", "胰岛素"),
    "basal": ("basal", "基础率"),
    "carbohydrate": ("carbohydrate", "carbs", "碳水", "碳水化合物"),
}
"""Headings in lower case; "basal" may be missing."""
DOSES = {"insulin": vitals.BOLUS, "basal": vitals.BASAL, "carbohydrate": vitals.CARBOHYDRATE}
TIME = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})[T ]+(\d{1,2}):(\d{2})(?::\d{2}(?:\.\d*)?)?")
"""A date alone tells no time, and what a zone means for the hour of the day nobody knows: both are refused."""
FORGOTTEN = 300
"""Minutes after which of a bolus, by the usual time constant, less than 3 % is on board."""
YEARS = range(2000, 2100)
"""Others are those of a device whose clock was never set."""
APART = 0.35
"""How far what was given may be from an action, as a multiple of what the pump would give; farther, it is none of them."""
ENOUGH = 7 * 24 * 60 // EVERY
"""Readings from which on they are asked how the subject answers to insulin: those of a week."""
NO_BOLUS = 0.05
"""U: less is no bolus."""


@dataclass
class Export:
    """What one subject's devices told, by minutes since a midnight (multiples of `EVERY`)."""

    glucose: dict[int, float] = field(default_factory=dict)
    insulin: Counter[int] = field(default_factory=Counter)
    basal: dict[int, float] = field(default_factory=dict)
    carbohydrate: Counter[int] = field(default_factory=Counter)
    unknown: set[int] = field(default_factory=set)
    """When a dose was told that could not be read."""


def read(path: Path, unit: str = "mg/dL") -> tuple[dict[str, Export], list[Invalid]]:
    """The exports of a CSV by subject, and the rows that were refused, with line and column. Raises Invalid for another file.

    Text may be UTF-8, UTF-16 or GB18030, as Excel writes it in China.
    """
    setting, _ = load_setting("diabetes")
    glucose = next(one for one in setting.observed if one.column == "glucose")
    found: dict[str, Export] = {}
    refused: list[Invalid] = []
    places: Mapping[str, int] | None = None
    doses: set[int] = set()
    separator = ","
    for told in lines(path):
        if isinstance(told, Invalid):
            refused.append(told)
            continue
        line, text = told
        if not text.strip():
            continue
        if places is None:
            separator = max(",;\t", key=text.count)
            places = _places(cells(text, separator), path, line)
            continue
        parts = cells(text, separator)
        cell = {name: parts[place].strip() if place < len(parts) else "" for name, place in places.items()}
        minute = None
        try:
            if not cell["subject"]:
                raise Invalid("plans.read.no_subject")
            minute = _minute(cell["time"])
            insulin, basal, carbohydrate = (_dose(name, cell.get(name, "")) for name in DOSES)
            # Joined exports overlap; a hash is enough to know a row by.
            row = hash((cell["subject"], cell["time"], insulin, basal, carbohydrate))
            if insulin or carbohydrate:
                if row in doses:
                    raise Invalid("plans.pump.twice")
                doses.add(row)
        except Invalid as refusal:
            refused.append(refusal.at(str(path), line))
            if minute is not None and refusal.reason != "plans.pump.twice":
                found.setdefault(cell["subject"], Export()).unknown.add(minute)
            continue
        export = found.setdefault(cell["subject"], Export())
        export.insulin[minute] += insulin or 0.0  # type: ignore[assignment]
        export.carbohydrate[minute] += carbohydrate or 0.0  # type: ignore[assignment]
        if basal is not None:
            export.basal[minute] = basal
        try:
            if (value := _number(cell["glucose"])) is not None:
                value = float(converted(exact(value), unit, "mg/dL", "glucose"))
                glucose.check(value)
                export.glucose[minute] = value
        except Invalid as refusal:  # what was given is as it was
            refused.append(refusal.at(str(path), line))
    return found, refused


def _places(names: Sequence[str], path: Path, line: int) -> dict[str, int]:
    found = {name: place for name, known in COLUMNS.items() if (place := column(names, known, line)) is not None}
    if missing := [name for name in COLUMNS if name not in found and name != "basal"]:
        told = ", ".join(name[:30] for name in names[:20])
        raise Invalid("plans.read.columns", source=str(path), line=line, missing=", ".join(missing), columns=told)
    return found


def _minute(text: str) -> int:
    """Minutes since the beginning of the year 1, of the grid."""
    told = TIME.fullmatch(text)
    try:
        when = datetime(*map(int, told.groups())) if told else None  # type: ignore[arg-type]
    except ValueError:
        when = None
    if when is None or when.year not in YEARS:
        raise Invalid("plans.pump.time", value=text[:40])
    return (when.toordinal() * 1440 + when.hour * 60 + when.minute) // EVERY * EVERY


def _number(text: str) -> float | None:
    if not text:
        return None
    try:
        found = float(text)
    except ValueError as error:
        raise Invalid("plans.episode.number", value=text[:40]) from error
    if not math.isfinite(found):
        raise Invalid("plans.episode.number", value=text[:40])
    return found


def _dose(name: str, text: str) -> float | None:
    found, vital = _number(text), DOSES[name]
    if found is not None and not vital.least <= found <= vital.most:
        limits: dict[str, Any] = {"low": f"{vital.least:g}", "high": f"{vital.most:g}", "unit": f" {vital.unit}"}
        raise Invalid("plans.episode.limits", where="", column=name, value=f"{found:g}", hint="", **limits)
    return found


def episodes(subject: str, told: Export, therapy: Therapy) -> tuple[list[Episode], Counter[str]]:
    """Logged care of one subject whose pump is set as ``therapy`` (of one) says, and why episodes ended, by reason: "gap",
    "other"."""
    from puji.modalities.plans.diabetes.care import COUNTING, NOT_COUNTING, cost

    setting, _ = load_setting("diabetes")
    kind = COUNTING if any(told.carbohydrate.values()) else NOT_COUNTING
    times = [*told.glucose, *(minute for some in (told.insulin, told.basal, told.carbohydrate) for minute in some)]
    found: list[Episode] = []
    why: Counter[str] = Counter()
    steps: list[Step] = []

    def close(reason: str) -> None:
        if steps:
            found.append(Episode(subject, tuple(steps), "continues" if steps[-1].action else "", (kind,)))
            why[reason] += 1
            steps.clear()

    calculator, rate = Calculator(therapy), float(therapy.basal[0]) * 60
    last = max(told.glucose, default=0)
    unknown = {
        quarter
        for minute in told.unknown
        for quarter in range(minute // INTERVAL * INTERVAL, minute + FORGOTTEN, INTERVAL)
    }
    before = 0
    for quarter in _quarters(times, last):
        if quarter > before + INTERVAL:
            close("gap")
            calculator = Calculator(therapy)
        before = quarter
        grid = range(quarter, quarter + INTERVAL, EVERY)
        announced = float(sum(told.carbohydrate[minute] for minute in grid))
        bolus = float(sum(told.insulin[minute] for minute in grid))
        _take(calculator, told.glucose.get(quarter))
        decided = calculator.readings.shape[1] == READINGS or (bool(steps) and calculator.readings.shape[1] > 0)
        decided = decided and quarter not in unknown
        values: tuple[float | None, ...] = ()
        code = ""
        if decided:
            meal = np.array([announced])
            row = calculator.columns(meal, quarter)[0].tolist()
            values = tuple(None if math.isnan(one) else round(one, 2) for one in row)
            code = action(calculator, meal, [told.basal.get(minute, rate) for minute in grid], bolus)
        for place, minute in enumerate(grid):
            if place:
                _take(calculator, told.glucose.get(minute))
            rate = told.basal.get(minute, rate)
            given = Dose(np.array([rate / 60]), np.array([told.insulin[minute] / EVERY]))
            calculator.gave(given, np.array([float(told.carbohydrate[minute])]), EVERY)
        if not decided:
            close("other" if quarter in unknown else "gap")
            continue
        if quarter + INTERVAL > last and _possible(setting, values):
            steps.append(Step("", values))  # now: what followed is not known yet
            close("end")
            continue
        after = [told.glucose[minute + EVERY] for minute in grid if minute + EVERY in told.glucose]
        if not code or not after or not _possible(setting, values):
            close("other" if after else "gap")
            continue
        reward = (1 - setting.value.discount) * float(cost(np.array(after)).mean())
        steps.append(Step("", values, code, round(reward, 6)))
        if len(steps) == LONGEST:
            close("end")
    close("gap")
    return found, why


def _possible(setting: Setting, values: Sequence[float | None]) -> bool:
    """Whether the setting's columns can have these values: a slip of the pump may have put a hundred units on board."""
    try:
        for one, value in zip(setting.observed, values, strict=True):
            one.check(value)
    except Invalid:
        return False
    return True


def _quarters(times: Sequence[int], last: int) -> Iterator[int]:
    """The quarters of an hour from the first to that of ``last`` (minutes): not those of which for a day nothing is told."""
    place: int | None = None
    for time in sorted(time for time in set(times) if time <= last):
        quarter = time // INTERVAL * INTERVAL
        place = quarter if place is None or quarter - place > 1440 else place
        while place <= quarter:
            yield place
            place += INTERVAL


def _take(calculator: Calculator, reading: float | None) -> None:
    """One reading; a gap makes the calculator forget the line through those before."""
    if reading is None:
        calculator.readings = np.empty((1, 0))
    else:
        calculator.read(np.array([reading]))


def action(calculator: Calculator, announced: np.ndarray, rates: Sequence[float], bolus: float) -> str:
    """The code of the action that is nearest to what was given in a quarter of an hour: basal ``rates``, U/h, and a ``bolus``, U;
    "" where none is near."""
    usual = float(calculator.therapy.basal[0]) * 60
    if announced[0] > 0 or bolus >= NO_BOLUS:
        says = float(calculator.bolus(announced)[0])
        known: Mapping[str, float] = MEAL if announced[0] > 0 else CORRECTION
        if says < NO_BOLUS:
            return "m0" if announced[0] > 0 and bolus < NO_BOLUS else ""
        return _nearest(known, bolus / says)
    return _nearest(BASAL, sum(rates) / len(rates) / usual)


def _nearest(known: Mapping[str, float], share: float) -> str:
    code = min(known, key=lambda one: abs(known[one] - share))
    return code if abs(known[code] - share) <= APART else ""


def answer(told: Export, therapy: Therapy) -> Response:
    """How one subject answers to insulin and carbohydrate by all that was exported, see `response`, or as is usual where that is
    too little; ``therapy``: as the pump (of one) is set."""
    if len(told.glucose) < ENOUGH:
        return Response.usual(1)
    first, last = min(told.glucose), max(told.glucose)
    grid = range(first, last + 1, EVERY)
    usual = rate = float(therapy.basal[0]) * 60
    reading, extra = np.full(len(grid), np.nan), np.zeros(len(grid))
    if before := [minute for minute in told.basal if minute < first]:
        rate = told.basal[max(before)]
    for place, minute in enumerate(grid):
        rate = told.basal.get(minute, rate)
        reading[place] = told.glucose.get(minute, np.nan)
        extra[place] = told.insulin[minute] + (rate - usual) * EVERY / 60
    announced = np.array([float(told.carbohydrate[minute]) for minute in grid])
    return response(reading[None], extra[None], announced[None], therapy, np.zeros(1, dtype=int), first % 1440)


def told(
    exports: Mapping[str, Export], therapies: Mapping[str, Therapy]
) -> Iterator[tuple[str, list[Episode], Counter[str]]]:
    """The episodes of each subject whose pump's settings are known; what is told in mg/dl follows `answer`. Raises Invalid where
    no subject's are."""
    if not exports.keys() & therapies.keys():
        raise Invalid("plans.pump.nobody")
    for subject, export in exports.items():
        if subject in therapies:
            therapy = therapies[subject]
            own = therapy.responding(answer(export, therapy))
            yield (subject, *episodes(subject, export, own))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read an export, write logged care, say what was refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("--patients", type=Path, required=True, help="settings of the pumps, as puji stream has them")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines to write, for puji fit and puji predict")
    parser.add_argument("--unit", choices=("mg/dL", "mmol/L"), default="mg/dL", help="of glucose in the export")
    parser.add_argument("--language", choices=LANGUAGES, default=None)
    asked = parser.parse_args(arguments)
    use(asked.language)
    from puji.streams import settings

    try:
        people, wrong = settings.read(asked.patients)
        if asked.out.exists() and asked.out.samefile(asked.export):
            raise Invalid("plans.pump.over", source=str(asked.out))
        exports, refused = read(asked.export, asked.unit)
        for refusal in [*wrong, *refused][:20]:
            print(refusal.message(), file=sys.stderr)
        if not exports:
            raise Invalid("read.nothing", source=str(asked.export))
        total: Counter[str] = Counter()
        with whole(asked.out) as temporary, temporary.open("w", encoding="utf-8") as stream:
            for _, made, why in told(exports, {name: one.therapy for name, one in people.items()}):
                stream.writelines(one.dump() + "\n" for one in made)
                total += why + Counter(episodes=len(made), decisions=sum(len(one.steps) for one in made), subjects=1)
    except (Invalid, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    details: dict[str, Any] = {name: total[name] for name in ("subjects", "episodes", "decisions", "gap", "other")}
    left = len(exports.keys() - people.keys())
    print(translate("plans.pump.written", refused=len(refused), unknown=left, **details))
    return 0


if __name__ == "__main__":
    sys.exit(main())

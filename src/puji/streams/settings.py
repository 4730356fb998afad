"""What a patient usually gets, as a pump is set: told by the user in a file, or what virtual patients bring with them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from puji.errors import Invalid
from puji.language import Text
from puji.modalities.plans.diabetes import care
from puji.modalities.plans.diabetes.doses import Response, Therapy
from puji.modalities.plans.diabetes.patients import patients
from puji.modalities.plans.safety.facts import OLDEST, WEIGHTS
from puji.modalities.plans.units import Quantity, converted, exact
from puji.modalities.timelines.codes import normalised
from puji.streams.observation import ID
from puji.streams.vitals import BASAL
from puji.text import lines

LIMITS = {
    "age": (0.0, OLDEST),
    "weight": WEIGHTS,
    "basal": (0.01, BASAL.most),
    "carbohydrate_ratio": (1.0, 200.0),
    "correction_factor": (1.0, 600.0),
}
"""Of each number, the least and the most that is believed: beyond them it is a slip, or stands in another unit."""
UNITS = {
    "age": "years",
    "weight": "kg",
    "basal": "U/h",
    "carbohydrate_ratio": "g/U",
    "correction_factor": "mg/dL",
}
FIELDS = ("patient", *LIMITS, "current")
CHINESE = {
    **dict.fromkeys(("患者", "患者编号"), "patient"),
    "年龄": "age",
    "体重": "weight",
    "基础率": "basal",
    **dict.fromkeys(("碳水系数", "碳水化合物系数"), "carbohydrate_ratio"),
    **dict.fromkeys(("校正系数", "胰岛素敏感系数"), "correction_factor"),
    "合并用药": "current",
}
"""Headings in Chinese."""
NONE = "none"
"""Told, like "无", as ``current`` of a patient who takes no other medicine."""
HISTORY = 810_000
"""Seed of the two weeks from which it is estimated how virtual patients answer."""
LARGEST = 50_000_000
"""Bytes of a file."""


@dataclass(frozen=True)
class Settings:
    """One patient. ``age``: years; ``weight``: kg; ``basal``: U/h; ``carbohydrate_ratio``: g that one
    unit covers; ``correction_factor``: mg/dl by which one unit lowers glucose; ``current``: codes of the medicines beside the
    pump's insulin, as safety rules ask for them; ``response``: how the patient answers, where care before has told it: ratio and
    factor are mended by it."""

    patient: str
    age: float
    weight: float
    basal: float
    carbohydrate_ratio: float
    correction_factor: float
    current: tuple[str, ...] = ()
    response: Response | None = field(default=None, compare=False)

    @property
    def therapy(self) -> Therapy:
        """As a pump is set: a batch of one."""
        basal, ratio, factor = np.array([[self.basal / 60], [self.carbohydrate_ratio], [self.correction_factor]])
        found = Therapy.set(basal, ratio, factor)
        return found if self.response is None else found.responding(self.response)


def virtual(chosen: Sequence[str], identifiers: Sequence[str]) -> dict[str, Settings]:
    """The settings of virtual patients (`puji.modalities.plans.diabetes.patients`), by the ``identifiers`` they go under.

    They come with what two weeks of their own care tell of how they answer, see `care.estimated`.
    """
    people = patients(chosen)
    found = care.estimated(people, HISTORY)
    told = {
        "age": people.column("age"),
        "weight": people.column("BW"),
        "basal": people.basal * 60,
        "carbohydrate_ratio": people.column("carbohydrate_ratio"),
        "correction_factor": people.column("correction_factor"),
    }
    return {
        key: _set(key, {name: float(one[place]) for name, one in told.items()}, response=found.of(np.array([place])))
        for place, key in enumerate(identifiers)
    }


def read(path: Path) -> tuple[dict[str, Settings], list[Invalid]]:
    """The patients of a file, by id, and what was refused of it, with line and reason.

    CSV with a header, or JSON: a list of objects, in UTF-8, UTF-16 or GB18030 (see `puji.text.lines`); the fields are `FIELDS`,
    of a CSV also in Chinese (`CHINESE`). Numbers are in `UNITS`; the correction factor may be
    told with its unit, "2.8 mmol/L"; ``current`` is `NONE`, or codes ("ATC/A10BA02") with spaces between them. Raises Invalid
    for a file of which nothing can be used.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("too large")
        text = _text(path)
        rows = list(_json(text) if path.suffix.lower() == ".json" else _csv(text))
    except OSError as error:
        raise Invalid("streams.patients.file", source=str(path), why=error.strerror or str(error)) from error
    except (ValueError, RecursionError, csv.Error) as error:
        raise Invalid("streams.patients.file", source=str(path), why=str(error)[:100]) from error
    found: dict[str, Settings] = {}
    refused = []
    for line, row in rows:
        try:
            one = _settings(row)
            if one.patient in found:
                raise Invalid("streams.patients.twice")
            found[one.patient] = one
        except Invalid as refusal:
            refused.append(refusal.at(str(path), line))
    if not found:
        raise refused[0] if refused else Invalid("streams.patients.none", source=str(path))
    return found, refused


def _text(path: Path) -> str:
    """All lines of a file. Raises Invalid for one that is in no known encoding."""
    found = []
    try:
        for line in lines(path):
            if isinstance(line, Invalid):
                raise line
            found.append(line[1])
    except Invalid as refusal:
        why = Text(refusal.reason, refusal.details)
        raise Invalid("streams.patients.file", source=str(path), line=refusal.line, why=why) from refusal
    return "\n".join(found)


def _json(text: str) -> Iterator[tuple[int, Any]]:
    found = json.loads(text)
    if not isinstance(found, list):
        raise ValueError("no list of patients")
    yield from enumerate(found, 1)


def _csv(text: str) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    for row in reader:
        told = {CHINESE.get(key, key): value for key, value in row.items() if value not in ("", None)}
        yield reader.line_num, told


def _settings(row: Any) -> Settings:
    """One patient. Raises Invalid with the reason where a field is missing, unknown, or not to be believed."""
    if not isinstance(row, dict):
        raise Invalid("streams.patients.object", known=", ".join(FIELDS))
    told: Mapping[Any, Any] = row
    if unknown := [str(key)[:40] for key in told if key not in FIELDS]:
        raise Invalid("streams.patients.unknown", field=unknown[0], known=", ".join(FIELDS))
    if missing := [name for name in FIELDS if told.get(name) is None]:
        raise Invalid("streams.patients.missing", field=missing[0])
    patient = told["patient"]
    if not isinstance(patient, str) or not ID.fullmatch(patient):
        raise Invalid("streams.patients.id")
    numbers = {name: _number(name, told[name]) for name in LIMITS}
    return _set(patient, numbers, current=_medicines(told["current"]))


def _set(
    patient: str, numbers: Mapping[str, float], current: tuple[str, ...] = (), response: Response | None = None
) -> Settings:
    """Of the numbers of `LIMITS`."""
    age, weight, basal, ratio, factor = (numbers[name] for name in LIMITS)
    return Settings(patient, age, weight, basal, ratio, factor, current, response)


def _medicines(told: Any) -> tuple[str, ...]:
    found = told.split() if isinstance(told, str) else told
    if found in ([NONE], ["无"]):
        return ()
    # A mere name cannot be compared with the rules' codes.
    if not isinstance(found, list) or told == "" or not all(isinstance(one, str) and "/" in one for one in found):
        raise Invalid("streams.patients.current", none=NONE)
    try:
        return tuple(normalised(one) for one in found)
    except Invalid as error:
        raise Invalid("streams.patients.current", none=NONE) from error


def _number(name: str, told: Any) -> float:
    least, most = LIMITS[name]
    try:
        if isinstance(told, str):
            quantity = Quantity.read(told.removeprefix("-"))
            value = exact(quantity.value) * (-1 if told.startswith("-") else 1)
            if name == "correction_factor" and quantity.unit != "1":
                value = converted(value, quantity.unit, UNITS[name], "glucose")
            elif quantity.unit != "1":
                raise Invalid("plans.units.quantity", value="")
        else:
            value = exact(told)
    except Invalid as error:
        raise Invalid("streams.patients.number", field=name, unit=UNITS[name]) from error
    if not least <= value <= most:
        raise Invalid("streams.patients.value", field=name, least=f"{least:g}", most=f"{most:g}", unit=UNITS[name])
    return float(value)


__all__ = ["FIELDS", "LIMITS", "UNITS", "Settings", "read", "virtual"]

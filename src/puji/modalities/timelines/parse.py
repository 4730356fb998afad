"""Timelines from what a program or a person gives, and the checks that every one passes."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import date
from typing import Any

from puji.errors import Invalid
from puji.modalities.timelines import clock
from puji.modalities.timelines.codes import LOCAL, normalised, pair
from puji.modalities.timelines.timeline import DEATH, YEAR, Event, Sex, Timeline, revived
from puji.modalities.timelines.tokens import DECADES, born_token
from puji.modalities.timelines.values import SEXES, Reading, number, plain, reading
from puji.units import ucum


def checked(content: Any) -> Timeline:
    """A Timeline, or its fields as JSON or a dict, with events in order. Raises Invalid for what cannot be one."""
    if isinstance(content, str):
        return typed(content)
    if isinstance(content, dict):
        try:
            events = tuple(Event(*event) for event in content["events"])
            content = Timeline(content["sex"], content["born"], events, content["end"], content.get("subject", ""))
        except (KeyError, TypeError) as error:
            raise Invalid("timelines.no_timeline") from error
    if not isinstance(content, Timeline):
        raise Invalid("timelines.no_timeline")
    if not content.events:
        raise Invalid("timelines.no_events")
    if not isinstance(content.subject, str):
        content = replace(content, subject=str(content.subject))
    ages = [content.end, *(event.age for event in content.events)]
    if not all(map(_finite, ages)):
        raise Invalid("timelines.age")
    if min(ages) < 0 or max(ages) > (clock.OLDEST + 1) * YEAR:
        raise Invalid("timelines.age")
    if content.sex not in ("female", "male", "") or not (
        content.born is None or (isinstance(content.born, int) and 1800 <= content.born < 2200)
    ):
        raise Invalid("timelines.no_timeline")
    for event in content.events:
        if not isinstance(event.code, str) or not event.code or any(c.isspace() or c in "<>" for c in event.code):
            raise Invalid("timelines.code_text")
        if not isinstance(event.unit, str) or (event.value is not None and not _finite(event.value)):
            raise Invalid("timelines.value")
    ordered = tuple(sorted(content.events, key=lambda event: (event.age, event.code == DEATH)))
    deaths = [event.age for event in ordered if event.code == DEATH]
    if deaths:
        if ordered[-1].code != DEATH or len(deaths) > 1:
            raise Invalid("timelines.after_death")
        return Timeline(content.sex, content.born, ordered, deaths[0], content.subject)
    return Timeline(content.sex, content.born, ordered, max(ages), content.subject)


def _finite(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


_TYPED = {
    "timelines.read.bound": "timelines.typed_bound",
    "timelines.read.ambiguous": "timelines.typed_ambiguous",
}
"""Why a typed result is refused, by what would be remarked of one in a file."""


def typed(text: str, local: Callable[[str], None] = lambda code: None) -> Timeline:
    """A timeline as a person types it, or its JSON. Raises Invalid.

    ``local`` is called with a code that is of no known system and was not said to be local; it may raise Invalid.

    Parts with ";" between them: first the sex and the year of birth, then events: a code, the age in years (51.2 or 51.2岁), and
    if there is one a value and its unit. "now 63.5" tells until when the patient was followed.
    """
    text = text.strip()
    if text.startswith("{"):
        try:
            return checked(revived(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Invalid("timelines.no_timeline") from error
    # Full-width digits and punctuation, as a Chinese keyboard writes them, are the same characters.
    first, *parts = [part.strip() for part in re.split("[;\n]", unicodedata.normalize("NFKC", text))]
    sex: Sex = ""
    born = None
    for word in re.split("[,、\\s]+", first):
        told = SEXES.get(plain(word), "")
        year = re.fullmatch("([12][0-9]{3})(年|年生)?", word)
        if word and not told and not year:
            raise Invalid("timelines.typed", place=1)
        if (told and sex not in ("", told)) or (year and born not in (None, int(year[1]))):
            raise Invalid("timelines.typed_twice")
        sex, born = told or sex, int(year[1]) if year else born
    events, end = [], None
    for place, part in enumerate(parts, start=2):
        if not part:
            continue
        code, *numbers = part.split()
        years = number(numbers[0].removesuffix("岁")) if numbers else None
        if years is None:
            raise Invalid("timelines.typed", place=place)
        age = years * YEAR
        result = reading(numbers[1]) if len(numbers) > 1 else Reading()
        if result.remark:
            raise Invalid(_TYPED.get(result.remark, "timelines.typed"), place=place)
        if code.lower() in ("now", "至今"):
            end = age
            continue
        for one in pair(code):
            found = normalised(one)
            if found.startswith(f"{LOCAL}/") and "/" not in one:
                local(found)
            found += f"={LOCAL}/{result.answer}" if result.answer else ""
            events.append(Event(age, found, result.value, ucum(" ".join(numbers[2:]))))
    last = max((event.age for event in events), default=0.0)
    if end is not None and end < last:
        raise Invalid("timelines.typed_after_now", now=f"{end / YEAR:g}", age=f"{last / YEAR:g}")
    return checked(Timeline(sex, born, tuple(events), last if end is None else end))


def already_born(record: Timeline, learned: Collection[str]) -> Timeline:
    """``record``. Raises Invalid for one that is born in the future.

    ``learned``: tokens of the decades of birth that a model learned. Where one of them has not come, dates were shifted ahead to
    hide whose they are, as in MIMIC, and such patients are what is asked about.
    """
    today = date.today().year
    if record.born is not None and record.born > today:
        later = {born_token(decade) for decade in DECADES if decade > today}
        if later.isdisjoint(learned):
            raise Invalid("timelines.born_later", year=record.born)
    return record

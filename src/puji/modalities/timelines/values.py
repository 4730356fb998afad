"""Dates, numbers, results and sexes as people write them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple

from puji.modalities.timelines.timeline import Sex

SEXES: dict[str, Sex] = {
    **dict.fromkeys(("female", "f", "woman", "girl", "女", "女性", "女孩", "女婴"), "female"),
    **dict.fromkeys(("weiblich", "w", "frau", "femme", "féminin", "feminin", "fille", "femenino", "mujer"), "female"),
    **dict.fromkeys(("2", "8532", "gender//f", "gender//female"), "female"),
    **dict.fromkeys(("male", "m", "man", "boy", "男", "男性", "男孩", "男婴"), "male"),
    **dict.fromkeys(("männlich", "maennlich", "mann", "homme", "masculin", "garçon", "masculino", "hombre"), "male"),
    **dict.fromkeys(("1", "8507", "gender//m", "gender//male"), "male"),
}
"""Words in lower case, without a point at their end. 1 and 2 as ISO/IEC 5218 and GB/T 2261.1 have them, 8507 and 8532 as OMOP."""
SEX_UNTOLD = frozenset(
    (
        *("", "unknown", "unk", "u", "not known", "n/a", "na", "nan", "none", "null", "-", "?", "9", "8551"),
        *("未知", "不详", "不明", "未说明", "未说明的性别", "未知的性别", "gender//unknown", "gender//u"),
    )
)
"""Words by which a source says that it does not tell the sex."""
_BESIDE = {"1": ("0", "2"), "m": ("h", "f")}
"""What means another sex where a file tells the first of its pair, and not the second: 0 and 1; H (hombre) and M (mujer)."""
SEX_SIGNS = frozenset((*_BESIDE, *(sign for pair in _BESIDE.values() for sign in pair)))
"""The words by which a file shows how it codes the sex, see `sex_of`."""


@lru_cache(maxsize=1000)
def plain(text: str) -> str:
    """``text`` in half-width and lower case, without space around it and a point at its end."""
    return unicodedata.normalize("NFKC", text).strip().lower().removesuffix(".")


def sex_of(word: str, beside: Collection[str] = ()) -> Sex | None:
    """The sex that ``word``, as `plain` gives it, tells; "" where it says that it is not known, None where it is not clear.

    ``beside``: those of `SEX_SIGNS` that the same file tells. 0 is "not known" beside 2, and neither it nor 1 is clear without.
    """
    if other := _BESIDE.get(word):
        if other[0] in beside and other[1] not in beside:
            return None
    elif word == "0" and "2" in beside:
        return ""
    return "" if word in SEX_UNTOLD else SEXES.get(word)


_CHINESE = re.compile(r"([0-9]{4})年([0-9]{1,2})月(?:([0-9]{1,2})日?)?(.*)")
_HALVES = ("上午", "下午", "中午", "凌晨", "早上", "晚上")
_NUMBERS = re.compile(r"([0-9]{4})[-/.]?([0-9]{2}|[0-9](?=[-/.]))[-/.]?([0-9]{1,2})?(.*)")


def moment(text: str) -> float | None:
    """Seconds since 1970 of a date as people write it, with or without a time; None if it is none.

    ISO 8601, 2024/3/5, 20240305, 2024年3月5日 14:30; a time zone is kept, without one the time counts as UTC.
    """
    told = unicodedata.normalize("NFKC", text).strip()
    if re.fullmatch(r"[0-9]{4}年?", told):
        told = f"{told[:4]}-07-01"
    elif re.fullmatch(r"[0-9]{4}-[0-9]{2}", told):
        told += "-15"
    if match := (_CHINESE.fullmatch(told) or _NUMBERS.fullmatch(told)):
        year, month, day, rest = match.groups()
        half = next((word for word in _HALVES if rest.strip().startswith(word)), "")
        clock = re.sub("[时点]", ":", rest.strip().removeprefix(half).strip(" Tt")).replace("分", ":").rstrip("秒: ")
        told = f"{year}-{int(month):02d}-{int(day or 15):02d}"
        if clock:
            hour, sign, more = clock.partition(":")
            if (sign or half) and re.fullmatch("[0-9]{1,2}", hour):
                later = 12 if half in ("下午", "晚上") and int(hour) < 12 else 0
                clock = f"{int(hour) + later:02d}:{more or '00'}"
            told += f" {clock}"
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


def _written(group: str, decimal: str) -> re.Pattern[str]:
    """A number whose decimal sign is ``decimal``, and whose thousands ``group`` may divide."""
    whole = rf"(?P<grouped>(?!0)\d{{1,3}}(?:{group}\d{{3}})+)|\d+|(?={decimal}\d)"
    return re.compile(rf"(?P<sign>[+-]?)(?P<whole>{whole})(?:{decimal}(?P<part>\d*))?(?P<power>[eE][+-]?\d+)?")


_POINT, _COMMA = _written(",", r"\."), _written(r"\.", ",")
_NO_NUMBER = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
"""What programs write where there is no number; told as such, it is counted as a value that is not finite."""


def numbers(text: str, comma: bool = False) -> list[float]:
    """What ``text`` may mean as a number: nothing, one number, or two where it can be read in two ways (1,024).

    A comma or a point may be the decimal sign, or stand between groups of three digits; most numbers can be read in one way only
    (1,024.5 and 1.024,5; 7,9; 0,912). ``comma``: the decimal sign of the source is the comma, as where semicolons divide its
    cells, else the point: what can be read with that sign as the decimal one is (of 1.024 and 1,024 the one or the other).
    """
    told = unicodedata.normalize("NFKC", text).strip()
    if _NO_NUMBER.fullmatch(told):
        return [float(told)]
    usual, other = (_COMMA, _POINT) if comma else (_POINT, _COMMA)
    matches = [match for match in (usual.fullmatch(told), other.fullmatch(told)) if match]
    if matches and matches[0].re is usual and not matches[0]["grouped"]:
        matches = matches[:1]
    return sorted({_value(match) for match in matches})


def _value(match: re.Match[str]) -> float:
    whole = re.sub("[.,]", "", match["whole"])
    return float(f"{match['sign']}{whole or '0'}.{match['part'] or '0'}{match['power'] or ''}")


def number(text: str, comma: bool = False) -> float | None:
    """A number as people write it (full-width digits, "1,024.5"); None for none, and one that has two meanings. See `numbers`."""
    found = numbers(text, comma)
    return found[0] if len(found) == 1 else None


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
    values = numbers(bare, comma)
    if len(values) != 1:
        return Reading(remark="timelines.read.ambiguous" if values else "timelines.read.text")
    return Reading(values[0], remark="timelines.read.bound" if bare != told else "")

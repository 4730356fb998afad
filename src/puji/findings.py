"""Names of findings, shared by images and reports: English, Chinese, and the code of SNOMED CT where two sources agree on it.

Pneumothorax is coded as in DICOM's context group 6105; the others as public implementations of chest findings code them alike.
RadLex codes are left out: public mappings contradict each other, and RadLex itself was not at hand.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from puji.language import current

TABLE = Path(__file__).parent / "findings.csv"


@dataclass(frozen=True)
class Finding:
    """``name``: English, lower case; ``zh``: Chinese; ``snomed``: the SNOMED CT code, '' if not known; ``also``: other names that
    it is told by, separated by "|"."""

    name: str
    zh: str
    snomed: str = ""
    also: str = ""


@cache
def findings() -> dict[str, Finding]:
    """All that are known, by English name."""
    with TABLE.open(encoding="utf-8", newline="") as stream:
        return {row["name"]: Finding(**row) for row in csv.DictReader(stream)}


@cache
def _by_any_name() -> dict[str, str]:
    told = ((word, one.name) for one in findings().values() for word in (one.name, one.zh, *one.also.split("|")))
    return {word: name for word, name in told if word}


def canonical(text: str) -> str:
    """The English name of the finding that ``text`` names in English or Chinese; ``text`` itself if none is known by it."""
    return _by_any_name().get(text.lower(), text)


def named(name: str, language: str | None = None) -> str:
    """The finding ``name`` in ``language`` (default: the current one); ``name`` itself if it is not known."""
    found = findings().get(name)
    return found.zh if found and (language or current()) == "zh" else name

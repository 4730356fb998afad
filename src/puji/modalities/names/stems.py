"""The stems of generic names: what an ending, a beginning or a part inside a name says about the substance.

`stems.json` is a table of ours, after the stem system of the WHO's International Nonproprietary Names Programme and of
the USAN Council, with meanings in our own words; ``names`` counts the generic names of `drug-names` that carry the stem.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Literal

from puji.errors import Invalid

Place = Literal["suffix", "prefix", "infix"]
TELLING = 3
"""Letters from which a stem is not a matter of chance: brand names must not carry one that long at its place."""


@dataclass(frozen=True)
class Stem:
    """One stem as it is written, with its hyphens: "-tinib", "cef-", "-erg-".

    ``zh``: the characters that Chinese names have for it, empty where there are no settled ones.
    """

    stem: str
    names: int
    zh: str
    en_meaning: str
    zh_meaning: str

    @cached_property
    def letters(self) -> str:
        """The stem without hyphens."""
        return self.stem.strip("-")

    @cached_property
    def place(self) -> Place:
        """Where in a name it stands."""
        if not self.stem.endswith("-"):
            return "suffix"
        return "infix" if self.stem.startswith("-") else "prefix"

    @property
    def token(self) -> str:
        """Its condition token; the hyphens of a suffix are left out."""
        return f"<stem:{self.letters if self.place == 'suffix' else self.stem}>"

    def meaning(self, language: str) -> str:
        """What it says, in ``language``."""
        return self.zh_meaning if language == "zh" else self.en_meaning

    def fits(self, text: str) -> bool:
        """Whether the name ``text`` carries it, and is longer than it."""
        if self.place == "suffix":
            return text.endswith(self.letters) and len(text) > len(self.letters)
        if self.place == "prefix":
            return text.startswith(self.letters) and len(text) > len(self.letters)
        return text.find(self.letters, 1) not in (-1, len(text) - len(self.letters)) and not text.startswith(
            self.letters
        )


@cache
def table() -> tuple[Stem, ...]:
    """All stems: suffixes, then prefixes, then infixes, each in alphabetical order."""
    rows = json.loads((Path(__file__).parent / "stems.json").read_text("utf-8"))
    return tuple(Stem(row["stem"], row["names"], row["zh"], row["meaning"]["en"], row["meaning"]["zh"]) for row in rows)


@cache
def by_token() -> dict[str, Stem]:
    """Condition token -> stem."""
    return {stem.token: stem for stem in table()}


@cache
def _by_letters(place: Place) -> dict[str, Stem]:
    return {stem.letters: stem for stem in table() if stem.place == place}


@cache
def _infixes() -> tuple[Stem, ...]:
    return tuple(stem for stem in table() if stem.place == "infix")


@lru_cache(maxsize=65536)
def carried(text: str) -> tuple[Stem, ...]:
    """All stems that the name ``text`` carries: suffixes, longest first, then prefixes, then infixes."""
    suffixes, prefixes = _by_letters("suffix"), _by_letters("prefix")
    inside = range(1, len(text))
    found = [suffixes[text[at:]] for at in inside if text[at:] in suffixes]
    found += [prefixes[text[:at]] for at in reversed(inside) if text[:at] in prefixes]
    return (*found, *(stem for stem in _infixes() if stem.fits(text)))


def main_stem(text: str) -> Stem | None:
    """The stem that tells most: the longest suffix, else the longest prefix, else an infix; None if there is none."""
    return next(iter(carried(text)), None)


def before_stem(text: str) -> str:
    """The part of a name before its longest suffix stem; the whole name without one, or if under two letters are left."""
    stem = main_stem(text)
    if stem is None or stem.place != "suffix" or len(text) - len(stem.letters) < 2:
        return text
    return text[: -len(stem.letters)]


def forbidden(text: str) -> list[Stem]:
    """The suffix and prefix stems of `TELLING` letters or more that a brand name must not carry."""
    return [stem for stem in carried(text) if stem.place != "infix" and len(stem.letters) >= TELLING]


def find(text: str) -> Stem:
    """The stem written "tinib", "-tinib", "cef-" or 替尼 (the one with the most names). Raises Invalid if there is none."""
    wanted = text.strip().lower()
    exact = [stem for stem in table() if stem.stem == wanted]
    if not exact:
        bare = wanted.strip("-")
        exact = [stem for stem in table() if bare and bare in (stem.letters, stem.zh)]
    if not exact:
        near = sorted(table(), key=lambda stem: (_apart(wanted.strip("-"), stem.letters), -stem.names))[:5]
        raise Invalid("names.stem", stem=text[:40], near=", ".join(stem.stem for stem in near))
    return max(exact, key=lambda stem: (stem.place == "suffix", stem.names))


def _apart(first: str, second: str) -> int:
    """Levenshtein distance."""
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first[:40], 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(second, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (letter != other))
    return row[-1]


def search(meaning: str) -> list[Stem]:
    """The suffix and prefix stems whose meaning, in English or Chinese, holds all words of ``meaning``.

    Most names first. Raises Invalid if there is none.
    """
    words = [_singular(word) for word in meaning.lower().split()]
    found = [
        stem
        for stem in table()
        if stem.place != "infix" and words and all(word in stem.en_meaning.lower() + stem.zh_meaning for word in words)
    ]
    if not found:
        raise Invalid("names.meaning", meaning=meaning[:60])
    return sorted(found, key=lambda stem: -stem.names)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 4 and word.endswith("s") and not word.endswith("ss") else word

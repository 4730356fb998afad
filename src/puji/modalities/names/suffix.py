"""What must not stand in a name: abbreviations of doses; in the suffix of a biologic also anything with a meaning."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from puji.modalities.names.stems import table
from puji.modalities.names.tokens import SUFFIX_LENGTH

DOSES = ("mg", "mcg", "ml", "iu", "bid", "tid", "qid", "qd", "qod", "qhs", "prn")
"""Abbreviations of doses and times. Those of three letters count anywhere in a name, shorter ones at either end."""
ROUTES = ("po", "iv", "im", "hs", "cc")
"""Abbreviations that follow a name in an order: they count at its end."""


def doses(text: str) -> tuple[str, ...]:
    """The abbreviations in a name that could be read as a part of the order it stands in."""
    found = [word for word in DOSES if text.startswith(word) or text.endswith(word) or (len(word) > 2 and word in text)]
    return (*found, *(word for word in ROUTES if text.endswith(word)))


def suffix_faults(text: str) -> tuple[str, ...]:
    """What is against four letters as the suffix of a biologic, as message keys.

    After FDA's guidance on the naming of biologics (2017), in our words: four lower-case letters, at least three of them
    different; devoid of meaning; no abbreviation of the clinic, no word, no stem that promises something.
    """
    faults = []
    if len(text) != SUFFIX_LENGTH:
        faults.append("names.suffix.length")
    if len(set(text)) < 3:
        faults.append("names.suffix.letters")
    if any(word in text for word in DOSES if len(word) > 2) or text[:2] in ("mg", "ml") or text[2:] in ("mg", "ml"):
        faults.append("names.suffix.dose")
    if text in _words() or any(text.endswith(stem) or text.startswith(stem) for stem in _suffix_stems()):
        faults.append("names.suffix.meaning")
    return tuple(faults)


@cache
def _words() -> frozenset[str]:
    return frozenset((Path(__file__).parent / "suffix_words.txt").read_text("ascii").split())


@cache
def _suffix_stems() -> frozenset[str]:
    return frozenset(stem.letters for stem in table() if stem.place == "suffix" and len(stem.letters) in (3, 4))

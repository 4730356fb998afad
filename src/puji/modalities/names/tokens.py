"""Names <-> tokens: one letter is one token; what is asked for is told by tokens in front."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from puji.errors import Invalid
from puji.modality import END

SHORTEST, LONGEST = 3, 24
"""Letters of a name."""
SUFFIX_LENGTH = 4
"""Letters of a biologic suffix."""

Kind = Literal["generic", "brand", "suffix"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NAME = "<name>"
LETTERS = string.ascii_lowercase
MOST_SYLLABLES = 10

SPLITTER = r"<[^<>\s]+>|."

_VOWELS = re.compile(r"[aeiouy]+")
_MARKS = re.compile("[®™©\u2122]")


@dataclass(frozen=True)
class Name:
    """A name in lower case and what it names: a generic name, a brand, or the suffix of a biologic."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.text}"


def kind_token(kind: Kind) -> str:
    """The token that opens a name of ``kind``, right after NAME, so that the model pays for telling it."""
    return f"<{kind}>"


def body(name: Name) -> list[str]:
    """NAME, the kind, the letters, END."""
    return [NAME, kind_token(name.kind), *name.text, END]


def spelled(tokens: Sequence[str]) -> tuple[str | None, str]:
    """The kind (None if not told) and the letters of a body; what follows END is left out."""
    kind: str | None = None
    letters: list[str] = []
    for token in tokens:
        if token == END:
            break
        if token[1:-1] in KINDS:
            kind = token[1:-1]
        elif not (token.startswith("<") and token.endswith(">")):
            letters.append(token)
    return kind, "".join(letters)


def clean(text: str, kind: Kind | None = None) -> str:
    """``text`` as a name: trademark signs, accents and capitals go; the rest must be 3 to 24 letters. Raises Invalid.

    A name of ``kind`` "suffix" has four letters and may have its hyphen in front.
    """
    if len(text) > 1000:
        raise Invalid("names.long", length=len(text), longest=LONGEST)
    plain = unicodedata.normalize("NFKD", _MARKS.sub("", text)).strip().lower()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    if kind == "suffix":
        plain = plain.removeprefix("-")
    if not plain:
        raise Invalid("names.empty")
    if any("\u3400" <= letter <= "\u9fff" for letter in plain):
        raise Invalid("names.chinese")
    if any(letter.isdigit() for letter in plain):
        raise Invalid("names.digits")
    if any(letter.isspace() for letter in plain):
        raise Invalid("names.words")
    if strange := sorted({letter for letter in plain if letter not in LETTERS}):
        shown = "".join(letter if letter.isprintable() else f"U+{ord(letter):04X}" for letter in strange[:5])
        raise Invalid("names.characters", characters=shown)
    if kind == "suffix" and len(plain) != SUFFIX_LENGTH:
        raise Invalid("names.suffix_length", length=len(plain))
    if len(plain) < SHORTEST:
        raise Invalid("names.short", length=len(plain), shortest=SHORTEST)
    if len(plain) > LONGEST:
        raise Invalid("names.long", length=len(plain), longest=LONGEST)
    return plain


def syllables(text: str) -> int:
    """About how many syllables an English reader gives ``text``: groups of vowels, a silent final e not counted."""
    core = text[:-1] if text.endswith("e") and len(text) > 2 and text[-2] not in "aeiouyl" else text
    return min(MOST_SYLLABLES, max(1, len(_VOWELS.findall(core))))


def length_token(length: int) -> str:
    """The condition token of a number of letters."""
    return f"<length:{length}>"


def first_token(letter: str) -> str:
    """The condition token of a first letter."""
    return f"<first:{letter}>"


def syllables_token(count: int) -> str:
    """The condition token of a number of syllables."""
    return f"<syllables:{count}>"

"""What a namer may ask for: a kind of name, a stem or what it means, length, first letters, syllables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from puji.errors import Invalid
from puji.modalities.names.stems import Stem, find, forbidden, search
from puji.modalities.names.tokens import KINDS, LETTERS, LONGEST, MOST_SYLLABLES, SHORTEST, SUFFIX_LENGTH, Kind
from puji.options import Range

MOST_FIRST = 3
"""First letters that may be asked for."""
LIMITS = {"length": (SHORTEST, LONGEST), "syllables": (1, MOST_SYLLABLES)}
"""The lowest and highest number that each range may hold."""
MOST_NEAREST = 100
"""Nearest known names that may be shown."""


def _kind(value: Any) -> Any:
    if value is not None and value not in KINDS:
        raise Invalid("names.kind", value=str(value)[:40], known=", ".join(KINDS))
    return value


class Conditions(BaseModel):
    """What a generated name should be. Everything is optional and may be combined, within reason."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind | None = None
    stem: str | None = None
    meaning: str | None = None
    length: Range[int] | None = None
    first: str | None = None
    syllables: Range[int] | None = None

    @field_validator("kind", mode="before")
    @classmethod
    def _known_kind(cls, value: Any) -> Any:
        return _kind(value)

    @field_validator("length", "syllables", mode="before")
    @classmethod
    def _range(cls, value: Any, info: ValidationInfo) -> Range[int] | None:
        if value is None:
            return None
        name = str(info.field_name)
        lowest, highest = LIMITS[name]
        asked = Range[int].of(value, name)
        if asked.low < lowest or asked.high > highest:
            raise Invalid("names.limits", option=name, value=str(asked), lowest=lowest, highest=highest)
        return asked

    @field_validator("stem", mode="after")
    @classmethod
    def _stem(cls, value: str | None) -> str | None:
        return None if value is None else find(value).stem

    @field_validator("meaning", mode="after")
    @classmethod
    def _meaning(cls, value: str | None) -> str | None:
        if value is not None:
            search(value)
        return value

    @field_validator("first", mode="after")
    @classmethod
    def _first(cls, value: str | None) -> str | None:
        if value is None:
            return None
        letters = value.strip().lower()
        if not 1 <= len(letters) <= MOST_FIRST or any(letter not in LETTERS for letter in letters):
            raise Invalid("names.first", value=value[:40], most=MOST_FIRST)
        return letters

    @model_validator(mode="after")
    def _possible(self) -> Conditions:
        if self.stem is not None and self.meaning is not None:
            raise Invalid("names.stem_and_meaning")
        if (self.stem is not None or self.meaning is not None) and self.kind not in (None, "generic"):
            raise Invalid("names.stem_kind")
        if self.kind == "suffix" and (self.syllables or (self.length and SUFFIX_LENGTH not in self.length)):
            raise Invalid("names.suffix_asked")
        if (self.stem is not None or self.meaning is not None) and not self.stems():
            raise Invalid("names.stem_room", stem=self.stem or self.meaning)
        if self.kind == "brand" and self.first is not None and forbidden(self.first + "a"):
            raise Invalid("names.first_stem", first=self.first)
        return self

    def stems(self) -> list[Stem]:
        """The stems asked for, by itself or by meaning, that go together with length and first letters."""
        if self.stem is None and self.meaning is None:
            return []
        found = [find(self.stem)] if self.stem is not None else search(self.meaning or "")
        return [stem for stem in found if self._room(stem)]

    def _room(self, stem: Stem) -> bool:
        room = self.length.high if self.length else LONGEST
        first = self.first or ""
        if stem.place == "prefix":
            shared = min(len(first), len(stem.letters))
            return first[:shared] == stem.letters[:shared] and max(len(first), len(stem.letters) + 1) <= room
        around = max(len(first), 1) + (stem.place == "infix")
        return around + len(stem.letters) <= room


class Ask(BaseModel):
    """How to screen a name: as which kind (found out by itself if not told), beside how many names, with whose pairs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind | None = None
    nearest: int = Field(default=10, ge=1, le=MOST_NEAREST)
    pairs: Path | None = None

    @field_validator("kind", mode="before")
    @classmethod
    def _known_kind(cls, value: Any) -> Any:
        return _kind(value)

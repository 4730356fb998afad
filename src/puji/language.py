"""English and Chinese: message catalogues, and which language to speak.

A catalogue is a JSON file ``messages/<language>.json`` of key -> text with ``{named}`` fields. Puji has one; each modality
has its own beside its code. Keys start with the modality's name there, so the two never clash.
"""

from __future__ import annotations

import json
import locale
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "zh")
HERE = Path(__file__).parent

_chosen: str | None = None


def use(language: str | None) -> None:
    """Speak ``language`` from now on; None: what the environment says."""
    global _chosen
    if language is not None and language not in LANGUAGES:
        raise ValueError(f"language {language!r}: choose one of {', '.join(LANGUAGES)}")
    _chosen = language


def chosen() -> str | None:
    """The language chosen with `use`; None: the environment's."""
    return _chosen


def current() -> str:
    """The language spoken: the chosen one, else PUJI_LANG, else the locale's; English if that is neither."""
    if _chosen:
        return _chosen
    for name in ("PUJI_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "zh" if (locale.getlocale()[0] or "").lower().startswith(("zh", "chinese")) else "en"


def folders() -> list[Path]:
    """Where catalogues are: Puji's own, that of streams, then each built-in modality's."""
    return [HERE / "messages", HERE / "streams" / "messages", *sorted(HERE.glob("modalities/*/messages"))]


_extra: list[Path] = []


def add_folder(folder: Path) -> None:
    """Also look up messages in ``folder``; a modality from another package calls this once."""
    if folder not in _extra:
        _extra.append(folder)
        catalogue.cache_clear()


@cache
def catalogue(language: str) -> dict[str, str]:
    """All messages of ``language``, key -> text."""
    merged: dict[str, str] = {}
    for folder in [*folders(), *_extra]:
        path = folder / f"{language}.json"
        if path.exists():
            merged.update(json.loads(path.read_text("utf-8")))
    return merged


def has_text(key: str) -> bool:
    """Whether the catalogue of the current language has ``key``."""
    return key in catalogue(current())


def label(name: str, *keys: str) -> str:
    """The text of the first of ``keys`` that has one, in the current language; ``name`` itself if none has."""
    return next((translate(key) for key in keys if has_text(key)), name)


def translate(key: str, language: str | None = None, **details: Any) -> str:
    """The message ``key`` in ``language`` (default: the current one) with its fields filled in.

    An unknown key is returned as it is, with the details, so that an error is never hidden by a missing translation.
    """
    text = catalogue(language or current()).get(key)
    if text is None:
        return f"{key} {details}" if details else key
    try:
        return text.format(**details)
    except (KeyError, IndexError, ValueError, TypeError):
        return f"{text} {details}"


@dataclass(frozen=True)
class Text:
    """A message that is written in each language: its key in the catalogues and the values of its fields.

    A field whose value is a `Text` is itself translated. A key that no catalogue has is told as it is.
    """

    key: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def text(self, language: str) -> str:
        """The message in ``language``."""
        values = {
            name: value.text(language) if isinstance(value, Text) else value for name, value in self.details.items()
        }
        return translate(self.key, language, **values)


def worded(value: str, *keys: str) -> Text:
    """The first of ``keys`` that the catalogues have; ``value`` itself if they have none."""
    return Text(next((key for key in keys if key in catalogue(LANGUAGES[0])), value))

"""How good a set of names is: valid, new, different from each other, keeping the stem; and bits per character."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from puji.intervals import Z, proportion
from puji.modalities.names.stems import Stem, carried, forbidden
from puji.modalities.names.suffix import doses
from puji.modalities.names.tokens import Name
from puji.modality import Metric


def novelty(names: Sequence[str], known: Collection[str]) -> Metric:
    """Share of the draws (duplicates counted) that are no known name."""
    every = known if isinstance(known, (set, frozenset)) else frozenset(known)
    return proportion(sum(name not in every for name in names), len(names))


def uniqueness(names: Sequence[str]) -> Metric:
    """Different names over draws."""
    return Metric(len(set(names)) / len(names) if names else math.nan, len(names), "up")


def stem_kept(names: Sequence[str], stem: Stem) -> Metric:
    """Share of the names that carry ``stem`` at its place."""
    return proportion(sum(stem.fits(name) for name in names), len(names))


def bits_per_character(model: Any, names: Sequence[Name]) -> Metric:
    """Bits per character of ``names`` under ``model`` (a `puji.Model`), the end of each counted as one character.

    The likelihood is that of the whole body without conditions: the kind is paid for, too.
    """
    bits = -np.asarray(model.log_likelihood(list(names))) / math.log(2)
    characters = np.array([len(name.text) + 1 for name in names])
    mean = float(bits.sum() / characters.sum())
    # Names are drawn, not characters: delta method for a ratio of sums.
    n = len(names)
    error = float(np.std(bits - mean * characters, ddof=1) / (characters.mean() * math.sqrt(n))) if n > 1 else math.inf
    return Metric(mean, n, "down", mean - Z * error, mean + Z * error)


def name_metrics(drawn: Sequence[Name | None], known: Iterable[str]) -> dict[str, Metric]:
    """Figures of ``drawn`` (None: not even a name) against ``known`` names of all kinds."""
    names = [name for name in drawn if name is not None]
    texts = [name.text for name in names]
    brands = [name.text for name in names if name.kind == "brand"]
    generics = [name.text for name in names if name.kind == "generic"]
    return {
        "valid": proportion(len(names), len(drawn)),
        "unique": uniqueness(texts),
        "novelty": novelty(texts, frozenset(known)),
        "generic with a stem": proportion(sum(bool(carried(text)) for text in generics), len(generics), ""),
        "brand without a stem": proportion(sum(not forbidden(text) for text in brands), len(brands)),
        "no dose abbreviation": proportion(sum(not doses(text) for text in texts), len(texts)),
    }

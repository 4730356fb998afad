"""Between which bounds training images lie: what an image may be unlike them in, however likely its patches are.

A blank image is the likeliest of all to a model that has learned that most patches look like the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from puji.modalities.images.codebook import Codebook, Pixels

MARGIN = 0.25
"""How far beyond the lowest and highest training image an image may lie, as a share of the distance between the two."""


@dataclass(frozen=True)
class Limits:
    """Lowest and highest value of each of `measures`; none: no bounds."""

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @classmethod
    def learn(cls, book: Codebook, images: Pixels) -> Limits:
        """From training images (n, size, size, channels)."""
        found = measures(book, images)
        low, high = found.min(0), found.max(0)
        room = MARGIN * (high - low)
        return cls(tuple((low - room).tolist()), tuple((high + room).tolist()))

    def outside(self, book: Codebook, pixels: Pixels) -> bool:
        """Whether ``pixels`` (size, size, channels) lie beyond a bound."""
        if not self.low:
            return False
        found = measures(book, pixels[None])[0]
        return bool((found < self.low).any() or (found > self.high).any())

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        return {"low": list(self.low), "high": list(self.high)}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Limits:
        """Inverse of `state`."""
        return cls(tuple(state["low"]), tuple(state["high"]))


def measures(book: Codebook, images: Pixels) -> np.ndarray:
    """Of each image (n, ...): mean, logarithms of spread, of roughness from pixel to pixel and of the codes' error, (n, 4)."""
    levels = images.astype(np.float64)
    places = (1, 2, 3)
    across, down = np.abs(np.diff(levels, axis=2)), np.abs(np.diff(levels, axis=1))
    error = np.sqrt(((levels - book.decode(book.encode(images))) ** 2).mean(places))
    told = [levels.std(places), across.mean(places) + down.mean(places), error]
    return np.stack([levels.mean(places), *(np.log(one + 1) for one in told)], 1)

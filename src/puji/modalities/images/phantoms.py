"""Pictures drawn by code, for examples and tests: a chest as an X-ray shows it, roughly, and shapes on a ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from puji.modalities.images.image import Image, Pixels


def chest(rng: np.random.Generator, size: int = 28, opacity: bool = False) -> Image:
    """Two dark lungs beside a bright heart under ribs; with an ``opacity`` in one lung it is labelled "opacity"."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    jitter = rng.normal(0, 0.015, 6)
    picture = np.full((size, size), 0.75) - 0.15 * y
    for side in (-1, 1):
        lung = blob(x, y, 0.5 + side * (0.21 + jitter[0]), 0.47 + jitter[1], 0.15 + jitter[2], 0.31 + jitter[3])
        picture -= 0.5 * lung
    picture += 0.35 * blob(x, y, 0.56 + jitter[4], 0.62 + jitter[5], 0.13, 0.17)
    picture += 0.04 * np.sin(34 * y + 6 * np.abs(x - 0.5))
    if opacity:
        side = rng.choice((-1, 1))
        picture += 0.4 * blob(x, y, 0.5 + side * 0.22, rng.uniform(0.4, 0.65), 0.09, 0.1)
    picture = 0.1 + 0.9 * (picture - picture.min()) / np.ptp(picture) + rng.normal(0, 0.01, picture.shape)
    return Image.of(levels(picture[:, :, None]), ("opacity" if opacity else "clear",))


def blob(
    x: NDArray[np.float64], y: NDArray[np.float64], left: float, top: float, width: float, height: float
) -> NDArray[np.float64]:
    """An ellipse with a soft edge: 1 inside, 0 outside."""
    distance = ((x - left) / width) ** 2 + ((y - top) / height) ** 2
    found: NDArray[np.float64] = 1 / (1 + np.exp(np.minimum(4 * (distance - 1), 50)))
    return found


def gradient(size: int = 28, colour: tuple[float, float, float] | None = None) -> Image:
    """From dark to bright, grey or of one ``colour``."""
    ramp = np.linspace(0.1, 0.9, size)[None, :, None] * np.ones((size, 1, 1))
    return Image.of(levels(ramp if colour is None else ramp * np.array(colour)))


def lesion(rng: np.random.Generator, size: int = 28, dark: bool = True) -> Image:
    """A spot on skin, in colour."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    spot = blob(x, y, *rng.uniform(0.4, 0.6, 2), *rng.uniform(0.12, 0.22, 2))[:, :, None]
    skin, mole = np.array([0.85, 0.65, 0.55]), np.array([0.35, 0.2, 0.15]) if dark else np.array([0.75, 0.35, 0.3])
    picture = skin * (1 - spot) + mole * spot + rng.normal(0, 0.01, (size, size, 3))
    return Image.of(levels(picture), ("nevus" if dark else "angioma",))


def levels(picture: NDArray[np.float64]) -> Pixels:
    """0 to 1 as grey levels."""
    found: Pixels = (255 * picture.clip(0, 1)).round().astype(np.uint8)
    return found

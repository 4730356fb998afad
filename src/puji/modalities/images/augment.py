"""Images as they could have been taken: a little moved, turned, nearer, brighter, flatter or noisier; mirrored if asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Augmentation:
    """How much an image is changed at most.

    ``shift``: share of the side; ``turn``: degrees; ``zoom``, ``contrast``: factor less 1; ``gamma``: logarithm of the exponent;
    ``brightness``, ``noise`` (its largest standard deviation): share of the range of grey levels; ``share``: how many images
    are changed at all.
    """

    shift: float = 0.08
    turn: float = 8.0
    zoom: float = 0.08
    brightness: float = 0.1
    contrast: float = 0.25
    gamma: float = 0.25
    noise: float = 0.03
    mirror: bool = False
    share: float = 0.9

    def __call__(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        """A changed copy of ``pixels`` (size, size, channels)."""
        if rng.random() >= self.share:
            return pixels
        if self.mirror and rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        moved = self._moved(pixels, rng).astype(np.float32) / 255
        exponent = np.exp(rng.uniform(-self.gamma, self.gamma))
        factor = 1 + rng.uniform(-self.contrast, self.contrast)
        light = rng.uniform(-self.brightness, self.brightness)
        middle = moved.mean()
        changed = (moved**exponent - middle) * factor + middle + light
        noise = rng.uniform(0, self.noise)
        changed += noise * rng.standard_normal(moved.shape, dtype=np.float32)
        levels: Pixels = (255 * changed.clip(0, 1)).round().astype(np.uint8)
        return levels

    def _moved(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        """Shifted, turned about the middle and zoomed; what was outside repeats the edge."""
        size = len(pixels)
        across, down = rng.uniform(-self.shift, self.shift, 2) * size
        turn = np.deg2rad(rng.uniform(-self.turn, self.turn))
        zoom = np.exp(rng.uniform(-self.zoom, self.zoom))
        border = size // 2
        padded = np.pad(pixels, ((border, border), (border, border), (0, 0)), mode="edge")
        middle = (size + 2 * border) / 2
        cosine, sine = np.cos(turn) / zoom, np.sin(turn) / zoom
        # Pillow maps each place of the result to its place in the source.
        x0 = middle - cosine * (size / 2 + across) - sine * (size / 2 + down)
        y0 = middle + sine * (size / 2 + across) - cosine * (size / 2 + down)
        channels = [
            np.asarray(
                Pillow.fromarray(padded[:, :, channel]).transform(
                    (size, size),
                    Pillow.Transform.AFFINE,
                    (cosine, sine, x0, -sine, cosine, y0),
                    Pillow.Resampling.BICUBIC,
                )
            )
            for channel in range(pixels.shape[2])
        ]
        return np.stack(channels, -1)


ELSEWHERE = Augmentation(0, 0, 0, brightness=0.15, contrast=0.4, gamma=0.5, noise=0.05, share=1.0)
"""An image as another machine might take it: more unlike itself in exposure than training images are made."""


def shifted(pixels: Pixels, across: int, down: int) -> Pixels:
    """``pixels`` (size, size, channels) moved by whole pixels; what was outside repeats the edge."""
    rows = np.clip(np.arange(pixels.shape[0]) - down, 0, pixels.shape[0] - 1)
    columns = np.clip(np.arange(pixels.shape[1]) - across, 0, pixels.shape[1] - 1)
    return pixels[rows][:, columns]

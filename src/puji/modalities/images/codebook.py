"""Patches and their codes: an image is cut into small squares, each told by the nearest of a few hundred learned ones.

The codes are the centres of k-means (Lloyd 1982, started from patches far from each other as k-means++ does, Arthur &
Vassilvitskii 2007), rounded to whole grey levels, so that all distances are exact and encoding a decoded image gives its codes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SAMPLE = 60_000
"""Most patches that k-means sees."""
ROUNDS = 20
"""Most rounds of k-means."""
BLOCK = 2**22
"""Distances held at once (4 bytes each)."""
LEVELS = {1: 64, 3: 6}
"""Grey levels of each channel in the codes of a codebook that has learned nothing, by the number of channels."""


class Codebook:
    """Squares of ``patch`` pixels of an image of ``size`` x ``size`` x ``channels``, and their codes.

    ``centres``: (codes, patch * patch * channels) uint8, all different.
    """

    def __init__(self, patch: int, size: int, channels: int, centres: Pixels) -> None:
        if size % patch:
            raise ValueError(f"{size} pixels cannot be cut into patches of {patch}")
        if centres.ndim != 2 or centres.shape[1] != patch * patch * channels or not len(centres):
            raise ValueError(f"centres of shape {centres.shape} for {patch} x {patch} patches of {channels} channels")
        self.patch, self.size, self.channels, self.centres = patch, size, channels, centres
        self._transposed = centres.astype(np.float32).T.copy()
        self._half = (self._transposed**2).sum(0) / 2

    @classmethod
    def plain(cls, patch: int = 2, size: int = 28, channels: int = 1) -> Codebook:
        """Codes of flat patches: what there is before anything was learned."""
        levels = np.linspace(0, 255, LEVELS[channels]).round()
        colours = np.stack(np.meshgrid(*[levels] * channels, indexing="ij"), -1).reshape(-1, channels)
        return cls(patch, size, channels, np.tile(colours, (1, patch * patch)).astype(np.uint8))

    @classmethod
    def learn(cls, images: Pixels, patch: int, codes: int, seed: int = 0) -> Codebook:
        """Fit at most ``codes`` codes to ``images`` (n, size, size, channels)."""
        size, channels = images.shape[1], images.shape[3]
        rng = np.random.default_rng(seed)
        patches = cut(images, patch).reshape(-1, patch * patch * channels)
        if len(patches) > SAMPLE:
            patches = patches[rng.choice(len(patches), SAMPLE, replace=False)]
        return cls(patch, size, channels, k_means(patches, codes, rng))

    @property
    def codes(self) -> int:
        """How many codes there are."""
        return len(self.centres)

    @property
    def side(self) -> int:
        """Patches in a row."""
        return self.size // self.patch

    @property
    def length(self) -> int:
        """Patches of an image."""
        return self.side**2

    def encode(self, images: Pixels) -> NDArray[np.int64]:
        """Codes of ``images`` (n, size, size, channels), row by row: (n, length)."""
        patches = cut(images, self.patch)
        flat = patches.reshape(-1, patches.shape[-1])
        return nearest(flat, self._transposed, self._half).reshape(patches.shape[:2])

    def decode(self, codes: NDArray[np.int64]) -> Pixels:
        """Images (n, size, size, channels) of ``codes`` (n, length)."""
        n, side, patch = len(codes), self.side, self.patch
        patches = self.centres[codes].reshape(n, side, side, patch, patch, self.channels)
        return patches.swapaxes(2, 3).reshape(n, self.size, self.size, self.channels)

    def state(self) -> dict[str, Any]:
        """As JSON values and arrays."""
        return {"patch": self.patch, "size": self.size, "channels": self.channels, "centres": self.centres}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Codebook:
        """Inverse of `state`."""
        return cls(
            int(state["patch"]), int(state["size"]), int(state["channels"]), np.asarray(state["centres"], np.uint8)
        )


def cut(images: Pixels, patch: int) -> Pixels:
    """Patches of ``images`` (n, size, size, channels), row by row: (n, patches, patch * patch * channels)."""
    n, size, _, channels = images.shape
    side = size // patch
    squares = images.reshape(n, side, patch, side, patch, channels).swapaxes(2, 3)
    return squares.reshape(n, side * side, patch * patch * channels)


def nearest(patches: Pixels, transposed: NDArray[np.float32], half: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which centre is nearest to each of ``patches`` (n, d); the first of equals.

    ``transposed``: the centres (d, codes); ``half``: half their squared lengths. Where the centres are whole, so is every sum
    up to a half, and exact in float32 (below 2^24 for d <= 192).
    """
    found = np.empty(len(patches), np.int64)
    rows = max(1, BLOCK // transposed.shape[1])
    for start in range(0, len(patches), rows):
        part = patches[start : start + rows].astype(np.float32)
        found[start : start + rows] = (half - part @ transposed).argmin(1)
    return found


def k_means(patches: Pixels, codes: int, rng: np.random.Generator) -> Pixels:
    """At most ``codes`` different whole centres of ``patches`` (n, d)."""
    different = np.unique(patches, axis=0)
    if len(different) <= codes:
        return different
    centres = _apart(different, codes, rng)
    for _ in range(ROUNDS):
        owners = nearest(patches, centres.T.copy(), (centres**2).sum(1) / 2)
        counts = np.bincount(owners, minlength=codes)
        sums = np.stack([np.bincount(owners, column, codes) for column in patches.T.astype(np.float64)], 1)
        moved = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        empty = np.flatnonzero(counts == 0)
        if len(empty):  # such a centre starts again at a patch that is told badly
            errors = ((patches - centres[owners]) ** 2).sum(1)
            moved[empty] = patches[np.argsort(errors)[-len(empty) :]]
        if np.abs(moved - centres).max() < 0.5:
            break
        centres = moved
    return np.unique(centres.round().astype(np.uint8), axis=0)


def _apart(patches: Pixels, codes: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """First centres: among a sample, each drawn in proportion to its squared distance from those before it."""
    sample = patches[rng.permutation(len(patches))[: 20 * codes]].astype(np.float32)
    chosen = [int(rng.integers(len(sample)))]
    distances = ((sample - sample[chosen[0]]) ** 2).sum(1, dtype=np.float64)
    while len(chosen) < codes:
        chosen.append(int(rng.choice(len(sample), p=distances / distances.sum())))
        distances = np.minimum(distances, ((sample - sample[chosen[-1]]) ** 2).sum(1, dtype=np.float64))
    return sample[chosen]

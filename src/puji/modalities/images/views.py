"""The training sequences of an image: changed a little, then told with its labels before or behind, or with a hole to fill."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from puji.modalities.images.augment import Augmentation
from puji.modalities.images.codebook import Codebook, Pixels
from puji.modalities.images.tokens import AROUND, HOLE, IMAGE, Labels, patch_token
from puji.modality import END, View

BEHIND = 0.5
"""Share of the views that ask for the labels."""
FILLING = 0.1
"""Share of the views that fill a hole."""
HIDDEN = 0.5
"""Share of the views that ask for the labels in which some patches cannot be seen: what is asked of a part holds of the whole,
and `HOLE` becomes what an explanation may put in the place of a patch."""
MOST_HIDDEN = 0.5
"""Of the patches."""
WEIGHT = 20.0
"""Loss weight of a label: one token, and what half of the users want."""


def body(book: Codebook, pixels: Pixels) -> list[str]:
    """From `IMAGE` to END; ``pixels`` (size, size, channels) as the codebook has them."""
    return [IMAGE, *map(patch_token, book.encode(pixels[None])[0].tolist()), END]


def view(
    book: Codebook,
    labels: Labels,
    pixels: Pixels,
    told: tuple[str, ...] | None,
    augment: Augmentation,
    rng: np.random.Generator,
) -> View:
    """One of the sequences of an image with the labels ``told``."""
    sequence = body(book, augment(pixels, rng))
    kind = rng.random()
    answers = [] if told is None else labels.answers(told)
    if kind < FILLING:
        hidden = rectangle(book.side, rng)
        around = surroundings(sequence[1:-1], hidden)
        front = labels.front(told) if rng.random() < 0.5 else []
        # What was seen before needs no learning.
        weights = [0.0] * (len(front) + 1 + len(around) + 1) + [float(one) for one in hidden] + [0.0]
        return View([*front, AROUND, *around, *sequence], weights)
    if kind < FILLING + BEHIND and answers:
        seen, weights = sequence, [1.0] * len(sequence)
        if rng.random() < HIDDEN:
            hidden = patches(book.length, rng) if rng.random() < 0.5 else rectangle(book.side, rng)
            seen = [IMAGE, *surroundings(sequence[1:-1], hidden), END]
            weights = [0.0] * len(seen)  # the image is learned from whole ones
        order = rng.permutation(len(answers))
        return View([*seen, *(answers[place] for place in order)], [*weights, *[WEIGHT / len(answers)] * len(answers)])
    front = labels.front(told)
    return View([*front, *sequence], [0.0] * len(front) + [1.0] * len(sequence))


def surroundings(patches: list[str], hidden: NDArray[np.bool_]) -> list[str]:
    """Patch tokens with `HOLE` where they are hidden."""
    return [HOLE if gone else token for token, gone in zip(patches, hidden.tolist(), strict=True)]


def rectangle(side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which of side * side patches lie in a rectangle at a random place, from a seventh to three quarters of the side."""
    height, width = rng.integers(max(1, side // 7), max(2, 3 * side // 4) + 1, 2)
    top, left = (int(rng.integers(0, side - extent + 1)) for extent in (height, width))
    found = np.zeros((side, side), bool)
    found[top : top + height, left : left + width] = True
    return found.ravel()


def patches(length: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which of ``length`` patches are hidden: each alike, up to `MOST_HIDDEN` of them."""
    return rng.random(length) < rng.uniform(0, MOST_HIDDEN)


def region(side: int, bounds: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    """Which of side * side patches a rectangle touches; left, top, right and bottom as shares of the side."""
    left, top, right, bottom = bounds
    edges = np.arange(side) / side
    inside = [(edges < high) & (edges + 1 / side > low) for low, high in ((top, bottom), (left, right))]
    return np.outer(*inside).ravel()

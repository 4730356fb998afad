"""A record: one square picture of up to `LARGEST` pixels a side, what it shows, whose it is, and what it is for."""

from __future__ import annotations

import base64
import binascii
import json
import unicodedata
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from puji.errors import Invalid
from puji.findings import canonical

Pixels = NDArray[np.uint8]

LARGEST = 64
"""Pixels a side of a record; larger pictures are made smaller when they are read."""
SMALLEST = 8
"""Pixels a side of the smallest picture that is taken."""
LONGEST_LABEL = 60
MOST_LABELS = 32
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Names of parts of a data set, as files and folders have them -> ours."""


@dataclass(frozen=True)
class Image:
    """``pixels``: size x size x channels bytes, row by row, 0 to 255; ``channels``: 1 (grey) or 3 (red, green, blue).

    ``labels``: what it shows, sorted; None where nobody said. ``subject``: the patient, '' if unknown. ``split``: "train", "val"
    or "test" where the data say it, else ''.
    """

    pixels: bytes
    size: int
    channels: int
    labels: tuple[str, ...] | None = None
    subject: str = ""
    split: str = ""

    @classmethod
    def of(cls, array: Pixels, labels: Iterable[str] | None = None, subject: str = "", split: str = "") -> Image:
        """From an array (size, size, channels) uint8."""
        told = None if labels is None else tuple(sorted(set(labels)))
        return cls(np.ascontiguousarray(array).tobytes(), array.shape[0], array.shape[2], told, subject, split)

    @property
    def array(self) -> Pixels:
        """(size, size, channels) uint8."""
        return np.frombuffer(self.pixels, np.uint8).reshape(self.size, self.size, self.channels)

    def dump(self) -> str:
        """One line of JSON, the pixels packed."""
        told: dict[str, Any] = {"size": self.size, "channels": self.channels}
        told["pixels"] = base64.b64encode(zlib.compress(self.pixels, 6)).decode("ascii")
        if self.labels is not None:
            told["labels"] = list(self.labels)
        more = {name: value for name in ("subject", "split") if (value := getattr(self, name))}
        return json.dumps({**told, **more}, ensure_ascii=False, separators=(",", ":"))


def revived(line: str) -> Image:
    """Inverse of `Image.dump`. Raises Invalid for what it cannot have given."""
    try:
        told = json.loads(line)
        size, channels = int(told["size"]), int(told["channels"])
        if not SMALLEST <= size <= LARGEST or channels not in (1, 3):
            raise ValueError(size)
        length = size * size * channels
        unpacking = zlib.decompressobj()
        pixels = unpacking.decompress(base64.b64decode(told["pixels"], validate=True), length)
        if len(pixels) != length or not unpacking.eof:
            raise ValueError(len(pixels))
        labels = None if told.get("labels") is None else cleaned_labels(told["labels"])
        split = told.get("split") or ""
        if split not in ("", *SPLITS.values()):
            raise ValueError(split)
        return Image(pixels, size, channels, labels, cleaned_subject(told.get("subject")), split)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, zlib.error, binascii.Error) as error:
        raise Invalid("images.dump") from error


def cleaned_label(text: Any) -> str:
    """A label as it is kept: NFC, single spaces for white space and "_"; a finding by its English name.

    Raises Invalid for one that cannot be a token.
    """
    words = " ".join(unicodedata.normalize("NFC", str(text)).replace("_", " ").split())
    if not words or len(words) > LONGEST_LABEL or set(words) & set("<>;；|") or not words.isprintable():
        raise Invalid("images.label", label=words[:20], longest=LONGEST_LABEL)
    return canonical(words)


def cleaned_labels(found: Any) -> tuple[str, ...]:
    """Labels, each once and sorted, from a list, or a text in which ";" or "|" stands between them."""
    parts = found.replace("；", ";").replace("|", ";").split(";") if isinstance(found, str) else list(found)
    labels = {cleaned_label(part) for part in parts if str(part).strip()}
    if len(labels) > MOST_LABELS:
        raise Invalid("images.many_labels", n=len(labels), most=MOST_LABELS)
    return tuple(sorted(labels))


def cleaned_subject(found: Any) -> str:
    """An identifier as text, '' for none."""
    return "" if found is None else str(found).strip()[:200]


def squared(array: Pixels) -> Pixels:
    """The middle square of (height, width, channels), at most `LARGEST` pixels a side; three equal channels become one.

    The middle square of the shorter side is what MedMNIST v2 keeps of an X-ray, too (Yang et al. 2023, "Methods"). Raises
    Invalid for a picture that is too small.
    """
    height, width = array.shape[:2]
    side = min(height, width)
    if side < SMALLEST:
        raise Invalid("images.small", width=width, height=height, least=SMALLEST)
    top, left = (height - side) // 2, (width - side) // 2
    square = array[top : top + side, left : left + side]
    if square.shape[2] == 3 and (square == square[:, :, :1]).all():
        square = square[:, :, :1]
    return square if side <= LARGEST else resized(square, LARGEST)


def resized(array: Pixels, size: int) -> Pixels:
    """(side, side, channels) at another size, bicubic; each pixel of a smaller one has its whole area in it."""
    if len(array) == size:
        return array
    channels = [
        np.asarray(
            Pillow.fromarray(np.ascontiguousarray(array[:, :, place])).resize((size, size), Pillow.Resampling.BICUBIC)
        )
        for place in range(array.shape[2])
    ]
    return np.stack(channels, -1)


def coloured(array: Pixels, channels: int) -> Pixels:
    """(size, size, any) with 1 or 3 channels: grey thrice, or the luma of ITU-R BT.601."""
    if array.shape[2] == channels:
        return array
    if channels == 3:
        return np.repeat(array, 3, axis=2)
    luma = array.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return luma.round().clip(0, 255).astype(np.uint8)[:, :, None]


def stretched(values: NDArray[Any], low: float, high: float) -> Pixels:
    """Intensities as grey levels: ``low`` and below 0, ``high`` and above 255."""
    span = high - low
    if not span > 0:
        return np.zeros(values.shape, np.uint8)
    scaled = (values.astype(np.float64) - low) * (255 / span)
    return scaled.round().clip(0, 255).astype(np.uint8)


def levelled(values: NDArray[Any]) -> Pixels:
    """Intensities without a window as grey levels, from their 0.5th to their 99.5th percentile.

    Raises Invalid where one is no number.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Invalid("images.nan", n=int((~np.isfinite(values)).sum()))
    low, high = np.percentile(values, (0.5, 99.5))
    if low == high:
        low, high = values.min(), values.max()
    return stretched(values, float(low), float(high))

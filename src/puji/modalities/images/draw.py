"""Pictures of images: a sheet of synthetic ones, an answer with what was not expected, an explanation as an overlay."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from puji import figures
from puji.findings import named
from puji.language import current, translate
from puji.modalities.images.codebook import Pixels
from puji.modalities.images.image import Image, coloured
from puji.modality import Estimate

WORD = "SYNTHETIC"
"""Burned into every picture that was generated; the same in all languages, as in DICOM."""
SHOWN = 224
"""Pixels a side of a picture for people."""
CELL = 112
COLUMNS = 8
MOST = 256
"""Images on a sheet; of more, the first ones."""
STRIP = 16
"""Pixels of the strip with the word, below a picture of `SHOWN` pixels."""
SCALE = 0.05
"""Width of a scale of colours, as a share of an image's."""
MOST_LABELS = 8
"""Labels in one picture, the likeliest."""


def png(picture: Pillow.Image) -> bytes:
    """As a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def picture(pixels: Pixels, side: int) -> Pillow.Image:
    """(size, size, channels) at ``side`` pixels, each pixel a square where that is possible."""
    flat = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    return Pillow.fromarray(np.ascontiguousarray(flat)).resize((side, side), Pillow.Resampling.NEAREST)


def one(record: Image) -> bytes:
    """A picture for people, PNG."""
    return png(picture(record.array, SHOWN))


def marked(pixels: Pixels, side: int = SHOWN) -> Pixels:
    """``pixels`` (size, size, channels) enlarged, with the word in a strip below: (side + strip, side, channels)."""
    strip = max(10, round(STRIP * side / SHOWN))
    sheet = Pillow.new("L" if pixels.shape[2] == 1 else "RGB", (side, side + strip))
    sheet.paste(picture(pixels, side), (0, 0))
    font = ImageFont.load_default(size=strip - 2)
    ImageDraw.Draw(sheet).text((side / 2, side + strip / 2), WORD, "white", font, anchor="mm")
    array = np.asarray(sheet)
    return array[:, :, None] if array.ndim == 2 else array


def sheet(records: Sequence[Image], kind: str) -> str | bytes:
    """Generated images side by side, each with the word burned in: SVG text or PNG bytes."""
    figures.check(kind, "images")
    shown = records[:MOST]
    side = SHOWN if len(shown) == 1 else CELL
    tiles = [marked(coloured(record.array, 3), side) for record in shown]
    columns = min(COLUMNS, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    height, width = tiles[0].shape[:2]
    canvas = np.zeros((rows * (height + 4) - 4, columns * (width + 4) - 4, 3), np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // columns * (height + 4), place % columns * (width + 4)
        canvas[top : top + height, left : left + width] = tile
    if kind == "png":
        return png(Pillow.fromarray(canvas))
    height, width = canvas.shape[:2]
    data = base64.b64encode(png(Pillow.fromarray(canvas))).decode("ascii")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<image width="{width}" height="{height}" href="data:image/png;base64,{data}"/></svg>'
    )


def answered(
    pixels: Pixels,
    surprise: np.ndarray | None,
    estimates: Mapping[str, Estimate],
    kind: str,
    language: str | None = None,
    title: str = "",
) -> str | bytes:
    """The image, under a ``title``; the same under how little each patch was expected (nats, (patches,)); the probabilities as
    bars."""
    figures.check(kind, "images")
    language = language or current()
    with figures.canvas(8.4, 3.0) as figure:
        first, second, scale, bars = figure.subplots(1, 4, width_ratios=(1, 1, SCALE, 1))
        _shown(first, pixels)
        first.set_title(title)
        _shown(second, pixels)
        second.set_title(translate("images.figure.surprise", language))
        if surprise is not None:
            side = math.isqrt(len(surprise))
            overlay = _overlay(second, np.asarray(surprise).reshape(side, side), "inferno", 0.0, None)
            _scale(figure, scale, overlay, translate("images.figure.nats", language))
        else:
            scale.set_axis_off()
        names = list(estimates)[:MOST_LABELS][::-1]
        bars.barh(range(len(names)), [estimates[name].value for name in names], height=0.6)
        bars.set_yticks(range(len(names)), [named(name, language) for name in names])
        bars.set_xlim(0, 1)
        bars.set_box_aspect(1)  # as high as the images
        bars.set_title(translate("images.figure.probability" if names else "images.figure.no_answer", language))
        if not names:
            bars.set_axis_off()
        return figures.drawn(figure, kind)


def explained(
    pixels: Pixels, scores: np.ndarray, kind: str, language: str | None = None, title: str = ""
) -> str | bytes:
    """The image, under a ``title``; the same under what each patch (side, side) added to the answer, red for it and blue against
    it."""
    figures.check(kind, "images")
    language = language or current()
    with figures.canvas(6.4, 3.2) as figure:
        first, second, scale = figure.subplots(1, 3, width_ratios=(1, 1, SCALE))
        _shown(first, pixels)
        first.set_title(title)
        _shown(second, pixels)
        most = float(np.abs(scores).max()) or 1.0
        overlay = _overlay(second, scores, "RdBu_r", -most, most)
        _scale(figure, scale, overlay, translate("images.figure.contribution", language))
        return figures.drawn(figure, kind)


def _scale(figure: Any, panel: Any, overlay: Any, label: str) -> None:
    """The scale of colours of ``overlay``, as high as the images beside it."""
    panel.set_box_aspect(1 / SCALE)
    figure.colorbar(overlay, cax=panel, label=label)


def _shown(panel: Any, pixels: Pixels) -> None:
    panel.set_axis_off()
    size = len(pixels)
    flat = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    panel.imshow(flat, cmap="gray", vmin=0, vmax=255, extent=(0, size, size, 0), interpolation="bicubic")


def _overlay(panel: Any, values: np.ndarray, colours: str, low: float | None, high: float | None) -> Any:
    """A map of patches over the image in ``panel``: what is far from nothing is opaque."""
    height, width = (round(abs(limits[1] - limits[0])) for limits in (panel.get_ylim(), panel.get_xlim()))
    share = np.abs(values) / (float(np.abs(values).max()) or 1.0)
    return panel.imshow(
        values,
        cmap=colours,
        vmin=low,
        vmax=high,
        alpha=0.75 * share,
        extent=(0, width, height, 0),
        interpolation="nearest",
    )

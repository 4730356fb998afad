"""PNG, JPEG, BMP and TIFF by Pillow, within bounds."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from puji.errors import Invalid
from puji.modalities.images.image import Pixels, levelled

MOST_PIXELS = 50_000_000
"""Of one picture; one with more is not unpacked. The largest detectors have 18 million (mammography)."""
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")


def read(path: Path, frame: int | None = None) -> Pixels:
    """(height, width, 1 or 3) grey levels of ``frame``, counted from 1, of a picture. Raises Invalid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of is bounded or refused here
        try:
            with Pillow.open(path, formats=FORMATS) as picture:
                check_pixels(*picture.size)
                picture.seek(chosen(frame, getattr(picture, "n_frames", 1)))
                check_pixels(*picture.size)
                return _levels(picture)
        except UnidentifiedImageError as error:
            raise Invalid("images.not_picture", formats=", ".join(FORMATS)) from error
        except Pillow.DecompressionBombError as error:
            raise Invalid("images.huge", most=MOST_PIXELS) from error
        except (SyntaxError, ValueError, EOFError, struct.error, TypeError, KeyError, IndexError) as error:
            raise Invalid("images.damaged", kind="") from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise Invalid("images.damaged", kind="") from error


def check_pixels(width: int, height: int) -> None:
    """Raise Invalid for a picture that is empty or too large to unpack."""
    if width < 1 or height < 1:
        raise Invalid("images.zero")
    if width * height > MOST_PIXELS:
        raise Invalid("images.huge", most=MOST_PIXELS)


def chosen(frame: int | None, frames: int) -> int:
    """The place, from 0, of ``frame``, counted from 1; of the middle one where none is told. Raises Invalid."""
    if frame is None:
        return (frames - 1) // 2
    if not 1 <= frame <= frames:
        raise Invalid("images.frame", frame=frame, frames=frames)
    return frame - 1


def _levels(picture: Pillow.Image) -> Pixels:
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return levelled(np.asarray(picture))[:, :, None]
    if picture.mode == "1":
        picture = picture.convert("L")
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa", "P"):
        # What is transparent is black, as nothing is in an X-ray.
        solid = picture.convert("RGBA")
        picture = Pillow.alpha_composite(Pillow.new("RGBA", solid.size, (0, 0, 0, 255)), solid).convert("RGB")
    array = np.asarray(picture if picture.mode == "L" else picture.convert("RGB"))
    return array[:, :, None] if array.ndim == 2 else array

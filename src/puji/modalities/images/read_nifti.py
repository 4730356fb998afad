"""NIfTI by nibabel: one axial slice, as radiologists look at it."""

from __future__ import annotations

import gzip
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from puji.errors import Invalid
from puji.modalities.images.image import Pixels, levelled
from puji.modalities.images.read_picture import check_pixels, chosen

MOST_VOXELS = 2_000_000_000
"""Of a packed file, all of which before the slice must be unpacked."""


def read(path: Path, number: int | None = None) -> Pixels:
    """(height, width, 1) grey levels of slice ``number``, counted from 1 from the feet up; the middle one by default.

    The patient's right is on the left and the front on top. Grey levels run from the slice's 0.5th to its 99.5th percentile. Of
    several volumes it is the first. Raises Invalid.
    """
    try:
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError
        from nibabel.wrapstruct import WrapStructError
    except ModuleNotFoundError as error:
        raise Invalid("images.extra", kind="NIfTI", package="nibabel") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            volume: Any = nibabel.load(path)
            shape = volume.shape
            if len(shape) < 2 or min(shape) < 1:
                raise Invalid("images.zero")
            if np.prod(shape, dtype=float) > MOST_VOXELS:
                raise Invalid("images.huge", most=MOST_VOXELS)
            return _slice(volume, number)
        except (ImageFileError, HeaderDataError, WrapStructError, gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise Invalid("images.damaged", kind="NIfTI") from error
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise Invalid("images.damaged", kind="NIfTI") from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise Invalid("images.damaged", kind="NIfTI") from error


def _slice(volume: Any, number: int | None) -> Pixels:
    import nibabel.orientations

    turning: Any = nibabel.orientations

    shape = volume.shape
    affine = volume.affine
    flat = len(shape) == 2
    # Which axis of the file is left to right, back to front and feet to head, and in which direction it runs.
    turned = turning.ornt_transform(turning.io_orientation(affine), turning.axcodes2ornt("LAS"))
    if np.isnan(turned).any():  # an affine that tells nothing
        turned = np.array([[0, 1], [1, 1], [2, 1]])
    axes = [int(np.flatnonzero(turned[:, 0] == wanted)[0]) for wanted in range(3)]
    upright = 2 if flat else axes[2]
    slices = 1 if flat else shape[upright]
    place = chosen(number, slices)
    if not flat and turned[upright, 1] < 0:
        place = slices - 1 - place
    where = tuple(slice(None) if axis != upright else place for axis in range(min(3, len(shape)))) + (0,) * (
        len(shape) - 3
    )
    left, front = [axis for axis in range(3) if axis != upright] if flat else (axes[0], axes[1])
    check_pixels(shape[left], shape[front])
    values = np.asarray(volume.dataobj[where])
    if values.dtype.fields is not None or values.dtype.kind not in "iufb":
        raise Invalid("images.voxels", dtype=str(values.dtype)[:40])
    if left > front:
        values = values.T
    if turned[left, 1] < 0:
        values = values[::-1]
    if turned[front, 1] > 0:  # pictures begin on top, with the front of the body
        values = values[:, ::-1]
    return levelled(values.T)[:, :, None]

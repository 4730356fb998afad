"""DICOM by pydicom: one frame as it is meant to be looked at (PS3.3 C.7.6.3, C.11.1, C.11.2)."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from puji.errors import Invalid
from puji.modalities.images.image import Pixels, levelled, stretched
from puji.modalities.images.read_picture import check_pixels, chosen

GREY = ("MONOCHROME1", "MONOCHROME2")
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
DEFERRED = 4096
"""Bytes of an element above which it is read only when it is asked for."""


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do (PS3.10: 128 bytes, then "DICM")."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def read(path: Path, frame: int | None = None) -> tuple[Pixels, str]:
    """(height, width, 1 or 3) grey levels of ``frame``, counted from 1, and the patient's identifier. Raises Invalid.

    Stored values are rescaled, then windowed by the first window or look-up table that the file has, else from their 0.5th to
    their 99.5th percentile. MONOCHROME1, where low is bright, is turned over.
    """
    try:
        import pydicom
        from pydicom.errors import InvalidDicomError
    except ModuleNotFoundError as error:
        raise Invalid("images.extra", kind="DICOM", package="pydicom") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that break rules in ways that do not matter here
        head: Any = None
        try:
            head = pydicom.dcmread(path, defer_size=DEFERRED)
            if not any(name in head for name in PIXELS):
                raise Invalid("images.no_pixels")
            check_pixels(int(head.Columns), int(head.Rows))
            place = chosen(frame, int(head.get("NumberOfFrames") or 1))
            return _levels(path, head, place), str(head.get("PatientID") or "").strip()
        except InvalidDicomError as error:
            raise Invalid("images.not_dicom") from error
        except (NotImplementedError, RuntimeError) as error:
            # pydicom names the decoders that it misses; which syntax it is tells the user enough.
            syntax = getattr(getattr(head, "file_meta", None), "TransferSyntaxUID", None)
            raise Invalid("images.codec", syntax=getattr(syntax, "name", "?")) from error
        except (AttributeError, ValueError, TypeError, KeyError, EOFError, IndexError, struct.error) as error:
            raise Invalid("images.damaged", kind="DICOM") from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise Invalid("images.damaged", kind="DICOM") from error


def _levels(path: Path, head: Any, place: int) -> Pixels:
    kind = str(head.get("PhotometricInterpretation", "MONOCHROME2"))
    values = _decoding().pixel_array(path, index=place)  # reads this frame alone; YBR becomes RGB
    if kind == "PALETTE COLOR":
        values = _decoding().apply_color_lut(values, head)
    if kind in GREY:
        shown = shown_values(values, head, place)
        inverted = kind == "MONOCHROME1" or head.get("PresentationLUTShape") == "INVERSE"
        return (255 - shown if inverted else shown)[:, :, None]
    if values.ndim != 3 or values.shape[2] != 3:
        raise Invalid("images.photometric", kind=kind[:20])
    return values if values.dtype == np.uint8 else levelled(values)


def shown_values(values: Any, head: Any, place: int = 0) -> Pixels:
    """Stored ``values`` of the frame at ``place`` as grey levels, dark to bright."""
    slope = _functional(head, place, "PixelValueTransformationSequence")
    window = _functional(head, place, "FrameVOILUTSequence")
    rescaled = np.asarray(_decoding().apply_modality_lut(values, slope))
    if window.get("VOILUTSequence"):
        bits = int(window.VOILUTSequence[0].LUTDescriptor[2])
        return stretched(_decoding().apply_voi(rescaled, window, index=0), 0, 2**bits - 1)
    width, centre = (_first(window.get(name)) for name in ("WindowWidth", "WindowCenter"))
    if width is None or centre is None:
        return levelled(rescaled)
    function = str(window.get("VOILUTFunction") or "LINEAR")
    if function == "SIGMOID":
        return stretched(1 / (1 + np.exp(-4 * (rescaled - centre) / max(width, 1e-6))), 0, 1)
    if function == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 1e-6)
    return stretched(rescaled, centre - width / 2, centre + width / 2)


def _decoding() -> Any:
    """pydicom's functions on pixels; it does not say to a type checker that they are its."""
    import pydicom.pixels

    return pydicom.pixels


def _functional(head: Any, place: int, name: str) -> Any:
    """Where a frame's rescale or window stands: in its own part of an enhanced object, in the shared one, or at the top."""
    for groups, number in (("PerFrameFunctionalGroupsSequence", place), ("SharedFunctionalGroupsSequence", 0)):
        found = head.get(groups)
        if found and number < len(found) and found[number].get(name):
            return found[number].get(name)[0]
    return head


def _first(value: Any) -> float | None:
    """The first of perhaps several values, as a number."""
    if value is None or value == "":
        return None
    return float(value[0] if isinstance(value, (list, tuple)) or hasattr(value, "append") else value)

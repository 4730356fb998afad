"""Arrays in one .npz file and lists of strings as arrays; nothing that is read is ever executed."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from puji.files import whole


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write ``arrays`` as one compressed .npz, whole or not at all; its folder is made.

    Raises ValueError for object arrays, which would be pickled, and Invalid as `whole` does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Inverse of `save_arrays`; None if the file is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
        return None


def pack_strings(strings: Sequence[str]) -> np.ndarray:
    """Strings without line ends -> their UTF-8 bytes, one a line, uint8."""
    return np.frombuffer("\n".join(strings).encode(), dtype=np.uint8)


def unpack_strings(packed: np.ndarray) -> list[str]:
    """Inverse of `pack_strings`."""
    text = packed.tobytes().decode()
    return text.split("\n") if text else []

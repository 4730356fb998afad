"""The MOSES data, out of the wheel of the package `molsets`."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from puji.errors import Invalid
from puji.public import DataSet

FOLDERS = {
    "train.csv.gz": "moses/dataset/data",
    "test.csv.gz": "moses/dataset/data",
    "test_scaffolds.csv.gz": "moses/dataset/data",
    "mcf.csv": "moses/metrics",
    "wehi_pains.csv": "moses/metrics",
}
"""What is taken out of the wheel, and where it stands there."""
SIZES = {"train": 1_584_663, "test": 176_074, "test_scaffolds": 176_225}
"""Molecules in each split."""

Split = Literal["train", "test", "test_scaffolds"]


def _members(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    return {name: wheel.read(f"{folder}/{name}") for name, folder in FOLDERS.items()}


MOSES = DataSet(
    name="moses",
    requirement="molsets==0.3.1",  # MIT licence
    wheel="7f4450e3ebecebe79c3a2a55950c93daddee071120daf64a163d03481e811d34",
    files={
        "train.csv.gz": "786f0313aa6b9ba5514df685f885742a70ea8d86f1a4fa48115f7f80a634265c",
        "test.csv.gz": "f896fbf3764f88d94670b9959e5872c600c12152a18233823e820761b7a791b2",
        "test_scaffolds.csv.gz": "adffb2192c1bfe31ab0e13154d4af19a37dc18bdbf3cd7b4491e04405128adde",
        "mcf.csv": "f4a2bfacb4cb8877295eb2a4b4e61ec9770a26388f1331e5dc9c193d22dd5f89",
        "wehi_pains.csv": "d762e5420ec70f06d7e41d336cae6f67e2feb0eddf05c6171192a332726d296f",
    },
    make=_members,
)


def moses_file(name: Split, folder: Path | None = None) -> Path:
    """The file of one split. Raises Invalid if it is missing or damaged; never connects."""
    if name not in SIZES:
        raise Invalid("molecules.moses_split", name=name, choices=", ".join(SIZES))
    return MOSES.file(f"{name}.csv.gz", folder)


def moses_split(name: Split, folder: Path | None = None) -> Iterator[str]:
    """The SMILES of a split, in the file's order. Raises Invalid at once if it is missing or damaged; never connects."""
    return _lines(moses_file(name, folder))


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="ascii") as file:
        next(file)  # the heading
        for line in file:
            yield line.split(",", 1)[0].strip()

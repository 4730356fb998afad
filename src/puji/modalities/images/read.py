"""Pictures from files: one file, a folder (its sub-folders are labels), a table of paths and labels, or MedMNIST's .npz."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from puji.errors import Invalid
from puji.modalities.images import read_dicom, read_nifti, read_picture
from puji.modalities.images.image import SPLITS, Image, cleaned_label, cleaned_labels, cleaned_subject, squared
from puji.modality import Raw
from puji.sources import cells, column, placed, unreachable
from puji.text import lines

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".dicom", ".nii", ".nii.gz")
TABLES = (".csv", ".tsv")
ENDINGS = (*PICTURES, *TABLES, ".npz")
MEDMNIST = {"pneumoniamnist": ("normal", "pneumonia")}
"""What the labels 0, 1 ... of a MedMNIST file mean, by the beginning of its name (medmnist.com, INFO)."""
MOST_BYTES = 2**31
"""Of one array in an .npz file, unpacked."""
COLUMNS = {
    "path": ("path", "file", "filename", "image", "路径", "文件"),
    "labels": ("label", "labels", "finding", "findings", "class", "标签", "类别"),
    "subject": ("subject", "patient", "patient_id", "patientid", "subject_id", "患者"),
    "split": ("split", "set", "划分"),
}


@dataclass(frozen=True)
class Told:
    """What stands beside a picture: its labels, patient and part of the data."""

    labels: tuple[str, ...] | None = None
    subject: str = ""
    split: str = ""


def read(source: Path) -> Iterator[Raw | Invalid]:
    """What ``source`` holds, one picture at a time; what cannot be read as Invalid, with its place.

    Of a file with several frames or slices it is the middle one; "scan.dcm#3" is its third.
    """
    if source.is_symlink() and not source.exists():
        yield unreachable(source) or Invalid("read.missing", source=str(source))
    elif source.is_dir():
        yield from _folder(source)
    else:
        yield from _file(source, Told())


def read_one(text: str) -> Image:
    """The picture that the path ``text`` names, as a person types it. Raises Invalid unless it is exactly one."""
    found = next(iter(placed(text, _file(Path(text), Told()))), None)
    if isinstance(found, Invalid):
        raise found
    if found is None or not isinstance(found.content, Image) or kind_of(Path(text)) not in PICTURES:
        raise Invalid("images.not_one", source=text[:80])
    return found.content


def kind_of(path: Path) -> str:
    """The ending of a file name in lower case without "#frame", with what stands before ".gz"."""
    name = framed(path)[0].name.lower()
    return "".join(Path(name).suffixes[-2:]) if name.endswith(".nii.gz") else Path(name).suffix


def framed(path: Path) -> tuple[Path, int | None]:
    """A path without "#3" at its end, and that number; None where there is none."""
    found = re.fullmatch(r"(.+)#(\d{1,6})", path.name)
    return (path.with_name(found[1]), int(found[2])) if found and not path.exists() else (path, None)


def _folder(source: Path) -> Iterator[Raw | Invalid]:
    """All pictures below a folder. The folder that a picture lies in is its label; "train", "val" and "test" tell its part."""
    found = False
    for parent, folders, names in os.walk(source):
        folders.sort()
        links = [Path(parent, name) for name in folders if Path(parent, name).is_symlink()]
        yield from (Invalid("images.link", source=str(path)) for path in links)
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith("."):
                continue
            found = True
            if kind_of(path) in TABLES:
                yield Invalid("images.table", source=str(path))
                continue
            if path.is_symlink():
                yield Invalid("images.link", source=str(path))
                continue
            try:
                told = _told(path.relative_to(source).parts[:-1])
            except Invalid as refusal:
                yield refusal.at(str(path), None)
                continue
            yield from placed(path, _file(path, told))
    if not found:
        yield Invalid("images.folder", source=str(source), endings=", ".join(ENDINGS))


def _told(folders: tuple[str, ...]) -> Told:
    names = [name for name in folders if name.lower() not in SPLITS]
    split = next((SPLITS[name.lower()] for name in folders if name.lower() in SPLITS), "")
    return Told((cleaned_label(names[-1]),) if names else None, "", split)


def _file(path: Path, told: Told) -> Iterator[Raw | Invalid]:
    kind = kind_of(path)
    if kind in TABLES:
        return placed(path, _table(path))
    if kind == ".npz":
        return placed(path, _arrays(path))
    return placed(path, _picture(path, told))


def _picture(path: Path, told: Told) -> Iterator[Raw | Invalid]:
    place, frame = framed(path)
    if not place.is_file():
        raise Invalid("read.missing" if not place.exists() else "images.no_file")
    kind = kind_of(path)
    if read_dicom.is_dicom(place):
        array, subject = read_dicom.read(place, frame)
        told = replace(told, subject=told.subject or subject)
    elif kind in (".nii", ".nii.gz"):
        array = read_nifti.read(place, frame)
    elif kind in (".dcm", ".dicom"):
        raise Invalid("images.not_dicom")
    elif kind in PICTURES:
        array = read_picture.read(place, frame)
    else:
        raise Invalid("images.ending", endings=", ".join(ENDINGS))
    yield Raw(Image.of(squared(array), told.labels, told.subject, told.split), str(path))


def _table(path: Path) -> Iterator[Raw | Invalid]:
    """Pictures by a table with a column "path", and perhaps "label" (";" between several), "subject" and "split"."""
    places: dict[str, int] = {}
    separator = ","
    for line in lines(path):
        if isinstance(line, Invalid):
            yield line
            continue
        number, text = line
        if not text.strip():
            continue
        if not places:
            separator = "\t" if "\t" in text else ","
            head = cells(text, separator)
            places = {
                name: place for name, words in COLUMNS.items() if (place := column(head, words, number)) is not None
            }
            if "path" not in places:
                raise Invalid("images.no_column", columns=", ".join(head)[:100])
            continue
        row = cells(text, separator)
        if len(row) <= max(places.values()):
            yield Invalid("images.row", line=number)
            continue
        for found in _row(path, {name: row[place].strip() for name, place in places.items()}):
            if isinstance(found, Invalid):  # the row is what its author looks for, whatever file it names
                yield Invalid(found.reason, source=str(path), line=number, **found.details)
            else:
                yield replace(found, line=number)
    if not places:
        raise Invalid("read.nothing")


def _row(path: Path, row: dict[str, str]) -> Iterator[Raw | Invalid]:
    try:
        place = Path(row["path"])
        inside = path.parent / place
        if not row["path"] or place.is_absolute() or ".." in place.parts:
            raise Invalid("images.outside")  # a table must not name files elsewhere on the machine
        if framed(inside)[0].is_symlink():
            raise Invalid("images.link")
        if kind_of(inside) not in PICTURES:
            raise Invalid("images.ending", endings=", ".join(PICTURES))
        labels = cleaned_labels(row["labels"]) if "labels" in row else None
        split = row.get("split", "").lower()
        if split and split not in SPLITS:
            raise Invalid("images.split", split=split[:20])
        told = Told(labels, cleaned_subject(row.get("subject")), SPLITS.get(split, ""))
    except Invalid as refusal:
        yield refusal.at(str(path), None)
        return
    yield from _file(inside, told)


def _arrays(path: Path) -> Iterator[Raw | Invalid]:
    """MedMNIST's file: {train,val,test}_images (n, size, size[, 3]) uint8, and _labels (n, 1) or several 0/1 columns."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {entry.filename: entry.file_size for entry in archive.infolist()}
        parts = [part for part in ("train", "val", "test") if f"{part}_images.npy" in names]
        if not parts:
            raise Invalid("images.no_arrays")
        if max(names.values()) > MOST_BYTES:
            raise Invalid("images.large_array", gigabytes=MOST_BYTES >> 30)
        with np.load(path, allow_pickle=False) as arrays:
            for part in parts:
                images = arrays[f"{part}_images"]
                labels = arrays[f"{part}_labels"] if f"{part}_labels.npy" in names else None
                subjects = arrays[f"{part}_subjects"] if f"{part}_subjects.npy" in names else None
                named = [str(name) for name in arrays["label_names"]] if "label_names.npy" in names else None
                yield from _part(path, part, images, labels, subjects, named)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        MemoryError,
    ) as error:
        raise Invalid("images.damaged", kind="NumPy .npz") from error


def _part(
    path: Path, part: str, images: Any, labels: Any, subjects: Any, named: list[str] | None
) -> Iterator[Raw | Invalid]:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise Invalid("images.array_shape", part=part, shape=str(images.shape), dtype=str(images.dtype))
    if labels is not None and (len(labels) != len(images) or labels.dtype.kind not in "iub"):
        raise Invalid("images.array_labels", part=part)
    for number, image in enumerate(images):
        array = image if image.ndim == 3 else image[:, :, None]
        try:
            told = None if labels is None else _meaning(path.stem, np.atleast_1d(labels[number]), named)
            subject = "" if subjects is None else cleaned_subject(subjects[number])
            yield Raw(Image.of(squared(array), told, subject, part), f"{path}[{part}]", number + 1)
        except Invalid as refusal:
            yield refusal.at(f"{path}[{part}]", number + 1)


def _meaning(stem: str, row: Any, named: list[str] | None) -> tuple[str, ...]:
    """Labels of one row: a single number is a class, several are findings that are there (1) or not (0)."""
    known = next((names for start, names in MEDMNIST.items() if stem.lower().startswith(start)), ())
    names = named or list(known)
    places = [int(row[0])] if len(row) == 1 else [place for place, value in enumerate(row) if value]
    return tuple(cleaned_label(names[place] if 0 <= place < len(names) else str(place)) for place in places)

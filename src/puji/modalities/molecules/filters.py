"""The filters of the MOSES benchmark: 22 MCF and 480 PAINS patterns, elements, charges, ring sizes.

MCF (medicinal chemistry filters: reactive or unstable groups): Polykovskiy et al., Front. Pharmacol. 11:565644 (2020).
PAINS (frequent hitters in screens): Baell and Holloway, J. Med. Chem. 53:2719 (2010). The patterns name hydrogens as
atoms, so they are matched after ``Chem.AddHs``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rdkit import Chem

MOSES_ATOMS = frozenset({"C", "N", "S", "O", "F", "Cl", "Br", "H"})
"""The elements of the MOSES benchmark."""

PATTERNS = Path(__file__).parent / "moses_filters.tsv"
"""Name, description and SMARTS of the patterns of MOSES 0.3.1 (MIT), one a line."""

_ELEMENT = re.compile(r"\[#(\d+)\]")
_ORGANIC = {"c": 6, "n": 7, "o": 8, "s": 16, "C": 6, "N": 7, "O": 8, "S": 16}
_BONDS = {
    "-": Chem.BondType.SINGLE,
    "=": Chem.BondType.DOUBLE,
    "#": Chem.BondType.TRIPLE,
    ":": Chem.BondType.AROMATIC,
}


def _parts(
    elements: Sequence[int], bonds: Sequence[tuple[int, int, Chem.BondType | None]], rings: int
) -> Counter[object]:
    """How many atoms, rings, atoms of an element, bonds between two elements, and those of one type, there are.

    Element 0 and bond type None are unknown: they count for nothing that is particular. A molecule that holds a pattern
    has at least as many of each as the pattern.
    """
    parts: Counter[object] = Counter({"atoms": len(elements), "rings": rings})
    parts.update(element for element in elements if element)
    for a, b, kind in bonds:
        if a and b:
            pair = (a, b) if a < b else (b, a)
            parts[pair] += 1
            if kind is not None:
                parts[(*pair, kind)] += 1
    return parts


def _parts_of_pattern(pattern: Chem.Mol) -> Counter[object]:
    elements = []
    for atom in pattern.GetAtoms():
        smarts = atom.GetSmarts()
        exact = _ELEMENT.fullmatch(smarts)
        elements.append(int(exact[1]) if exact else _ORGANIC.get(smarts, 0))
    bonds = [
        (elements[bond.GetBeginAtomIdx()], elements[bond.GetEndAtomIdx()], _BONDS.get(bond.GetSmarts()))  # type: ignore[call-arg]
        for bond in pattern.GetBonds()
    ]
    rings = len(bonds) - len(elements) + len(Chem.GetMolFrags(pattern))
    return _parts(elements, bonds, rings)


def _parts_of_molecule(mol: Chem.Mol) -> Counter[object]:
    elements = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    bonds = [
        (elements[bond.GetBeginAtomIdx()], elements[bond.GetEndAtomIdx()], bond.GetBondType())
        for bond in mol.GetBonds()
    ]
    return _parts(elements, bonds, len(bonds) - len(elements) + len(Chem.GetMolFrags(mol)))


class _Patterns(NamedTuple):
    names: list[str]
    queries: list[Chem.Mol]
    parts: dict[object, int]  # -> column of `needed`
    needed: np.ndarray  # (patterns, parts)


@cache
def _patterns() -> _Patterns:
    rows = [line.split("\t") for line in PATTERNS.read_text("utf-8").splitlines() if not line.startswith("#")]
    queries = [Chem.MolFromSmarts(smarts) for _, _, smarts in rows]
    counted = [_parts_of_pattern(query) for query in queries]
    parts = {part: column for column, part in enumerate(dict.fromkeys(part for c in counted for part in c))}
    needed = np.array([[c[part] for part in parts] for c in counted], dtype=np.int32)
    return _Patterns([f"{name} {text}" for name, text, _ in rows], queries, parts, needed)


def _possible(hydrogenated: Chem.Mol) -> np.ndarray:
    """Indices of the patterns that ``hydrogenated`` has the parts for: some 35 of the 502 in a drug-like molecule."""
    patterns = _patterns()
    there = np.zeros(len(patterns.parts), dtype=np.int32)
    for part, n in _parts_of_molecule(hydrogenated).items():
        if (column := patterns.parts.get(part)) is not None:
            there[column] = n
    return np.flatnonzero((patterns.needed <= there).all(axis=1))


def mcf_alerts(mol: Chem.Mol) -> list[str]:
    """The MCF patterns that ``mol`` holds, e.g. ``"MCF7 aldehyde"``."""
    patterns, hydrogenated = _patterns(), Chem.AddHs(mol)
    return [
        patterns.names[i]
        for i in _possible(hydrogenated)
        if patterns.names[i].startswith("MCF") and hydrogenated.HasSubstructMatch(patterns.queries[i])
    ]


def passes_moses_filters(mol: Chem.Mol) -> bool:
    """The MOSES criterion: its elements only, no charge, no ring of eight atoms or more, none of its 502 patterns.

    The MOSES code refuses rings of exactly eight atoms too, although its paper says "larger than 8"; so does this.
    """
    if any(len(ring) >= 8 for ring in mol.GetRingInfo().AtomRings()):
        return False
    if any(atom.GetFormalCharge() != 0 or atom.GetSymbol() not in MOSES_ATOMS for atom in mol.GetAtoms()):
        return False
    patterns, hydrogenated = _patterns(), Chem.AddHs(mol)
    return mol.GetNumAtoms() > 0 and not any(
        hydrogenated.HasSubstructMatch(patterns.queries[i]) for i in _possible(hydrogenated)
    )


__all__ = ["MOSES_ATOMS", "PATTERNS", "mcf_alerts", "passes_moses_filters"]

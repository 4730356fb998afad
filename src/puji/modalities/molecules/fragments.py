"""Kept and missing parts of a molecule: one mechanism for scaffolds, fragments, R groups and linkers.

A molecule is cut at one to three acyclic single bonds. Each cut leaves an attachment point with the same label on both
sides, ``[*:1]``, and joining equal labels gives the molecule back, so what was kept is kept by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdBase, rdFingerprintGenerator
from rdkit.DataStructs import ExplicitBitVect, TanimotoSimilarity

from puji.errors import Invalid
from puji.modalities.molecules.molecule import Molecule, canonical, parse
from puji.modalities.molecules.similarity import BITS, RADIUS

LINKERS = 0.25
"""Share of the training cuts whose missing part is the middle piece between two kept ends."""

POINTS = (0.55, 0.3, 0.15)
"""Shares of one, two and three attachment points where the missing parts hang on one kept core."""

MOST_POINTS = 9
LEAST_CORE = 5
LEAST_END = 3

_BONDS = (
    Chem.MolFromSmarts("[!#0;!#1;R]-;!@[!#0;!#1]"),
    Chem.MolFromSmarts("[#6;!R]-;!@[#7,#8,#16;!R]"),
)


def cuttable(mol: Chem.Mol) -> list[int]:
    """Indices of the acyclic single bonds that a chemist would cut: on a ring, or between carbon and N, O or S."""
    bonds = {mol.GetBondBetweenAtoms(*pair).GetIdx() for pattern in _BONDS for pair in mol.GetSubstructMatches(pattern)}
    return sorted(bonds)


def cuts(mol: Chem.Mol, rng: np.random.Generator, tries: int = 4) -> tuple[str, str] | None:
    """Cut ``mol`` at random into (kept, missing) SMILES with labels from 1; None if no sensible cut was found.

    Kept is a core with one to three points, or two ends with one point each. Missing is, in order of the labels, the
    pieces on these points, each written from its point; or the one linker, written from point 1.
    """
    bonds = cuttable(mol)
    for _ in range(tries if bonds else 0):
        linker = rng.random() < LINKERS
        count = 2 if linker else 1 + int(np.searchsorted(np.cumsum(POINTS)[:-1], rng.random(), side="right"))
        if len(bonds) < count:
            continue
        chosen = [bonds[index] for index in rng.permutation(len(bonds))[:count]]
        pieces = _cut(mol, chosen)
        middles = [piece for piece in pieces if len(piece.points) == count]
        if not middles:
            continue
        middle = middles[int(rng.integers(len(middles)))]
        ends = sorted((piece for piece in pieces if piece is not middle), key=lambda piece: piece.points)
        if linker:
            if min(piece.atoms for piece in ends) < LEAST_END:
                continue
            kept, missing = ends, [middle]
        else:
            if middle.atoms < LEAST_CORE:
                continue
            kept, missing = [middle], ends
        return (
            ".".join(str(Chem.MolToSmiles(piece.mol)) for piece in kept),
            ".".join(str(Chem.MolToSmiles(piece.mol, rootedAtAtom=piece.points[0][1])) for piece in missing),
        )
    return None


@dataclass(frozen=True)
class _Piece:
    """A part of a cut molecule: its points as (label, atom index), ascending, and the number of its other atoms."""

    mol: Chem.Mol
    points: list[tuple[int, int]]
    atoms: int


def _cut(mol: Chem.Mol, bonds: Sequence[int]) -> list[_Piece]:
    labels = [(label, label) for label in range(1, len(bonds) + 1)]
    cut = Chem.FragmentOnBonds(mol, list(bonds), addDummies=True, dummyLabels=labels)
    for index in range(mol.GetNumAtoms(), cut.GetNumAtoms()):
        atom = cut.GetAtomWithIdx(index)
        atom.SetAtomMapNum(atom.GetIsotope())
        atom.SetIsotope(0)
    sources: list[tuple[int, ...]] = []
    frags = Chem.GetMolFrags(cut, asMols=True, sanitizeFrags=False, fragsMolAtomMapping=sources)
    pieces = []
    for piece, source in zip(frags, sources, strict=True):
        points = sorted(
            (piece.GetAtomWithIdx(index).GetAtomMapNum(), index)
            for index, old in enumerate(source)
            if old >= mol.GetNumAtoms()
        )
        pieces.append(_Piece(piece, points, len(source) - len(points)))
    return pieces


def respell(smiles: str, rng: np.random.Generator) -> str:
    """The same molecule as another, randomly chosen SMILES; the same for the same state of ``rng``."""
    return str(Chem.MolToRandomSmilesVect(parse(smiles), 1, randomSeed=int(rng.integers(1, 2**31)))[0])


def join(kept: str, missing: str) -> Molecule:
    """The molecule that ``kept`` and ``missing`` make where equal labels meet.

    Raises Invalid unless every label stands once on either side and the result is one whole molecule.
    """
    left, right = _labels(parse(kept)), _labels(parse(missing))
    if not left or left != right or len(set(left)) != len(left):
        raise Invalid("molecules.labels")
    with rdBase.BlockLogs():
        try:
            joined = Chem.molzip(parse(f"{kept}.{missing}"))
            Chem.SanitizeMol(joined)
        except (ValueError, RuntimeError) as error:
            raise Invalid("molecules.unparsable") from error
    smiles = canonical(joined)
    if "." in smiles:
        raise Invalid("molecules.several")
    return Molecule(smiles)


def _labels(mol: Chem.Mol) -> list[int]:
    return sorted(atom.GetAtomMapNum() for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0)


@lru_cache(maxsize=64)
def normalised(smiles: str) -> str:
    """A fragment as SMILES whose attachment points are numbered from 1, in the order of their labels or of the atoms.

    ``*``, ``[*:3]`` and ``[3*]`` are points; maps on other atoms are dropped. Raises Invalid for a point that is not the
    end of a single bond, more than `MOST_POINTS`, or a fragment with neither a point nor a hydrogen to replace.
    """
    mol = Chem.RWMol(parse(smiles))
    points = []
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum():
            atom.SetAtomMapNum(0)
            continue
        if atom.GetDegree() != 1 or atom.GetBonds()[0].GetBondType() != Chem.BondType.SINGLE:
            raise Invalid("molecules.point", smiles=smiles)
        if atom.GetNeighbors()[0].GetAtomicNum() == 0:
            raise Invalid("molecules.point", smiles=smiles)
        points.append((atom.GetAtomMapNum() or atom.GetIsotope() or 10**6, atom.GetIdx()))
    if len(points) > MOST_POINTS:
        raise Invalid("molecules.points", limit=MOST_POINTS)
    for label, (_, index) in enumerate(sorted(points), 1):
        mol.GetAtomWithIdx(index).SetIsotope(0)
        mol.GetAtomWithIdx(index).SetAtomMapNum(label)
    if not points and not any(atom.GetTotalNumHs() for atom in mol.GetAtoms()):
        raise Invalid("molecules.full", smiles=smiles)
    return canonical(mol.GetMol())


def opened(smiles: str, rng: np.random.Generator) -> str:
    """A normalised fragment; one without points gets one to three, as often as in training, on atoms with hydrogens."""
    mol = parse(smiles)
    if _labels(mol):
        return smiles
    free = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetTotalNumHs() and atom.GetAtomicNum() > 1]
    if not free:
        raise Invalid("molecules.full", smiles=smiles)
    count = 1 + int(np.searchsorted(np.cumsum(POINTS)[:-1], rng.random(), side="right"))
    chosen = [free[index] for index in rng.permutation(len(free))[:count]]
    # A point takes the place of a real hydrogen, so that stereochemistry and [nH] come out right.
    grown = Chem.RWMol(Chem.AddHs(mol, onlyOnAtoms=chosen))
    for label, index in enumerate(chosen, 1):
        neighbours = grown.GetAtomWithIdx(index).GetNeighbors()
        point = next(atom for atom in neighbours if atom.GetAtomicNum() == 1 and atom.GetIdx() >= mol.GetNumAtoms())
        point.SetAtomicNum(0)
        point.SetAtomMapNum(label)
    return canonical(Chem.RemoveHs(grown.GetMol()))


@lru_cache(maxsize=64)
def _query(kept: str) -> Chem.Mol:
    settings: Any = Chem.AdjustQueryParameters.NoAdjustments()
    settings.makeDummiesQueries = True
    mol = parse(kept)
    if _labels(mol):
        # What is not a point takes no further substituent.
        settings.adjustDegree = True
        settings.adjustDegreeFlags = Chem.AdjustQueryWhichFlags.ADJUST_IGNOREDUMMIES
    unlabelled = Chem.RWMol(mol)
    for atom in unlabelled.GetAtoms():
        atom.SetAtomMapNum(0)
    return Chem.AdjustQueryProperties(unlabelled.GetMol(), settings)


def contains(mol: Chem.Mol, kept: str) -> bool:
    """Whether ``mol`` holds each normalised fragment of ``kept``, substituted at its points only if it has any."""
    # One by one: the points of two ends may meet in the same atom, which one match of both would forbid.
    return all(mol.HasSubstructMatch(_query(part), useChirality=True) for part in kept.split("."))


def held(mol: Chem.Mol, kept: str) -> list[int]:
    """The atoms of ``mol`` that are those of ``kept``, which it contains: of each fragment a match that takes no atom twice."""
    atoms: list[int] = []
    for part in kept.split("."):
        query = _query(part)
        own = [atom.GetIdx() for atom in query.GetAtoms() if atom.GetAtomicNum()]
        for match in mol.GetSubstructMatches(query, useChirality=True):
            found = [match[place] for place in own]
            if not set(found) & set(atoms):
                atoms += found
                break
    return atoms


@cache
def _generator() -> rdFingerprintGenerator.FingerprintGenerator64:
    return rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)


def fingerprint(mol: Chem.Mol) -> ExplicitBitVect:
    """Morgan fingerprint, the same as for the nearest training molecule.

    Rogers and Hahn, J. Chem. Inf. Model. 50:742 (2010).
    """
    found: ExplicitBitVect = _generator().GetFingerprint(mol)
    return found


def similarity(mol: Chem.Mol, other: Chem.Mol) -> float:
    """Tanimoto similarity of the Morgan fingerprints, from 0 to 1."""
    return float(TanimotoSimilarity(fingerprint(mol), fingerprint(other)))

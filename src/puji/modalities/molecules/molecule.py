"""The record: one molecule as its canonical SMILES, and how a molecule is parsed and standardised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from rdkit import Chem
from rdkit.Chem import rdBase
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.Scaffolds import MurckoScaffold

from puji.errors import Invalid

LONGEST = 1000
"""The longest SMILES looked at, in characters: beyond it a text is refused before it is parsed."""


@dataclass(frozen=True)
class Molecule:
    """One molecule. ``smiles`` is RDKit's canonical isomeric SMILES."""

    smiles: str

    def __str__(self) -> str:
        return self.smiles

    @property
    def mol(self) -> Chem.Mol:
        """The molecule as an RDKit object, shared: copy it before changing it. Raises Invalid."""
        return parse(self.smiles)


@lru_cache(maxsize=256)
def parse(smiles: str) -> Chem.Mol:
    """The sanitised RDKit molecule of ``smiles``, shared between callers: copy it before changing it.

    Raises Invalid if the text is empty, longer than `LONGEST`, or no molecule; RDKit's own log stays silent.
    """
    if not smiles.strip():
        raise Invalid("molecules.empty")
    if len(smiles) > LONGEST:
        raise Invalid("molecules.long", length=len(smiles), limit=LONGEST)
    if not smiles.isascii() or not smiles.isprintable():
        raise Invalid("molecules.characters")
    with rdBase.BlockLogs():
        try:
            mol = Chem.MolFromSmiles(smiles)
        except (ValueError, RuntimeError, TypeError) as error:
            raise Invalid("molecules.unparsable") from error
    if mol is None:
        raise Invalid("molecules.unparsable")
    if mol.GetNumAtoms() == 0:
        raise Invalid("molecules.empty")
    return mol


def canonical(mol: Chem.Mol) -> str:
    """The canonical isomeric SMILES of ``mol``, the same when it is parsed and written again.

    RDKit's first SMILES of a molecule is now and then not what it writes after reading that SMILES. Reading and writing
    soon repeats itself; the smallest text of that cycle is the one that is stable. Raises Invalid.
    """
    seen: list[str] = []
    smiles = _write(mol)
    while smiles not in seen:
        seen.append(smiles)
        if len(seen) > 20:
            raise Invalid("molecules.unparsable")
        smiles = _write(parse(smiles))
    return min(seen[seen.index(smiles) :])


def standardise(mol: Chem.Mol) -> Molecule:
    """The largest fragment of ``mol``, uncharged where it can be, stereochemistry kept. Raises Invalid."""
    seen: list[str] = []
    smiles = canonical(mol)
    while smiles not in seen:
        seen.append(smiles)
        if "." not in smiles and "+" not in smiles and "-" not in smiles:
            return Molecule(smiles)
        if len(seen) > 10:
            raise Invalid("molecules.unparsable")
        try:
            smiles = canonical(_cleaned(parse(smiles)))
        except Invalid:
            # Uncharging an odd ion can make a molecule that RDKit does not accept; then the ion stays.
            if "." in smiles:
                raise
            return Molecule(smiles)
    return Molecule(min(seen[seen.index(smiles) :]))


def scaffold(mol: Chem.Mol) -> str:
    """The Bemis-Murcko scaffold as SMILES without stereochemistry; empty for a molecule without rings.

    Bemis and Murcko, J. Med. Chem. 39:2887 (1996).
    """
    with rdBase.BlockLogs():
        try:
            core: Any = MurckoScaffold.GetScaffoldForMol(mol)  # type: ignore[no-untyped-call]
            return str(Chem.MolToSmiles(core, isomericSmiles=False))
        except (ValueError, RuntimeError):
            return ""


def _write(mol: Chem.Mol) -> str:
    with rdBase.BlockLogs():
        try:
            return str(Chem.MolToSmiles(mol))
        except (ValueError, RuntimeError) as error:
            raise Invalid("molecules.unparsable") from error


@cache
def _tools() -> tuple[rdMolStandardize.LargestFragmentChooser, rdMolStandardize.Uncharger]:
    return rdMolStandardize.LargestFragmentChooser(), rdMolStandardize.Uncharger()


def _cleaned(mol: Chem.Mol) -> Chem.Mol:
    chooser, uncharger = _tools()
    with rdBase.BlockLogs():
        try:
            if len(Chem.GetMolFrags(mol)) > 1:
                mol = chooser.choose(mol)
            if any(atom.GetFormalCharge() for atom in mol.GetAtoms()):
                mol = uncharger.uncharge(mol)
        except (ValueError, RuntimeError) as error:
            raise Invalid("molecules.unparsable") from error
    return mol

"""Molecules to the field's own files: SDF with 2D coordinates, and SMILES."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rdkit import Chem
from rdkit.Chem import rdDepictor

from puji.errors import Invalid
from puji.files import whole
from puji.modalities.molecules.molecule import parse

FORMATS = (".sdf", ".smi")


def write(rows: Sequence[Mapping[str, Any]], target: Path) -> None:
    """Write ``rows``, each with its "smiles", by the ending of ``target``: the file appears whole or not at all.

    SDF: 2D coordinates; all other fields become properties, so that each record carries its origin. SMILES: the origin
    stands in a comment and the place in the file is the name. Raises Invalid for another ending.
    """
    ending = target.suffix.lower()
    if ending not in FORMATS:
        raise Invalid("write.format", source=str(target), formats=", ".join(FORMATS))
    records = _sdf(rows) if ending == ".sdf" else _smi(rows)
    with whole(target) as path, path.open("w", encoding="utf-8", newline="\n") as stream:
        for record in records:
            stream.write(record)


def _sdf(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, row in enumerate(rows, 1):
        mol = Chem.Mol(parse(row["smiles"]))
        rdDepictor.Compute2DCoords(mol)
        mol.SetProp("_Name", str(row.get("name") or f"molecule {number}"))
        lines = [Chem.MolToMolBlock(mol, forceV3000=mol.GetNumAtoms() > 999)]
        for name, value in row.items():
            if value is not None and value != "":
                # A blank line would end the field.
                lines.append(f">  <{_one_line(name)}>\n{_one_line(value)}\n\n")
        yield "".join(lines) + "$$$$\n"


def _smi(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if rows:
        fields = ("synthetic", "model", "seed")
        origin = " ".join(f"{name}={_one_line(rows[0][name])}" for name in fields if name in rows[0])
        yield f"# {origin}\n" if origin else ""
    for number, row in enumerate(rows, 1):
        yield f"{row['smiles']} {_one_line(row.get('name') or number).replace(' ', '_')}\n"


def _one_line(value: object) -> str:
    return " ".join(str(value).split())

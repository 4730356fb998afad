"""Pictures of molecules: one, a grid of many, and what drove an answer drawn on the atoms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdBase
from rdkit.Chem.Draw import rdMolDraw2D

from puji import figures
from puji.errors import Invalid
from puji.modalities.molecules.molecule import parse
from puji.modalities.molecules.tokens import MOL, text
from puji.modality import END

PANEL = (260, 220)
"""Width and height of one molecule in a grid, in pixels."""
MOST_DRAWN = 120
"""Molecules in one grid; of more, the first are drawn."""
ARCS = 15
"""The strongest links of an attention map that are drawn; fewer in a small molecule, half as many as it has atoms."""

LOW, HIGH = np.array([0.13, 0.40, 0.67]), np.array([0.90, 0.38, 0.00])
"""Blue for what lowers the answer, orange for what raises it: told apart with any kind of colour vision."""

_HEADER = re.compile(r"<\?xml[^>]*\?>\s*|<rect style='opacity:1[^>]*>\s*</rect>\s*")


def molecule_svg(mol: Chem.Mol, size: tuple[int, int] = (360, 280)) -> str:
    """One molecule as an SVG picture of ``size`` pixels."""
    drawer = rdMolDraw2D.MolDraw2DSVG(*size)
    _options(drawer)
    _draw(drawer, mol)
    drawer.FinishDrawing()
    return _svg(drawer)


def grid(rows: Sequence[Mapping[str, Any]], kind: str = "svg") -> str | bytes:
    """The molecules of ``rows`` ("smiles" and properties) with their figures beneath, as SVG text or PNG bytes.

    Raises Invalid for another ``kind`` and for no rows.
    """
    figures.check(kind, "molecules")
    if not rows:
        raise Invalid("molecules.no_rows")
    shown = rows[:MOST_DRAWN]
    # As few empty places as can be, then as few lines.
    columns = min(len(shown), min((5, 4, 3), key=lambda most: -len(shown) % most) if len(shown) > 5 else 4)
    lines = -(-len(shown) // columns)
    make = rdMolDraw2D.MolDraw2DSVG if kind == "svg" else rdMolDraw2D.MolDraw2DCairo
    drawer: Any = make(columns * PANEL[0], lines * PANEL[1], *PANEL)
    _options(drawer)
    drawer.drawOptions().legendFontSize = 13
    drawer.drawOptions().legendFraction = 0.18
    drawer.drawOptions().clearBackground = kind == "png"
    with rdBase.BlockLogs():
        drawer.DrawMolecules([parse(row["smiles"]) for row in shown], legends=[legend(row) for row in shown])
    drawer.FinishDrawing()
    return _svg(drawer) if kind == "svg" else bytes(drawer.GetDrawingText())


def legend(row: Mapping[str, Any]) -> str:
    """Two short lines of figures, the same in every language."""
    first = (("QED", "qed", ".2f"), ("SA", "sa", ".1f"), ("logP", "logp", ".1f"))
    second = (("TPSA", "tpsa", ".0f"), ("MW", "weight", ".0f"), ("Tanimoto", "similarity", ".2f"))
    lines = [
        "  ".join(
            f"{label} {row[name]:{form}}" for label, name, form in fields if isinstance(row.get(name), (int, float))
        )
        for fields in (first, second)
    ]
    return "\n".join(line for line in lines if line)


def atoms_of(tokens: Sequence[str]) -> tuple[Chem.Mol, list[int | None]]:
    """The molecule that a sequence tells, and for each token the index of its atom.

    Bonds, branches and ring closures belong to the atom before them; tokens outside the body to none. Raises Invalid.
    """
    start = tokens.index(MOL) + 1 if MOL in tokens else 0
    parameters: Any = Chem.SmilesParserParams()
    parameters.removeHs = False  # so that atoms are counted as they are written
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(text(tokens[start:]), parameters)
    if mol is None:
        raise Invalid("molecules.unparsable")
    places: list[int | None] = [None] * len(tokens)
    atom, inside = -1, False
    for index in range(start, len(tokens)):
        token = tokens[index]
        if token == END:
            break
        if not inside and (token[0] == "[" or token.isalpha() or token == "*"):
            atom += 1
        inside = token == "[" or (inside and token != "]")
        places[index] = atom if atom >= 0 else None
    return mol, places


def atom_scores(places: Sequence[int | None], scores: NDArray[np.float64], atoms: int) -> NDArray[np.float64]:
    """Scores of tokens, shape (n_tokens,), summed by atom, shape (atoms,)."""
    result = np.zeros(atoms)
    for place, score in zip(places, scores, strict=True):
        if place is not None:
            result[place] += score
    return result


def atom_attention(places: Sequence[int | None], attention: NDArray[np.float64], atoms: int) -> NDArray[np.float64]:
    """Attention between tokens, shape (n_tokens, n_tokens), as attention between atoms, shape (atoms, atoms).

    What an atom's tokens pay is averaged, what they receive is summed.
    """
    member = np.zeros((atoms, len(places)))
    for index, place in enumerate(places):
        if place is not None:
            member[place, index] = 1
    paid = member / np.maximum(member.sum(1, keepdims=True), 1)
    return np.asarray(paid @ np.asarray(attention, dtype=np.float64) @ member.T)


def explanation_svg(
    tokens: Sequence[str], scores: NDArray[np.float64], attention: NDArray[np.float64] | None = None
) -> str:
    """The atoms coloured by their scores; beside it, if ``attention`` is given, its strongest links as arcs."""
    mol, places = atoms_of(tokens)
    atoms = mol.GetNumAtoms()
    panels = [_heat_map(mol, atom_scores(places, np.asarray(scores, dtype=np.float64), atoms))]
    if attention is not None:
        panels.append(_arcs(mol, atom_attention(places, attention, atoms)))
    width, height = 420, 340
    parts = [
        f'<svg x="{index * width}" y="0" width="{width}" height="{height}"{panel[panel.index("<svg") + 4 :]}'
        for index, panel in enumerate(panels)
    ]
    inner = "".join(_unsized(part) for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * len(panels)}" height="{height}" '
        f'viewBox="0 0 {width * len(panels)} {height}">{inner}</svg>'
    )


def _unsized(part: str) -> str:
    """A nested picture without RDKit's own width and height."""
    head, _, rest = part.partition(">")
    return re.sub(r"\s(?:width|height)='[^']*'", "", head) + ">" + rest


def _heat_map(mol: Chem.Mol, scores: NDArray[np.float64]) -> str:
    strongest = float(np.abs(scores).max(initial=0)) or 1.0
    colours = {index: _colour(float(score) / strongest) for index, score in enumerate(scores)}
    bonds = {
        bond.GetIdx(): _colour(float(scores[bond.GetBeginAtomIdx()] + scores[bond.GetEndAtomIdx()]) / 2 / strongest)
        for bond in mol.GetBonds()
    }
    drawer: Any = rdMolDraw2D.MolDraw2DSVG(420, 340)
    _options(drawer)
    drawer.drawOptions().fillHighlights = True
    drawer.drawOptions().useBWAtomPalette()
    _draw(drawer, mol, highlightAtoms=list(colours), highlightAtomColors=colours, highlightBonds=list(bonds),
          highlightBondColors=bonds)  # fmt: skip
    drawer.FinishDrawing()
    return _with(_svg(drawer), _scale())


def _arcs(mol: Chem.Mol, attention: NDArray[np.float64]) -> str:
    drawer: Any = rdMolDraw2D.MolDraw2DSVG(420, 340)
    _options(drawer)
    _draw(drawer, mol)
    drawer.FinishDrawing()
    both = np.triu(attention + attention.T, 1)
    most = min(ARCS, -(-len(both) // 2))
    links = [np.unravel_index(place, both.shape) for place in np.argsort(both, axis=None)[::-1][:most]]
    strongest = float(both.max(initial=0)) or 1.0
    paths = []
    for first, second in links:
        strength = float(both[first, second]) / strongest
        if strength <= 0:
            break
        start, end = drawer.GetDrawCoords(int(first)), drawer.GetDrawCoords(int(second))
        # Bent to one side, so that links along a chain of bonds can be told apart.
        bent_x = (start.x + end.x) / 2 + 0.25 * (end.y - start.y)
        bent_y = (start.y + end.y) / 2 - 0.25 * (end.x - start.x)
        paths.append(
            f'<path d="M{start.x:.1f},{start.y:.1f} Q{bent_x:.1f},{bent_y:.1f} {end.x:.1f},{end.y:.1f}" fill="none" '
            f'stroke="#7b3294" stroke-linecap="round" stroke-width="{1 + 4 * strength:.2f}" '
            f'stroke-opacity="{0.15 + 0.6 * strength:.2f}"/>'
        )
    return _with(_svg(drawer), "".join(paths))


def _colour(score: float) -> tuple[float, float, float]:
    """White for 0, towards blue at -1 and orange at 1."""
    strength = min(abs(score), 1.0)
    mixed = (1 - strength) * np.ones(3) + strength * (HIGH if score > 0 else LOW)
    return float(mixed[0]), float(mixed[1]), float(mixed[2])


def _scale() -> str:
    boxes = []
    for step in range(21):
        red, green, blue = (round(255 * part) for part in _colour(step / 10 - 1))
        boxes.append(f'<rect x="{157 + 5 * step}" y="326" width="5" height="8" fill="rgb({red},{green},{blue})"/>')
    signs = '<text x="146" y="334">−</text><text x="266" y="334">+</text>'
    return f'<g font-family="sans-serif" font-size="13" fill="#17323a">{"".join(boxes)}{signs}</g>'


def _options(drawer: Any) -> None:
    options = drawer.drawOptions()
    options.clearBackground = False
    options.bondLineWidth = 1.6
    options.padding = 0.08


def _draw(drawer: Any, mol: Chem.Mol, **highlights: Any) -> None:
    with rdBase.BlockLogs():
        rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol, **highlights)


def _svg(drawer: Any) -> str:
    return _HEADER.sub("", drawer.GetDrawingText()).strip()


def _with(svg: str, extra: str) -> str:
    return svg.replace("</svg>", f"{extra}</svg>")

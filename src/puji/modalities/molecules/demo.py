"""What `puji demo` shows of molecules: new ones, with properties asked for, around a scaffold, between fragments, like a
drug, and a prediction with its explanation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from puji.gallery import Figure, Section, sections
from puji.language import LANGUAGES, Text
from puji.modalities.molecules import fragments
from puji.modalities.molecules.draw import molecule_svg
from puji.modalities.molecules.molecule import parse
from puji.modalities.molecules.properties import PROPERTIES

SCAFFOLD = "c1ccc2c(N[*:1])ncnc2c1"
"""4-Aminoquinazoline, the scaffold of gefitinib and erlotinib."""
PARTS = "*c1ccncc1.*N1CCOCC1"
"""Pyridine and morpholine."""
DRUG = ("febuxostat", "Cc1nc(-c2ccc(OCC(C)C)c(C#N)c2)sc1C(=O)O")
TARGETS: Mapping[str, Sequence[float]] = {"logp": (1, 2, 3, 4), "tpsa": (40, 60, 80, 100)}
PER_TARGET = 24

SHORT = {"qed": ("QED", ".2f"), "logp": ("logP", ".1f"), "sa": ("SA", ".1f"), "weight": ("MW", ".0f")}
LABELS = {name: Text(f"molecules.conditions.{name}.label") for name in (*PROPERTIES, "similarity")}


def demo(model: Any, seed: int = 0) -> list[Section]:
    """All sections; one that the model cannot do says why."""
    makers = {
        "new": new,
        "asked": asked,
        "scaffold": scaffold,
        "linker": linker,
        "analogues": analogues,
        "predicted": predicted,
    }
    return sections("molecules", makers, model, seed)


def title(name: str) -> Text:
    """The title of a section."""
    return Text(f"molecules.demo.{name}")


def note(name: str, batch: Any, began: float, **details: Any) -> Text:
    """What is seen in a section, with how many draws and seconds it took."""
    counts = {"n": len(batch), "attempts": batch.attempts, "seconds": f"{time.perf_counter() - began:.1f}"}
    return Text(f"molecules.demo.{name}.note", {**counts, **details})


def card(row: Mapping[str, Any], kept: str = "", **facts: str) -> Figure:
    """A molecule with its figures; ``kept`` (SMILES or parts of it, with attachment points) is tinted."""
    numbers = [(short, f"{row[name]:{form}}") for name, (short, form) in SHORT.items()]
    alarm = Text("molecules.demo.alerts", {"alerts": row["alerts"]}) if row["alerts"] else None
    mol = parse(row["smiles"])
    picture = highlighted(mol, kept) if kept else molecule_svg(mol)
    return Figure(picture, row["smiles"], [*facts.items(), *numbers], alarm)


def highlighted(mol: Chem.Mol, kept: str) -> str:
    """``mol`` as SVG with the atoms of ``kept`` tinted."""
    atoms = fragments.held(mol, fragments.normalised(kept))
    inside = set(atoms)
    bonds = [bond.GetIdx() for bond in mol.GetBonds() if {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()} <= inside]
    drawer = rdMolDraw2D.MolDraw2DSVG(360, 280)
    options: Any = drawer.drawOptions()
    options.setHighlightColour((0.70, 0.87, 0.84))
    options.highlightBondWidthMultiplier = 14
    options.fillHighlights = True
    options.clearBackground = False
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol, highlightAtoms=atoms, highlightBonds=bonds)
    drawer.FinishDrawing()
    drawn = str(drawer.GetDrawingText())
    return drawn[drawn.index("<svg") :]


def table(rows: Sequence[Mapping[str, Any]], *more: str) -> list[dict[str, Any]]:
    """The columns that a chemist looks at first."""
    return [{name: row[name] for name in ("smiles", *more, *PROPERTIES, "alerts")} for row in rows]


COLUMNS = {"smiles": Text("molecules.demo.column.smiles"), "alerts": Text("molecules.demo.column.alerts"), **LABELS}


def new(model: Any, seed: int) -> Section:
    """Drawn without conditions."""
    began = time.perf_counter()
    batch = model.generate(24, seed=seed, unique=True)
    told = note("new", batch, began)
    rows = batch.rows()
    return Section(title("new"), told, [card(row) for row in rows], table(rows), COLUMNS)


def asked(model: Any, seed: int) -> Section:
    """A few values of two properties, each asked for; what came out against what was asked."""
    began = time.perf_counter()
    found: dict[str, dict[float, list[float]]] = {}
    rows = []
    for name, values in TARGETS.items():
        found[name] = {}
        for value in values:
            batch = model.generate(PER_TARGET, seed=seed, **{name: value})
            got = [row[name] for row in batch.rows()]
            found[name][value] = got
            rows.append(
                {
                    "property": LABELS[name],
                    "asked": value,
                    "mean": round(float(np.mean(got)), 2),
                    "error": round(float(np.mean(np.abs(np.array(got) - value))), 2),
                    "n": len(got),
                }
            )
    seconds = f"{time.perf_counter() - began:.1f}"
    picture = Figure({language: _strips(found, language) for language in LANGUAGES}, wide=True)
    columns = {name: Text(f"molecules.demo.column.{name}") for name in ("property", "asked", "mean", "error")}
    told = Text("molecules.demo.asked.note", {"n": PER_TARGET, "seconds": seconds})
    return Section(title("asked"), told, [picture], rows, columns)


def _strips(found: Mapping[str, Mapping[float, Sequence[float]]], language: str) -> str:
    """Each property in a panel: asked (line) and obtained (dots), by the value asked."""
    from puji import figures

    with figures.canvas(8.2, 3.3) as figure:
        panels = figure.subplots(1, len(found), squeeze=False)[0]
        for panel, (name, groups) in zip(panels, found.items(), strict=True):
            rng = np.random.default_rng(0)
            places = np.arange(len(groups))
            for place, (value, got) in enumerate(groups.items()):
                jitter = place + rng.uniform(-0.16, 0.16, len(got))
                panel.hlines(value, place - 0.34, place + 0.34, color=figures.CYCLE[1], linewidth=2.4, zorder=3)
                panel.scatter(jitter, got, s=20, color=figures.ACCENT, alpha=0.55, linewidths=0)
            panel.set_xticks(places, [f"{value:g}" for value in groups])
            panel.grid(axis="x", visible=False)
            panel.set_title(LABELS[name].text(language))
            panel.set_xlabel(Text("molecules.demo.asked.x").text(language))
        panels[0].set_ylabel(Text("molecules.demo.asked.y").text(language))
        return figures.svg(figure)


def scaffold(model: Any, seed: int) -> Section:
    """Around a scaffold that stays."""
    return around("scaffold", model.generate, n=12, seed=seed, keep=SCAFFOLD)


def linker(model: Any, seed: int) -> Section:
    """Between two fragments."""
    return around("linker", model.generate, n=8, seed=seed, linker=PARTS)


def around(name: str, generate: Callable[..., Any], *, n: int, seed: int, **part: str) -> Section:
    """The section ``name``: molecules that hold ``part``, which is marked in each."""
    (smiles,) = part.values()
    began = time.perf_counter()
    batch = generate(n, seed=seed, unique=True, **part)
    told = note(name, batch, began, smiles=smiles)
    rows = batch.rows()
    return Section(title(name), told, [card(row, smiles) for row in rows], table(rows), COLUMNS)


def analogues(model: Any, seed: int) -> Section:
    """Like a drug, most similar first."""
    name, smiles = DRUG
    began = time.perf_counter()
    batch = model.generate(11, seed=seed, unique=True, like=smiles, similarity="0.4:1")
    told = note("analogues", batch, began, smiles=smiles)
    drug = parse(smiles)
    rows = [{**row, "similarity": round(fragments.similarity(drug, parse(row["smiles"])), 3)} for row in batch.rows()]
    rows.sort(key=lambda row: -row["similarity"])
    given = Figure(molecule_svg(drug), Text(f"molecules.demo.drug.{name}"))
    cards = [card(row, Tanimoto=f"{row['similarity']:.2f}") for row in rows]
    return Section(title("analogues"), told, [given, *cards], table(rows, "similarity"), COLUMNS)


def predicted(model: Any, seed: int) -> Section:
    """The properties of a drug as the model reads them from its structure, beside the computed ones, and what drove one."""
    name, smiles = DRUG
    answer = model.predict(smiles)
    mol = parse(smiles)
    rows = [
        {
            "property": LABELS[key],
            "predicted": round(estimate.value, 2),
            "low": round(estimate.low, 2),
            "high": round(estimate.high, 2),
            "computed": round(float(PROPERTIES[key].compute(mol)), 2),
        }
        for key, estimate in answer.estimates.items()
    ]
    explanation = model.explain(smiles, target="logp")
    picture = explanation.pictures["image/svg+xml"]
    details = {"name": Text(f"molecules.demo.drug.{name}"), "value": f"{explanation.value:.2f}"}
    shown = Figure(picture, Text("molecules.demo.heat", details), wide=True)
    columns = {
        key: Text(f"molecules.demo.column.{key}") for key in ("property", "predicted", "low", "high", "computed")
    }
    return Section(title("predicted"), Text("molecules.demo.predicted.note", details), [shown], rows, columns)

"""Conditional modes: what was asked against what came, beside a dummy that picks training molecules."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

import puji
from puji.errors import Invalid
from puji.modalities.molecules import fragments
from puji.modalities.molecules.data import moses_split
from puji.modalities.molecules.molecule import Molecule, parse, standardise
from puji.modalities.molecules.properties import PROPERTIES
from puji.model import Model

EXAMPLES = Path(__file__).parent.parent / "tests" / "data" / "molecules.smi"


def sources(quick: bool, n: int) -> list[Molecule]:
    """Molecules whose values, cuts and analogues are asked for: of MOSES Test, so that none was trained on."""
    lines = EXAMPLES.read_text("utf-8").split() if quick else random.Random(0).sample(list(moses_split("test")), n)
    return [standardise(parse(line)) for line in lines[:n]]


def _summary(asked: list[float], obtained: list[float]) -> dict[str, Any]:
    a, b = np.array(asked), np.array(obtained)
    return {
        "n": len(a),
        "mean_absolute_error": float(np.abs(a - b).mean()),
        "correlation": float(np.corrcoef(a, b)[0, 1]),
    }


def _drawn(model: Model[Any], n: int, seed: int, **asked: Any) -> tuple[list[Molecule], int]:
    """Accepted records and draws; a condition that no draw could meet gives none."""
    try:
        batch = model.generate(n, seed=seed, **asked)
    except Invalid as refusal:
        return [], int(refusal.details.get("attempts", n))
    return batch.records, batch.attempts


def properties(model: Model[Any], molecules: list[Molecule], each: int) -> dict[str, Any]:
    """For each property: ask for the value of a real molecule, measure it on what comes."""
    rng = np.random.default_rng(0)
    results: dict[str, Any] = {}
    for name, known in PROPERTIES.items():
        asked, obtained, dummy, records, attempts = [], [], [], [], 0
        for number, molecule in enumerate(molecules):
            value = known.compute(molecule.mol)
            found, tried = _drawn(model, each, number, **{name: round(value, 4)})
            attempts += tried
            records += found
            asked += [value] * len(found)
            obtained += [known.compute(record.mol) for record in found]
            picked = rng.integers(len(molecules), size=len(found))
            dummy += [known.compute(molecules[index].mol) for index in picked]
        results[name] = {
            "ours": _summary(asked, obtained),
            "dummy": _summary(asked, dummy),
            "valid": len(records) / attempts,
            "unique": len({record.smiles for record in records}) / len(records),
        }
    return results


def kept(model: Model[Any], molecules: list[Molecule], each: int) -> dict[str, Any]:
    """Decoration, growing and linking: parts of real molecules to keep."""
    rng = np.random.default_rng(1)
    tasks: dict[str, list[str]] = {"scaffold": [], "linker": []}
    for molecule in molecules:
        if pair := fragments.cuts(molecule.mol, rng):
            tasks["linker" if "." in pair[0] else "scaffold"].append(pair[0])
    options = {"scaffold": "keep", "linker": "linker"}
    return {name: _kept(model, parts, options[name], each) for name, parts in tasks.items() if parts}


def _kept(model: Model[Any], parts: list[str], option: str, each: int) -> dict[str, Any]:
    attempts, right, records = 0, 0, []
    for number, part in enumerate(parts):
        found, tried = _drawn(model, each, number, **{option: part})
        attempts += tried
        records += [(part, record.smiles) for record in found]
        right += sum(fragments.contains(record.mol, part) for record in found)
    return {
        "asked": len(parts),
        "valid": len(records) / attempts,
        "kept": right / len(records),
        "unique": len(set(records)) / len(records),
        "n": len(records),
    }


def analogues(model: Model[Any], molecules: list[Molecule], each: int) -> dict[str, Any]:
    """Analogues of a given molecule: their similarity, beside that of random training molecules."""
    rng = np.random.default_rng(2)
    ours, dummy, attempts = [], [], 0
    for number, molecule in enumerate(molecules):
        found, tried = _drawn(model, each, number, like=molecule.smiles)
        attempts += tried
        ours += [fragments.similarity(molecule.mol, record.mol) for record in found]
        others = [molecules[index] for index in rng.integers(len(molecules), size=each)]
        dummy += [fragments.similarity(molecule.mol, other.mol) for other in others if other != molecule]
    return {
        "n": len(ours),
        "valid": len(ours) / attempts,
        "similarity": float(np.mean(ours)),
        "share_above_0.4": float(np.mean(np.array(ours) >= 0.4)),
        "dummy_similarity": float(np.mean(dummy)),
    }


def predictions(model: Model[Any], molecules: list[Molecule]) -> dict[str, Any]:
    """Predicted against computed properties, and how often the 80 % interval holds."""
    answers = [model.predict(molecule).estimates for molecule in molecules]
    results = {}
    for name, known in PROPERTIES.items():
        true = [known.compute(molecule.mol) for molecule in molecules]
        inside = [answer[name].low <= value <= answer[name].high for answer, value in zip(answers, true, strict=True)]
        results[name] = {
            **_summary(true, [answer[name].value for answer in answers]),
            "coverage_80": float(np.mean(inside)),
        }
    return results


def run(quick: bool) -> dict[str, Any]:
    """All conditional modes."""
    model = puji.load("molecules")
    molecules = sources(quick, 4 if quick else 400)
    some, each = (molecules[:2], 2) if quick else (molecules[:200], 10)
    return {
        "properties": properties(model, some, each),
        "kept": kept(model, some, each),
        "analogues": analogues(model, some, each),
        "predictions": predictions(model, molecules),
    }

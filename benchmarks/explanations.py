"""Are explanations true? On a task with a planted truth, and on the shipped molecules, whose atoms' parts are known."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import planted
from puji.engine.explain import Attribution, evaluate, integrated_gradients, occlusion
from puji.engine.faithfulness import (
    bootstrap,
    faithfulness,
    randomised_weights_check,
    spearman,
)
from puji.engine.target import Target

PROPERTIES = ("logp", "tpsa")
METHODS = ("integrated_gradients", "occlusion", "occlusion:delete")


def rounded(value: Any) -> Any:
    """``value`` with floats of four significant digits, for a results file."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def completeness(found: Sequence[Attribution]) -> dict[str, float]:
    relative = [one.relative_error for one in found]
    return {
        "relative_error_median": float(np.median(relative)),
        "relative_error_max": float(np.max(relative)),
        "absolute_error_max": max(one.completeness_error for one in found),
        "steps_mean": float(np.mean([one.steps for one in found])),
    }


def planted_truth(quick: bool) -> dict[str, Any]:
    """The share of held-out sequences in which the deciding token comes first, and how faithful the scores are.

    ``baseline`` is what stands for no evidence: padding, or an ordinary token.
    """
    length, n = (8, 2) if quick else (24, 200)
    network = planted.train(steps=20 if quick else 300, length=length)
    held_out = planted.cases(n, seed=1, length=length, share=1.0)
    sequences = [case.ids for case in held_out]
    mixed = planted.cases(10 * n, seed=2, length=length)
    value = evaluate(network, [case.ids for case in mixed], planted.TARGET)
    rows: dict[str, Any] = {}
    for name, baseline in (("padding", planted.PAD), ("ordinary token", planted.FIRST)):
        for method in METHODS if name == "padding" else METHODS[:2]:  # deletion puts nothing in
            began = time.perf_counter()
            found = [planted.explained(network, ids, method, baseline, 0.01) for ids in sequences]
            seconds = time.perf_counter() - began
            scores = [one.scores for one in found]
            first = [int(score.argmax()) == case.place for score, case in zip(scores, held_out, strict=True)]
            row: dict[str, Any] = {"found_first": asdict(bootstrap(first)), "explanations_per_second": n / seconds}
            if method == "integrated_gradients":
                row["completeness"] = completeness(found)
            part = slice(0, 100)
            mode = "delete" if method.endswith("delete") else "mask"
            row["faithfulness"] = asdict(
                faithfulness(network, sequences[part], scores[part], planted.TARGET, baseline, mode=mode)
            )
            row["randomised_weights"] = asdict(
                randomised_weights_check(
                    network,
                    sequences[part],
                    lambda other, ids, m=method, b=baseline: planted.explained(other, ids, m, b, 0.05).scores,
                )
            )
            rows[f"{method}, {name}"] = row
    accuracy = float(np.mean((value > 0) == [case.place is not None for case in mixed]))
    return {"sequences": n, "tokens": length, "network_accuracy": accuracy, "methods": rows}


def atom_parts(smiles: str) -> dict[str, NDArray[np.float64]]:
    """What each heavy atom adds to logP (Wildman & Crippen 1999) and TPSA (Ertl et al. 2000): their definitions are sums."""
    from rdkit import Chem
    from rdkit.Chem import rdMolDescriptors

    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    logp = np.array([part for part, _ in rdMolDescriptors._CalcCrippenContribs(molecule)])
    heavy = molecule.GetNumHeavyAtoms()
    for atom in molecule.GetAtoms():
        if atom.GetIdx() >= heavy:
            logp[atom.GetNeighbors()[0].GetIdx()] += logp[atom.GetIdx()]
    tpsa = np.array(rdMolDescriptors._CalcTPSAContribs(Chem.MolFromSmiles(smiles)))
    return {"logp": logp[:heavy], "tpsa": tpsa}


def molecules(model: Any, smiles: Sequence[str], properties: Sequence[str] = PROPERTIES) -> dict[str, Any]:
    """Faithfulness of the shipped model's explanations, and their rank correlation with the true parts of the atoms.

    Two tokens stand for no evidence in turn: that of the modality, which is what `puji explain` uses, and padding. An atom's
    place in a SMILES is its index in RDKit.
    """
    from puji.modalities.molecules.tokens import OUTSIDE

    rows: dict[str, Any] = {}
    neutral = (model.modality.neutral, "<pad>")
    for name, token, method in itertools.product(properties, neutral, METHODS):
        if method.endswith("delete") and token != neutral[0]:
            continue  # deletion puts nothing in
        baseline = model.vocabulary.ids[token]
        mode = "delete" if method.endswith("delete") else "mask"
        sequences, found, agreement = [], [], []
        for one in smiles:
            record = model.record(one)
            tokens, values = model.modality.target(record, name)
            ids = model.vocabulary.encode(tokens)
            text = "".join(word for word in tokens if not word.startswith("<"))
            atoms = [place for place, word in enumerate(tokens) if word in OUTSIDE or word.startswith("[")]
            parts = atom_parts(text)[name]
            if len(ids) != len(tokens) or len(parts) != len(atoms):
                continue  # a rare atom, spelled in characters
            target = Target([model.vocabulary.ids[word] for word in values], list(values.values()))
            if method == "integrated_gradients":
                attribution = integrated_gradients(model.network, ids, target, baseline, keep=(0, -1), max_steps=256)
            else:
                attribution = occlusion(model.network, ids, target, baseline, keep=(0, -1), mode=mode)
            sequences.append(ids)
            found.append(attribution)
            agreement.append(spearman(attribution.scores[atoms], parts))
        if not sequences:
            continue
        known = [value for value in agreement if not np.isnan(value)]
        scores = [one.scores for one in found]
        report = faithfulness(
            model.network, sequences, scores, target, baseline, keep=(0, -1), mode=mode, random_orders=3
        )
        row = {"agreement_with_atom_parts": asdict(bootstrap(known)), "faithfulness": asdict(report)}
        if method == "integrated_gradients":
            row["completeness"] = completeness(found)
        rows[f"{name}, {method}, {token}"] = row
    return rows


def run(quick: bool) -> dict[str, Any]:
    """The planted truth, and the released weights on molecules of MOSES Test (quick: of the tests' file)."""
    import puji
    from benchmarks.molecules_conditions import sources

    smiles = [molecule.smiles for molecule in sources(quick, 100)]
    if quick:
        smiles = [min(smiles, key=len)]
    found = molecules(puji.load("molecules"), smiles, PROPERTIES[: 1 if quick else None])
    result = {"planted": planted_truth(quick), "molecules": found}
    return dict(rounded(result))

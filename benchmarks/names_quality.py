"""Names against interpolated Kneser-Ney of order 7, on the same lists in the same run; draws; whole stem families left out.

Bits per character count the end of a name as a character and everything the model is told: the kind of a name is part of
its body. One network learns generic names and brands together, then each list alone, which is what Kneser-Ney is fitted to.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import puji
from benchmarks.names_kn import KneserNey, bits_per_character
from puji import flow
from puji.engine.decode import Prompt
from puji.modalities.names import data, metrics
from puji.modalities.names.modality import Names
from puji.modalities.names.stems import find, main_stem
from puji.modalities.names.tokens import Kind, Name, spelled

KINDS: tuple[Kind, Kind] = ("generic", "brand")
ORDER = 7
JOINT: dict[str, Any] = {"dropout": 0.2, "weight_decay": 0.05, "learning_rate": 3e-3}
ALONE: dict[str, Any] = {"dropout": 0.2, "weight_decay": 0.05, "learning_rate": 1e-3}
EPOCHS = {"joint": 15.0, "alone": 5.0}
STEMS = ("-tinib", "-mab", "-xaban", "cef-", "-gliptin", "-prazole")


class Unconditional(Names):
    """Names of which few training views tell conditions."""

    asked = 0.1


def fit(names: dict[Kind, Sequence[str]], folder: Path, seed: int, epochs: float, base: Path | None = None) -> Any:
    """A model of ``names``; its checkpoint is ``folder``."""
    source = folder.with_suffix(".txt")
    source.write_text("".join(f"{kind}:{name}\n" for kind, some in names.items() for name in some), "utf-8")
    more: dict[str, Any] = {"size": "micro"} if base is None else {"base": base}
    settings = {**(JOINT if base is None else ALONE), "batch_tokens": 2048, "precision": "fp32", "compile": False}
    settings |= {"progress": False, "patience": None}
    return puji.fit(
        Unconditional, source, epochs=epochs, seed=seed, out=folder, holdout=0.03, settings=settings, **more
    )


def bits(model: Any, kind: Kind, names: Sequence[str]) -> float:
    return metrics.bits_per_character(model, [Name(kind, name) for name in names]).value


def one_seed(cuts: dict[Kind, Any], seed: int, share: float) -> tuple[dict[str, float], Any]:
    """Bits per character of the test names by kind, and the model of both kinds."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        joint = fit({kind: cuts[kind][0] for kind in KINDS}, Path(folder) / "joint", seed, EPOCHS["joint"] * share)
        for kind in KINDS:
            found[f"{kind}, both kinds in one model"] = bits(joint, kind, cuts[kind][2])
            alone = Path(folder) / kind
            tuned = fit({kind: cuts[kind][0]}, alone, seed, EPOCHS["alone"] * share, Path(folder) / "joint")
            found[kind] = bits(tuned, kind, cuts[kind][2])
    return found, joint


def draws(model: Any, n: int) -> dict[str, float]:
    """Novelty and uniqueness of raw draws: no grammar, no refusal, no condition."""
    start = tuple(model.vocabulary.encode([model.modality.start]))
    prompts = (Prompt(start, seed=number, header=1) for number in range(n))
    decoded = flow.decode(model.network, model.vocabulary, prompts, max_new_tokens=40)
    texts = [spelled(model.vocabulary.decode(one.ids))[1] for one in decoded]
    known = model.modality.known.set
    return {"novelty": metrics.novelty(texts, known).value, "unique": metrics.uniqueness(texts).value, "draws": n}


def kept(model: Any, n: int) -> dict[str, float]:
    """Share of generated names that carry the stem asked for."""
    found = {}
    for text in STEMS:
        batch = model.generate(n, seed=0, stem=text)
        found[text] = metrics.stem_kept([record.text for record in batch], find(text)).value
    return found


def families(names: Sequence[str], seed: int, share: float) -> dict[str, float]:
    """Bits per character where whole stem families were left out of training, beside a random split of the same size."""
    train, out = data.split_by_stem(names)
    shuffled = data.split(names)
    random = [*shuffled[0], *shuffled[1]], shuffled[2]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for label, (some, others) in {"stem families left out": (train, out), "random split": random}.items():
            model = fit({"generic": some}, Path(folder) / label.replace(" ", "-"), seed, EPOCHS["joint"] * share)
            found[label] = bits(model, "generic", others)
            found[f"{label}, Kneser-Ney"] = bits_per_character(KneserNey(some, ORDER), others)
    found["names left out"] = float(len(out))
    found["of them with a stem"] = float(sum(main_stem(name) is not None for name in out))
    return found


def run(quick: bool, seeds: int = 3) -> dict[str, Any]:
    """Everything. Needs `puji data get drug-names`. ``quick``: one seed, 200 names of each kind, a moment of training."""
    share, chosen = (0.02, [0]) if quick else (1.0, list(range(seeds)))
    lists = data.load_lists()
    if quick:
        lists = {kind: some[:200] for kind, some in lists.items()}
    cuts: dict[Kind, Any] = {kind: data.split(lists[kind]) for kind in KINDS}
    baseline = {kind: bits_per_character(KneserNey(cuts[kind][0], ORDER), cuts[kind][2]) for kind in KINDS}
    rows, drawn = [], []
    for seed in chosen:
        found, joint = one_seed(cuts, seed, share)
        rows.append(found)
        drawn.append(draws(joint, 50 if quick else 10_000))
        print(f"  seed {seed}: {found} {drawn[-1]}", flush=True)
    return {
        "names": {kind: {"training": len(cuts[kind][0]), "test": len(cuts[kind][2])} for kind in KINDS},
        "data": data.DRUG_NAMES.files,
        "seeds": chosen,
        "settings": {"joint": JOINT, "alone": ALONE, "epochs": {name: share * value for name, value in EPOCHS.items()}},
        "kneser_ney": baseline,
        "bits_per_character": rows,
        "mean": {name: mean(row[name] for row in rows) for name in rows[0]},
        "spread": {name: stdev(row[name] for row in rows) if len(rows) > 1 else None for name in rows[0]},
        "below_kneser_ney": {kind: 1 - mean(row[kind] for row in rows) / baseline[kind] for kind in KINDS},
        "raw_draws": drawn,
        "stem_kept": kept(joint, 2 if quick else 200),
        "shifted": families(lists["generic"], 0, share),
    }

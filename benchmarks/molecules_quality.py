"""The MOSES benchmark: 30,000 raw draws at temperature 1, no grammar, retry, filter or reranking.

The product mode (grammar on) has its own row. Test and TestSF are only scored here, never used for a choice.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import puji
from benchmarks.common import metrics_rows
from puji import flow
from puji.engine.decode import Prompt
from puji.modalities.molecules.metrics import References, moses, moses_references
from puji.modalities.molecules.tokens import text
from puji.model import Model

DRAWS = 30_000


def raw(model: Model[Any], n: int, seed: int) -> list[str]:
    """``n`` raw draws as text, in order, whatever they are."""
    start = (model.vocabulary.ids[model.modality.start],)
    prompts = (Prompt(start, seed=seed * 10**9 + row, header=1) for row in range(n))
    draws = flow.decode(model.network, model.vocabulary, prompts, max_new_tokens=200)
    ordered = sorted(draws, key=lambda one: one.index)
    return [text(model.vocabulary.decode(one.ids)) if one.ended == "end" else "" for one in ordered]


def scored(samples: list[str], references: References) -> dict[str, Any]:
    started = time.perf_counter()
    found = metrics_rows(moses(samples, references, workers=2))
    print(f"  scored {len(samples)} in {time.perf_counter() - started:.0f} s: ", end="")
    print(
        {
            name: round(one["value"], 4)
            for name, one in found.items()
            if name in ("valid", "FCD/Test", "FCD/TestSF", "Novelty")
        }
    )
    return found


def run(quick: bool, seeds: int = 3) -> dict[str, Any]:
    """Rows of MOSES metrics: ours raw for each seed, and ours with the grammar. The dummies are a suite of their own."""
    model = puji.load("molecules")
    n, chosen = (60, [0]) if quick else (DRAWS, list(range(seeds)))
    references = small_references() if quick else moses_references()
    results: dict[str, Any] = {"protocol": {"draws": n, "temperature": 1.0, "seeds": chosen, "raw": True}}
    results["model"] = {
        name: model.card.get(name) for name in ("data", "training", "settings", "parameters", "seed", "commit")
    }
    results["model"]["training"] = whole_training(model.card)
    results["raw"] = [scored(raw(model, n, seed), references) for seed in chosen]
    batch = model.generate(n, seed=0)
    results["product"] = scored([record.smiles for record in batch], references)
    results["product_attempts"] = batch.attempts
    return results


def whole_training(card: dict[str, Any]) -> dict[str, Any]:
    """The training that a card tells, with what went into the weights that it began from."""
    training = dict(card.get("training", {}))
    if "base" in card:
        before = whole_training(card["base"])
        training |= {
            name: training[name] + before[name] for name in ("epochs", "tokens", "core_hours", "minutes", "steps")
        }
    return training


def quick_molecules() -> list[str]:
    """A few hundred molecules."""
    return (Path(__file__).parent.parent / "tests" / "data" / "molecules.smi").read_text("utf-8").split()


def small_references() -> References:
    """A few hundred molecules instead of MOSES, so that a quick run needs no data."""
    lines = quick_molecules()
    return References.of(lines[:200], lines[200:300], lines[300:])

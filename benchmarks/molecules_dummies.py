"""What a model of molecules must beat, on the same benchmark: training molecules copied, and counts of what follows what.

No weights of ours are in it, so it need not be run again with new ones.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

from benchmarks.molecules_quality import DRAWS, quick_molecules, scored, small_references
from puji.modalities.molecules.data import moses_split
from puji.modalities.molecules.metrics import moses_references
from puji.modalities.molecules.tokens import text, tokenize


def ngrams(corpus: list[str], n: int, seed: int, order: int = 8) -> list[str]:
    """Draws from counts of what follows the last ``order`` tokens; shorter contexts where a longer one is new."""
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for smiles in corpus:
        tokens = ["<mol>", *tokenize(smiles), "<end>"]
        for place in range(1, len(tokens)):
            counts[tuple(tokens[max(0, place - order) : place])][tokens[place]] += 1
    rng = random.Random(seed)
    drawn = []
    for _ in range(n):
        tokens = ["<mol>"]
        while tokens[-1] != "<end>" and len(tokens) < 200:
            context = tuple(tokens[-order:])
            found = counts[context]
            tokens += rng.choices(list(found), list(found.values()))
        drawn.append(text(tokens))
    return drawn


def dummies(train: list[str], n: int) -> dict[str, list[str]]:
    """``n`` molecules of each."""
    shuffled = random.Random(0).sample(train, n)
    return {"copies of training molecules": shuffled, "8-gram of 200,000 molecules": ngrams(train[:200_000], n, 0)}


def run(quick: bool) -> dict[str, Any]:
    """A row of MOSES metrics for each dummy."""
    if quick:
        return {name: scored(one, small_references()) for name, one in dummies(quick_molecules(), 300).items()}
    references = moses_references()
    return {name: scored(one, references) for name, one in dummies(list(moses_split("train")), DRAWS).items()}

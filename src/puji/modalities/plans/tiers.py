"""What patients who do about as well tell of an action, beside those of the state itself.

Few decisions of one state say little about its actions. A setting may so tell each decision a second time, with a tier in the
place of the state: to which of ``tiers`` equal parts of the logged decisions the state belongs by what the network said before
that it is worth,

    <alike> <tier:1> <good> <a:5> <end>

and the more a tier knows of an action, the less of its own a state needs to know:

    Q'(s, a) = V(s) + P + n / (n + k) (Q(s, a) - V(s) - P)        P = m / (m + K) (Q(tier, a) - V(tier))

with n decisions that support the action in the state and m in the tier. This is the posterior mean of a hierarchy: advantages
are normal around 0 in a tier, and in its states around the tier's. A tier is told how much better than the mean of its state a
decision went, not what came of it: else an action would look as good as the patients who get it. These differences are small,
and told `LOUD` times as large.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from transformers import LlamaForCausalLM

from puji.engine.vocabulary import Vocabulary
from puji.modalities.plans.book import ALIKE, BAD, GOOD, Book, action_token, tier_token
from puji.modalities.plans.value import Decisions, Estimates, decision, estimates, kind
from puji.modality import View

SHRINK = 2000.0
"""K: decisions of a tier at which half of an estimated advantage counts."""
LOUD = 10.0
"""How many times as large as they are a tier is told advantages."""
WEIGHT = 0.05
"""Of a decision when it is told of a tier. A tier is few rows that hold all decisions: with their full weight they would be all
that a training step looks at."""


def edges(tiers: int, values: np.ndarray, met: np.ndarray) -> np.ndarray:
    """The values that part prompts which are worth ``values`` (n,) and were met ``met`` times, (n,), into ``tiers`` of as many
    decisions each, (tiers - 1,)."""
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(met[order]) / max(1.0, met.sum())
    found: np.ndarray = values[order][np.searchsorted(passed, np.arange(1, tiers) / tiers)]
    return found


def tier(book: Book, values: np.ndarray) -> np.ndarray:
    """The tier of prompts that are worth ``values`` (n,), from 0, the worst, on, (n,) int."""
    found: np.ndarray = np.searchsorted(book.tiers, values)
    return found


def prompts(book: Book) -> list[list[str]]:
    """What is told before a decision of each tier; nothing where there are none yet."""
    return [[ALIKE, tier_token(number)] for number in range(len(book.tiers) + 1)] if len(book.tiers) else []


def views(book: Book, found: Decisions, labels: np.ndarray, values: np.ndarray) -> list[View]:
    """The decisions ``found``, worth ``labels`` (n,), once more, by tier; ``values``: what prompts are worth, (prompts,)."""
    told = prompts(book)
    if not told:
        return []
    actions = [action_token(one.code) for one in book.setting.actions]
    met = np.bincount(found.before, minlength=len(found.prompts))
    mean = np.bincount(found.before, labels, len(found.prompts)) / np.maximum(met, 1)
    mine = tier(book, values)[found.before]
    pair, which, count = np.unique(mine * len(actions) + found.action, return_inverse=True, return_counts=True)
    better = np.bincount(which, labels - mean[found.before]) / count
    shares = np.clip(0.5 + LOUD * better, 0.0, 1.0)
    sizes = np.bincount(mine, minlength=len(told))
    views = [kind(one, WEIGHT * float(n)) for one, n in zip(told, sizes.tolist(), strict=True) if n]
    for number, n, share in zip(pair.tolist(), (WEIGHT * count).tolist(), shares.tolist(), strict=True):
        place, action = divmod(number, len(actions))
        views.append(decision(told[place], GOOD, actions[action], n / 2, n * share))
        views.append(decision(told[place], BAD, actions[action], n / 2, n * (1 - share)))
    return views


def shared(
    network: LlamaForCausalLM, vocabulary: Vocabulary, book: Book, found: Estimates, decisions: float
) -> Estimates:
    """Estimates ``found`` with what the network says of their tiers; ``decisions``: how many there are in all."""
    told = prompts(book)
    return lent(book, found, estimates(network, vocabulary, book, told, told, decisions, LOUD)) if told else found


def lent(book: Book, found: Estimates, tiers: Estimates) -> Estimates:
    """Estimates ``found`` with those of all ``tiers``."""
    weight = tiers.support / (tiers.support + SHRINK)
    return replace(found, alike=(weight * (tiers.actions - tiers.state[:, None]))[tier(book, found.state)])

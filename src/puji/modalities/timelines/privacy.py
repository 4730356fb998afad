"""How near a synthetic cohort is to the patients it was learned from, measured against patients it was not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from puji.modalities.timelines.fidelity import auroc
from puji.modalities.timelines.timeline import YEAR, Timeline
from puji.resampling import resampled

RESAMPLES = 200


def exact_copies(synthetic: Sequence[Timeline], real: Sequence[Timeline]) -> int:
    """How many synthetic patients have codes that, in their order, are those of some real one."""
    known = {tuple(event.code for event in one.events) for one in real}
    return sum(tuple(event.code for event in one.events) in known for one in synthetic)


def nearest(records: Sequence[Timeline], others: Sequence[Timeline]) -> np.ndarray:
    """Of each record the smallest Jaccard distance of its codes to one of ``others``, (n,), 0 to 1.

    A code counts together with the five years of life in which it first came, and once more without.
    """
    theirs = [_told(one) for one in others]
    sizes = np.array([len(items) for items in theirs])
    holders: dict[tuple[str, int], list[int]] = {}
    for number, items in enumerate(theirs):
        for item in items:
            holders.setdefault(item, []).append(number)
    listed = {item: np.array(numbers) for item, numbers in holders.items()}
    result = np.ones(len(records))
    for row, record in enumerate(records):
        items = _told(record)
        shared = [listed[item] for item in items if item in listed]
        if shared:
            both = np.bincount(np.concatenate(shared), minlength=len(others))
            result[row] = 1.0 - (both / (len(items) + sizes - both)).max()
    return result


def _told(record: Timeline) -> set[tuple[str, int]]:
    first = {event.code: event.age for event in reversed(record.events)}
    return {(code, -1) for code in first} | {(code, int(age // (5 * YEAR))) for code, age in first.items()}


def membership(
    synthetic: Sequence[Timeline], training: Sequence[Timeline], held_out: Sequence[Timeline], seed: int = 0
) -> tuple[float, float, float]:
    """AUROC of an attacker who says that a patient was trained on if a synthetic one is near, with its 95 % interval.

    .5 is best. As many of ``training`` as of ``held_out`` are asked about; patients are resampled for the interval.
    """
    size = min(len(training), len(held_out))
    chosen = np.random.default_rng(seed).permutation(len(training))[:size]
    scores = -np.concatenate([nearest([training[i] for i in chosen], synthetic), nearest(held_out[:size], synthetic)])
    labels = np.repeat([1.0, 0.0], size)
    interval = resampled(lambda drawn: auroc(scores[drawn], labels[drawn]), 2 * size, RESAMPLES, seed)
    return auroc(scores, labels), *interval


def distance_ratio(
    synthetic: Sequence[Timeline], training: Sequence[Timeline], held_out: Sequence[Timeline], seed: int = 0
) -> tuple[float, float, float]:
    """Median distance to the nearest training patient over that to the nearest held-out one, from as many of each, with its 95 %
    interval by resampling the synthetic patients.

    1: no nearer to those trained on; 0: copies of them.
    """
    size = min(len(training), len(held_out))
    near, far = nearest(synthetic, training[:size]), nearest(synthetic, held_out[:size])

    def ratio(drawn: np.ndarray) -> float:
        below = float(np.median(far[drawn]))
        return float(np.median(near[drawn])) / below if below > 0 else float("nan")

    return ratio(np.arange(len(synthetic))), *resampled(ratio, len(synthetic), RESAMPLES, seed)

"""Whether an attribution tells the truth about the network: deletion and insertion curves, and randomised weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from transformers import LlamaForCausalLM

from puji.engine import network as networks
from puji.engine.explain import QUESTION, held, neutral, without
from puji.engine.target import Target, evaluate
from puji.resampling import ranks, resampled

Attribute = Callable[[LlamaForCausalLM, Sequence[int]], NDArray[np.float64]]
"""An explanation method: the network and a sequence -> scores, shape (n_tokens,)."""


@dataclass(frozen=True)
class Interval:
    """A mean over ``n`` sequences with its percentile bootstrap interval of 95 %."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the curves of an attribution, in the unit of the target; the differences are paired by sequence.

    ``deletion``: most important token first; the lower, the better. ``insertion``: the same order into an empty sequence;
    the higher, the better. ``random``: mean over random orders, for which deletion and insertion are the same in
    expectation. The reversed order's deletion is this order's insertion and the other way round, because taking away the
    least important tokens is putting in the most important ones read backwards.
    ``deletion_gain``: random - deletion. ``insertion_gain``: insertion - random. Both positive: better than random, which
    is better than reversed.
    """

    deletion: Interval
    insertion: Interval
    random: Interval
    deletion_gain: Interval
    insertion_gain: Interval


@dataclass(frozen=True)
class Randomised:
    """Spearman correlation of an attribution by the trained and by a randomised network; near 0 is right.

    ``signed`` compares the scores, ``absolute`` their sizes. Sequences in which either has constant scores do not count.
    """

    signed: Interval
    absolute: Interval


def bootstrap(values: ArrayLike, *, seed: int = 0, resamples: int = 2000) -> Interval:
    """Mean of ``values`` with its 95 % percentile bootstrap interval. Raises ValueError if there are none."""
    sample = np.asarray(values, dtype=np.float64)
    if not sample.size:
        raise ValueError("no values to average")
    low, high = resampled(lambda drawn: float(sample[drawn].mean()), sample.size, resamples, seed)
    return Interval(float(sample.mean()), low, high, int(sample.size))


def deletion_aucs(
    network: LlamaForCausalLM,
    ids: Sequence[int],
    orders: Sequence[Sequence[int]],
    target: Target,
    replace_with: int | Sequence[int],
    *,
    mode: str = "mask",
    batch: int = 64,
) -> NDArray[np.float64]:
    """Area under the target while tokens are taken away one by one, for each of ``orders``, shape (len(orders),).

    The x axis is the share of the listed tokens that is gone, by the trapezoidal rule, so an area is a mean of the target
    in its own unit. Samek et al. 2017; Petsiuk, Das & Saenko 2018 ("deletion"). Tokens that an order does not list stay.

    Raises ValueError for an order that is empty, repeats a position or points outside, or that leaves nothing in mode
    "delete".
    """
    tokens = neutral(ids, replace_with, keep=())
    rows, lengths = [], []
    for order in orders:
        places = [int(place) for place in order]
        if not places or len(held(len(ids), places)) != len(places) or min(places) < 0:
            raise ValueError("an order lists positions of the sequence, each once")
        rows += [without(ids, set(places[:count]), tokens, mode) for count in range(len(places) + 1)]
        lengths.append(len(places) + 1)
    values = evaluate(network, rows, target, batch=batch)
    curves = np.split(values, np.cumsum(lengths)[:-1])
    return np.array([np.trapezoid(curve, dx=1 / (len(curve) - 1)) for curve in curves])


def faithfulness(
    network: LlamaForCausalLM,
    sequences: Sequence[Sequence[int]],
    scores: Sequence[NDArray[np.float64]],
    target: Target,
    replace_with: int,
    *,
    keep: Collection[int] = QUESTION,
    mode: str = "mask",
    random_orders: int = 10,
    seed: int = 0,
    batch: int = 64,
) -> Faithfulness:
    """Deletion and insertion areas of the order that ``scores`` give, against random orders and the reversed one.

    Parameters
    ----------
    sequences : list of n sequences of ids
        Each of two or more tokens.
    scores : list of n arrays, shape (n_tokens,)
        Attributions; the highest score comes first, ties in random order. Positions at ``keep`` stay in place.
    replace_with : int
        The neutral token.

    Raises
    ------
    ValueError
        If ``scores`` do not match ``sequences``, or there are none.
    """
    rng = np.random.default_rng(seed)
    areas = []
    for ids, score in zip(sequences, scores, strict=True):
        if len(score) != len(ids):
            raise ValueError(f"{len(score)} scores for a sequence of {len(ids)} tokens")
        places = rng.permutation([place for place in range(len(ids)) if place not in held(len(ids), keep)])
        order = places[np.argsort(-np.asarray(score)[places], kind="stable")]
        orders = [order, order[::-1], *(rng.permutation(places) for _ in range(random_orders))]
        lists = [one.tolist() for one in orders]
        area = deletion_aucs(network, ids, lists, target, replace_with, mode=mode, batch=batch)
        areas.append((area[0], area[1], area[2:].mean()))
    deletion, insertion, chance = np.array(areas).reshape(-1, 3).T
    return Faithfulness(
        *(bootstrap(x, seed=seed) for x in (deletion, insertion, chance, chance - deletion, insertion - chance))
    )


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation; nan where either is constant."""
    a, b = (told - told.mean() for told in (ranks(np.asarray(values)) for values in (first, second)))
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm else float("nan")


def randomised_weights_check(
    network: LlamaForCausalLM,
    sequences: Sequence[Sequence[int]],
    attribute: Attribute,
    *,
    keep: Collection[int] = QUESTION,
    seed: int = 0,
) -> Randomised:
    """Compare the attributions by ``network`` with those by one of the same shape with fresh weights.

    An explanation that survives this shows the input, not what was learned (Adebayo et al. 2018, section 3, full
    randomisation). Raises ValueError if no sequence has attributions that can be ranked.
    """
    fresh = networks.build(network.config, seed=seed)
    pairs = []
    for ids in sequences:
        places = [place for place in range(len(ids)) if place not in held(len(ids), keep)]
        a, b = attribute(network, ids)[places], attribute(fresh, ids)[places]
        pairs.append((spearman(a, b), spearman(np.abs(a), np.abs(b))))
    known = np.array(pairs).reshape(-1, 2)
    known = known[~np.isnan(known).any(axis=1)]
    return Randomised(bootstrap(known[:, 0], seed=seed), bootstrap(known[:, 1], seed=seed))

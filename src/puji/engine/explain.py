"""Which tokens drove an answer: integrated gradients and occlusion of a scalar read from the next-token logits.

The last token of a sequence asks the question (``<end>``, a condition's name), so it is held in place unless told otherwise:
what is explained is the evidence before it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaForCausalLM

from puji.engine.target import Target, evaluate, frozen

QUESTION: tuple[int, ...] = (-1,)
"""Positions held in place by default: the last."""


@dataclass(frozen=True)
class Attribution:
    """How much each token moved the target.

    ``scores``: shape (n_tokens,), unit of the target; positive raised it; 0 for tokens held in place.
    ``value``: the target after the sequence. ``total``: that less the target without evidence, which the scores should
    add up to.
    ``completeness_error``: |sum(scores) - total|. For integrated gradients it is the error of the numerical integral; for
    occlusion it says how far the tokens' effects are from adding up. ``steps``: points of the integral (0: none).
    """

    scores: NDArray[np.float64]
    value: float
    total: float
    completeness_error: float
    method: str
    steps: int = 0

    @property
    def relative_error(self) -> float:
        """``completeness_error`` as a share of |``total``|; infinite where only the total is 0."""
        if self.completeness_error == 0:
            return 0.0
        return self.completeness_error / abs(self.total) if self.total else math.inf


def held(length: int, keep: Collection[int]) -> set[int]:
    """Positions ``keep`` (negative ones count from the end) as positions from 0. Raises ValueError if outside."""
    if any(not -length <= position < length for position in keep):
        raise ValueError(f"positions {sorted(keep)} do not all exist in a sequence of {length} tokens")
    return {position % length for position in keep}


def neutral(ids: Sequence[int], replacement: int | Sequence[int], keep: Collection[int] = QUESTION) -> list[int]:
    """``ids`` without evidence: ``replacement`` everywhere but at ``keep``; a sequence of ids is taken as it is.

    Raises ValueError if its length differs.
    """
    if isinstance(replacement, (int, np.integer)):
        kept = held(len(ids), keep)
        return [token if position in kept else int(replacement) for position, token in enumerate(ids)]
    if len(replacement) != len(ids):
        raise ValueError(f"{len(replacement)} neutral tokens for a sequence of {len(ids)}")
    return list(replacement)


def without(ids: Sequence[int], positions: Collection[int], replacement: Sequence[int], mode: str) -> list[int]:
    """``ids`` with ``positions`` replaced by those of ``replacement`` ("mask") or removed ("delete")."""
    if mode == "mask":
        return [replacement[place] if place in positions else token for place, token in enumerate(ids)]
    if mode == "delete":
        return [token for place, token in enumerate(ids) if place not in positions]
    raise ValueError(f"mode {mode!r}: choose 'mask' or 'delete'")


def integrated_gradients(
    network: LlamaForCausalLM,
    ids: Sequence[int],
    target: Target,
    baseline: int | Sequence[int],
    *,
    keep: Collection[int] = QUESTION,
    steps: int = 32,
    max_steps: int = 1024,
    tolerance: float = 0.01,
    batch: int = 64,
) -> Attribution:
    """Integrated gradients along the straight line of embeddings from ``baseline`` to ``ids``.

    Sundararajan, Taly & Yan 2017, equation 1, by Captum, with Gauss-Legendre points: ``steps`` of them, doubled until the
    completeness error is within ``tolerance`` * |total| (or is float32 noise) or ``max_steps`` is reached; the error that
    remains is in the result. A baseline whose embedding is zero (padding that was never trained) costs many steps, because
    RMSNorm turns sharply near zero.

    Parameters
    ----------
    network : LlamaForCausalLM
        In float32; it is left as it was.
    ids : sequence of int, length n_tokens
        The sequence before the answer.
    target : Target
        What to explain.
    baseline : int or sequence of int
        The token that stands for no evidence, put everywhere but at ``keep``; or one token per position.
    keep : collection of int
        Positions held in place if ``baseline`` is one token; negative ones count from the end.
    batch : int
        Points of the line in one forward and backward pass.

    Raises
    ------
    ValueError
        For an empty sequence, a baseline of another length or steps below 1.
    """
    from captum.attr import IntegratedGradients  # slow to import

    if steps < 1 or max_steps < steps:
        raise ValueError(f"{steps} steps, at most {max_steps}: need 1 <= steps <= max_steps")
    rows = [list(ids), neutral(ids, baseline, keep)]
    value, reference = evaluate(network, rows, target)
    noise = 1e-5 * (abs(value) + abs(reference)) + 1e-6
    with frozen(network):
        start = network.get_input_embeddings()(torch.tensor(rows)).detach()
        method = IntegratedGradients(
            lambda embeddings: target(
                network(inputs_embeds=embeddings, use_cache=False, logits_to_keep=1).logits[:, -1]
            )
        )
        while True:
            parts = method.attribute(
                start[:1], start[1:], n_steps=steps, method="gausslegendre", internal_batch_size=batch
            )
            scores = parts[0].double().sum(-1).numpy()
            error = abs(float(scores.sum()) - (value - reference))
            if error <= max(tolerance * abs(value - reference), noise) or 2 * steps > max_steps:
                total = float(value - reference)
                return Attribution(scores, float(value), total, error, "integrated_gradients", steps)
            steps *= 2


def occlusion(
    network: LlamaForCausalLM,
    ids: Sequence[int],
    target: Target,
    replace_with: int | Sequence[int],
    *,
    keep: Collection[int] = QUESTION,
    mode: str = "mask",
    batch: int = 64,
) -> Attribution:
    """How far the target falls when a token is taken away and all else stays.

    Zeiler & Fergus 2014 for images, Li, Monroe & Jurafsky 2016 ("erasure") for text.

    Parameters
    ----------
    replace_with : int or sequence of int
        The neutral token, or one per position; only "mask" puts it in.
    mode : {"mask", "delete"}
        Replace, or remove and let the rest move up.

    The other parameters are those of `integrated_gradients`.

    Raises
    ------
    ValueError
        For an unknown mode, or where nothing is kept in mode "delete".
    """
    kept = held(len(ids), keep)
    places = [position for position in range(len(ids)) if position not in kept]
    tokens = neutral(ids, replace_with, keep=())
    rows = [list(ids), *(without(ids, gone, tokens, mode) for gone in [*([place] for place in places), places])]
    values = evaluate(network, rows, target, batch=batch)
    scores = np.zeros(len(ids))
    scores[places] = values[0] - values[1:-1]
    total = float(values[0] - values[-1])
    return Attribution(scores, float(values[0]), total, abs(float(scores.sum()) - total), f"occlusion:{mode}")


__all__ = [
    "QUESTION",
    "Attribution",
    "Target",
    "evaluate",
    "held",
    "integrated_gradients",
    "neutral",
    "occlusion",
    "without",
]

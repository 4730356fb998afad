"""A task whose true explanation is known: one token, planted anywhere among random ones, decides the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM

from puji.engine import network as networks
from puji.engine.explain import Attribution, Target, integrated_gradients, occlusion

PAD, END, NO, YES, SIGN, FIRST, LAST = 0, 1, 2, 3, 4, 5, 24
"""Ids: padding, end of the sequence, the two answers, the token that decides, the range of the random tokens."""

TARGET = Target((YES, NO), (1.0, 0.0), "log_odds")


@dataclass(frozen=True)
class Case:
    """A sequence that ends in END, and where SIGN stands in it (None: nowhere, the answer is NO)."""

    ids: list[int]
    place: int | None


def cases(n: int, *, seed: int, length: int = 24, share: float = 0.5) -> list[Case]:
    """``n`` sequences of ``length`` tokens; ``share`` of them hold SIGN once, at a random place."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(n):
        ids = [*rng.integers(FIRST, LAST + 1, length - 1).tolist(), END]
        place = int(rng.integers(length - 1)) if rng.random() < share else None
        if place is not None:
            ids[place] = SIGN
        result.append(Case(ids, place))
    return result


def train(*, seed: int = 0, steps: int = 300, rows: int = 64, length: int = 24) -> LlamaForCausalLM:
    """A nano network that answers the question after END; a few seconds."""
    network = networks.build(networks.config("nano", LAST + 1, context=length + 1, pad=PAD, end=END), seed=seed)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
    for step in range(steps):
        batch = cases(rows, seed=1_000_000 * (seed + 1) + step, length=length)
        ids = torch.tensor([case.ids for case in batch])
        answers = torch.tensor([NO if case.place is None else YES for case in batch])
        # The whole sequence is learned too, as in the real use: the answer is one of its tokens.
        logits = network(input_ids=ids, use_cache=False).logits
        loss = F.cross_entropy(logits[:, -1], answers) + 0.1 * F.cross_entropy(
            logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def explained(
    network: LlamaForCausalLM, ids: Sequence[int], method: str, baseline: int, tolerance: float
) -> Attribution:
    """The attribution of `TARGET` by ``method``: "integrated_gradients", "occlusion" or "occlusion:delete"."""
    if method == "integrated_gradients":
        return integrated_gradients(network, ids, TARGET, baseline, tolerance=tolerance)
    return occlusion(network, ids, TARGET, baseline, mode="delete" if method.endswith("delete") else "mask")


def found_first(
    network: LlamaForCausalLM, held_out: Sequence[Case], method: str, baseline: int, tolerance: float = 0.5
) -> float:
    """Share of ``held_out`` (each with SIGN) in which SIGN has the highest score. A rough integral ranks well enough."""
    scores = [explained(network, case.ids, method, baseline, tolerance).scores for case in held_out]
    return float(np.mean([int(score.argmax()) == case.place for score, case in zip(scores, held_out, strict=True)]))

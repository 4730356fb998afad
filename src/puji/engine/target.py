"""What is explained: a number read from the next-token logits."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class Target:
    """A scalar function of the next-token logits: what is being explained.

    Both kinds first renormalise the probabilities over the candidates: p = softmax(logits[ids]).

    - "expectation": sum_j p_j values_j, in the unit of ``values`` (a property predicted in bins).
    - "log_odds": log(sum_j p_j values_j) - log(sum_j p_j (1 - values_j)), in nats: the log-odds of the set of candidates
      whose membership is ``values`` (0 to 1). With values (1, 0, 0) it is log p(first) - log p(others).

    Parameters
    ----------
    ids : sequence of int
        The candidates' token ids; at least two, all different.
    values : sequence of float
        One value per candidate.
    kind : {"expectation", "log_odds"}
        See above.

    Raises
    ------
    ValueError
        For candidates that repeat or are too few, values that do not match them, an unknown kind, or log-odds of a set
        that is empty or everything.
    """

    ids: Sequence[int]
    values: Sequence[float]
    kind: str = "expectation"

    def __post_init__(self) -> None:
        if len(self.ids) < 2 or len(set(self.ids)) != len(self.ids) or min(self.ids) < 0:
            raise ValueError("a target needs two or more candidate ids, all different and not negative")
        if len(self.values) != len(self.ids) or not all(map(math.isfinite, self.values)):
            raise ValueError(
                f"a target needs one finite value per candidate: {len(self.ids)} ids, {len(self.values)} values"
            )
        if self.kind not in ("expectation", "log_odds"):
            raise ValueError(f"target kind {self.kind!r}: choose 'expectation' or 'log_odds'")
        if self.kind == "log_odds" and not (min(self.values) >= 0 and max(self.values) <= 1 and sum(self.values) > 0):
            raise ValueError("log-odds need values from 0 to 1 that are not all 0")
        if self.kind == "log_odds" and min(self.values) == 1:
            raise ValueError("log-odds need values from 0 to 1 that are not all 1")

    def __call__(self, logits: Tensor) -> Tensor:
        """``logits``: (rows, vocabulary) of the last position. Returns (rows,) float32; differentiable."""
        chosen = logits[:, torch.tensor(list(self.ids))].float()
        values = torch.tensor(list(self.values), dtype=torch.float32)
        if self.kind == "expectation":
            return chosen.softmax(-1) @ values
        inside = torch.logsumexp(chosen + values.log(), -1)
        return inside - torch.logsumexp(chosen + (1 - values).log(), -1)


@contextmanager
def frozen(network: LlamaForCausalLM) -> Iterator[None]:
    """Without dropout and without gradients of the weights; as it was afterwards."""
    training, learning = network.training, [weight for weight in network.parameters() if weight.requires_grad]
    network.eval()
    for weight in learning:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        network.train(training)
        for weight in learning:
            weight.requires_grad_(True)


def evaluate(
    network: LlamaForCausalLM, rows: Sequence[Sequence[int]], target: Target, *, batch: int = 64
) -> NDArray[np.float64]:
    """The target after each row, shape (len(rows),). Rows of one length share a forward pass of up to ``batch`` rows.

    Raises ValueError for an empty row.
    """
    buckets: defaultdict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        buckets[len(row)].append(index)
    if 0 in buckets:
        raise ValueError("an empty sequence has no next-token logits")
    result = np.empty(len(rows))
    with frozen(network), torch.no_grad():
        for members in buckets.values():
            for first in range(0, len(members), batch):
                part = members[first : first + batch]
                ids = torch.tensor([list(rows[index]) for index in part])
                logits = network(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1]
                result[part] = target(logits).numpy()
    return result

"""What the network says of many prompts at once, where all have the same length: one pass of each with good and with bad behind
it gives the likelihood of the value and the actions together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from puji.engine.target import frozen

ROWS = 2048
"""Prompts in one pass."""


def likelihoods(
    network: LlamaForCausalLM, prompts: np.ndarray, kinds: np.ndarray, values: Sequence[int], actions: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Natural-log likelihoods: of ``kinds``, (n, length) ids, after their first token, (n,); after ``prompts``, (n, length) ids,
    of each of ``values``, (n, values); and after these of ``actions``, (n, values, actions)."""
    first, told, then = [], [], []
    with frozen(network), torch.inference_mode():
        for start in range(0, len(prompts), ROWS):
            ids, begun = (torch.from_numpy(some[start : start + ROWS]) for some in (prompts, kinds))
            each = torch.tensor(values).repeat(len(ids))
            rows = torch.column_stack([ids.repeat_interleave(len(values), 0), each])
            states = _states(network, rows).view(len(ids), len(values), rows.shape[1], -1)
            # What a kind says is mostly how the prompt begins.
            same = torch.equal(ids[:, : begun.shape[1]], begun)
            before = states[:, 0, : begun.shape[1] - 1] if same else _states(network, begun[:, :-1])
            first.append(_spoken(network, before).gather(2, begun[:, 1:, None]).sum((1, 2)))
            told.append(_spoken(network, states[:, 0, -2])[:, values])
            then.append(_spoken(network, states[:, :, -1])[:, :, actions])
    return torch.cat(first).numpy(), torch.cat(told).numpy(), torch.cat(then).numpy()


def _states(network: LlamaForCausalLM, ids: Tensor) -> Tensor:
    found: Tensor = network.model(input_ids=ids, use_cache=False).last_hidden_state
    return found


def _spoken(network: LlamaForCausalLM, states: Tensor) -> Tensor:
    found: Tensor = network.lm_head(states).double().log_softmax(-1)
    return found

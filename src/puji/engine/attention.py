"""Where the network looked: attention maps of every layer and head, and their rollout through the layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaForCausalLM

from puji.engine.target import frozen


@contextmanager
def eager(network: LlamaForCausalLM) -> Iterator[None]:
    """Attention computed step by step, so that its weights can be read; as it was afterwards."""
    before = network.config._attn_implementation
    network.set_attn_implementation("eager")
    try:
        yield
    finally:
        network.set_attn_implementation(before)


def attention_maps(network: LlamaForCausalLM, ids: Sequence[int]) -> NDArray[np.float32]:
    """softmax(QK^T / sqrt(d_k)) of every layer and head, shape (layers, heads, n_tokens, n_tokens).

    Row i says from where token i took its information; it adds up to 1 and is 0 right of i (causal). The network is left
    as it was. Vaswani et al. 2017, equation 1. Raises ValueError for an empty sequence.
    """
    if not len(ids):
        raise ValueError("an empty sequence has no attention")
    with frozen(network), eager(network), torch.no_grad():
        result = network(input_ids=torch.tensor([list(ids)]), use_cache=False, output_attentions=True, logits_to_keep=1)
    maps: NDArray[np.float32] = torch.cat(result.attentions).float().numpy()
    return maps


def rollout(maps: NDArray[np.floating], residual: float = 0.5) -> NDArray[np.float64]:
    """From which input token the last layer's information came, shape (n_tokens, n_tokens); rows add up to 1.

    Abnar & Zuidema 2020, section 3: heads averaged, the residual path counted as ``residual`` of each layer, layers
    multiplied. Attention says where information could flow, not that it mattered: see `puji.engine.faithfulness`.

    Parameters
    ----------
    maps : array, shape (layers, heads, n_tokens, n_tokens)
        From `attention_maps`.
    residual : float
        Share of a token's information that passes by the attention, 0 to 1.

    Raises
    ------
    ValueError
        For maps of another shape or a share outside 0 to 1.
    """
    if maps.ndim != 4 or maps.shape[2] != maps.shape[3]:
        raise ValueError(f"maps of shape {maps.shape}: need (layers, heads, n_tokens, n_tokens)")
    if not 0 <= residual <= 1:
        raise ValueError(f"residual share {residual}: need 0 to 1")
    identity = np.eye(maps.shape[-1])
    flow = identity
    for layer in maps.astype(np.float64).mean(axis=1):
        mixed = residual * identity + (1 - residual) * layer
        flow = mixed / mixed.sum(-1, keepdims=True) @ flow
    return flow

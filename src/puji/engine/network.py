"""The transformer: stock Llama in four sizes, so that a checkpoint opens without anything of ours."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from puji.engine.sizes import SIZES


def config(size: str, vocabulary: int, *, context: int, pad: int = 0, end: int = 1) -> LlamaConfig:
    """The stock configuration of ``size`` for ``vocabulary`` tokens and sequences of up to ``context`` tokens.

    Raises ValueError for an unknown size.
    """
    if size not in SIZES:
        raise ValueError(f"size {size!r}: choose one of {', '.join(SIZES)}")
    shape = SIZES[size]
    found = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        pad_token_id=pad,
        bos_token_id=None,
        eos_token_id=end,
    )
    found._attn_implementation = "sdpa"
    return found


def build(settings: LlamaConfig, *, seed: int) -> LlamaForCausalLM:
    """A network with fresh weights that depend on ``seed`` alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(settings)


def bf16_in_hardware() -> bool:
    """Whether the processor multiplies bfloat16 matrices itself."""
    if hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()
        return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "bf16"))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def parameters(network: LlamaForCausalLM) -> int:
    """Number of parameters, tied ones once."""
    return sum(parameter.numel() for parameter in network.parameters())


def logits(network: LlamaForCausalLM, ids: Tensor) -> Tensor:
    """Step 3, attend: softmax(QK^T / sqrt(d_k)) V, layer by layer.

    ``ids``: (rows, length) int64 without inner padding. Returns (rows, length, vocabulary) float32 logits.
    """
    result: Tensor = network(input_ids=ids, use_cache=False).logits
    return result.float()

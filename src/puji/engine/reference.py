"""`puji.engine.kernels` in plain torch: what the compiled functions must equal, and what runs where numba does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Array = np.ndarray[Any, Any]


def _tensor(array: Array) -> Tensor:
    """A view of ``array``; uint16 holds the bits of bfloat16."""
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor


def add_norm(x: Array, delta: Array, weight: Array, eps: float, out: Array, rows: int) -> None:
    """``x += delta``, then RMSNorm of x, times ``weight``, into ``out``."""
    total = _tensor(x)[:rows]
    total += _tensor(delta)[:rows]
    normed = total * torch.rsqrt(total.pow(2).mean(-1, keepdim=True) + eps)
    _tensor(out)[:rows] = (normed * _tensor(weight)).to(_tensor(out).dtype)


def attend(
    qkv: Array,
    cos: Array,
    sin: Array,
    cache: Array,
    slots: Array,
    positions: Array,
    heads: int,
    out: Array,
    scratch: Array,
) -> None:
    """Rotary embedding, write into the cache, then softmax(q K^T / sqrt(d)) V; row by row, so that rows stay independent."""
    groups, d = cache.shape[2] // 2, cache.shape[3]
    past = _tensor(cache)
    rows = len(slots)
    heads_of = _tensor(qkv)[:rows].float().view(rows, heads + 2 * groups, d)
    where = torch.from_numpy(positions)
    c, s = _tensor(cos)[where][:, None], _tensor(sin)[where][:, None]
    first, second = heads_of[:, : heads + groups].chunk(2, -1)
    rotated = torch.cat((first * c - second * s, second * c + first * s), -1)
    result = _tensor(out)
    for i in range(rows):
        slot, p = int(slots[i]), int(positions[i])
        past[slot, p, :groups] = rotated[i, heads:].to(past.dtype)
        past[slot, p, groups:] = heads_of[i, heads + groups :].to(past.dtype)
        past_keys, past_values = past[slot, : p + 1].float().transpose(0, 1).chunk(2)
        query = rotated[i, :heads].view(groups, heads // groups, d)
        attention = functional.softmax(query @ past_keys.transpose(1, 2) / d**0.5, -1)
        result[i] = (attention @ past_values).reshape(-1).to(result.dtype)


def swiglu(gate_up: Array, out: Array, rows: int) -> None:
    """``out = silu(gate) * up``."""
    gate, up = _tensor(gate_up)[:rows].float().chunk(2, -1)
    _tensor(out)[:rows] = (functional.silu(gate) * up).to(_tensor(out).dtype)


def _mix(x: Array) -> Array:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniforms(seeds: Array, steps: Array, out: Array) -> None:
    """The uniform number in [0, 1) of each (seed, step), by the finaliser of splitmix64."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    bits = _mix(_mix(seeds + golden) + (steps + np.uint64(1)) * golden)
    out[:] = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def choose(
    logits: Array,
    masks: Array,
    which: Array,
    floors: Array,
    temperature: float,
    draws: Array,
    scratch: Array,
    tokens: Array,
    logprobs: Array,
    likeliest: Array,
) -> None:
    """Draw a token for each row by inverting the cumulative distribution of its softmax at ``draws``."""
    scores = torch.from_numpy(logits)
    allowed = torch.from_numpy(masks[which]) & (scores >= torch.from_numpy(floors)[:, None])
    kept = scores.masked_fill(~allowed, -torch.inf)
    if temperature == 0.0:
        chosen = kept.argmax(-1)
    else:
        best = kept.amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).min)
        cumulative = torch.where(allowed, torch.exp((kept - best) / temperature), 0.0).double().cumsum(-1)
        target = torch.from_numpy(draws)[:, None] * cumulative[:, -1:]
        last = scores.shape[-1] - 1 - allowed.flip(-1).int().argmax(-1)
        chosen = torch.minimum((cumulative <= target).sum(-1), last)
    dead = ~allowed.any(-1)
    chosen = chosen.masked_fill(dead, 0)
    normal = functional.log_softmax(scores.double(), -1)
    picked = normal.gather(-1, chosen[:, None])[:, 0]
    likeliest[:] = normal.masked_fill(~allowed, -torch.inf).amax(-1).numpy()
    tokens[:] = chosen.masked_fill(dead, -1).numpy()
    logprobs[:] = picked.masked_fill(dead, 0.0).numpy()

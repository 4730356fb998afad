"""What training minimises."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaForCausalLM

PLAIN_UP_TO = 384
"""Width up to which matrix products beat the fused attention of the CPU in bfloat16, whose backward pass is slow.

Size small, one Zen4 core, tokens/s fused -> plain: 4200 -> 5700 at width 40, 3800 -> 4000 at 384, 3300 -> 2800 at 768;
with compiled layers 5300 -> 7000 at 40. In float32 the two are equal.
"""


class Objective(nn.Module):
    """Weighted sum of the cross-entropies of the next token, in nats."""

    def __init__(self, network: LlamaForCausalLM, bf16: bool) -> None:
        super().__init__()
        self.network = network
        self.bf16 = bf16

    def prepare(self, width: int) -> None:
        """Choose the stock attention that is fastest for rows of ``width`` tokens."""
        wanted = "eager" if self.bf16 and width <= PLAIN_UP_TO else "sdpa"
        if self.network.config._attn_implementation != wanted:
            self.network.set_attn_implementation(wanted)

    def forward(self, ids: Tensor, weights: Tensor) -> Tensor:
        """``ids``, ``weights``: (rows, width + 1). Padding stands on the right, where causal attention ignores it."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            logits = self.network(input_ids=ids[:, :-1], use_cache=False).logits
        losses = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        return (losses * weights[:, 1:].flatten()).sum()

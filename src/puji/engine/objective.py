"""What training minimises."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from puji.engine.batches import Ends

PLAIN_UP_TO = 384
"""Width up to which matrix products beat the fused attention of the CPU in bfloat16, whose backward pass is slow.

Size small, one Zen4 core, tokens/s fused -> plain: 4200 -> 5700 at width 40, 3800 -> 4000 at 384, 3300 -> 2800 at 768;
with compiled layers 5300 -> 7000 at 40. In float32 the two are equal.
"""


class Objective(nn.Module):
    """Weighted sum of the cross-entropies of the next token, in nats.

    Where a grammar says what may come next, -log p(token) is the sum of -log p(token | allowed) and -log p(allowed), of which the
    second counts ``forbidden`` times (the semantic loss of Xu et al. 2018, ICML; 1 is plain cross-entropy). Above 1 a network
    draws less that is not allowed, without a grammar. Below 1 it learns less of the rules and more of the rest, for networks
    that will draw under the grammar: what it learned of "not this again" would otherwise come as "less of this" in all places.
    """

    def __init__(self, network: LlamaForCausalLM, bf16: bool, forbidden: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.bf16 = bf16
        self.forbidden = forbidden

    def prepare(self, width: int) -> None:
        """Choose the stock attention that is fastest for rows of ``width`` tokens."""
        wanted = "eager" if self.bf16 and width <= PLAIN_UP_TO else "sdpa"
        if self.network.config._attn_implementation != wanted:
            self.network.set_attn_implementation(wanted)

    def forward(self, ids: Tensor, weights: Tensor, allowed: Tensor | None = None, ends: Ends | None = None) -> Tensor:
        """Shapes as in `Batch`. Padding stands on the right, where causal attention ignores it.

        The output product, often half of the work, is computed only for the places that count.
        """
        counted = weights[:, 1:].flatten()
        needed = counted != 0
        if ends is not None:
            told = ends.rows * (ids.shape[1] - 1) + ends.places
            needed = needed.index_fill(0, told, True)
        places = needed.nonzero().squeeze(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            hidden = self.network.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
            logits = self.network.lm_head(hidden.flatten(0, 1)[places]).float()
        losses = F.cross_entropy(logits, ids[:, 1:].flatten()[places], reduction="none")
        if allowed is not None and self.forbidden != 1:
            masked = logits.masked_fill(~unpacked(allowed[:, 1:].flatten(0, 1)[places], logits.shape[-1]), -torch.inf)
            losses = losses + (self.forbidden - 1) * (logits.logsumexp(-1) - masked.logsumexp(-1))
        total = (losses * counted[places]).sum()
        if ends is not None:
            spoken = logits[torch.searchsorted(places, told)].log_softmax(-1)
            total = total - (spoken[ends.owners, ends.ids] * ends.weights).sum()
        return total


def unpacked(bits: Tensor, n: int) -> Tensor:
    """Inverse of `numpy.packbits` along the last axis: (..., ceil(n / 8)) uint8 -> (..., n) bool."""
    places = torch.arange(7, -1, -1, dtype=torch.uint8)
    return (bits.unsqueeze(-1) >> places & 1).flatten(-2)[..., :n].bool()

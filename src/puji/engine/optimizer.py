"""Muon for the hidden matrices, AdamW for the rest, and the schedule of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

BETAS = (0.9, 0.98)


def optimizers(network: nn.Module, *, kind: str, learning_rate: float, weight_decay: float) -> list[Optimizer]:
    """The optimizers of ``network``'s parameters.

    "muon": Muon (Jordan et al. 2024; the step scaled to the RMS of AdamW's, Liu et al. 2025, arXiv:2502.16982) on the
    matrices of the layers and AdamW without decay on embeddings and norms. "adamw": AdamW on all, decay on the layers'
    matrices only.

    Raises ValueError for another ``kind``.
    """
    if kind not in ("muon", "adamw"):
        raise ValueError(f"optimizer {kind!r}: choose muon or adamw")
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        hidden = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
        (matrices if hidden else others).append(parameter)
    if kind == "muon" and matrices:
        return [
            torch.optim.Muon(
                matrices,
                lr=learning_rate,
                weight_decay=weight_decay,
                momentum=0.95,
                nesterov=True,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(others, lr=learning_rate, betas=BETAS, weight_decay=0.0, fused=True),
        ]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, fused=True)]


def factor(
    step: int, progress: float, *, schedule: str, warmup_steps: int, warmup_share: float, decay_share: float
) -> float:
    """What the learning rate is multiplied with at ``step`` (from 0), ``progress`` (0 to 1) of the budget being used.

    Linear warm-up over ``warmup_steps`` steps or ``warmup_share`` of the budget, whichever ends first; then "linear":
    constant, falling to 0 over the last ``decay_share``; or "cosine": half a cosine to 0 over the whole budget.
    """
    warm = 1.0
    if warmup_steps > 0 and warmup_share > 0:
        warm = min(1.0, max((step + 1) / warmup_steps, progress / warmup_share))
    left = max(0.0, 1.0 - progress)
    if schedule == "cosine":
        return warm * 0.5 * (1.0 - math.cos(math.pi * left))
    return warm * (min(1.0, left / decay_share) if decay_share > 0 else 1.0)


def flatten(optimizers: Sequence[Optimizer]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizers' states as named tensors and named JSON scalars; groups and hyperparameters are not included."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for number, optimizer in enumerate(optimizers):
        for parameter, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                name = f"{number}.{parameter}.{key}"
                if isinstance(value, Tensor):
                    tensors[name] = value
                else:
                    scalars[name] = value
    return tensors, scalars


def restore(optimizers: Sequence[Optimizer], tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
    """Inverse of `flatten` on optimizers built for the same parameters."""
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Any]] = {}
        for name, value in {**tensors, **scalars}.items():
            owner, parameter, key = name.split(".", 2)
            if int(owner) == number:
                state.setdefault(int(parameter), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

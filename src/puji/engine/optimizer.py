"""Muon for the hidden matrices, AdamW for the rest, and the schedule of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

BETAS = (0.9, 0.98)


class Muon(Optimizer):
    """Momentum whose matrices are made orthogonal by Newton-Schulz iterations (Jordan et al. 2024).

    The step is scaled to the RMS of AdamW's (Liu et al. 2025, arXiv:2502.16982), so that one learning rate serves both.
    Gives what ``torch.optim.Muon`` gives, which always iterates in bfloat16: without hardware for it that is slower than
    the whole rest of training. Matrices of one shape are iterated together.

    Parameters
    ----------
    matrices : sequence of 2-d parameters
    dtype : torch.dtype
        What the iterations compute in.
    """

    COEFFICIENTS = (3.4445, -4.7750, 2.0315)
    ITERATIONS = 5

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of all matrices that have a gradient. ``closure`` is not called."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    shapes.setdefault(matrix.shape, []).append(matrix)
            for (rows, columns), matrices in shapes.items():
                updates = []
                for matrix in matrices:
                    state = self.state[matrix]
                    if not state:
                        state["momentum_buffer"] = torch.zeros_like(matrix)
                    buffer = state["momentum_buffer"].lerp_(matrix.grad, 1 - group["momentum"])
                    updates.append(matrix.grad.lerp(buffer, group["momentum"]))  # type: ignore[union-attr]
                scale = 0.2 * math.sqrt(max(rows, columns))
                for matrix, update in zip(matrices, self._orthogonal(torch.stack(updates)), strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"])
                    matrix.add_(update, alpha=-group["lr"] * scale)

    def _orthogonal(self, updates: Tensor) -> Tensor:
        """``updates`` (n, rows, columns) with singular values near 1."""
        a, b, c = self.COEFFICIENTS
        tall = updates.shape[1] > updates.shape[2]
        x = (updates.mT if tall else updates).to(self.dtype)
        x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
        for _ in range(self.ITERATIONS):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        return x.mT if tall else x


def optimizers(
    network: nn.Module, *, kind: str, learning_rate: float, weight_decay: float, bf16: bool = False
) -> list[Optimizer]:
    """The optimizers of ``network``'s parameters.

    "muon": Muon on the matrices of the layers (in bfloat16 with ``bf16``) and AdamW without decay on embeddings and
    norms. "adamw": AdamW on all, decay on the layers' matrices only.

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
            Muon(matrices, learning_rate, weight_decay, dtype=torch.bfloat16 if bf16 else torch.float32),
            torch.optim.AdamW(others, lr=learning_rate, betas=BETAS, weight_decay=0.0, fused=True),
        ]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, fused=True)]


def factor(step: int, progress: float, *, warmup_steps: int, warmup_share: float, decay_share: float) -> float:
    """What the learning rate is multiplied with at ``step`` (from 0), ``progress`` (0 to 1) of the budget being used.

    Linear warm-up over ``warmup_steps`` steps or ``warmup_share`` of the budget, whichever ends first; then constant,
    falling to 0 over the last ``decay_share``.
    """
    warm = 1.0
    if warmup_steps > 0 and warmup_share > 0:
        warm = min(1.0, max((step + 1) / warmup_steps, progress / warmup_share))
    left = max(0.0, 1.0 - progress)
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

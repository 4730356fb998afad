"""How to train, where training stands, and what it did."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Settings:
    """How to train. One of ``minutes`` and ``epochs`` is needed; with both, what is used up first ends training.

    ``minutes`` counts training steps only, not evaluation and saving. ``batch_tokens``: non-padding tokens of a step,
    over all ranks. ``optimizer``: "muon" or "adamw". The learning rate is constant, then falls to 0 over the last
    ``decay_share`` of the budget. Warm-up ends after ``warmup_steps`` or ``warmup_share`` of the budget,
    whichever is first. ``dropout`` acts on embeddings and residual branches. ``patience``: evaluations without a better
    validation loss after which training stops. ``keep``: "best", the weights of the least validation loss, or "last".
    ``evaluate_every`` and ``log_every`` in steps, ``save_every`` in seconds.
    ``forbidden``: how often -log p(allowed) counts where a grammar says what is allowed, see `Objective`; 1 is plain
    cross-entropy, for which no grammar is asked. ``precision``: "fp32", "bf16" (autocast) or "auto" (bf16 where the
    processor computes in it). ``compile``: True, False or "auto" (where there is a compiler and the budget is worth it).
    ``ahead``: a process of its own makes the batches while the one before is trained on; it needs an importable main
    module.

    Raises ValueError for values that make no sense.
    """

    minutes: float | None = None
    epochs: float | None = None
    batch_tokens: int = 4096
    optimizer: str = "muon"
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    dropout: float = 0.0
    forbidden: float = 1.0
    warmup_steps: int = 100
    warmup_share: float = 0.05
    decay_share: float = 0.4
    gradient_clip: float = 1.0
    patience: int | None = None
    keep: str = "best"
    evaluate_every: int | None = None
    log_every: int = 20
    save_every: float = 120.0
    seed: int = 0
    threads: int | None = None
    precision: str = "auto"
    compile: bool | str = "auto"
    ahead: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        if self.minutes is None and self.epochs is None:
            raise ValueError("training needs a budget: minutes or epochs")
        for name in ("minutes", "epochs", "batch_tokens", "learning_rate", "gradient_clip", "log_every", "threads"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be above 0, not {value}")
        for name in ("patience", "evaluate_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if not (math.isfinite(self.forbidden) and self.forbidden >= 0):
            raise ValueError(f"forbidden must be 0 or more, not {self.forbidden}")
        for name in ("dropout", "decay_share", "warmup_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1 + (name == "decay_share"):
                raise ValueError(f"{name} must be from 0 to 1, not {value}")
        for name, choices in (
            ("optimizer", ("muon", "adamw")),
            ("precision", ("auto", "fp32", "bf16")),
            ("keep", ("best", "last")),
            ("compile", ("auto", True, False)),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r}: choose one of {', '.join(map(str, choices))}")


@dataclass
class Result:
    """What training did.

    ``loss``: weighted mean cross-entropy (nats per token) since the last line of the log; ``validation``: of the
    weights that the network now has, None without validation; ``before``: of those that training began with; ``nats``:
    as ``validation``, per validation sequence. ``minutes``: of training steps; ``core_hours``: of everything, threads x
    ranks. ``stopped_because``: "budget", "patience" or "interrupted". ``history``: the lines of the log.
    """

    steps: int
    epochs: float
    tokens: int
    loss: float
    before: float | None
    validation: float | None
    nats: float | None
    minutes: float
    core_hours: float
    stopped_because: str
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Counters:
    """Where training stands: saved as JSON, equal on all ranks."""

    step: int = 0
    tokens: int = 0
    epochs: float = 0.0
    elapsed: float = 0.0  # seconds of training steps
    wall: float = 0.0  # seconds of everything
    loss_sum: float = 0.0  # since the last line of the log, with its weights, tokens and seconds:
    weight_sum: float = 0.0
    token_sum: int = 0
    seconds_sum: float = 0.0
    loss: float = math.nan
    before: float | None = None  # validation loss before the first step
    best: float | None = None
    best_nats: float | None = None
    stale: int = 0  # evaluations since the best
    evaluated: int = -1  # of the last evaluation its step, tokens, progress, and its loss per token and per sequence:
    evaluated_tokens: int = 0
    evaluated_at: float = 0.0
    last: tuple[float, float] = (math.nan, math.nan)
    stopped: str = ""

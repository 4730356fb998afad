"""Non-padding tokens per second of training against the stock Trainer: same network, data, precision, batches, compile.

Both get sequences as long as molecules, bucketed by length, padded to a multiple of 8, in batches of about the same
number of tokens. The stock collator's attention mask, which only costs time where padding stands on the right, is left
out in both. Runs alternate and the best of each counts, so that what else the machine does hits both.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from puji.engine import network, surroundings
from puji.engine.batches import Weighted, padded
from puji.engine.settings import Settings
from puji.engine.train import train

VOCABULARY = 620
TOKENS = 4096
CONTEXT = 128
WARM_UP = 4


class Molecules(Dataset[dict[str, Any]]):
    """Random sequences of 36 +- 6 tokens, as MOSES has them; speed does not depend on what they say."""

    def __init__(self, n: int) -> None:
        draw = np.random.default_rng(0)
        lengths = np.clip(draw.normal(36, 6, n).round().astype(int), 8, CONTEXT - 1)
        self.rows = [draw.integers(1, 40, length).tolist() for length in lengths]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.rows[index], "length": len(self.rows[index])}

    def sequences(self, index: int, epoch: int) -> list[Weighted]:
        return [Weighted(self.rows[index])]


class Clock:
    """Tokens per second after the first `WARM_UP` steps."""

    def __init__(self) -> None:
        self.steps = 0
        self.tokens = 0
        self.started = self.ended = 0.0

    def step(self, tokens: int) -> None:
        self.ended = time.perf_counter()
        self.steps += 1
        if self.steps > WARM_UP:
            self.tokens += tokens
        else:
            self.started = self.ended

    @property
    def rate(self) -> float:
        return self.tokens / (self.ended - self.started)


def ours(data: Molecules, steps: int, *, optimizer: str, precision: str, compile: bool, size: str) -> float:
    """Tokens per second of `train`."""
    clock = Clock()
    mean = sum(len(row) - 1 for row in data.rows) / len(data)
    settings = Settings(
        epochs=steps * TOKENS / mean / len(data),
        batch_tokens=TOKENS,
        optimizer=optimizer,
        precision=precision,
        compile=compile,
        progress=False,
        save_every=1e9,
    )
    with tempfile.TemporaryDirectory() as folder:
        train(built(size), data, None, settings, Path(folder), on_step=lambda line: clock.step(line["tokens"]))
    return clock.rate


def stock(data: Molecules, steps: int, *, optimizer: str, precision: str, compile: bool, size: str) -> float:
    """Tokens per second of the Trainer of Transformers."""
    clock = Clock()
    shown: list[int] = []

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        width = padded(max(row["length"] for row in rows))
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        labels = torch.full((len(rows), width), -100)
        for number, row in enumerate(rows):
            ids[number, : row["length"]] = labels[number, : row["length"]] = torch.tensor(row["input_ids"])
        shown.append(sum(row["length"] - 1 for row in rows))
        return {"input_ids": ids, "labels": labels}

    class Tick(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.step(shown[clock.steps])

    mean = sum(len(row) - 1 for row in data.rows) / len(data)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=round(TOKENS / mean),
            optim="adamw_torch_fused",
            learning_rate=1e-3,
            bf16=precision == "bf16",
            torch_compile=compile,
            train_sampling_strategy="group_by_length",
            length_column_name="length",
            use_cpu=True,
            save_strategy="no",
            logging_steps=20,
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(built(size), arguments, data_collator=collate, train_dataset=data, callbacks=[Tick()])
        trainer.log = lambda *_, **__: None  # type: ignore[method-assign]
        trainer.train()
    return clock.rate


def built(size: str) -> LlamaForCausalLM:
    """The same fresh weights for each run."""
    return network.build(network.config(size, VOCABULARY, context=CONTEXT), seed=0)


def run(quick: bool) -> dict[str, Any]:
    """Tokens per second by optimizer, precision and compilation. ``quick``: two steps of the smallest, not compiled."""
    size, steps, rounds = ("nano", 6, 1) if quick else ("small", 30, 2)
    data = Molecules(20_000 if not quick else 1_000)
    precisions = ["fp32", "bf16"] if surroundings.bf16("auto", surroundings.BF16_FROM) else ["fp32"]
    rows: dict[str, Any] = {}
    for precision in precisions[: 1 if quick else None]:
        for compile in (False,) if quick else (False, True):
            options: dict[str, Any] = {"precision": precision, "compile": compile, "size": size}
            rates: dict[str, float] = {}
            for _ in range(rounds):
                for name, function, optimizer in (
                    ("stock Trainer, AdamW", stock, "adamw"),
                    ("ours, AdamW", ours, "adamw"),
                    ("ours, Muon", ours, "muon"),
                ):
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        rate = function(data, steps, optimizer=optimizer, **options)
                    rates[name] = max(rates.get(name, 0.0), rate)
                    torch.compiler.reset()
            ratio = rates["ours, AdamW"] / rates["stock Trainer, AdamW"]
            rows[precision + (" compiled" if compile else "")] = {**rates, "ours / stock, both AdamW": ratio}
    return {
        "tokens per second": rows,
        "size": size,
        "parameters": network.parameters(built(size)),
        "batch tokens": TOKENS,
        "steps": steps - WARM_UP,
        "threads": torch.get_num_threads(),
    }

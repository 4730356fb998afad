"""Sequences per second of decoding against stock ``generate``: same weights, same run, both stopping at the end token.

Stock is given its best of several batch sizes and two precisions; ours has no batch size to choose. Runs alternate, and
the best of each counts, so that what else the machine does hits both; processor seconds are counted too, for machines
that are not idle (with several threads, waiting ones count as well).
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

import puji
from puji.engine.decode import Prompt, decode

CHECKPOINT = Path(__file__).parents[1] / "src" / "puji" / "checkpoints" / "molecules"
PAD = 0
LONGEST = 100
PRECISIONS = ("float32", "bfloat16")


def load() -> tuple[LlamaForCausalLM, int, int]:
    """The released network, its start and end id."""
    built = LlamaForCausalLM.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()
    vocabulary = json.loads((CHECKPOINT / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    return built, vocabulary["<mol>"], vocabulary["<end>"]


def timed(work: Callable[[], int]) -> tuple[tuple[float, float], int]:
    """Seconds by the clock and of the processor, and what ``work`` returned."""
    started, used = time.perf_counter(), time.process_time()
    result = work()
    return (time.perf_counter() - started, time.process_time() - used), result


def ours(built: LlamaForCausalLM, start: int, end: int, rows: int, dtype: Any, seed: int) -> int:
    """Tokens generated in ``rows`` sequences."""
    prompts = (Prompt((start,), seed * rows + i, 1) for i in range(rows))
    return sum(len(row.ids) for row in decode(built, prompts, end=end, max_new_tokens=LONGEST, dtype=dtype))


def stock(built: LlamaForCausalLM, start: int, end: int, rows: int) -> int:
    """Tokens generated in one batch of ``rows`` sequences by ``generate``; without top-k, which it would add."""
    prompt = torch.full((rows, 1), start)
    ids = built.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=LONGEST,
        eos_token_id=end,
        pad_token_id=PAD,
    )[:, 1:]
    return int((ids != PAD).sum())


def gemm_limit(dtype: torch.dtype, seconds: float) -> float:
    """The most GFLOP/s of matrix products of a size that suits the machine."""
    a, b = torch.randn(1024, 1024).to(dtype), torch.randn(1024, 1024).to(dtype)
    best, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        took, _ = timed(lambda: len(torch.mm(a, b)))
        best = max(best, 2 * 1024**3 / took[0] / 1e9)
    return best


def multiplied(built: LlamaForCausalLM) -> int:
    """Weights that a token is multiplied with: all matrices, the embedding once (as the head)."""
    return sum(p.numel() for name, p in built.named_parameters() if p.ndim == 2 and "lm_head" not in name)


def peak_memory() -> float:
    """Most memory of this process so far, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def run(quick: bool) -> dict[str, Any]:
    """Measure; sequences per second by method and precision, their ratio, and shares of the machine's limit."""
    built, start, end = load()
    rows, rounds, batches = (128, 1, (128,)) if quick else (8192, 3, (64, 128, 256, 512))
    networks = {"float32": built, "bfloat16": LlamaForCausalLM(built.config).to(torch.bfloat16).eval()}
    networks["bfloat16"].load_state_dict(built.state_dict())
    for network_ in networks.values():
        network_.generation_config.max_length = None  # the limit here is max_new_tokens
    speed: dict[str, float] = {}
    efficiency: dict[str, float] = {}
    lengths: dict[str, float] = {}
    limits = dict.fromkeys(PRECISIONS, 0.0)
    first: dict[str, float] = {}

    def record(name: str, took: tuple[float, float], sequences: int, tokens: int) -> None:
        speed[name] = max(speed.get(name, 0.0), sequences / took[0])
        efficiency[name] = max(efficiency.get(name, 0.0), sequences / took[1])
        lengths[name] = tokens / sequences

    for dtype in PRECISIONS:  # compiles, or reads what was compiled before
        first[dtype] = timed(lambda dtype=dtype: ours(built, start, end, 1, dtype, 0))[0][0]
    before = peak_memory()
    memory: dict[str, float] = {}
    for seed in range(rounds):
        for dtype in PRECISIONS:
            limits[dtype] = max(limits[dtype], gemm_limit(getattr(torch, dtype), 0.5))
            took, tokens = timed(lambda dtype=dtype, seed=seed: ours(built, start, end, rows, dtype, seed + 1))
            record(f"puji {dtype}", took, rows, tokens)
        memory.setdefault("puji", peak_memory() - before)
        for dtype in PRECISIONS:
            for batch in batches:
                torch.manual_seed(seed)
                took, tokens = timed(lambda dtype=dtype, batch=batch: stock(networks[dtype], start, end, batch))
                record(f"generate {dtype} batch {batch}", took, batch, tokens)
        memory.setdefault("generate", peak_memory() - before)
    wanted = 20 if quick else 5000
    accepted = timed(lambda: len(puji.load("molecules").generate(wanted, unique=True)))
    best = max((name for name in speed if name.startswith("generate")), key=lambda name: speed[name])
    latency = {
        dtype: min(timed(lambda d=dtype: ours(built, start, end, 1, d, 7))[0][0] for _ in range(3))
        for dtype in PRECISIONS
    }
    flops = 2 * multiplied(built)
    return {
        "weights": CHECKPOINT.name,
        "threads": torch.get_num_threads(),
        "tokens_per_sequence": {name: round(value, 1) for name, value in lengths.items()},
        "sequences_per_second": {name: round(value, 1) for name, value in speed.items()},
        "best_generate": best,
        "valid_unique_per_second": round(accepted[1] / accepted[0][0], 1),
        "times_generate": {dtype: round(speed[f"puji {dtype}"] / speed[best], 2) for dtype in PRECISIONS},
        "sequences_per_processor_second": {name: round(value, 1) for name, value in efficiency.items()},
        "times_generate_per_processor_second": {
            dtype: round(efficiency[f"puji {dtype}"] / max(v for n, v in efficiency.items() if "generate" in n), 2)
            for dtype in PRECISIONS
        },
        "gemm_limit_gflops": {dtype: round(limit, 1) for dtype, limit in limits.items()},
        "share_of_gemm_limit": {
            dtype: round(speed[f"puji {dtype}"] * lengths[f"puji {dtype}"] * flops / 1e9 / limits[dtype], 3)
            for dtype in PRECISIONS
        },
        "one_sequence_seconds": {dtype: round(value, 4) for dtype, value in latency.items()},
        "first_call_seconds": {dtype: round(value, 2) for dtype, value in first.items()},
        "memory_above_start_mb": {name: round(value) for name, value in memory.items()},
    }

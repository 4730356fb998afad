"""What training needs around its loop: processor features, threads, dropout, signals, a progress bar."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from puji.engine.network import bf16_in_hardware
from puji.engine.settings import Settings
from puji.interrupts import heard

COMPILE_FROM = 10.0
"""Minutes of budget from which "auto" compiles: compiling takes about one of them."""
BF16_FROM = 128
"""Width of the network from which "auto" computes in bfloat16: on 64 it was a quarter slower, on 128 a fifth faster."""


def bf16(precision: str, width: int) -> bool:
    """Whether to compute in bfloat16; "auto": where the processor multiplies in it and ``width`` makes it worthwhile."""
    if precision != "auto":
        return precision == "bf16"
    return width >= BF16_FROM and bf16_in_hardware()


def compiles(settings: Settings) -> bool:
    """Whether to compile the step."""
    if settings.compile != "auto":
        return bool(settings.compile)
    compiler = any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    return compiler and settings.minutes is not None and settings.minutes > COMPILE_FROM


@contextmanager
def compiled(network: LlamaForCausalLM) -> Iterator[None]:
    """The layers of ``network`` compiled for a while: all layers share one compilation, for any batch shape."""
    for layer in network.model.layers:
        layer.compile(dynamic=True)
    try:
        yield
    finally:
        not_compiled(network)


def not_compiled(network: LlamaForCausalLM) -> None:
    """Inverse of `compiled`."""
    for layer in network.model.layers:
        layer._compiled_call_impl = None


@contextmanager
def threads_set(threads: int | None) -> Iterator[None]:
    """Compute with ``threads`` threads for a while; None: as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def dropout(network: LlamaForCausalLM, share: float) -> Iterator[None]:
    """Dropout on embeddings and residual branches of the stock network while it trains; nothing stays behind."""

    def drop(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        return F.dropout(output, share, training=module.training)

    modules: list[nn.Module] = []
    if share > 0:
        modules.append(network.model.embed_tokens)
        for layer in network.model.layers:
            modules += [layer.self_attn.o_proj, layer.mlp]
    handles = [module.register_forward_hook(drop) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second Ctrl-C interrupts as usual. Only in the main thread."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: Any) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with heard():
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def bar(shown: bool) -> Iterator[Callable[[float, dict[str, Any]], None]]:
    """A progress bar on stderr, fed with the share done and a line of the log."""
    if not shown or not sys.stderr.isatty():
        yield lambda done, line: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from puji.language import translate

    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=1.0)

        def show(done: float, line: dict[str, Any]) -> None:
            text = translate("train.bar", loss=line["loss"], rate=line["tokens_per_second"] or 0.0)
            progress.update(task, completed=min(done, 1.0), description=text)

        yield show

"""Step 4: sampling many rows at once with a key-value cache, under a grammar, each row from its own seed.

It differs from stock ``generate`` in that finished rows give their slot to the next prompt, that a row's sample does not
depend on the batch it happens to be in, and that it never cuts the model's distribution (top-k, top-p) unless asked.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator

import torch
from transformers import LlamaForCausalLM

from puji.engine.grammar import GrammarTable
from puji.engine.sampling import Sampling
from puji.engine.slots import Decoded, Ending, Prompt, Rules, Slots
from puji.engine.step import ROWS, Precision, Weights, prepare

FEW = 16
"""Rows that are not worth sharing out to a second thread."""


def decode(
    network: LlamaForCausalLM,
    prompts: Iterable[Prompt],
    *,
    end: int,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    grammar: GrammarTable | None = None,
    stop: Callable[[int, int], bool] | None = None,
    dtype: Precision = "auto",
) -> Generator[Decoded, None, None]:
    """Continue each prompt until ``end``; rows come out as they finish, not in the order of their prompts.

    Memory does not depend on the number of prompts: they are taken as slots become free. A row's sample is a function of
    the weights, its prompt, its seed and these options alone: the same on any number of threads, in any batch. Work is
    shared among as many threads as torch uses (``torch.get_num_threads()``); ``prompts`` are taken one
    at a time; the grammar and ``stop`` may be called on several threads at once.

    Parameters
    ----------
    network : LlamaForCausalLM
        Its weights are read once, at the start.
    prompts : iterable of Prompt
        May be endless. A prompt longer than the context is seen through the sliding window.
    end : int
        The id that ends a row.
    max_new_tokens : int
        The most ids generated in a row.
    sampling : Sampling or None
        Temperature, top-k, top-p; by default the model's own distribution.
    grammar : GrammarTable or None
        What may follow what. A row ends as "dead" where nothing may follow, or only what the model itself all but rules out
        (`puji.engine.slots.FORCED`).
    stop : callable or None
        Sees the place of a row's prompt and each id that is drawn for it, in their order; True ends the row.
    dtype : "auto", "float32" or "bfloat16"
        Precision of the matrix products; "auto" is bfloat16 where the processor has it.

    Raises
    ------
    ValueError
        If an option or a prompt is out of range.
    """
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens {max_new_tokens}: must be 1 or more")
    weights = prepare(network, dtype)
    pad = network.config.pad_token_id
    if not all(0 <= token < weights.vocabulary for token in (end, pad or 0)):
        raise ValueError("end or padding is outside the vocabulary")
    rules = Rules(end, max_new_tokens, sampling or Sampling(), grammar, stop, pad)
    return _decode(weights, iter(prompts), rules)


class _Feed:
    """The prompts, numbered, for several threads."""

    def __init__(self, prompts: Iterator[Prompt]) -> None:
        self._numbered = enumerate(prompts)
        self._lock = threading.Lock()

    def next(self) -> tuple[int, Prompt] | None:
        with self._lock:
            return next(self._numbered, None)


def _decode(weights: Weights, prompts: Iterator[Prompt], rules: Rules) -> Generator[Decoded, None, None]:
    threads = torch.get_num_threads()
    first = list(itertools.islice(prompts, threads * ROWS))
    slots = min(ROWS, max(FEW, -(-len(first) // threads)))
    workers = min(threads, -(-len(first) // slots))
    feed = _Feed(itertools.chain(first, prompts))
    del first
    if threads == 1:
        for finished in _run(Slots(weights, slots, rules), feed):
            yield from finished
    else:
        yield from _threaded(lambda: _run(Slots(weights, slots, rules), feed), workers)


def _run(batch: Slots, feed: _Feed) -> Iterator[list[Decoded]]:
    """Keep the slots of ``batch`` filled from ``feed``; the rows that finish, step by step."""
    more = True
    while True:
        while more and batch.room:
            item = feed.next()
            more = item is not None
            if item is not None:
                batch.admit(*item)
        if not len(batch):
            return
        yield batch.step()


def _threaded(task: Callable[[], Iterator[list[Decoded]]], workers: int) -> Iterator[Decoded]:
    """Run ``task`` on ``workers`` threads, each on one core; what they yield, as it comes."""
    results: queue.Queue[list[Decoded] | BaseException | None] = queue.Queue(maxsize=4 * workers)
    left = threading.Event()
    set_up = threading.Barrier(workers + 1)

    def put(item: list[Decoded] | BaseException | None) -> None:
        while not left.is_set():
            try:
                results.put(item, timeout=0.05)
            except queue.Full:
                continue
            return

    def work() -> None:
        # One core each: threads inside a matrix product could also split its sums differently.
        torch.set_num_threads(1)
        # A thread takes over the common number when torch is first used on it: let that be now.
        torch.get_num_threads()
        set_up.wait()
        try:
            for finished in task():
                if left.is_set():
                    return
                if finished:
                    put(finished)
            put(None)
        except BaseException as error:
            put(error)

    threads = torch.get_num_threads()
    pool = [threading.Thread(target=work, daemon=True, name=f"puji-decode-{i}") for i in range(workers)]
    for thread in pool:
        thread.start()
    set_up.wait()
    # The number is each thread's own once set, but also the default of threads to come.
    torch.set_num_threads(threads)
    running = workers
    try:
        while running:
            item = results.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield from item
    finally:
        left.set()
        for thread in pool:
            thread.join()


__all__ = ["Decoded", "Ending", "GrammarTable", "Precision", "Prompt", "Sampling", "decode"]

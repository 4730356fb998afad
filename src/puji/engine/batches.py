"""Length-bucketed batches in an order that depends on the seed alone and can be re-entered at any batch."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, Any]


class Weighted(NamedTuple):
    """A training sequence; its first token is never predicted.

    ``weights``: the loss weight of predicting each of ``ids``; None: 1 everywhere. ``allowed``: the ids that a grammar allows
    at each place, (n, ceil(vocabulary / 8)) uint8, as `numpy.packbits` packs them; None: all. ``ends``: ids that stand at the
    last place as well, each with its weight: sequences that differ there alone are computed as one. `together` makes such
    ones.
    """

    ids: Sequence[int]
    weights: Sequence[float] | None = None
    allowed: Array | None = None
    ends: Sequence[tuple[int, float]] = ()


class Ends(NamedTuple):
    """Further targets of the last places of some rows. ``rows``, ``places``: which rows of a batch, and the place that
    predicts, (r,). ``owners``: of each target its place in ``rows``, ``ids`` and ``weights``: what it is and counts, (k,)."""

    rows: Tensor
    places: Tensor
    owners: Tensor
    ids: Tensor
    weights: Tensor

    def of(self, rank: int, ranks: int) -> Ends:
        """Those of every ``ranks``-th row from ``rank`` on."""
        kept = self.rows % ranks == rank
        number = torch.cumsum(kept, 0) - 1
        mine = kept[self.owners]
        return Ends(
            self.rows[kept] // ranks,
            self.places[kept],
            number[self.owners[mine]],
            self.ids[mine],
            self.weights[mine],
        )


STRIDE = 8
"""Widths above this are padded to a multiple of it: few shapes, so that a compiled step is reused."""
POOL = 64
"""Batches that are sorted by length together. Larger: less padding; smaller: less memory and shorter pauses."""


class Dataset(Protocol):
    """Records as training sequences."""

    def __len__(self) -> int:
        """Number of records."""
        ...

    def sequences(self, index: int, epoch: int) -> Sequence[Weighted]:
        """The training views of record ``index``: a deterministic function of the seed, ``epoch`` and ``index``."""
        ...


@dataclass(frozen=True)
class Position:
    """Where the next batch begins: epoch, the pool's first place in the epoch's order, batch within the pool."""

    epoch: int = 0
    start: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Batch:
    """Padded sequences of similar length.

    ``ids``: (rows, width + 1) int64, 0 is padding; ``weights``: (rows, width + 1) float32, 0 for padding and first
    tokens. ``allowed``: (rows, width + 1, ceil(vocabulary / 8)) uint8, see `Weighted`; None where all ids are, everywhere.
    ``tokens``: predicted positions that are not padding; ``total``: sum of the weights.
    ``after``: position of the next batch; ``epochs``: epochs done after this batch, as a fraction.
    """

    ids: Tensor
    weights: Tensor
    tokens: int
    total: float
    after: Position = Position()
    epochs: float = 0.0
    allowed: Tensor | None = None
    ends: Ends | None = None

    def share(self, rank: int, ranks: int) -> tuple[Tensor, Tensor, Tensor | None, Ends | None]:
        """Of ids, weights, allowed ids and ends every ``ranks``-th row from ``rank`` on; one row without weight if there is
        none, so that all ranks take part."""
        rows = slice(rank, None, ranks) if rank < len(self.ids) else slice(0, 1)
        weights = self.weights[rows] if rank < len(self.ids) else torch.zeros_like(self.weights[:1])
        allowed = None if self.allowed is None else self.allowed[rows]
        return self.ids[rows], weights, allowed, None if self.ends is None else self.ends.of(rank, ranks)


def padded(width: int) -> int:
    """The width to which sequences that predict at most ``width`` tokens are padded."""
    return width if width <= STRIDE else -(-width // STRIDE) * STRIDE


def rows_of(width: int, tokens: int) -> int:
    """Rows of a batch of padded ``width`` that hold about ``tokens`` tokens without padding: one shape per width."""
    return max(1, round(tokens / (width if width <= STRIDE else width - (STRIDE - 1) / 2)))


def collate(sequences: Sequence[Weighted], after: Position = Position(), epochs: float = 0.0) -> Batch:
    """Pad ``sequences`` to one width (`padded`), plus the token that the last place predicts."""
    width = padded(max(len(one.ids) - 1 for one in sequences))
    ids = np.zeros((len(sequences), width + 1), dtype=np.int64)
    weights = np.zeros((len(sequences), width + 1), dtype=np.float32)
    masks = [one.allowed for one in sequences if one.allowed is not None]
    allowed = np.full((len(sequences), width + 1, masks[0].shape[1]), 255, dtype=np.uint8) if masks else None
    for row, one in enumerate(sequences):
        ids[row, : len(one.ids)] = one.ids
        weights[row, 1 : len(one.ids)] = 1.0 if one.weights is None else one.weights[1:]
        if allowed is not None and one.allowed is not None:
            allowed[row, : len(one.ids)] = one.allowed
    return Batch(
        torch.from_numpy(ids),
        torch.from_numpy(weights),
        sum(len(one.ids) - 1 for one in sequences),
        float(weights.sum(dtype=np.float64)) + sum(weight for one in sequences for _, weight in one.ends),
        after,
        epochs,
        None if allowed is None else torch.from_numpy(allowed),
        _ends(sequences),
    )


def _ends(sequences: Sequence[Weighted]) -> Ends | None:
    rows = [row for row, one in enumerate(sequences) if one.ends]
    if not rows:
        return None
    owners = [number for number, row in enumerate(rows) for _ in sequences[row].ends]
    told = [end for row in rows for end in sequences[row].ends]
    return Ends(
        torch.tensor(rows),
        torch.tensor([len(sequences[row].ids) - 2 for row in rows]),
        torch.tensor(owners),
        torch.tensor([one for one, _ in told]),
        torch.tensor([weight for _, weight in told], dtype=torch.float32),
    )


def together(sequences: Iterable[Weighted]) -> list[Weighted]:
    """Sequences (without ``allowed`` and ``ends``) with the same loss in fewer rows: what stands behind the last token that
    counts is left out, and those that differ in their last token alone become one, in the order in which they come first."""
    inner: dict[tuple[int, ...], list[float]] = {}
    ends: dict[tuple[int, ...], dict[int, float]] = {}
    for one in sequences:
        weights = [1.0] * len(one.ids) if one.weights is None else list(one.weights)
        last = max((place for place, weight in enumerate(weights) if weight and place), default=0)
        if last == 0:
            continue
        key = tuple(one.ids[:last])
        known = inner.setdefault(key, [0.0] * last)
        inner[key] = [a + b for a, b in zip(known, weights, strict=False)]
        targets = ends.setdefault(key, {})
        targets[one.ids[last]] = targets.get(one.ids[last], 0.0) + weights[last]
    return [
        Weighted([*key, next(iter(ends[key]))], [*weights, 0.0], None, tuple(ends[key].items()))
        for key, weights in inner.items()
    ]


def cut(sequences: Sequence[Weighted], tokens: int) -> list[list[Weighted]]:
    """Sort by length (longest first) and cut into batches of about ``tokens`` tokens."""
    ordered = sorted(sequences, key=lambda one: len(one.ids), reverse=True)
    batches = []
    at = 0
    while at < len(ordered):
        rows = rows_of(padded(len(ordered[at].ids) - 1), tokens)
        batches.append(list(ordered[at : at + rows]))
        at += rows
    return batches


class Batches:
    """Endless batches of ``dataset``: each epoch shows every record once, in an order of its own.

    Records are taken in shuffled order until `POOL` batches' worth of tokens are together; these sequences are sorted
    by length, cut into batches of about ``tokens`` tokens without padding, and the batches shuffled. With ``ahead`` a
    process of its own makes the next pool meanwhile; the batches are the same.

    Raises ValueError from `after` for a sequence that is longer than ``context``, does not match its weights, or has no
    token to predict, and for an epoch without any sequence.
    """

    def __init__(
        self, dataset: Dataset, tokens: int, seed: int, context: int | None = None, *, ahead: bool = False
    ) -> None:
        self.dataset = dataset
        self.tokens = tokens
        self.seed = seed
        self.context = context
        self.ahead = ahead

    def after(self, position: Position) -> Iterator[Batch]:
        """The batches from ``position`` on."""
        pools: _Ahead | Batches = _Ahead(self) if self.ahead else self
        found = position.start > 0
        with closing(pools):
            while True:
                batches, after = pools.pool(position)
                last = after.epoch > position.epoch
                stop = len(self.dataset) if last else after.start
                for number in range(position.batch, len(batches)):
                    found = True
                    done = position.start + (number + 1) / len(batches) * (stop - position.start)
                    following = after if number + 1 == len(batches) else replace(position, batch=number + 1)
                    yield collate(batches[number], following, position.epoch + done / len(self.dataset))
                if last and not found:
                    raise ValueError("the training records gave no sequence in a whole epoch")
                found = found and not last
                position = after

    def pool(self, position: Position) -> tuple[list[list[Weighted]], Position]:
        """The batches of the pool at ``position``, and where the next pool is."""
        order = np.random.default_rng([self.seed, position.epoch]).permutation(len(self.dataset))
        pool: list[Weighted] = []
        size = 0
        stop = position.start
        while stop < len(order) and size < POOL * self.tokens:
            record = int(order[stop])
            for sequence in self.dataset.sequences(record, position.epoch):
                self._check(sequence, record)
                pool.append(sequence)
                size += len(sequence.ids) - 1
            stop += 1
        batches = cut(pool, self.tokens)
        np.random.default_rng([self.seed, position.epoch, position.start]).shuffle(batches)
        return batches, Position(position.epoch, stop) if stop < len(order) else Position(position.epoch + 1)

    def close(self) -> None:
        """Nothing is open."""

    def _check(self, sequence: Weighted, record: int) -> None:
        ids, weights, allowed, _ = sequence
        if len(ids) < 2:
            raise ValueError(f"record {record}: a training sequence needs at least 2 tokens")
        if weights is not None and len(weights) != len(ids):
            raise ValueError(f"record {record}: {len(ids)} tokens but {len(weights)} weights")
        if allowed is not None and len(allowed) != len(ids):
            raise ValueError(f"record {record}: {len(ids)} tokens but {len(allowed)} places with what is allowed")
        if self.context is not None and len(ids) - 1 > self.context:
            raise ValueError(f"record {record}: {len(ids)} tokens are longer than the context of {self.context}")


class _Ahead:
    """The pools of `Batches`, each made in a process of its own while the one before it is trained on."""

    def __init__(self, batches: Batches) -> None:
        # Spawned, not forked: a forked child of a process in which torch runs threads may hang.
        self.executor = ProcessPoolExecutor(1, get_context("spawn"), initializer=_keep, initargs=(batches,))
        self.waiting: tuple[Position, Future[Any]] | None = None

    def pool(self, position: Position) -> tuple[list[list[Weighted]], Position]:
        """As `Batches.pool`."""
        position = replace(position, batch=0)
        if self.waiting is None or self.waiting[0] != position:
            self.waiting = (position, self.executor.submit(_pool, position))
        batches, after = self.waiting[1].result()
        self.waiting = (after, self.executor.submit(_pool, after))
        return batches, after

    def close(self) -> None:
        """End the process."""
        self.executor.shutdown(wait=True, cancel_futures=True)


_kept: list[Batches] = []


def _keep(batches: Batches) -> None:
    # What Ctrl-C means is for the parent to say, which also ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _kept[:] = [batches]


def _leave_with_parent() -> None:
    # A killed parent closes nothing, and this process would wait for its next task for ever.
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def _pool(position: Position) -> tuple[list[list[Weighted]], Position]:
    return _kept[0].pool(position)

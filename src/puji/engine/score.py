"""How likely the network finds sequences, and what it thinks they are: stock forward passes in batches of equal length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from puji.engine import window
from puji.engine.target import frozen

Array = np.ndarray[Any, Any]

LOGITS = 2**24
"""Logits held at once (4 bytes each)."""


def score(
    network: LlamaForCausalLM,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    batch_tokens: int = 8192,
    headers: Sequence[int] | None = None,
) -> Array:
    """Natural-log likelihood of each continuation after its prompt, (len(pairs),) float64, in the order of ``pairs``.

    Pairs that share their tokens but for the last ones are computed once: comparing one-token answers to one prompt
    costs one pass. What is longer than the context passes through the sliding window of decoding, with the first
    ``headers[i]`` ids (by default none) pinned.

    Parameters
    ----------
    network : LlamaForCausalLM
    pairs : sequence of (prompt ids, continuation ids)
        An empty continuation scores 0.
    batch_tokens : int
        Tokens in one pass, padding included.
    headers : sequence of int or None
        Pinned leading ids of each pair.

    Raises
    ------
    ValueError
        If a continuation has no prompt, an id is outside the vocabulary, or a header leaves no room.
    """
    sequences = [[*prompt, *continuation] for prompt, continuation in pairs]
    if any(len(continuation) and not len(prompt) for prompt, continuation in pairs):
        raise ValueError("a continuation needs a prompt of at least one id")
    logprobs = token_logprobs(network, sequences, batch_tokens, headers)
    return np.array([tokens[len(prompt) :].sum() for (prompt, _), tokens in zip(pairs, logprobs, strict=True)], float)


def token_logprobs(
    network: LlamaForCausalLM,
    ids_list: Sequence[Sequence[int]],
    batch_tokens: int = 8192,
    headers: Sequence[int] | None = None,
) -> list[Array]:
    """Natural-log probability of each token after those before it: for each sequence (length,) float64.

    The first token has nothing before it and gets 0. See `score` for the options and errors.
    """
    _check(network, ids_list, headers)
    context = network.config.max_position_embeddings
    result = [np.zeros(len(ids)) for ids in ids_list]
    # Input -> who wants what of it: (sequence, first predicted token, one past the last).
    wanted: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    for owner, ids in enumerate(ids_list):
        header = headers[owner] if headers else 0
        for seen, first, stop in window.segments(ids[:-1], header, context):
            wanted.setdefault(tuple(seen), []).append((owner, first + 1, stop + 1))
    # In this order a prefix comes right before what extends it, and one pass serves both.
    pieces: list[tuple[int, ...]] = []
    served: list[list[tuple[tuple[int, int, int], int]]] = []
    for piece in sorted(wanted):
        if pieces and piece[: len(pieces[-1])] == pieces[-1]:
            pieces[-1] = piece
        else:
            pieces.append(piece)
            served.append([])
        served[-1].extend((want, len(piece)) for want in wanted[piece])
    for index, hidden in _hidden(network, pieces, batch_tokens):
        positions = torch.cat([torch.arange(n - (b - a), n) for (_, a, b), n in served[index]])
        targets = torch.cat([torch.as_tensor(ids_list[owner][a:b]) for (owner, a, b), _ in served[index]])
        chunk = max(1, LOGITS // network.config.vocab_size)
        logprobs = [
            _picked(network, hidden[where], target)
            for where, target in zip(positions.split(chunk), targets.split(chunk), strict=True)
        ]
        parts = torch.cat(logprobs).split([b - a for (_, a, b), _ in served[index]])
        for ((owner, a, b), _), part in zip(served[index], parts, strict=True):
            result[owner][a:b] = part.numpy()
    return result


def embed(
    network: LlamaForCausalLM,
    ids_list: Sequence[Sequence[int]],
    batch_tokens: int = 8192,
    headers: Sequence[int] | None = None,
) -> Array:
    """Mean of the last hidden states (after the final norm) over a sequence's own tokens, (n, width) float32.

    Beyond the context a token's state is the one it has when it enters the window. Raises ValueError if a sequence is
    empty; see `score` for the options.
    """
    if not all(len(ids) for ids in ids_list):
        raise ValueError("an empty sequence has no embedding")
    _check(network, ids_list, headers)
    result: Array = np.zeros((len(ids_list), network.config.hidden_size), np.float64)
    pieces, owners = [], []
    for owner, (ids, header) in enumerate(zip(ids_list, headers or [0] * len(ids_list), strict=True)):
        for seen, first, stop in window.segments(ids, header, network.config.max_position_embeddings):
            pieces.append(seen)
            owners.append((owner, stop - first))
    for piece, hidden in _hidden(network, pieces, batch_tokens):
        owner, new = owners[piece]
        result[owner] += hidden[-new:].double().sum(0).numpy() / len(ids_list[owner])
    return result.astype(np.float32)


def _check(network: LlamaForCausalLM, ids_list: Sequence[Sequence[int]], headers: Sequence[int] | None) -> None:
    if headers is not None and len(headers) != len(ids_list):
        raise ValueError(f"{len(headers)} headers for {len(ids_list)} sequences")
    size, context = network.config.vocab_size, network.config.max_position_embeddings
    for i, ids in enumerate(ids_list):
        if not all(0 <= token < size for token in ids):
            raise ValueError(f"sequence {i} has ids outside the vocabulary")
        window.check(headers[i] if headers else 0, len(ids), context)


def _picked(network: LlamaForCausalLM, hidden: Tensor, targets: Tensor) -> Tensor:
    """Natural-log probability of ``targets`` (n,) from hidden states (n, width)."""
    with torch.inference_mode():
        # One row of logits serves all targets that were asked at its position.
        logits = network.lm_head(hidden).double()
        return logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1)


def _hidden(
    network: LlamaForCausalLM, pieces: Sequence[Sequence[int]], batch_tokens: int
) -> Iterator[tuple[int, Tensor]]:
    """Last hidden states (length, width) of each piece with its place; pieces of like length share a pass.

    Padding stands to the right, where a causal network does not see it.
    """
    order = sorted(range(len(pieces)), key=lambda i: len(pieces[i]))
    with frozen(network):
        while order:
            rows = max(1, batch_tokens // len(pieces[order[-1]]))
            batch, order = order[-rows:], order[:-rows]
            ids = torch.zeros(len(batch), len(pieces[batch[-1]]), dtype=torch.long)
            for row, i in enumerate(batch):
                ids[row, : len(pieces[i])] = torch.as_tensor(pieces[i])
            with torch.inference_mode():
                states = network.model(input_ids=ids, use_cache=False).last_hidden_state
            for row, i in enumerate(batch):
                yield i, states[row, : len(pieces[i])]

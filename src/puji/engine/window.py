"""What is in view when a sequence is longer than the context: the pinned header and the latest tokens.

When a sequence would pass the context, the older half of what is in view after the header is dropped, and the rest takes
the positions from 0 on, exactly as a fresh sequence would. Decoding, sessions and scoring all slide in this one way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def check(header: int, length: int, context: int) -> None:
    """Raise ValueError if a header of ``header`` tokens cannot be pinned in a prompt of ``length`` tokens."""
    if not 0 <= header <= length:
        raise ValueError(f"header of {header} tokens in a prompt of {length}")
    if header >= context:
        raise ValueError(f"header of {header} tokens leaves no room in a context of {context}")


def next_start(start: int, header: int, context: int) -> int:
    """The first token in view after the header once the sequence has slid; it was ``start`` (``header`` at first)."""
    return start + (context + 2 - header) // 2


def visible(ids: Sequence[int], header: int, context: int) -> list[int]:
    """The tokens of ``ids`` in view: all of them up to ``context``, then the header and the latest."""
    start = header
    while header + len(ids) - start > context:
        start = next_start(start, header, context)
    return [*ids[:header], *ids[start:]]


def segments(ids: Sequence[int], header: int, context: int) -> Iterator[tuple[list[int], int, int]]:
    """How a sequence slides, as (piece, first, stop): tokens first..stop - 1 are the last ones of the piece that they see.

    A token sees itself here, so the prediction of token t is read at token t - 1.
    """
    start, first = header, 0
    while first < len(ids):
        stop = min(len(ids), start + context - header)
        yield [*ids[: min(header, stop)], *ids[start:stop]], first, stop
        start, first = next_start(start, header, context), stop

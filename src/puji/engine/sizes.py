"""How large the transformer may be; apart from `puji.engine.network`, so that a help page can name the sizes at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Layers, width, query heads, key-value heads and width of the SwiGLU of a transformer."""

    layers: int
    width: int
    heads: int
    key_value_heads: int
    inner: int


SIZES: dict[str, Size] = {
    "nano": Size(2, 64, 2, 1, 192),  # tests: seconds to train
    "micro": Size(4, 128, 2, 1, 384),  # a few thousand records
    "small": Size(4, 256, 4, 2, 704),  # a million records, an hour or more
    "base": Size(6, 384, 6, 2, 1024),  # where quality is worth four times the time
}
"""Shallow and wide with few key-value heads: measured fastest at equal parameters on a CPU."""

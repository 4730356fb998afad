"""Glucose as tokens: one for each step of five minutes, so that a stream is fed to the engine one token at a time.

    <start> 31 32 32 <gap> <gap> 35 ...

A token stands for a bin of `WIDTH` mg/dl; a step without a reading is a gap. Streams have no end, but the engine's checkpoints
name a token for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

STEP = 300
"""Seconds from one token to the next."""
LOWEST, HIGHEST, WIDTH = 40.0, 400.0, 4.0
"""mg/dl: the range that continuous glucose monitors show, readings beyond it count as its ends; and the width of a bin."""
PAD, END, START, GAP, FIRST = range(5)
BINS = int((HIGHEST - LOWEST) / WIDTH)
VOCABULARY = FIRST + BINS
HISTORY, AHEAD = 144, 12
"""The most steps that are looked back (twelve hours) and ahead (one)."""
CONTEXT = 160
"""Tokens in view: `START`, `HISTORY`, `AHEAD`, rounded up."""


def encode(glucose: Array) -> Array:
    """mg/dl (nan: no reading) -> token ids, of the same shape, int64."""
    places = np.clip((np.nan_to_num(glucose) - LOWEST) // WIDTH, 0, BINS - 1).astype(np.int64)
    ids: Array = np.where(np.isnan(glucose), GAP, FIRST + places)
    return ids


def decode(ids: Array, within: Array | float = 0.5) -> Array:
    """Token ids -> mg/dl, of the same shape; nan where no bin stands. ``within``: where in its bin, 0 to 1."""
    glucose: Array = np.where(ids >= FIRST, LOWEST + (ids - FIRST + within) * WIDTH, np.nan)
    return glucose


def bins() -> Array:
    """Which tokens a forecast may hold: bins, no gaps; (`VOCABULARY`,) bool."""
    allowed: Array = np.arange(VOCABULARY) >= FIRST
    return allowed

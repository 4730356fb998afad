"""Phantoms that several tests of images share."""

from __future__ import annotations

import numpy as np

from puji.modalities.images import phantoms


def chests(n, seed=0, **options):
    rng = np.random.default_rng(seed)
    return [phantoms.chest(rng, opacity=bool(place % 2), **options) for place in range(n)]


def stacked(records):
    return np.stack([record.array for record in records])

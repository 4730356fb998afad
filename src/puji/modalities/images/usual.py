"""What usual images are like: how far an image lies from held-out ones in all that is measured of it at once.

Likelihood alone notices too little: a blank image is the likeliest of all to a model that has learned that most patches look like
the one before, and a smooth image of something else is as likely as a chest (Nalisnick et al. 2019, "Detecting
out-of-distribution inputs to deep generative models using typicality"). So what counts is the distance from the middle, in
either direction, of the surprise, of its spread over the patches, and of four plain measures, jointly (Mahalanobis 1936): an
image may be as bright, as contrasty and as smooth as some chest, and yet smoother than any chest of its contrast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from puji.modalities.images.codebook import Codebook, Pixels

Array = NDArray[np.float64]

FALSE_ALARMS = 0.05
"""Share of held-out images that are called unlike the training images."""
FEWEST = 20
"""Held-out images below which the likelihood alone decides."""
ENOUGH = 100
"""Held-out images below which people are told not to trust what is called unlike the training images: `FALSE_ALARMS` of fewer are
less than five images."""


@dataclass(frozen=True, eq=False)
class Usual:
    """``mean`` (traits,) and ``covariance`` (traits, traits) of `traits` of ``n`` held-out images; ``limit``: the squared
    Mahalanobis distance beyond which an image is unlike them."""

    mean: Array
    covariance: Array
    limit: float
    n: int

    @classmethod
    def learn(cls, found: Array) -> Usual:
        """From `traits` (n, traits) of held-out images, at least `FEWEST`.

        The limit comes from the distance of each image from all the others, which does not count itself among them.
        """
        n = len(found)
        mean = found.mean(0)
        covariance = np.cov(found, rowvar=False) + 1e-6 * np.eye(found.shape[1])
        own = squares(found, mean, covariance)
        # Sherman and Morrison (1950) take one image out of mean and covariance.
        share = own / (n - 1)
        others = (n / (n - 1)) ** 2 * (n - 2) * share / np.maximum(1 - n / (n - 1) * share, 1e-12)
        return cls(mean, covariance, float(np.quantile(others, 1 - FALSE_ALARMS, method="higher")), n)

    def distances(self, found: Array) -> Array:
        """Squared Mahalanobis distance of each of `traits` (n, traits) from the middle: (n,)."""
        return squares(found, self.mean, self.covariance)

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        return {"mean": self.mean.tolist(), "covariance": self.covariance.tolist(), "limit": self.limit, "n": self.n}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Usual:
        """Inverse of `state`."""
        mean, covariance = (np.asarray(state[name], np.float64) for name in ("mean", "covariance"))
        return cls(mean, covariance, float(state["limit"]), int(state["n"]))


def squares(found: Array, mean: Array, covariance: Array) -> Array:
    """Squared Mahalanobis distances of ``found`` (n, traits): (n,)."""
    apart = found - mean
    result: Array = (apart * np.linalg.solve(covariance, apart.T).T).sum(1)
    return result


def traits(book: Codebook, images: Pixels, surprise: Array) -> Array:
    """Of each of ``images`` (n, size, size, channels), whose patches came with a ``surprise`` of (n, patches) nats: (n, 6).

    Mean and logarithm of the spread of the surprise; mean grey level; logarithms of the levels' spread, of their roughness from
    pixel to pixel, and of the error of the codes.
    """
    levels = images.astype(np.float64)
    places = (1, 2, 3)
    across, down = np.abs(np.diff(levels, axis=2)), np.abs(np.diff(levels, axis=1))
    error = np.sqrt(((levels - book.decode(book.encode(images))) ** 2).mean(places))
    told = [levels.std(places), across.mean(places) + down.mean(places), error]
    plain = [levels.mean(places), *(np.log(one + 1) for one in told)]
    return np.stack([surprise.mean(1), np.log(surprise.std(1) + 0.1), *plain], 1)

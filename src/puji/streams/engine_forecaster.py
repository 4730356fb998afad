"""The forecaster on the engine: each patient is a live `Session`, asked by continuing it many times."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import LlamaForCausalLM

from puji.engine.ahead import Ahead
from puji.engine.session import Session
from puji.streams import tokens
from puji.streams.forecaster import Forecast, Horizon, Track
from puji.streams.vitals import GLUCOSE

Array = np.ndarray[Any, Any]

SAMPLES = 64
"""Continuations a forecast: each end of the interval rests on six of them."""
INTERVAL = 0.8


class EngineForecaster:
    """Forecasts by a network of `puji.streams.tokens`; the tracks of one forecaster belong to one thread.

    A forecast is a function of the weights, the patient, and what is in view.

    Parameters
    ----------
    network : LlamaForCausalLM
        See `puji.streams.weights`.
    horizons : sequence of int
        Minutes, multiples of five, up to an hour.
    samples : int
        Continuations a forecast.
    spread : float
        What the continuations' distances from their median are multiplied by: fitted so that the interval holds its share.
    """

    def __init__(
        self,
        network: LlamaForCausalLM,
        horizons: Sequence[int] = (30, 60),
        samples: int = SAMPLES,
        name: str = "puji",
        spread: float = 1.0,
    ) -> None:
        most = tokens.AHEAD * tokens.STEP // 60
        if not horizons or any(minutes * 60 % tokens.STEP or not 0 < minutes <= most for minutes in horizons):
            raise ValueError(f"horizons {list(horizons)}: multiples of {tokens.STEP // 60} up to {most} minutes")
        self.network, self.samples, self.name, self.spread = network, samples, name, spread
        self.horizons = tuple(sorted(horizons))
        self.ahead = Ahead(network, samples)
        self.allowed = tokens.bins()
        self.length = self.horizons[-1] * 60 // tokens.STEP

    def open(self, patient: str) -> Track:
        """A track that has seen nothing."""
        return _EngineTrack(self, patient)


class _EngineTrack:
    """A session that holds the last `tokens.HISTORY` steps at most, and half of them after it was full."""

    def __init__(self, owner: EngineForecaster, patient: str) -> None:
        self._owner = owner
        self._seed = int.from_bytes(hashlib.blake2b(patient.encode("utf-8"), digest_size=8).digest(), "big")
        self._ids: list[int] = []
        self._session = Session(owner.network, [tokens.START])

    def feed(self, glucose: float | None) -> None:
        token = int(tokens.encode(np.array(np.nan if glucose is None else glucose)))
        if not self._ids and token == tokens.GAP:
            return  # a sequence begins with a reading, as in training
        if len(self._ids) >= tokens.HISTORY:
            # The session would slide in the middle of a forecast: it begins anew with what is recent, as it would by itself.
            kept = [*self._ids[-(tokens.HISTORY // 2) :], token]
            start = next((place for place, one in enumerate(kept) if one != tokens.GAP), len(kept))
            self._ids = kept[start:]
            self._session = Session(self._owner.network, [tokens.START])
            self._session.feed(self._ids)
            return
        self._ids.append(token)
        self._session.feed([token])

    def forecast(self) -> Forecast | None:
        if not self._ids:
            return None
        owner = self._owner
        # Random numbers of its own for each patient and each past: a track that was restored draws the same.
        rng = np.random.default_rng([self._seed, zlib.crc32(np.array(self._ids, np.int64).tobytes())])
        seeds = rng.integers(2**63, size=owner.samples).tolist()
        drawn = owner.ahead(self._session, owner.length, seeds, owner.allowed)
        glucose = tokens.decode(drawn, rng.random(drawn.shape))
        found = []
        for minutes in owner.horizons:
            column = glucose[:, minutes * 60 // tokens.STEP - 1]
            middle = np.median(column)
            column = np.clip(middle + owner.spread * (column - middle), tokens.LOWEST, tokens.HIGHEST)
            low, median, high = np.quantile(column, [(1 - INTERVAL) / 2, 0.5, (1 + INTERVAL) / 2])
            below = float((column < (GLUCOSE.below or 0.0)).mean())
            found.append(Horizon(minutes, float(median), float(low), float(high), below))
        return Forecast(tuple(found))


__all__ = ["EngineForecaster"]

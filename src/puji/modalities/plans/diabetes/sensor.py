"""What a continuous glucose sensor (CGM) shows: glucose with an error that drifts, within the sensor's range.

Breton & Kovatchev, J. Diabetes Sci. Technol. 2:853 (2008): every 15 minutes an autoregressive number of order one, transformed
to a distribution of Johnson's SU family; between them a cubic spline. Parameters and details as in simglucose 0.2.11, whose
error of a seed is that of ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KNOT = 15
"""Minutes from one number of the model to the next."""
BLOCK = 10
"""So many knots at a time are joined by one spline."""


@dataclass(frozen=True)
class Device:
    """A kind of sensor: how often it measures, in minutes, and the least and most that it shows, in mg/dl."""

    interval: int
    low: float
    high: float
    # Of the error: partial autocorrelation, and Johnson's xi and lambda (mg/dl), gamma and delta.
    autocorrelation: float = 0.7
    xi: float = -5.47
    scale: float = 15.9574
    gamma: float = -0.5444
    delta: float = 1.6898


DEVICES = {
    "Dexcom": Device(3, 39.0, 600.0),
    "GuardianRT": Device(5, 39.0, 600.0),
    "Navigator": Device(1, 32.0, 600.0),
}


def device(name: str) -> Device:
    """A kind of sensor by its name. Raises ValueError if there is none."""
    if name not in DEVICES:
        raise ValueError(f"sensor {name!r}: choose one of {', '.join(DEVICES)}")
    return DEVICES[name]


def _spline(interval: int) -> np.ndarray:
    """The matrix that leads from the 11 knots of a block to what a sensor sees of it, (samples, 11).

    The not-a-knot cubic spline is linear in its knots. Its basis: cubic polynomials, and a truncated power for each knot but
    the two outermost ones of either side, at which the third derivative does not jump.
    """

    def basis(at: np.ndarray) -> np.ndarray:
        jumps = np.maximum(at[:, None] - np.arange(2, BLOCK - 1), 0.0) ** 3
        return np.concatenate([at[:, None] ** np.arange(4), jumps], axis=1)

    samples = np.arange(1, BLOCK * KNOT // interval + 1) * interval / KNOT
    return basis(samples) @ np.linalg.inv(basis(np.arange(BLOCK + 1.0)))


def noise(kind: Device, seeds: np.ndarray, minutes: int) -> np.ndarray:
    """The errors of sensors in their first ``minutes``, mg/dl, (n, 1 + minutes // interval), the first one at minute 0.

    ``seeds``: (n,) int from 0, one a sensor; an error depends on its own seed alone. They are drawn from NumPy's old
    generator, as simglucose does.
    """
    samples = BLOCK * KNOT // kind.interval
    blocks = max(1, -(-minutes // (BLOCK * KNOT)))
    draws = np.array([np.random.RandomState(int(seed)).standard_normal(1 + blocks * BLOCK) for seed in seeds])
    state = draws.reshape(len(seeds), 1 + blocks * BLOCK)
    for knot in range(1, state.shape[1]):
        state[:, knot] = kind.autocorrelation * (state[:, knot - 1] + state[:, knot])
    errors = kind.xi + kind.scale * np.sinh((state - kind.gamma) / kind.delta)
    found = np.empty((len(seeds), 1 + blocks * samples))
    found[:, 0] = errors[:, 0]
    weights = _spline(kind.interval)
    for block in range(blocks):
        knots = errors[:, block * BLOCK : (block + 1) * BLOCK + 1]
        # Summed row by row: a matrix product would round by the size of the batch.
        found[:, 1 + block * samples : 1 + (block + 1) * samples] = (knots[:, None, :] * weights).sum(axis=2)
    return found[:, : 1 + minutes // kind.interval]


class Sensor:
    """One sensor a row, from minute 0 to ``minutes``.

    ``seeds``: (n,) int from 0, see `noise`.
    """

    def __init__(self, name: str, seeds: np.ndarray, minutes: int) -> None:
        self.device = device(name)
        self.noise = noise(self.device, seeds, minutes)

    def read(self, glucose: np.ndarray, minute: int) -> np.ndarray:
        """What is shown of the true ``glucose``, mg/dl, (n,), at ``minute``. Raises ValueError between two measurements."""
        place, late = divmod(minute, self.device.interval)
        if late or not 0 <= place < self.noise.shape[1]:
            every, last = self.device.interval, (self.noise.shape[1] - 1) * self.device.interval
            raise ValueError(f"minute {minute}: read this sensor every {every} minutes, from 0 to {last}")
        shown: np.ndarray = np.clip(glucose + self.noise[:, place], self.device.low, self.device.high)
        return shown


__all__ = ["DEVICES", "Device", "Sensor", "device", "noise"]

"""Fréchet ChemNet distance (FCD): Preuer et al., J. Chem. Inf. Model. 58:1736 (2018).

Network and weights are those of the ``fcd`` package (ChemNet v0.13); input, batches, Gaussians and distance are ours.
The network spends its time in 88 recurrent steps of an LSTM of width 512, near the GEMM limit of a core whatever the length
of the SMILES: skipping the padding where that is exact (convolutions, first LSTM) gains 7 % only, so it is not done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import linalg
from torch import nn

from puji.errors import Invalid
from puji.modalities.molecules.analysis import Progress, silent

WEIGHTS = "ChemNet v0.13 (fcd package)"
PADDED = 350
"""Characters that ChemNet is padded to, the end mark included; a longer SMILES is padded to its own length."""
WIDTH = 512
# The order of the network's input channels; "X" stands for every other character, "." for the end as well.
SYMBOLS = (
    *("C", "N", "O", "H", "F", "Cl", "P", "B", "Br", "S", "I", "Si", "#", "(", ")", "+", "-", "1", "2", "3", "4", "5"),
    *("6", "7", "8", "=", "[", "]", "@", "c", "n", "o", "s", "X", "."),
)
_CHANNEL = {symbol: i for i, symbol in enumerate(SYMBOLS)}
_SYMBOL = re.compile("Cl|Br|Si|.", re.DOTALL)


@cache
def _network() -> nn.Module:
    spec = find_spec("fcd")
    if spec is None or spec.origin is None:
        raise Invalid("molecules.no_fcd")
    from fcd import load_ref_model

    # With its own path the package neither copies the weights to a temporary folder nor leaves one behind.
    model: nn.Module = load_ref_model(str(Path(spec.origin).parent / "ChemNet_v0.13_pretrained.pt"))
    return model


def _one_hot(smiles: Sequence[str], padded: int) -> torch.Tensor:
    """The network's input, shape (len(smiles), 35, padded), 1/35 where a symbol stands."""
    x = torch.zeros(len(smiles), len(SYMBOLS), padded)
    for row, text in enumerate(smiles):
        channels = [_CHANNEL.get(symbol, _CHANNEL["X"]) for symbol in _SYMBOL.findall(text + ".")]
        x[row, channels, torch.arange(len(channels))] = 1 / len(SYMBOLS)
    return x


@torch.inference_mode()
def activations(smiles: Sequence[str], batch: int = 256, progress: Progress = silent) -> np.ndarray:
    """ChemNet's activations of canonical SMILES, in their order, shape (len(smiles), 512), float32.

    ``progress`` is called after each batch. Raises Invalid if the ``fcd`` package is not installed.
    """
    network = _network()
    result = np.empty((len(smiles), WIDTH), dtype=np.float32)
    # By length, so that the rare ones that need more padding than usual change no other's.
    order = sorted(range(len(smiles)), key=lambda i: len(smiles[i]))
    normal = sum(len(text) < PADDED for text in smiles)
    at = 0
    while at < len(order):
        some = order[at : min(at + batch, normal)] or order[at : at + 1]
        padded = max(PADDED, len(smiles[some[-1]]) + 1)
        result[some] = network(_one_hot([smiles[i] for i in some], padded)).numpy()
        at += len(some)
        progress(at, len(order))
    return result


class Gaussian(NamedTuple):
    """Mean (512,) and covariance (512, 512) of the activations of ``n`` molecules, float64."""

    mean: np.ndarray
    covariance: np.ndarray
    n: int


def gaussian(activated: np.ndarray) -> Gaussian:
    """The Gaussian that FCD compares: activations (n, 512) -> mean and the unbiased covariance of ``np.cov``, float64."""
    a = activated.astype(np.float64)
    mean = a.mean(axis=0)
    a -= mean
    return Gaussian(mean, a.T @ a / max(1, len(a) - 1), len(a))


def distance(a: Gaussian, b: Gaussian) -> float:
    """Squared Fréchet distance |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2) of two Gaussians.

    tr (C1 C2)^1/2 is computed as the sum of the square roots of the eigenvalues of R C2 R with R = C1^1/2, both symmetric:
    equal to the trace of scipy's ``sqrtm(C1 C2)`` but free of complex numbers and stable where covariances are singular.
    """
    values, vectors = linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(linalg.eigvalsh(root @ b.covariance @ root), 0, None)).sum()
    difference = a.mean - b.mean
    return float(difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross)


__all__ = ["PADDED", "WEIGHTS", "Gaussian", "activations", "distance", "gaussian"]

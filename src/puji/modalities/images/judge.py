"""A small convolutional network as a judge of generated images: what it learns from them, and the space they are compared in.

It is trained in the run, in seconds, on images alone: no weights from elsewhere are needed, and whoever repeats the run gets
the same space. It is no part of the product.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from puji.modalities.images.augment import shifted
from puji.modalities.images.codebook import Pixels

FEATURES = 64
"""Dimensions of the space: the mean of each of the last channels."""
STEPS = 400
ROWS = 64
RATE = 2e-3
MOVED = 2
"""Pixels by which training images are moved at most."""


class Judge(nn.Module):
    """Three convolutions with strides, their mean over the image, a linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        widths = (channels, 16, 32, FEATURES)
        self.convolutions = nn.ModuleList(nn.Conv2d(one, two, 3, stride=2, padding=1) for one, two in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.last = nn.Linear(FEATURES, classes)

    def features(self, images: Tensor) -> Tensor:
        """(n, `FEATURES`) of images (n, channels, size, size)."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            images = F.relu(norm(convolution(images)))
        return images.mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes)."""
        found: Tensor = self.last(self.features(images))
        return found


def tensor(images: Pixels) -> Tensor:
    """(n, size, size, channels) as (n, channels, size, size), -1 to 1."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 127.5 - 1


def trained(images: Pixels, labels: NDArray[np.int64], classes: int, seed: int = 0, steps: int = STEPS) -> Judge:
    """A judge that has learned ``labels`` (n,) of ``images`` (n, size, size, channels), each class seen alike often."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.bincount(labels, minlength=classes).clip(1)[labels]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = Judge(images.shape[3], classes)
        optimizer = torch.optim.AdamW(judge.parameters(), lr=RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        judge.train()
        for _ in range(steps):
            rows = rng.choice(len(images), min(ROWS, len(images)), p=shares / shares.sum())
            moves = rng.integers(-MOVED, MOVED + 1, (len(rows), 2))
            batch = np.stack([shifted(images[row], *move) for row, move in zip(rows, moves.tolist(), strict=True)])
            loss: Any = F.cross_entropy(judge(tensor(batch)), torch.from_numpy(labels[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return judge.eval()


def probabilities(judge: Judge, images: Pixels) -> NDArray[np.float64]:
    """(n, classes)."""
    with torch.inference_mode():
        found: NDArray[np.float64] = (
            torch.cat([judge(tensor(images[start : start + 512])).softmax(1) for start in range(0, len(images), 512)])
            .double()
            .numpy()
        )
        return found


def features(judge: Judge, images: Pixels) -> NDArray[np.float64]:
    """(n, `FEATURES`)."""
    with torch.inference_mode():
        found: NDArray[np.float64] = (
            torch.cat([judge.features(tensor(images[start : start + 512])) for start in range(0, len(images), 512)])
            .double()
            .numpy()
        )
        return found


def frechet(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Frechet distance of two normal distributions with the means and covariances of ``one`` and ``two`` (n, d).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Dowson & Landau 1982); the last trace is the sum of the roots of the eigenvalues
    of C1^(1/2) C2 C1^(1/2), which is symmetric.
    """
    means = one.mean(0), two.mean(0)
    first, second = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    return float(((means[0] - means[1]) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * cross)

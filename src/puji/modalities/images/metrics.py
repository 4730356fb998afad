"""How good a set of images is: like the reference, useful to learn from, and no copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from puji.errors import Invalid
from puji.modalities.images import judge
from puji.modalities.images.assess import auroc
from puji.modalities.images.codebook import Pixels
from puji.modalities.images.image import Image, coloured, resized
from puji.modality import Metric, Raw
from puji.resampling import resampled

LEAST = 20
"""Images of a set, and of each label in it, below which there are no figures."""
RESAMPLES = 200
JUDGES = 3
"""Classifiers of different seeds whose figures are averaged."""
NEAR = 0.5
"""A sample is counted as near where its nearest training image is nearer than this share of how far real images are from theirs,
at the median: a copy, or one with little noise."""


@dataclass(frozen=True)
class Pictures:
    """Images (n, size, size, channels) and the places of their labels (n,), -1 where there is not just one."""

    images: Pixels
    labels: NDArray[np.int64]


def image_metrics(
    samples: Sequence[Raw | Invalid],
    references: Mapping[str, Sequence[Raw | Invalid]],
    step: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Metric]:
    """Figures of ``samples`` against the reference "train" (else all of them), and "test" (else the train one's own test part).

    Raises Invalid without a reference, or with too few images.
    """
    found = [_image(raw) for raw in samples if not isinstance(raw, Invalid)]
    every = {name: [_image(raw) for raw in raws if not isinstance(raw, Invalid)] for name, raws in references.items()}
    if not every:
        raise Invalid("images.no_reference", source="--reference")
    train = every.get("train") or [record for records in every.values() for record in records]
    test = every.get("test") or [record for record in train if record.split == "test"]
    train = [record for record in train if record.split in ("", "train")] or train
    size, channels = (max(getattr(record, name) for record in train) for name in ("size", "channels"))
    names = sorted({record.labels[0] for record in train if record.labels and len(record.labels) == 1})
    sets = [pictures(some, size, channels, names) for some in (found, train, test)]
    return compared(*sets, names=names, step=step)


def _image(raw: Raw) -> Image:
    if not isinstance(raw.content, Image):
        raise Invalid("images.dump")
    return raw.content


def pictures(records: Sequence[Image], size: int, channels: int, names: Sequence[str]) -> Pictures:
    """As arrays of one size; ``names`` in the order of their places."""
    images = [coloured(resized(record.array, size), channels) for record in records]
    labels = [
        names.index(record.labels[0]) if record.labels and len(record.labels) == 1 and record.labels[0] in names else -1
        for record in records
    ]
    empty = np.zeros((0, size, size, channels), np.uint8)
    return Pictures(np.stack(images) if images else empty, np.array(labels, np.int64))


def compared(
    samples: Pictures,
    train: Pictures,
    test: Pictures,
    *,
    names: Sequence[str],
    seed: int = 0,
    number: int = JUDGES,
    steps: int = judge.STEPS,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Metric]:
    """All figures; those of learning only where each set has enough images of each label. Raises Invalid for too few.

    ``number`` judges are trained for ``steps`` steps on the real and on the generated images.
    """
    if min(len(samples.images), len(train.images)) < LEAST:
        raise Invalid("images.few", least=LEAST)
    found: dict[str, Metric] = {}
    real = test if len(test.images) >= LEAST else train
    total = 2 + 2 * number
    counts = [np.bincount(one.labels[one.labels >= 0], minlength=len(names)) for one in (samples, train, test)]
    judges: list[judge.Judge] = []
    if len(names) > 1 and min(count.min() for count in counts) >= LEAST // 2:
        for kind, (name, source) in enumerate((("TRTR AUC", train), ("TSTR AUC", samples))):
            scores = []
            for place in range(number):
                known = source.labels >= 0
                one = judge.trained(source.images[known], source.labels[known], len(names), seed + place, steps)
                judges += [one] if kind == 0 else []
                scores.append(judge.probabilities(one, test.images[test.labels >= 0]))
                step(kind * number + place + 1, total)
            found[name] = _auc(float(np.mean([_aucs(one, test) for one in scores])), np.mean(scores, 0), test)
    space = judges[0] if judges else _untrained(train.images.shape[3], seed)
    held = judge.features(space, real.images)
    n = len(samples.images)
    found["Frechet distance"] = Metric(judge.frechet(judge.features(space, samples.images), held), n, "down")
    if real is test:
        found["Frechet distance of training images"] = Metric(
            judge.frechet(judge.features(space, train.images), held), len(train.images), ""
        )
    step(total - 1, total)
    found |= nearness(samples.images, train.images, real.images if real is test else None, seed)
    step(total, total)
    return found


def _untrained(channels: int, seed: int) -> judge.Judge:
    """The space where there are no labels: random convolutions of a fixed seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return judge.Judge(channels, 2).eval()


def _aucs(scores: NDArray[np.float64], test: Pictures) -> float:
    """Mean over labels of the area of each against the others."""
    truth = test.labels[test.labels >= 0]
    places = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    return float(np.nanmean([auroc(scores[:, place], truth == place) for place in places]))


def _auc(value: float, scores: NDArray[np.float64], test: Pictures) -> Metric:
    """``value`` with the half-width of the interval that resampling the test images gives the mean judge."""
    known = Pictures(test.images[:0], test.labels[test.labels >= 0])

    def measure(rows: NDArray[np.int64]) -> float:
        return _aucs(scores[rows], Pictures(known.images, known.labels[rows]))

    low, high = resampled(measure, len(known.labels), RESAMPLES)
    middle = measure(np.arange(len(known.labels)))
    return Metric(float(value), len(known.labels), "up", value + low - middle, value + high - middle)


def nearness(samples: Pixels, train: Pixels, real: Pixels | None, seed: int = 0) -> dict[str, Metric]:
    """How near samples come to their nearest training image (root of the mean squared difference of grey levels).

    "near copies": the share nearer than `NEAR` of the median distance of real held-out images; "distance ratio": the samples'
    median over theirs, 1 where samples are as far from training images as new real ones.
    """
    others, rest = real, train
    if others is None:  # a fifth of the training set against the others
        order = np.random.default_rng(seed).permutation(len(train))
        others, rest = train[order[: len(train) // 5]], train[order[len(train) // 5 :]]
    usual = float(np.median(nearest(others, rest)))
    distances = nearest(samples, train)
    n = len(samples)
    near = distances < NEAR * usual
    low, high = resampled(lambda rows: float(near[rows].mean()), n, RESAMPLES)
    ratio = float(np.median(distances)) / usual
    return {
        "near copies": Metric(float(near.mean()), n, "down", low, high),
        "distance ratio": Metric(ratio, n, ""),
    }


def nearest(samples: Pixels, train: Pixels) -> NDArray[np.float64]:
    """Distance of each sample to its nearest training image, (n,)."""
    flat = train.reshape(len(train), -1).astype(np.float32)
    half = (flat**2).sum(1) / 2
    found = np.empty(len(samples))
    for start in range(0, len(samples), 256):
        some = samples[start : start + 256].reshape(-1, flat.shape[1]).astype(np.float32)
        squared = 2 * (half - some @ flat.T).min(1) + (some.astype(np.float64) ** 2).sum(1)
        found[start : start + 256] = np.sqrt(np.maximum(squared, 0) / flat.shape[1])
    return found

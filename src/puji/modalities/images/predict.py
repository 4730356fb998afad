"""From likelihoods to probabilities: the label behind the image, and by Bayes the image behind each label.

Both are averaged over the image moved by a pixel in eight directions where held-out images say so, added with two weights, and
turned into probabilities by softmax. The weights are the temperature (Guo et al. 2017, equation 9) and the trust in each reading
at once; they, and the threshold of each yes or no, are chosen on held-out images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from puji.language import translate
from puji.modalities.images.augment import shifted
from puji.modalities.images.codebook import Codebook, Pixels
from puji.modalities.images.tokens import IMAGE, Labels
from puji.modalities.images.views import body
from puji.modality import Candidate, Estimate

Array = NDArray[np.float64]

MOVES = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1))
"""Pixels to the right and down, the image itself first."""
FEWEST = 20
"""Held-out images below which nothing is chosen."""
BEHIND = np.array([0.0, *np.geomspace(0.05, 4, 24)])
"""Weights that are tried for the label behind the image."""
BEFORE = np.array([0.0, *np.geomspace(0.002, 2, 24)])
"""Weights that are tried for Bayes. An image has dozens of tokens, whose evidence is not independent: small ones."""
PLAIN = 0.02
"""Share of the nats that moved images or Bayes must save on held-out images: they cost time."""


@dataclass(frozen=True)
class Reading:
    """How an image is read. ``moves``: how many of `MOVES`; ``behind``, ``before``: weights of the two readings; ``thresholds``:
    the probability from which the label of a yes-or-no question is said to be there, by label; ``n``: held-out images that chose
    it."""

    moves: int = 1
    behind: float = 1.0
    before: float = 0.0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    n: int = 0

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        return {**vars(self), "thresholds": dict(self.thresholds)}

    def probabilities(self, behind: Array, before: Array) -> Array:
        """From the natural-log likelihoods (..., moves, tokens) of a question to probabilities (..., tokens)."""
        scores = self.behind * behind[..., : self.moves, :].mean(-2)
        if self.before:
            scores = scores + self.before * before[..., : self.moves, :].mean(-2)
        return softmax(scores)


def softmax(scores: Array) -> Array:
    """Over the last axis."""
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    result: Array = shares / shares.sum(-1, keepdims=True)
    return result


def candidates(
    book: Codebook, labels: Labels, pixels: Pixels, moves: int, bayes: bool
) -> tuple[list[Candidate], Callable[[Array], list[tuple[Array, Array]]]]:
    """What to compare, and what makes of its likelihoods, for each question, both readings: (moves, tokens) each."""
    questions = labels.questions()
    asked: list[Candidate] = []
    bodies = [body(book, shifted(pixels, *move)) for move in MOVES[:moves]]
    for sequence in bodies:
        asked += [Candidate(sequence, [token]) for tokens in questions for token in tokens]
    bayes = bayes and labels.exclusive
    if bayes:
        asked += [Candidate([token, IMAGE], sequence[1:]) for sequence in bodies for token in questions[0]]

    def sorted_out(found: Array) -> list[tuple[Array, Array]]:
        sizes = [len(tokens) for tokens in questions]
        behind = found[: moves * sum(sizes)].reshape(moves, -1)
        parts = np.split(behind, np.cumsum(sizes)[:-1], axis=1)
        before = found[moves * sum(sizes) :].reshape(moves, -1) if bayes else None
        return [(part, np.zeros_like(part) if before is None else before) for part in parts]

    return asked, sorted_out


def estimates(
    labels: Labels, reading: Reading, readings: Sequence[tuple[Array, Array]], sure: float
) -> dict[str, Estimate]:
    """Probabilities by label, the likeliest first; none for a question whose likeliest answer is less than ``sure``."""
    found: dict[str, Estimate] = {}
    for number, (tokens, both) in enumerate(zip(labels.questions(), readings, strict=True)):
        probabilities = reading.probabilities(*both)
        if probabilities.max() < sure:
            continue
        for name, place in labels.estimates(number, tokens):
            value = float(probabilities[place])
            found[name] = Estimate(value, value, value, coverage=1.0, about=_about(reading, name, value))
    return dict(sorted(found.items(), key=lambda item: -item[1].value))


def _about(reading: Reading, name: str, value: float) -> str | None:
    threshold = reading.thresholds.get(name)
    if threshold is None:
        return None
    key = "images.predict.above" if value >= threshold else "images.predict.below"
    return translate(key, threshold=f"{threshold:.2f}")


def calibrated(
    labels: Labels, behind: Sequence[Array], before: Sequence[Array], truths: Sequence[NDArray[np.int64]]
) -> Reading:
    """The reading that held-out images choose.

    ``behind``, ``before``: of each question (images, moves, tokens); ``truths``: of each question the place of the true token
    (images,). The simplest reading is kept unless another saves `PLAIN` of the nats.
    """
    n = sum(len(truth) for truth in truths)
    if n < FEWEST or not truths:
        return Reading(n=n)
    plans = [(1, False), (len(MOVES), False)]
    if labels.exclusive:
        plans += [(1, True), (len(MOVES), True)]
    found: list[tuple[float, Reading]] = []
    for moves, bayes in plans:
        if moves > behind[0].shape[1]:
            continue
        seen, known = ([one[:, :moves].mean(1, keepdims=True) for one in some] for some in (behind, before))
        tried = (
            Reading(1, float(one), float(two), {}, n)
            for one in BEHIND
            for two in (BEFORE if bayes else BEFORE[:1])
            if one or two
        )
        loss, one = min(((nats(one, seen, known, truths), one) for one in tried), key=lambda pair: pair[0])
        found.append((loss, replace(one, moves=moves)))
    best = found[0]
    for plan in found[1:]:
        if plan[0] < best[0] * (1 - PLAIN):
            best = plan
    chosen = best[1]
    thresholds = {}
    for number, tokens in enumerate(labels.questions()):
        if len(tokens) != 2:
            continue
        name, place = labels.estimates(number, tokens)[-1]
        values = chosen.probabilities(behind[number], before[number])[:, place]
        if (threshold := youden(values, truths[number] == place)) is not None:
            thresholds[name] = threshold
    return Reading(chosen.moves, chosen.behind, chosen.before, thresholds, n)


def nats(
    reading: Reading, behind: Sequence[Array], before: Sequence[Array], truths: Sequence[NDArray[np.int64]]
) -> float:
    """Mean cross-entropy of the true answers; see `calibrated`."""
    losses = []
    for one, two, truth in zip(behind, before, truths, strict=True):
        probabilities = reading.probabilities(one, two)
        losses.append(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12)))
    return float(np.concatenate(losses).mean())


def youden(values: Array, truth: NDArray[np.bool_]) -> float | None:
    """The threshold with the highest sensitivity plus specificity (Youden 1950), in the middle of where it is highest.

    None without images of both kinds.
    """
    if truth.all() or not truth.any():
        return None
    levels = np.unique(values)
    cuts = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    ordered = np.sort(values[truth]), np.sort(values[~truth])
    sensitivity = 1 - np.searchsorted(ordered[0], cuts) / len(ordered[0])
    specificity = np.searchsorted(ordered[1], cuts) / len(ordered[1])
    total = sensitivity + specificity
    best = cuts[total >= total.max() - 1e-12]
    return float(best[len(best) // 2])

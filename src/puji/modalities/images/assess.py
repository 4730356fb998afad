"""What a model says of labelled images that it was not trained on, against what is true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from puji import figures
from puji.errors import Invalid
from puji.findings import named
from puji.gallery import Figure
from puji.intervals import proportion
from puji.language import LANGUAGES, Text, translate
from puji.modalities.images import calibration
from puji.modalities.images.conditions import Ask
from puji.modalities.images.image import Image
from puji.modality import Assessment, Metric
from puji.resampling import ranks, resampled

RESAMPLES = 1000
BLOCK = 64
"""Images between two calls of ``step``."""
BINS = 10
"""Of the calibration error."""


@dataclass(frozen=True)
class Judged:
    """One question: its labels, ``probabilities`` (n, tokens), the places of the true tokens (n,), and the threshold of a yes."""

    names: tuple[str, ...]
    probabilities: NDArray[np.float64]
    truth: NDArray[np.int64]
    threshold: float | None

    @property
    def decided(self) -> NDArray[np.int64]:
        """The place of the answer that is given."""
        if self.threshold is None:
            found: NDArray[np.int64] = self.probabilities.argmax(1)
            return found
        return (self.probabilities[:, 1] >= self.threshold).astype(np.int64)


def assess(
    model: Any,
    records: Sequence[Image],
    ask: Ask,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> Assessment:
    """Figures of each question, with 95 % intervals by resampling images; of the test images where some are marked so.

    Every image counts, however unsure or unfamiliar; beside stand the share that `puji predict` would answer, and how often
    that is right. Raises Invalid where there is nothing to judge.
    """
    known = [record for record in records if model.modality.labels.known(record.labels) is not None]
    chosen = [record for record in known if record.split == "test"] or known
    found = judged(model, chosen, step)
    familiar = np.ones(len(chosen), bool)
    if ask.unfamiliar == "abstain":
        familiar = np.array([model.familiar(record) is not False for record in chosen])
    metrics: dict[str, Metric] = {}
    for one in found:
        more = figures_of(one)
        answers = familiar & (one.probabilities.max(1) >= ask.sure)
        more["answered"] = proportion(int(answers.sum()), len(answers), "")
        more["accuracy where answered"] = proportion(int((one.decided == one.truth)[answers].sum()), int(answers.sum()))
        metrics |= more if len(found) == 1 else {f"{one.names[-1]}, {name}": metric for name, metric in more.items()}
    return Assessment(metrics, lambda: [_curve(one) for one in found if len(one.names) == 2])


def judged(
    model: Any, records: Sequence[Image], step: Callable[[int, int], None] = lambda done, total: None
) -> list[Judged]:
    """The questions that ``records``, whose labels are all known, answer. Raises Invalid where there is none."""
    modality = model.modality
    questions = modality.labels.questions()
    if not questions or not records:
        raise Invalid("images.no_labels")
    reading = modality.reading
    parts = []
    for start in range(0, len(records), BLOCK):
        part = records[start : start + BLOCK]
        parts.append(calibration.readings(model, part, moves=reading.moves, bayes=bool(reading.before)))
        step(start + len(part), len(records))
    found = []
    for number, tokens in enumerate(questions):
        behind, before, truth = (np.concatenate([part[which][number] for part in parts]) for which in range(3))
        names = tuple(name for name, _ in modality.labels.estimates(number, tokens))
        names = names if len(names) == len(tokens) else (f"no {names[0]}", names[0])
        found.append(Judged(names, reading.probabilities(behind, before), truth, reading.thresholds.get(names[-1])))
    return found


def auroc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Area under the receiver operating characteristic; NaN without both kinds."""
    yes = int(positive.sum())
    no = len(positive) - yes
    if not yes or not no:
        return float("nan")
    return float((ranks(scores)[positive].sum() - yes * (yes - 1) / 2) / (yes * no))


def figures_of(one: Judged) -> dict[str, Metric]:
    """AUC (of several labels their mean, each against the others), accuracy, calibration; sensitivity and specificity."""
    p, truth, decided = one.probabilities, one.truth, one.decided
    n = len(truth)
    places = [1] if p.shape[1] == 2 else range(p.shape[1])

    def auc(rows: NDArray[np.int64]) -> float:
        return float(np.nanmean([auroc(p[rows, place], truth[rows] == place) for place in places]))

    every = np.arange(n)
    right = decided == truth
    sure = p[every, p.argmax(1)]
    found = {
        "AUC": Metric(auc(every), n, "up", *resampled(auc, n, RESAMPLES)),
        "accuracy": Metric(
            float(right.mean()), n, "up", *resampled(lambda rows: float(right[rows].mean()), n, RESAMPLES)
        ),
        "accuracy of the likeliest": proportion(int((p.argmax(1) == truth).sum()), n),
        "nats": Metric(float(-np.log(np.maximum(p[every, truth], 1e-12)).mean()), n, "down"),
        "Brier score": Metric(float(((p - np.eye(p.shape[1])[truth]) ** 2).sum(1).mean()), n, "down"),
        "calibration error": Metric(calibration_error(sure, p.argmax(1) == truth), n, "down"),
    }
    if p.shape[1] == 2:
        for name, kind in (("sensitivity", 1), ("specificity", 0)):
            found[name] = proportion(int(right[truth == kind].sum()), int((truth == kind).sum()))
        if one.threshold is not None:
            found["threshold"] = Metric(one.threshold, n)
    return found


def calibration_error(sure: NDArray[Any], right: NDArray[np.bool_]) -> float:
    """Expected calibration error over `BINS` bins of equal width (Guo et al. 2017, equation 3)."""
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [
        abs(float(right[place == one].mean()) - float(sure[place == one].mean())) * (place == one).mean()
        for one in range(BINS)
        if (place == one).any()
    ]
    return float(sum(gaps))


def _curve(one: Judged) -> Figure:
    """The receiver operating characteristic of a yes or no, with the threshold in use."""
    positive = one.truth == 1
    cuts = np.concatenate([[np.inf], np.unique(one.probabilities[:, 1])[::-1]])
    rates = [[float((one.probabilities[kind, 1] >= cut).mean()) for cut in cuts] for kind in (~positive, positive)]
    used = [float(one.decided[kind].mean()) for kind in (~positive, positive)]
    drawn: dict[str, str | bytes] = {}
    for language in LANGUAGES:
        with figures.canvas(3.6, 3.2) as figure:
            panel = figure.subplots()
            panel.plot([0, 1], [0, 1], color=figures.GREY, linewidth=0.8, linestyle=":")
            panel.plot(*rates)
            panel.plot(*([rate] for rate in used), "o")
            panel.set_xlabel(translate("images.figure.false", language))
            panel.set_ylabel(translate("images.figure.true", language))
            panel.set_title(named(one.names[1], language))
            drawn[language] = figures.svg(figure)
    area = f"{auroc(one.probabilities[:, 1], positive):.3f}"
    return Figure(drawn, "", ((Text("images.metric.AUC"), area),))

"""How a trained model of images is to be read, from held-out ones: what usual images are like, and what likelihoods are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from puji.modalities.images import predict
from puji.modalities.images.augment import ELSEWHERE
from puji.modalities.images.image import Image
from puji.modalities.images.predict import Reading
from puji.modalities.images.usual import traits

BLOCK = 64
"""Images that are read at once."""
MOST_HELD_OUT = 1000
"""Held-out images by which answers are calibrated."""


def traits_of(model: Any, records: Sequence[Image]) -> predict.Array:
    """What is measured of each image, see usual.py: (images, traits). ``model``: a `puji.Model` of images."""
    modality = model.modality
    surprise = -np.stack(model.token_log_likelihoods(records))[:, 1:-1]
    return traits(modality.book, np.stack([modality.standard(record) for record in records]), surprise)


def reading_of(model: Any, records: Sequence[Image]) -> Reading | None:
    """How likelihoods become probabilities, from held-out ``records``, each as it is and once as another machine might take it;
    None where there is no label to ask for.

    What is chosen on images of one machine alone trusts the label behind the image too much (lab notebook).
    """
    labels = model.modality.labels
    known = [record for record in records if labels.known(record.labels) is not None][:MOST_HELD_OUT]
    rng = np.random.default_rng(0)
    known += [replace(record, pixels=ELSEWHERE(record.array, rng).tobytes()) for record in known]
    if not labels.questions():
        return None
    return predict.calibrated(labels, *readings(model, known, bayes=True))


def readings(
    model: Any, records: Sequence[Image], *, moves: int = len(predict.MOVES), bayes: bool = True
) -> tuple[list[predict.Array], list[predict.Array], list[np.ndarray]]:
    """Of each question both readings of ``records``, (images, moves, tokens) each, and the places of the true tokens.

    Where the labels of a record are not known, or were not learned, the place is -1.
    """
    modality = model.modality
    questions = modality.labels.questions()
    behind: list[list[predict.Array]] = [[] for _ in questions]
    before: list[list[predict.Array]] = [[] for _ in questions]
    for start in range(0, len(records), BLOCK):
        asked = [
            predict.candidates(modality.book, modality.labels, modality.standard(record), moves, bayes)
            for record in records[start : start + BLOCK]
        ]
        found = model.compare([candidate for one, _ in asked for candidate in one])
        ends = np.cumsum([len(one) for one, _ in asked])
        for (_, sorted_out), part in zip(asked, np.split(found, ends[:-1]), strict=True):
            for number, (one, two) in enumerate(sorted_out(part)):
                behind[number].append(one)
                before[number].append(two)
    told = [modality.labels.known(record.labels) for record in records]
    truths = []
    for number, tokens in enumerate(questions):
        places = [-1 if one is None else tokens.index(modality.labels.answers(one)[number]) for one in told]
        truths.append(np.array(places, np.int64))
    return [np.stack(one) for one in behind], [np.stack(one) for one in before], truths

"""Which finding a sentence hangs on: how much less likely the network finds it when the finding is left out of the input."""

from __future__ import annotations

from typing import Any

import numpy as np

from puji import flow
from puji.engine import score
from puji.modalities.reports.report import Given, Report
from puji.modalities.reports.tokens import IMPRESSION, header
from puji.modalities.reports.words import sentences, words
from puji.modality import END


def attributed(model: Any, report: Report) -> np.ndarray:
    """Nats that each given finding adds to each sentence, shape (sentences of both sections, findings given).

    ``model``: a `puji.Model` of reports. Leave-one-out: log p(sentence | all that stands before it) less the same with the
    finding left out of the input.
    """
    told = [report.given, *(report.given[:place] + report.given[place + 1 :] for place in range(len(report.given)))]
    likelihoods = np.stack([_likelihoods(model, report, given) for given in told])
    added: np.ndarray = (likelihoods[:1] - likelihoods[1:]).T
    return added


def _likelihoods(model: Any, report: Report, given: tuple[Given, ...]) -> np.ndarray:
    """Log-likelihood of each sentence."""
    front = header(report.indication, map(model.modality.known, given))
    first, second = ([words(one) for one in sentences(text)] for text in (report.findings, report.impression))
    tokens, places = list(front), [0.0] * len(front)
    for number, sentence in enumerate((*first, [IMPRESSION], *second, [END])):
        tokens += sentence
        places += [float(number + 1)] * len(sentence)
    ids, spread = model.vocabulary.encode_weighted(tokens, places)
    head = flow.encode(model.modality, model.vocabulary, front).header
    (found,) = score.token_logprobs(model.network, [ids], headers=[head])
    sums = np.bincount(
        np.asarray(spread, int), weights=np.asarray(found, float), minlength=len(first) + len(second) + 3
    )
    return np.concatenate([sums[1 : len(first) + 1], sums[len(first) + 2 : len(first) + 2 + len(second)]])

"""Which finding a sentence hangs on: how much less likely the network finds it when the finding is left out of the input."""

from __future__ import annotations

from typing import Any

import numpy as np

from puji import flow
from puji.engine import score
from puji.modalities.reports.plan import SAYS, plan, split, stated
from puji.modalities.reports.report import Given, Report
from puji.modalities.reports.tokens import IMPRESSION, header
from puji.modalities.reports.words import text_of, words


def attributed(model: Any, report: Report) -> np.ndarray:
    """Nats that each given finding adds to each sentence (`split`), shape (sentences of both sections, findings given).

    ``model``: a `puji.Model` of reports. Leave-one-out: log p(sentence | all that stands before it) less the same with the
    finding left out of the input and of the plans.
    """
    told = [report.given, *(report.given[:place] + report.given[place + 1 :] for place in range(len(report.given)))]
    likelihoods = np.stack([_likelihoods(model, report, given) for given in told])
    added: np.ndarray = (likelihoods[:1] - likelihoods[1:]).T
    return added


def _likelihoods(model: Any, report: Report, given: tuple[Given, ...]) -> np.ndarray:
    """Log-likelihood of each sentence behind its plan, of which what stands neither in ``given`` nor beside it is left out."""
    every = [model.modality.known(one) for one in report.given]
    known = [model.modality.known(one) for one in given]
    out = {stated(one) for one in every} - {stated(one) for one in known}
    front = header(report.indication, known)
    first, second = (list(split(words(text))) for text in (report.findings, report.impression))
    tokens, places = list(front), [0.0] * len(front)
    for number, sentence in enumerate((*first, *second), 1):
        before = [IMPRESSION] if number == len(first) + 1 else []
        before += [token for one in plan(every, text_of(sentence)) if one not in out for token in one]
        tokens += [*before, SAYS, *sentence]
        places += [0.0] * (len(before) + 1) + [float(number)] * len(sentence)
    ids, spread = model.vocabulary.encode_weighted(tokens, places)
    head = flow.encode(model.modality, model.vocabulary, front).header
    (found,) = score.token_logprobs(model.network, [ids], headers=[head])
    sums = np.bincount(np.asarray(spread, int), np.asarray(found, float), len(first) + len(second) + 1)
    return sums[1:]

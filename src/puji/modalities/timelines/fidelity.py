"""How like a real cohort another one is: codes, pairs, ages, lengths, and what a classifier learns from it.

R2 is the coefficient of determination against the line of identity, 1 - sum (x - y)^2 / sum (x - mean x)^2 with x the real
frequencies: a bias counts against it, unlike a squared correlation.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
import torch

from puji.modalities.timelines.timeline import DEATH, YEAR, Timeline
from puji.resampling import ranks

FREQUENT = 30
"""Patients with a code, on each side, from which its ages are compared."""
PAIRS = 20_000
"""Most pairs of codes that are compared, the most frequent of either cohort."""
AGE, HORIZON = 60.0, 5.0
"""The task of train-on-synthetic-test-on-real: at this age, what comes within so many years."""
DISEASES = 10
"""Outcomes of that task: those that come most often in the real training patients."""
WEIGHT = 1.0
"""Ridge penalty of the classifiers."""
STEPS = 60
FOLDS = 5


def r_squared(real: np.ndarray, other: np.ndarray) -> float:
    """See the module; nan where ``real`` does not vary. Shapes: (n,) both."""
    spread = float(((real - real.mean()) ** 2).sum())
    return 1.0 - float(((real - other) ** 2).sum()) / spread if spread > 0 else float("nan")


def agreement(
    real: Sequence[Timeline], other: Sequence[Timeline], told: Callable[[Timeline], Iterable[Hashable]]
) -> float:
    """R2 of how many a patient, of whatever ``told`` tells of one."""
    counts = [Counter(item for one in cohort for item in told(one)) for cohort in (real, other)]
    keys = {key for count in counts for key, _ in count.most_common(PAIRS)}
    ordered = sorted(keys, key=repr)
    x, y = (
        np.array([count[key] for key in ordered]) / len(cohort)
        for count, cohort in zip(counts, (real, other), strict=True)
    )
    return r_squared(x, y)


def codes(record: Timeline) -> set[str]:
    """The codes of a patient, each once."""
    return {event.code for event in record.events}


def pairs(record: Timeline) -> set[tuple[str, str]]:
    """Codes that a patient has both of."""
    ordered = sorted(codes(record))
    return {(first, second) for place, first in enumerate(ordered) for second in ordered[place + 1 :]}


def bigrams(record: Timeline) -> list[tuple[str, str]]:
    """Codes that follow each other."""
    told = [event.code for event in record.events]
    return list(itertools.pairwise(told))


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> float:
    """The largest distance of two empirical distribution functions, 0 to 1."""
    both = np.sort(np.concatenate([first, second]))
    shares = (np.searchsorted(np.sort(one), both, side="right") / len(one) for one in (first, second))
    return float(np.abs(np.subtract(*shares)).max())


def onset_ages(real: Sequence[Timeline], other: Sequence[Timeline]) -> float:
    """Mean Kolmogorov-Smirnov distance of the age at a code's first occurrence, over codes that are `FREQUENT` in both."""
    ages: list[dict[str, list[float]]] = []
    for cohort in (real, other):
        found: dict[str, list[float]] = {}
        for record in cohort:
            first = {event.code: event.age for event in reversed(record.events)}
            for code, age in first.items():
                found.setdefault(code, []).append(age)
        ages.append(found)
    shared = sorted(code for code in ages[0] if min(len(one.get(code, ())) for one in ages) >= FREQUENT)
    distances = [kolmogorov_smirnov(*(np.array(one[code]) for one in ages)) for code in shared]
    return float(np.mean(distances)) if distances else float("nan")


# -- classifiers ------------------------------------------------------------------------------------------------------


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Probability that a positive scores above a negative, ties by half (Mann-Whitney); nan with one class alone."""
    positive = labels.astype(bool)
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((ranks(scores)[positive].sum() - n * (n - 1) / 2) / (n * m))


def logistic(inputs: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Ridge logistic regression (penalty `WEIGHT`, not on the intercept) by L-BFGS; gives log odds. Shapes: (n, d), (n,)."""
    x = torch.from_numpy(np.hstack([inputs, np.ones((len(inputs), 1))]))
    y = torch.from_numpy(labels.astype(float))
    weights = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        fit = torch.nn.functional.binary_cross_entropy_with_logits(x @ weights, y, reduction="sum")
        loss = fit + 0.5 * WEIGHT * weights[:-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    found = weights.detach().numpy()
    return lambda rows: np.hstack([rows, np.ones((len(rows), 1))]) @ found


def cross_validated(
    inputs: np.ndarray, labels: np.ndarray, seed: int = 0, groups: np.ndarray | None = None
) -> np.ndarray:
    """Log odds of each row by a `logistic` regression on the other `FOLDS` - 1 folds, (n,). Shapes: (n, d), (n,).

    ``groups``: a number for each row; rows of one group share a fold. None: each row is its own.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    fold = np.random.default_rng(seed).permutation(groups.max() + 1)[groups] % FOLDS
    scores = np.zeros(len(labels))
    for number in range(FOLDS):
        out = fold == number
        if out.any() and not out.all():
            scores[out] = logistic(inputs[~out], labels[~out])(inputs[out])
    return scores


def features(records: Sequence[Timeline], known: Sequence[str], until: float | None = None) -> np.ndarray:
    """Sex and whether each of the ``known`` codes was told until an age in days: (n, 1 + len(known))."""
    place = {code: number for number, code in enumerate(known, 1)}
    found = np.zeros((len(records), 1 + len(known)))
    for row, record in enumerate(records):
        found[row, 0] = record.sex == "male"
        for event in record.events:
            if event.code in place and (until is None or event.age <= until):
                found[row, place[event.code]] = 1.0
    return found


def at_risk(records: Sequence[Timeline], age: float = AGE, horizon: float = HORIZON) -> list[Timeline]:
    """Patients who were alive and under observation at ``age`` (years), and followed to the horizon or to death."""
    now, stop = age * YEAR, (age + horizon) * YEAR
    return [one for one in records if one.end > now and one.events[0].age <= now and (one.end >= stop or one.died)]


def outcome(records: Sequence[Timeline], code: str, age: float = AGE, horizon: float = HORIZON) -> np.ndarray:
    """Whether ``code`` comes first within the horizon; nan for those who had it before, (n,)."""
    now, stop = age * YEAR, (age + horizon) * YEAR
    found = np.zeros(len(records))
    for row, record in enumerate(records):
        first = next((event.age for event in record.events if event.code == code), None)
        found[row] = float("nan") if first is not None and first <= now else first is not None and first <= stop
    return found


def transfer(
    real: Sequence[Timeline], synthetic: Sequence[Timeline], test: Sequence[Timeline], times: int = 1
) -> tuple[float, float, int]:
    """Mean AUROC on real ``test`` patients of classifiers trained on synthetic and on real ones, and for how many outcomes.

    The outcomes are those most frequent in the real training patients; inputs, classifier and its penalty are fixed.
    ``times``: the most synthetic patients for each real one.
    """
    real, synthetic, test = (at_risk(cohort) for cohort in (real, synthetic, test))
    size = min(len(real), len(synthetic))
    real, synthetic = real[:size], synthetic[: times * size]
    known = sorted({event.code for one in real for event in one.events} - {DEATH})
    counts = {code: np.nansum(outcome(real, code)) for code in (*known, DEATH)}
    wanted = sorted(counts, key=lambda code: (-counts[code], code))[:DISEASES]
    inputs = [features(cohort, known, AGE * YEAR) for cohort in (synthetic, real, test)]
    rows = []
    for code in wanted:
        labels = [outcome(cohort, code) for cohort in (synthetic, real, test)]
        kept = [~np.isnan(one) for one in labels]
        if any(len(np.unique(one[keep])) < 2 for one, keep in zip(labels, kept, strict=True)):
            continue
        row = []
        for place in (0, 1):
            told = logistic(inputs[place][kept[place]], labels[place][kept[place]])
            row.append(auroc(told(inputs[2][kept[2]]), labels[2][kept[2]]))
        rows.append(row)
    if not rows:
        return float("nan"), float("nan"), 0
    synthetic_auroc, real_auroc = np.mean(rows, axis=0)
    return float(synthetic_auroc), float(real_auroc), len(rows)


def discriminator(real: Sequence[Timeline], other: Sequence[Timeline], seed: int = 0) -> float:
    """AUROC of telling the cohorts apart by codes, sex, age at the end and number of events; .5 is best. Cross-validated."""
    size = min(len(real), len(other))
    records = [*real[:size], *other[:size]]
    labels = np.repeat([0.0, 1.0], size)
    counts = Counter(code for one in records for code in codes(one))
    inputs = features(records, [code for code, _ in counts.most_common(500)])
    lengths = np.array([[one.end / YEAR, len(one.events)] for one in records])
    inputs = np.hstack([inputs, (lengths - lengths.mean(0)) / (lengths.std(0) + 1e-9)])
    # A copy with the other label would teach the classifier to be wrong about its original: equal rows share a fold.
    _, groups = np.unique(inputs, axis=0, return_inverse=True)
    return auroc(cross_validated(inputs, labels, seed, groups), labels)

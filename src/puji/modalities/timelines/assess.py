"""What a model predicts of held-out patients, against what came: hit rates of the next event, and risks within horizons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from puji import figures
from puji.errors import Invalid
from puji.gallery import Figure
from puji.intervals import clustered, proportion
from puji.language import LANGUAGES, Text, translate
from puji.modalities.timelines import hits
from puji.modalities.timelines.codebook import Codebook
from puji.modalities.timelines.conditions import Ask, Outcome, horizons, outcome_within, within
from puji.modalities.timelines.draw import Naming, short
from puji.modalities.timelines.fidelity import auroc, cross_validated
from puji.modalities.timelines.future import asked_of
from puji.modalities.timelines.timeline import DEATH, YEAR, Timeline
from puji.modality import Assessment, Metric
from puji.resampling import resampled

LANDMARKS = tuple(float(age) for age in range(20, 91, 5))
"""Ages in years at which patients may be asked about."""
MOST_PATIENTS = 1000
"""Patients who are asked about their futures; drawn from more."""
MOST_OUTCOMES = 10
LEAST = 10
"""Patients with an outcome and without, from which there are figures about it."""
RESAMPLES = 200
GROUPS = 5
"""Points of a calibration curve: fifths of the patients by risk."""


@dataclass
class Asked:
    """One outcome within one horizon: risks and what came (0 or 1), (n,); the risk that age and sex alone tell, (n,)."""

    name: str
    risk: np.ndarray
    came: np.ndarray
    plain: np.ndarray


def assess(
    model: Any,
    patients: Sequence[Timeline],
    ask: Ask,
    seed: int = 0,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> Assessment:
    """All figures, with 95 % intervals by resampling patients, and calibration curves.

    Each patient is asked about once, at an age drawn from `LANDMARKS` at which something was known and after which the patient
    was followed to the farthest horizon, or died.

    ``step`` is called with how many patients are done, of how many. Raises Invalid where nobody fits.
    """
    for name in ("by", "now"):
        if getattr(ask, name) != Ask.model_fields[name].default:
            raise Invalid("timelines.assess_option", option=f"--{name}")
    patients = [one for one in patients if one.events]
    found = next_event(model, patients, seed)
    wanted = horizons(ask.horizon)
    chosen = landmarks(patients, wanted[-1], seed)
    if not chosen:
        raise Invalid("timelines.few_landmarks", horizon=f"{wanted[-1]:g}")
    book = model.modality.book
    outcomes = asked_of(book, ask) or frequent(book, chosen, wanted[-1])
    rows, answered = risks(model, chosen, outcomes, ask, seed, step)
    found["answered"] = proportion(answered, len(chosen))
    asked = [one for one in rows if min(one.came.sum(), len(one.came) - one.came.sum()) >= LEAST]
    # Who asks about few patients should see that no outcome is left to judge.
    found["outcomes judged"] = Metric(len(asked), len(rows))
    for one in asked:
        found |= figures_of(one, seed)
    return Assessment(found, lambda: [_calibration(one, book.name) for one in asked])


def next_event(model: Any, patients: Sequence[Timeline], seed: int) -> dict[str, Metric]:
    """Hit rates among all codes, with and without those that the patient has had, and nats an event."""
    ranks = hits.judge(model, patients, model.modality.book.codes)
    found = {"next event, nats": clustered(ranks.nats, ranks.patient, RESAMPLES, "down", seed)}
    for top in hits.TOPS:
        for name, rank in (("", ranks.rank), (", new codes", ranks.rank_excluded)):
            found[f"next event, top {top}{name}"] = clustered(rank < top, ranks.patient, RESAMPLES, "up", seed)
    return found


def landmarks(patients: Sequence[Timeline], horizon: float, seed: int) -> list[tuple[Timeline, float]]:
    """Up to `MOST_PATIENTS` patients, each with an age in years to be asked at."""
    rng = np.random.default_rng(seed)
    found = []
    for index in rng.permutation(len(patients)):
        one = patients[index]
        ages = [
            age
            for age in LANDMARKS
            if one.events[0].age <= age * YEAR < one.end and (one.died or one.end >= (age + horizon) * YEAR)
        ]
        if ages:
            found.append((one, float(rng.choice(ages))))
    return found[:MOST_PATIENTS]


def frequent(book: Codebook, chosen: Sequence[tuple[Timeline, float]], horizon: float) -> list[Outcome]:
    """The codes, of none that is measured, that most often came for the first time within the horizon, and death."""
    counts: Counter[str] = Counter()
    for record, age in chosen:
        first = {book.token(event.code): event.age / YEAR for event in reversed(record.events)}
        counts.update(code for code, when in first.items() if age < when <= age + horizon)
    for code in (DEATH, *book.edges):  # as for futures: a measurement says more about the clinic than about the patient
        counts.pop(code, None)
    ordered = sorted(counts, key=lambda code: (-counts[code], code))[:MOST_OUTCOMES]
    return [Outcome(code, frozenset({code})) for code in (*ordered, DEATH)]


def risks(
    model: Any,
    chosen: Sequence[tuple[Timeline, float]],
    outcomes: Sequence[Outcome],
    ask: Ask,
    seed: int,
    step: Callable[[int, int], None],
) -> tuple[list[Asked], int]:
    """What the model says and what came, for patients without the outcome before; how many were answered at all."""
    wanted = horizons(ask.horizon)
    told = ";".join(f"{one.name}={','.join(sorted(one.codes))}" for one in outcomes)
    rows: dict[str, list[tuple[float, float, float, float]]] = {}
    answered = 0
    mapped = model.modality.book.mapped
    for number, (record, age) in enumerate(chosen):
        answer = model.predict(record, ask.model_copy(update={"outcomes": told, "now": age}), seed=seed + number)
        step(number + 1, len(chosen))
        answered += bool(answer.estimates)
        for one in outcomes if answer.estimates else ():
            first = next((event.age / YEAR for event in record.events if one.holds(mapped(event.code))), np.inf)
            for years in wanted if first > age else ():
                name = within(one.name, years)
                came = float(first <= age + years)
                rows.setdefault(name, []).append((answer.estimates[name].value, came, age, record.sex == "male"))
    return [_asked(name, np.array(found, dtype=float), seed) for name, found in rows.items()], answered


def _asked(name: str, rows: np.ndarray, seed: int) -> Asked:
    """With the risk from age, its square and sex, each patient's from a regression on the others (5 folds)."""
    risk, came, age, male = rows.T
    inputs = np.stack([(age - 50) / 20, ((age - 50) / 20) ** 2, male], 1)
    return Asked(name, risk, came, cross_validated(inputs, came, seed))


def figures_of(one: Asked, seed: int) -> dict[str, Metric]:
    """AUROC, that of age and sex, AUPRC, Brier score, calibration slope, what came over what was expected."""
    measures: dict[str, tuple[Callable[[np.ndarray], float], str]] = {
        "AUROC": (lambda rows: auroc(one.risk[rows], one.came[rows]), "up"),
        "AUROC of age and sex": (lambda rows: auroc(one.plain[rows], one.came[rows]), ""),
        "AUPRC": (lambda rows: average_precision(one.risk[rows], one.came[rows]), "up"),
        "share with it": (lambda rows: float(one.came[rows].mean()), ""),
        "Brier score": (lambda rows: float(((one.risk[rows] - one.came[rows]) ** 2).mean()), "down"),
        "calibration slope": (lambda rows: calibration_slope(one.risk[rows], one.came[rows]), ""),
        "observed over expected": (lambda rows: float(one.came[rows].sum() / max(one.risk[rows].sum(), 1e-9)), ""),
    }
    size = len(one.came)
    found = {}
    for name, (measure, better) in measures.items():
        low, high = resampled(measure, size, RESAMPLES, seed)
        found[f"{one.name}, {name}"] = Metric(measure(np.arange(size)), size, better, low, high)
    return found


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the precision-recall curve as the mean precision at each positive; ties share their precision."""
    if not labels.sum():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    scores, labels = scores[order], labels[order]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    positives = np.cumsum(labels)[last]
    precision = positives / (last + 1)
    return float((precision * np.diff(positives, prepend=0)).sum() / labels.sum())


def calibration_slope(risk: np.ndarray, came: np.ndarray, steps: int = 25) -> float:
    """Of a logistic regression of what came on the log odds of the risk (Cox 1958); 1 is best. By Newton's method."""
    least = 0.25 / max(len(risk), 100)
    p = np.clip(risk, least, 1 - least)
    x = np.stack([np.ones(len(p)), np.log(p / (1 - p))], 1)
    weights = np.array([0.0, 1.0])
    for _ in range(steps):
        mean = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        hessian = (x * (mean * (1 - mean))[:, None]).T @ x + 1e-9 * np.eye(2)
        change = np.linalg.solve(hessian, x.T @ (came - mean))
        weights = weights + np.clip(change, -2, 2)
        if np.abs(change).max() < 1e-8:
            break
    return float(weights[1])


def _calibration(one: Asked, naming: Naming) -> Figure:
    """Risk against what came, in groups of equal size, with Wilson's intervals."""
    drawn: dict[str, Any] = {}
    order = np.array_split(np.argsort(one.risk, kind="stable"), GROUPS)
    points = [(one.risk[rows].mean(), proportion(int(one.came[rows].sum()), len(rows))) for rows in order if len(rows)]
    outcome, years = outcome_within(one.name) or (one.name, 0.0)
    for language in LANGUAGES:
        with figures.canvas(3.6, 3.2) as figure:
            panel = figure.subplots()
            top = 1.05 * max(*(share.high or 0.0 for _, share in points), *(risk for risk, _ in points))
            panel.plot([0, 100 * top], [0, 100 * top], color=figures.GREY, linewidth=0.8, linestyle=":")
            for risk, share in points:
                panel.plot([100 * risk] * 2, [100 * (share.low or 0), 100 * (share.high or 0)], color=figures.RULE)
            panel.plot(
                [100 * risk for risk, _ in points], [100 * share.value for _, share in points], "o-", markersize=4
            )
            panel.set_xlabel(translate("timelines.figure.predicted", language))
            panel.set_ylabel(translate("timelines.figure.came", language))
            span = translate("timelines.years", language, years=f"{years:g}")
            panel.set_title(f"{short(outcome, language, naming)}, {span}")
            drawn[language] = figures.svg(figure)
    value = f"{auroc(one.risk, one.came):.3f}"
    return Figure(drawn, "", ((Text("timelines.fact.auroc"), value), (Text("timelines.fact.n"), str(len(one.came)))))

"""Figures of a cohort: what real patients reach, what dummies must fail in."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import simulator
from benchmarks.timelines_quality import difference
from puji.errors import Invalid
from puji.modalities.timelines import fidelity, privacy
from puji.modalities.timelines.hits import Ranks, ranks
from puji.modalities.timelines.metrics import cohort_metrics
from puji.modalities.timelines.modality import Timelines
from puji.modalities.timelines.timeline import Event, Timeline
from puji.modality import Metric, Raw


@pytest.fixture(scope="module")
def cohorts():
    found = simulator.simulate(4500, seed=5)
    return found[:1500], found[1500:3000], found[3000:]


def judged(samples, **references):
    told = {name: [Raw(one) for one in cohort] for name, cohort in references.items()}
    return cohort_metrics([Raw(one) for one in samples], told)


def score(samples, **references):
    return {name: one.value for name, one in judged(samples, **references).items()}


def verdict(metrics):
    """The title of the section on privacy, and the finding of each check."""
    (section,) = Timelines().verdict(metrics)
    return section.title.key, [row["finding"].key.rpartition(".")[2] for row in section.table]


def test_other_real_patients_are_alike_and_give_nobody_away(cohorts):
    train, test, other = cohorts
    metrics = judged(other, train=train, test=test)
    assert verdict(metrics) == ("timelines.privacy.title.pass", ["pass"] * 3)
    found = {name: one.value for name, one in metrics.items()}
    assert found["prevalence R2"] > 0.98 and found["co-occurrence R2"] > 0.95 and found["bigram R2"] > 0.8
    assert found["onset age KS"] < 0.12 and found["events per patient KS"] < 0.06
    assert 0.45 < found["discriminator AUROC"] < 0.55
    assert 0.47 < found["membership AUROC"] < 0.53 and 0.95 < found["distance ratio"] < 1.05
    assert abs(found["TSTR AUROC"] - found["TRTR AUROC"]) < 0.05 and found["TRTR AUROC"] > 0.6


def test_copies_of_the_training_patients_fail_in_privacy_alone(cohorts):
    train, test, _ = cohorts
    drawn = [train[i] for i in np.random.default_rng(0).integers(len(train), size=len(train))]
    metrics = judged(drawn, train=train, test=test)
    assert verdict(metrics) == ("timelines.privacy.title.closer", ["closer"] * 3)
    found = {name: one.value for name, one in metrics.items()}
    assert found["prevalence R2"] > 0.98 and 0.45 < found["discriminator AUROC"] < 0.55
    assert found["membership AUROC"] > 0.7 and found["distance ratio"] < 0.1
    assert found["exact copies"] == 1.0 > 10 * found["exact copies, real"]


def test_privacy_cannot_be_told_from_few_patients_or_without_others(cohorts):
    train, test, other = cohorts
    title, found = verdict(judged(other[:60], train=train[60:120], test=test[60:120]))
    assert title == "timelines.privacy.title.unclear" and found[1] == "unclear"
    assert verdict(judged(other[:60], train=train[:60])) == ("timelines.privacy.unjudged", [])
    assert not Timelines().verdict({"next event, nats": Metric(1.0, 5)})


def test_a_verdict_names_its_numbers_in_both_languages():
    rates = {"exact copies": Metric(0.02, 500, low=0.011), "exact copies, real": Metric(0.01, 400, high=0.03)}
    metrics = {"prevalence R2": Metric(1.0, 1), "membership AUROC": Metric(0.56, 800, "", 0.52, 0.60)}
    metrics |= {**rates, "distance ratio": Metric(0.97, 500, "up", 0.94, 1.0)}
    assert verdict(metrics)[1] == ["unclear", "closer", "unclear"]
    (section,) = Timelines().verdict(metrics)
    for language in ("en", "zh"):
        copies, attack, ratio = (list(row.values())[2] for row in section.rows(language))
        assert "2.0" in copies and "1.0" in copies and "500" in copies
        assert "0.56" in attack and "0.60" in attack and "0.97" in ratio and "0.95" in ratio
        assert "{" not in copies + attack + ratio


def test_a_cohort_with_shuffled_codes_fails_in_fidelity(cohorts):
    train, test, other = cohorts
    rng = np.random.default_rng(0)
    codes = [event.code for one in other for event in one.events if event.code != "DEATH"]
    shuffled = []
    for one in other:
        events = tuple(Event(e.age, codes[int(rng.integers(len(codes)))]) for e in one.events if e.code != "DEATH")
        shuffled.append(Timeline(one.sex, None, events, one.end))
    found = score(shuffled, train=train, test=test)
    assert found["bigram R2"] < 0.5 and found["discriminator AUROC"] > 0.7 and found["onset age KS"] > 0.2


def test_too_few_patients_are_refused(cohorts):
    with pytest.raises(Invalid):
        score(cohorts[0][:5], train=cohorts[1])


def test_auroc_is_the_share_of_ordered_pairs():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 6, 60).astype(float), rng.integers(0, 2, 60).astype(float)
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels == 1] for b in scores[labels == 0]]
    assert fidelity.auroc(scores, labels) == pytest.approx(np.mean(pairs))
    assert np.isnan(fidelity.auroc(scores, np.ones(60)))


def test_kolmogorov_smirnov_against_scipy():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    one, two = rng.normal(size=80).round(1), rng.normal(0.5, size=50).round(1)
    assert fidelity.kolmogorov_smirnov(one, two) == pytest.approx(ks_2samp(one, two).statistic)


def test_r_squared_counts_a_bias_against_a_cohort():
    real = np.array([0.1, 0.2, 0.3])
    assert fidelity.r_squared(real, real) == 1.0
    assert fidelity.r_squared(real, real * 2) < 0 < np.corrcoef(real, real * 2)[0, 1]


def test_logistic_regression_finds_the_odds():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(4000, 2))
    labels = (rng.random(4000) < 1 / (1 + np.exp(-(inputs @ [1.0, -2.0] + 0.5)))).astype(float)
    told = fidelity.logistic(inputs, labels)
    found = told(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert found - [0, found[0], found[0]] == pytest.approx([0.5, 1.0, -2.0], abs=0.2)


def test_the_nearest_patient_is_found(cohorts):
    train = cohorts[0][:50]
    assert privacy.nearest(train[:5], train).tolist() == [0.0] * 5
    assert (privacy.nearest(train[:5], train[5:]) > 0).all()


def test_ranks_with_and_without_past_diseases():
    logits = np.log(np.array([0.4, 0.3, 0.2, 0.1]))
    rank, excluded, nats = ranks(logits, 2, [0])
    assert (rank, excluded) == (2, 1) and nats == pytest.approx(-np.log(0.2))
    patients = np.array([0, 0, 1])
    ours = Ranks(patients, np.array([0, 0, 0]), np.array([0, 0, 0]), np.zeros(3))
    other = Ranks(patients, np.array([9, 0, 9]), np.array([9, 0, 9]), np.zeros(3))
    assert difference(ours, other, 1)[0] == pytest.approx(2 / 3)

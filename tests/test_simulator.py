"""The simulator of the truth test: its hazards are what it says, and age and sex alone do not tell the risks."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import simulator, timelines_truth
from benchmarks.simulator import DEAD, NAMES, People
from puji.modalities.timelines.fidelity import auroc


@pytest.fixture(scope="module")
def cohort():
    return simulator.simulate(3000, seed=1)


def test_waiting_times_are_those_of_the_hazards():
    """Cumulative hazards until the first event are exponential with mean 1, whatever the hazards are."""
    n = 2000
    everyone = People(np.arange(n) % 2 == 0, np.arange(n) % 3, np.zeros((n, len(NAMES)), bool))
    found, _ = simulator.run(everyone, np.full(n, 40.0), np.full(n, 99.0), np.random.default_rng(0))
    first = np.minimum(found.min(1), 99.0)
    total = np.zeros(n)
    for quarter in np.arange(40.0, 99.0, simulator.STEP):
        spent = np.clip(first - quarter, 0, simulator.STEP)
        total += simulator.hazards(everyone, np.full(n, quarter + 1e-6)).sum(1) * spent
    assert abs(total.mean() - 1) < 4 / np.sqrt(n)
    assert abs((total > np.log(2)).mean() - 0.5) < 0.045


def test_nobody_has_a_disease_twice_and_nothing_after_death(cohort):
    for record in cohort:
        codes = [event.code for event in record.events]
        assert len(set(codes)) == len(codes)
        assert record.died == (codes[-1] == "DEATH") and record.end >= record.events[-1].age
    assert 10 < np.mean([len(record.events) for record in cohort]) + 6 < 20
    assert 0.1 < np.mean([record.died for record in cohort]) < 0.7


def test_the_oracle_is_calibrated_and_age_and_sex_are_not_enough(cohort):
    """Age and sex alone reach at most .8 of the oracle's AUROC above chance."""
    risks, tables, outcomes = [], [], []
    for age in (45.0, 55.0, 65.0, 75.0):
        kept, came = simulator.landmark(cohort, age, 5.0)
        risks.append(simulator.risks(kept, age, 5.0, draws=30))
        tables.append(timelines_truth.table(cohort, kept, age))
        outcomes.append(came)
    told, by_table, came = map(np.concatenate, (risks, tables, outcomes))
    shares = []
    for place in range(len(NAMES)):
        known = ~np.isnan(came[:, place])
        events, expected = came[known, place].sum(), told[known, place].sum()
        assert abs(events - expected) < 4.5 * np.sqrt(expected + 1), NAMES[place]
        if events >= 30:
            shares.append([auroc(one[known, place], came[known, place]) - 0.5 for one in (told, by_table)])
    oracle, by_sex = np.mean(shares, axis=0)
    assert oracle > 0.2 and by_sex < 0.8 * oracle


def test_hazard_ratios_come_back_from_a_cohort(cohort):
    more = [*cohort, *simulator.simulate(6000, seed=2)]
    for before, after in (("E66", "E11"), ("J44", "J18"), ("I10", "N18")):
        found = simulator.hazard_ratio(more, before, after)
        truth = simulator.LATER[before, after]
        assert 0.75 * truth < found < 1.35 * truth, (before, after, found)
    assert 0.7 < simulator.hazard_ratio(more, "M17", "E11") / 1 < 2.2, "no arrow, some confounding by weight"


def test_hazards_stop_at_death():
    had = np.zeros((1, len(NAMES)), bool)
    had[0, DEAD] = True
    assert simulator.hazards(People(np.array([True]), np.array([0]), had), np.array([60.0])).sum() == 0

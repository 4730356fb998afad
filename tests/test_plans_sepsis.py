"""The sepsis simulator on made-up probabilities: episodes are drawn as these say, and values are those of the episodes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import sepsis as bench
from benchmarks.sepsis_baselines import Counts, baselines, pessimistic, value_iteration
from puji.errors import Invalid
from puji.modalities.plans import sepsis
from puji.modalities.plans.modality import Plans
from puji.modalities.plans.sepsis import ACTIONS, DEATH, STATES, SURVIVAL, Environment, greedy


@pytest.fixture(scope="module")
def environment():
    """Only the first 20 states are ever met; action 1 is better than the others in even states."""
    rng = np.random.default_rng(0)
    transitions = np.zeros((STATES, ACTIONS, STATES + 3))
    for state in range(20):
        for action in range(ACTIONS):
            good = 0.9 if action == 1 and state % 2 == 0 else 0.6
            transitions[state, action, SURVIVAL], transitions[state, action, DEATH] = good / 4, (1 - good) / 4
            for after in rng.choice(20, 3, replace=False):
                transitions[state, action, after] += 0.25
    transitions[20:, :, DEATH] = 1.0
    start = np.zeros(STATES)
    start[:4] = 0.25
    clinician = np.zeros((STATES, ACTIONS))
    clinician[:, :4] = (0.4, 0.3, 0.2, 0.1)
    return Environment(transitions, start, clinician, rng.normal(size=(STATES, 48)))


@pytest.fixture(scope="module")
def logs(environment):
    return environment.simulate(4000, seed=1)


def test_episodes_are_drawn_as_the_probabilities_say(environment, logs):
    assert np.bincount(logs.state[logs.starts])[:4] / 4000 == pytest.approx([0.25] * 4, abs=0.03)
    assert np.bincount(logs.action)[:4] / len(logs.action) == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.02)
    assert logs.starts.sum() == (logs.after >= STATES).sum() == 4000
    going = ~np.append(logs.starts[1:], True)
    assert (logs.after[going] == logs.state[1:][going[:-1]]).all(), "a step begins where the one before it led to"
    for state, action in ((0, 0), (1, 1), (2, 1)):
        here = (logs.state == state) & (logs.action == action)
        found = np.bincount(logs.after[here], minlength=STATES + 3) / here.sum()
        assert np.abs(found - environment.transitions[state, action]).max() < 5 * np.sqrt(0.25 / here.sum())
        assert (environment.transitions[state, action][logs.after[here]] > 0).all()


def test_values_are_those_of_the_episodes(environment, logs):
    exact = environment.survival(environment.clinician)
    share = logs.survived[logs.starts].mean()
    assert abs(share - exact) < 4 * np.sqrt(exact * (1 - exact) / 4000)
    best = environment.optimal()
    assert environment.survival(best) > exact + 0.05
    assert (best[:20:2].argmax(1) == 1).mean() > 0.8


def test_a_seed_decides_everything(environment, logs):
    again = environment.simulate(4000, seed=1)
    assert all(
        np.array_equal(getattr(logs, name), getattr(again, name)) for name in ("subject", "state", "action", "after")
    )
    assert not np.array_equal(environment.simulate(4000, seed=2).state, logs.state)


def test_the_table_is_what_the_modality_reads(environment, tmp_path):
    some = environment.simulate(50, seed=3)
    sepsis.table(some).write_parquet(tmp_path / "episodes.parquet")
    read = [one.content for one in Plans().read(tmp_path / "episodes.parquet")]
    assert read == bench.episodes(some)
    assert sum(len(one.steps) for one in read) == len(some.state)
    assert [one.outcome == "survived" for one in read] == some.survived[some.starts].tolist()


def test_baselines_are_where_they_should_be(environment, logs):
    found = baselines(environment, logs)
    assert found["clinician"] == environment.survival(environment.clinician)
    assert abs(found["behaviour cloning"] - found["clinician"]) < 0.02
    optimal = environment.survival(environment.optimal())
    # With hundreds of decisions for each action and an advantage this large, planners from counts come near the best.
    assert found["value iteration, N>=20"] > found["clinician"] + 0.8 * (optimal - found["clinician"])
    assert all(value <= optimal + 1e-9 for value in found.values())
    counts = Counts(logs)
    assert (value_iteration(counts)[:20].argmax(1) < 4).all() and (pessimistic(counts)[:20].argmax(1) < 4).all()
    assert counts.n.sum() == len(logs.state)


def test_data_that_were_not_fetched_are_named(tmp_path):
    with pytest.raises(Invalid) as caught:
        sepsis.environment(tmp_path)
    assert "icu-sepsis" in caught.value.message("en")


def test_the_network_learns_who_should_get_what(environment):
    """End to end on few episodes: what a network says of the states it has met is near the truth, and its plan is better than
    logged care."""
    some = environment.simulate(600, seed=5)
    wanted = {**bench.COMMON, "epochs": 120, "rounds": 2, "emphasis": 1.0}
    first, last = bench.learn(environment, some, 0, wanted)
    exact = environment.values(environment.clinician)
    assert np.abs(first.state[:20] - exact[:20]).mean() < 0.06
    assert last.taken[:20, :4].mean(0) == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.05)
    assert last.support[:20].sum() == pytest.approx(len(some.state), rel=0.1)
    assert environment.survival(bench.policy(last)) > environment.survival(environment.clinician) + 0.03
    assert environment.survival(greedy(bench.conditioned(first))) <= environment.survival(environment.optimal())

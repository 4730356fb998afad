"""Off-policy evaluation against exact values of small random Markov decision processes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puji.modalities.plans.evaluation import Logged, behaviour, evaluate, fitted_values

STATES, ACTIONS = 6, 3


class Process:
    """States, actions, an end that comes with probability .25, and a reward there that depends on state and action."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.after = rng.dirichlet(np.ones(STATES), (STATES, ACTIONS)) * 0.75
        self.good = rng.uniform(0, 1, (STATES, ACTIONS))
        self.start = rng.dirichlet(np.ones(STATES))
        self.logging = rng.dirichlet(4 * np.ones(ACTIONS), STATES)
        self.other = rng.dirichlet(4 * np.ones(ACTIONS), STATES)

    def value(self, policy: np.ndarray, discount: float = 1.0) -> float:
        step = np.einsum("sa,sat->st", policy, self.after)
        reward = (policy * 0.25 * self.good).sum(1)
        return float(self.start @ np.linalg.solve(np.eye(STATES) - discount * step, reward))

    def log(self, episodes: int, seed: int) -> Logged:
        rng = np.random.default_rng(seed)
        rows = []
        for episode in range(episodes):
            state = int(rng.choice(STATES, p=self.start))
            while state >= 0:
                action = int(rng.choice(ACTIONS, p=self.logging[state]))
                after = int(rng.choice(STATES + 1, p=[*self.after[state, action], 0.25]))
                reward = float(rng.random() < self.good[state, action]) if after == STATES else 0.0
                after = -1 if after == STATES else after
                rows.append((episode, state, action, reward, after))
                state = after
        columns = list(zip(*rows, strict=True))
        return Logged(*(np.array(column, float if place == 3 else int) for place, column in enumerate(columns)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_both_estimates_are_near_the_exact_value(seed, discount):
    process = Process(seed)
    found = evaluate(process.log(1500, seed), process.other, discount=discount, logged=process.logging, resamples=60)
    exact = process.value(process.other, discount)
    for metric in (found.fitted, found.weighted):
        spread = metric.high - metric.low
        assert 0 < spread < 0.25
        # 95 % intervals: half a width beyond them is four standard errors from the estimate.
        assert metric.low - spread / 2 <= exact <= metric.high + spread / 2, (metric, exact)


def test_logged_care_itself_is_worth_its_mean_return():
    process = Process(3)
    logs = process.log(300, 3)
    found = evaluate(logs, process.logging, logged=process.logging, resamples=20)
    assert found.weighted.value == pytest.approx(logs.returns(1.0).mean())
    assert found.effective == pytest.approx(300)
    assert found.episodes == 300
    counted = behaviour(logs, STATES, ACTIONS, prior=0)
    assert fitted_values(logs, counted, prior=0)[logs.state[logs.starts]].mean() == pytest.approx(
        logs.returns(1.0).mean(), abs=0.06
    )


def test_intervals_shrink_with_more_episodes_and_cover():
    process = Process(5)
    exact = process.value(process.other)
    few, many = (evaluate(process.log(n, 9), process.other, resamples=40) for n in (150, 2400))
    for name in ("fitted", "weighted"):
        small, large = (getattr(one, name) for one in (few, many))
        assert large.high - large.low < small.high - small.low
    inside = 0
    for seed in range(20):
        found = evaluate(process.log(200, seed), process.other, logged=process.logging, resamples=60).weighted
        inside += found.low <= exact <= found.high
    assert inside >= 15  # 20 intervals of 95 %: fewer than 16 come in one of 390 cases


def test_a_policy_that_nobody_logged_has_no_overlap():
    process = Process(1)
    process.logging = np.eye(ACTIONS)[np.zeros(STATES, int)]
    logs = process.log(100, 0)
    other = np.eye(ACTIONS)[np.ones(STATES, int)]
    found = evaluate(logs, other, logged=behaviour(logs, STATES, ACTIONS), resamples=10)
    assert found.overlap == 0 and found.unseen == 1 and found.effective == 0
    assert np.isnan(found.weighted.value)
    # What no log holds is taken for what logged care makes of the state.
    same = evaluate(logs, process.logging, resamples=10)
    assert found.fitted.value == pytest.approx(same.fitted.value, abs=1e-4)
    assert same.overlap == 1 and same.unseen == 0


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.floats(0.0, 0.99))
def test_a_value_lies_between_the_least_and_the_most_reward(seed, discount):
    process = Process(seed)
    logs = process.log(30, seed)
    values = fitted_values(logs, process.other, discount)
    assert values.min() >= -1e-9 and values.max() <= 1 + 1e-9

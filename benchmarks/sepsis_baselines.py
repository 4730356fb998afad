"""What the same logged episodes give without a network: policies (713, 25) from counts. Nothing of ours is learned like this."""

from __future__ import annotations

import numpy as np

from puji.modalities.plans.sepsis import ACTIONS, STATES, SURVIVAL, Environment, Logs, greedy

ROUNDS = 300


class Counts:
    """How often each state followed a state and an action, in rows of those that were logged."""

    def __init__(self, logs: Logs) -> None:
        triple = (logs.state * ACTIONS + logs.action) * (SURVIVAL + 2) + logs.after
        found, times = np.unique(triple, return_counts=True)
        self.pair, self.after, self.times = found // (SURVIVAL + 2), found % (SURVIVAL + 2), times.astype(float)
        self.n = np.bincount(self.pair, self.times, STATES * ACTIONS).reshape(STATES, ACTIONS)
        self.good = np.bincount(logs.state * ACTIONS + logs.action, logs.survived, STATES * ACTIONS)
        self.good = self.good.reshape(STATES, ACTIONS)

    def expected(self, values: np.ndarray) -> np.ndarray:
        """The mean of ``values`` (713,) after each state and action, 1 for survival, (713, 25); 0 where nothing was logged."""
        worth = np.append(values, [0.0, 1.0, 0.0])[self.after]
        sums = np.bincount(self.pair, self.times * worth, STATES * ACTIONS).reshape(STATES, ACTIONS)
        return sums / np.maximum(self.n, 1)


def cloned(counts: Counts) -> np.ndarray:
    """Behaviour cloning: each action as often as logged; any where a state was never seen."""
    visits = counts.n.sum(1, keepdims=True)
    return np.where(visits > 0, counts.n / np.maximum(visits, 1), 1 / ACTIONS)


def filtered(counts: Counts) -> np.ndarray:
    """Success-filtered cloning, greedy: what the survivors got most."""
    return greedy(np.where(counts.good.sum(1, keepdims=True) > 0, counts.good, counts.n))


def value_iteration(counts: Counts, least: int = 20) -> np.ndarray:
    """Over the actions that were logged ``least`` times in a state; where there is none, the most frequent one."""
    allowed = counts.n >= least
    none = ~allowed.any(1)
    allowed[none, counts.n[none].argmax(1)] = True
    return _iterated(counts, allowed, np.zeros_like(counts.n))


def pessimistic(counts: Counts, c: float = 1.0) -> np.ndarray:
    """Each step costs c / sqrt(n), and a value is at least 0; what was never logged is not done."""
    return _iterated(counts, counts.n > 0, c / np.sqrt(np.maximum(counts.n, 1)))


def _iterated(counts: Counts, allowed: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    values = np.zeros(STATES)
    for _ in range(ROUNDS):
        scores = np.where(allowed, counts.expected(values) - penalty, -np.inf)
        now = np.maximum(np.where(allowed.any(1), scores.max(1), 0.0), 0.0)
        if np.abs(now - values).max() < 1e-7:
            break
        values = now
    return greedy(np.where(allowed.any(1, keepdims=True), scores, 0.0))


def baselines(environment: Environment, logs: Logs) -> dict[str, float]:
    """The exact survival of each."""
    counts = Counts(logs)
    policies = {
        "random": np.full((STATES, ACTIONS), 1 / ACTIONS),
        "clinician": environment.clinician,
        "behaviour cloning": cloned(counts),
        "success-filtered, greedy": filtered(counts),
        "value iteration, N>=20": value_iteration(counts),
        "pessimistic VI, c=1": pessimistic(counts),
        # A stronger constant, found on seeds 100 to 103: the fixed one of the row above is far too careful.
        "pessimistic VI, c=0.1": pessimistic(counts, 0.1),
    }
    return {name: environment.survival(policy) for name, policy in policies.items()}

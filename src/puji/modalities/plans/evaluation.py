"""Off-policy evaluation: what a policy would be worth, from logs of another one, where there is no simulator.

Two estimates that err in different ways. Fitted Q evaluation (Le, Voloshin, Yue 2019, ICML) learns what actions are worth
from the logs and is biased where these hardly hold them. Weighted importance sampling (Precup, Sutton, Singh 2000, ICML)
reweighs whole episodes by how much likelier the policy makes them; it is consistent, and of high variance where few episodes
look like the policy's. How few is told by the effective sample size of the weights (Kish 1965), and by the overlap: how
likely the policy takes the logged actions. Both take logged care for what it was: that what drove the actions was observed
(no confounding) is not checked here and cannot be. Intervals come from resampling whole episodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from puji.modality import Metric
from puji.resampling import resampled

ROUNDS = 500
"""Iterations of fitted Q evaluation at most."""
CLOSE = 1e-6
"""Change of a value, as a share of their range, below which it stops."""


@dataclass(frozen=True)
class Logged:
    """Logged steps, episode by episode in order. ``episode``: from 0, ``state``, ``action``: numbers, ``reward``: what came
    at once, ``after``: the following state, -1 at the end, all (n,)."""

    episode: np.ndarray
    state: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    after: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Places where episodes begin, (episodes,)."""
        return np.flatnonzero(np.diff(self.episode, prepend=-1))

    def returns(self, discount: float) -> np.ndarray:
        """The discounted sum of each episode's rewards, (episodes,)."""
        starts = self.starts
        age = np.arange(len(self.episode)) - np.repeat(starts, np.diff(np.append(starts, len(self.episode))))
        found: np.ndarray = np.add.reduceat(self.reward * discount**age, starts)
        return found


@dataclass(frozen=True)
class Evaluation:
    """``fitted``: by fitted Q evaluation, ``weighted``: by weighted importance sampling, with 95 % intervals. ``effective``:
    sample size of the weights, in episodes of the logs' ``episodes``. ``overlap``: mean probability that the policy takes the
    logged action. ``unseen``: share of what the policy does at logged states that the logs never do there."""

    fitted: Metric
    weighted: Metric
    effective: float
    episodes: int
    overlap: float
    unseen: float


def behaviour(logs: Logged, states: int, actions: int, prior: float = 1.0) -> np.ndarray:
    """The logged policy by counts, (states, actions), mixed with ``prior`` decisions of the policy of all states together."""
    counts = _sums(logs, states, actions, np.ones(len(logs.state)))
    overall = counts.sum(0) / max(1.0, counts.sum())
    mixed = counts + prior * overall
    found: np.ndarray = mixed / mixed.sum(1, keepdims=True)
    return found


def evaluate(
    logs: Logged,
    policy: np.ndarray,
    *,
    discount: float = 1.0,
    logged: np.ndarray | None = None,
    prior: float = 1.0,
    resamples: int = 200,
    seed: int = 0,
) -> Evaluation:
    """What ``policy`` (states, actions) is worth from the beginning on.

    ``logged``: the policy that logged, (states, actions), where it is known, else by `behaviour`. ``prior``: decisions, worth
    what the state is worth in logged care, that every action gets in fitted Q evaluation beside its own.
    """
    states, actions = policy.shape
    logged = behaviour(logs, states, actions) if logged is None else logged
    starts = logs.starts
    count = len(starts)
    returned = logs.returns(discount)
    ratio = policy[logs.state, logs.action] / logged[logs.state, logs.action]
    with np.errstate(divide="ignore"):
        log = np.add.reduceat(np.log(ratio), starts)
    weights = np.exp(log - log.max()) if np.isfinite(log).any() else np.zeros(count)
    total = weights.sum()

    def weighted(drawn: np.ndarray) -> float:
        some = weights[drawn].sum()
        return float((weights[drawn] * returned[drawn]).sum() / some) if some > 0 else float("nan")

    value = weighted(np.arange(count))
    low, high = resampled(weighted, count, resamples, seed) if total > 0 else (float("nan"), float("nan"))
    counts = _sums(logs, states, actions, np.ones(len(logs.state)))
    fitted, fitted_low, fitted_high = _fitted(logs, policy, discount, prior, resamples, seed)
    return Evaluation(
        Metric(fitted, count, "up", fitted_low, fitted_high),
        Metric(value, count, "up", low, high),
        float(total**2 / (weights**2).sum()) if total > 0 else 0.0,
        count,
        float(policy[logs.state, logs.action].mean()),
        float((policy * (counts == 0))[logs.state].sum(1).mean()),
    )


def _fitted(
    logs: Logged, policy: np.ndarray, discount: float, prior: float, resamples: int, seed: int
) -> tuple[float, float, float]:
    starts = logs.starts
    lengths = np.diff(np.append(starts, len(logs.state)))
    begins = logs.state[starts]
    values = np.zeros(policy.shape[0])

    def statistic(drawn: np.ndarray) -> float:
        often = np.bincount(drawn, minlength=len(starts)).astype(float)
        found = fitted_values(logs, policy, discount, prior, np.repeat(often, lengths), values)
        return float((often * found[begins]).sum() / often.sum())

    value = statistic(np.arange(len(starts)))
    values = fitted_values(
        logs, policy, discount, prior, np.ones(len(logs.state)), values
    )  # a near start for resamples
    low, high = resampled(statistic, len(starts), resamples, seed)
    return value, low, high


def fitted_values(
    logs: Logged,
    policy: np.ndarray,
    discount: float = 1.0,
    prior: float = 1.0,
    often: np.ndarray | None = None,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """What each state is worth under ``policy`` by fitted Q evaluation, (states,); ``often``: how often each logged step
    counts.

    Q(s, a) is the mean of reward + discount V(following state) over the logged steps, and over ``prior`` further ones that
    are worth the mean over all actions that the logs took in s. Iterated until nothing moves.
    """
    states, actions = policy.shape
    often = np.ones(len(logs.state)) if often is None else often
    counts = _sums(logs, states, actions, often)
    visits = counts.sum(1)
    overall = float((often * logs.reward).sum() / max(1.0, (often * (logs.after < 0)).sum()))
    values = np.full(states, overall) if start is None or not start.any() else start.copy()
    going = logs.after >= 0
    after = np.where(going, logs.after, 0)
    scale = max(1e-12, float(np.ptp(logs.reward)))
    for _ in range(ROUNDS):
        target = logs.reward + discount * np.where(going, values[after], 0.0)
        sums = _sums(logs, states, actions, often * target)
        mean = np.where(visits > 0, sums.sum(1) / np.maximum(visits, 1e-12), values)
        worth = (sums + prior * mean[:, None]) / np.maximum(counts + prior, 1e-12)
        worth = np.where(counts + prior > 0, worth, mean[:, None])
        now = np.where(visits > 0, (policy * worth).sum(1), overall)
        moved = float(np.abs(now - values).max())
        values = now
        if moved < CLOSE * scale:
            break
    return values


def _sums(logs: Logged, states: int, actions: int, values: np.ndarray) -> np.ndarray:
    return np.bincount(logs.state * actions + logs.action, values, states * actions).reshape(states, actions)

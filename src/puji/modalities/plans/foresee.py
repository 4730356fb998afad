"""What may follow an action: how the patient responds by the network's word, and what would be best then.

Where states are of a limited number, a response is the state that comes next. There are hundreds, so they are told in up to three
groups of about equal probability by what is then predicted, each with the action that is most often best in it. What is told
here is to be asked again when it comes: orders of later steps have passed no safety rule yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from puji.modalities.plans import tiers
from puji.modalities.plans.book import BAD, GOOD, Book, action_token, state_token
from puji.modalities.plans.episode import Episode, Step
from puji.modalities.plans.plan import Branch
from puji.modalities.plans.plan import Step as Later
from puji.modalities.plans.setting import Setting
from puji.modalities.plans.units import Quantity
from puji.modalities.plans.value import Estimates, prompt, reckoned
from puji.modality import Candidate

GROUPS = 3
SELDOM = 0.02
"""Probability of a group below which it is not told."""


def following(book: Book, now: Episode) -> list[Candidate]:
    """What to compare: each state after each action, then, of each state, what `candidates` asks."""
    told = prompt(book, now, len(now.steps) - 1)
    states = [state_token(state) for state in book.states]
    after = [Candidate([*told, action_token(one.code)], [state]) for one in book.setting.actions for state in states]
    asked = [one for state in book.states for one in candidates(book, then(now, state))]
    return [*after, *asked]


def then(now: Episode, state: str) -> Episode:
    """The patient a step later, whatever was done."""
    return Episode(now.subject, (*now.steps[:-1], Step(state)), "", now.features)


def candidates(book: Book, now: Episode) -> list[Candidate]:
    """The state, good and bad after it, and each action after both."""
    return _candidates(book, prompt(book, now, len(now.steps) - 1), book.kind(now, now.steps[-1]))


def alike(book: Book) -> list[Candidate]:
    """The tiers of patients, good and bad after each, and each action after both."""
    return [one for told in tiers.prompts(book) for one in _candidates(book, told, told)]


def _candidates(book: Book, told: Sequence[str], kind: Sequence[str]) -> list[Candidate]:
    actions = [action_token(one.code) for one in book.setting.actions]
    values = [Candidate(told, [value]) for value in (GOOD, BAD)]
    after = [Candidate([*told, value], [action]) for value in (GOOD, BAD) for action in actions]
    return [Candidate(kind[:1], kind[1:]), *values, *after]


@dataclass(frozen=True)
class Says:
    """How estimates are reckoned from natural-log likelihoods. ``logs``: those of `alike`; ``decisions``: how many were
    logged."""

    book: Book
    decisions: float
    logs: np.ndarray

    def of(self, logs: np.ndarray) -> Estimates:
        """Estimates from the likelihoods of `candidates` of some states, one after the other."""
        found = self._rows(logs, self.book.setting.value.emphasis)
        return tiers.lent(self.book, found, self._rows(self.logs, tiers.LOUD)) if len(self.logs) else found

    def _rows(self, logs: np.ndarray, emphasis: float) -> Estimates:
        actions = len(self.book.setting.actions)
        rows = logs.reshape(-1, 3 + 2 * actions)
        told = rows[:, 3:].reshape(-1, 2, actions)
        found = reckoned(rows[:, 0], rows[:, 1:3], told, self.decisions, emphasis)
        return replace(found, usual=self.book.setting.value.usual)


def branches(says: Says, logs: np.ndarray, action: int) -> tuple[Branch, ...]:
    """What may follow the action with the place ``action``; ``logs``: those of `following`."""
    setting, states = says.book.setting, says.book.states
    count = len(setting.actions)
    cut = count * len(states)
    likely = logs[:cut].reshape(count, len(states))[action]
    chance = np.exp(likely - np.logaddexp.reduce(likely))
    found = says.of(logs[cut:])
    worth, best = found.best(), found.choice()
    order = np.argsort(worth)
    passed = np.cumsum(chance[order])
    groups = np.minimum((passed - chance[order] / 2) * GROUPS, GROUPS - 1).astype(int)
    told = []
    for number in range(GROUPS):
        members = order[groups == number]
        share = float(chance[members].sum())
        if share < SELDOM:
            continue
        votes = np.bincount(best[members], chance[members], count)
        orders = tuple(one.order() for one in setting.actions[int(votes.argmax())].orders)
        low = None if number == 0 else _quantity(setting, float(worth[members].min()))
        above = order[groups == number + 1]
        high = None if not len(above) else _quantity(setting, float(worth[above].min()))
        told.append(Branch("value", low, high, share, Later(orders, 60 * setting.hours)))
    return tuple(told)


def _quantity(setting: Setting, share: float) -> Quantity:
    value = setting.value.of(share)
    return (
        Quantity(round(100 * value, 1), "%")
        if setting.value.unit == ""
        else Quantity(round(value, 2), setting.value.unit)
    )

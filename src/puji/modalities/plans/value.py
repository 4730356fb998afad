"""What decisions are worth, learned offline from logs: by the same network that learns what is done.

A decision is one short sequence: what was observed, a value token, the action. One network so gives

    V(s) = p(good | s)        p(a | s) = sum over v of p(v | s) p(a | s, v)        Q(s, a) = p(good | s) p(a | s, good) / p(a
    | s)

and, with the likelihood of the state itself, how many logged decisions support an action: n(s, a) = N p(s) p(a | s). Values
are shares from the worst (0) to the best (1) that the setting can have; a decision that is worth .8 is told as good with
weight .8 and as bad with weight .2. In the first round a decision is worth what came of its episode. In later rounds, what
the network says of the state that it led to, if from there on the best supported action is taken:

    Q'(s, a) = V(s) + n / (n + k) (Q(s, a) - V(s))

Where the consequences of one decision are small against all else that happens, a setting has advantages told larger than they
are (``emphasis``): an action is told as good by V(s) + emphasis (Q - V(s)), the state by what it is worth, and estimates take
it back; the loss then has the network learn them sooner, by the square of it. Where what is observed is not all that matters,
the rewards of several ``steps`` count as they came, before what the network says of a state does.

The advantage of an action counts as much as decisions support it: with few, an action is worth what the state is worth. This
is the mean of the posterior where advantages are normal around 0 with a variance of 1 / k of that of a single outcome. A setting
may leave out what is taken much more seldom than what is ``usual`` in a state (the threshold on p(a | s) / max p(a | s) of
discrete BCQ; Fujimoto, Conti, Ghavamzadeh, Pineau 2019, arXiv:1910.01708).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import LlamaForCausalLM

from puji.engine.vocabulary import Vocabulary
from puji.modalities.plans.ask import likelihoods
from puji.modalities.plans.book import BAD, GOOD, PLAN, Book, action_token
from puji.modalities.plans.episode import Episode, returns
from puji.modality import END, View

SHRINK = 100.0
"""k: decisions at which half of an estimated advantage counts."""
LEAST = 0.5
"""Decisions that support an action at least, for it to be considered."""


def prompt(book: Book, episode: Episode, at: int) -> list[str]:
    """What is told before the decision at step ``at``: the features, the last steps as far as the setting wants them, the
    state."""
    tokens = [PLAN, *book.known(episode)]
    for step in episode.steps[max(0, at - book.setting.history) : at]:
        tokens += [*book.observed(step), action_token(step.action)]
    return tokens + book.observed(episode.steps[at])


@dataclass
class Decisions:
    """All logged decisions. ``prompts``: the distinct ones of what was told before a decision. Of each decision: ``before``,
    its prompt; ``action``, its place in the setting; ``after``, the prompt that it led to, -1 where the episode ended;
    ``reward``: what came at once, the worth of the ending included; ``total``: what came of it, all (n,).
    """

    prompts: list[tuple[str, ...]]
    kinds: list[tuple[str, ...]]
    before: np.ndarray
    action: np.ndarray
    after: np.ndarray
    reward: np.ndarray
    total: np.ndarray

    @classmethod
    def of(cls, book: Book, records: Sequence[Episode]) -> Decisions:
        """Those of ``records``; of an episode whose ending is not known the last decision is left out: what it led to is not
        known."""
        place: dict[tuple[str, ...], int] = {}
        kinds: list[tuple[str, ...]] = []
        actions = {one.code: number for number, one in enumerate(book.setting.actions)}
        rows: list[tuple[int, int, int, float, float]] = []
        setting = book.setting

        seen: dict[tuple[object, ...], int] = {}

        def number(record: Episode, at: int) -> int:
            step = record.steps[at]
            earlier = record.steps[max(0, at - setting.history) : at] if setting.history else ()
            key = (record.features, step.state, step.values, earlier)
            if (known := seen.get(key)) is None:
                known = seen[key] = place.setdefault(tuple(prompt(book, record, at)), len(place))
                if known == len(kinds):
                    kinds.append(tuple(book.kind(record, step)))
            return known

        for record in records:
            totals = returns(record, setting)
            numbers = [number(record, at) for at in range(len(record.steps))]
            for at, step in enumerate(record.steps):
                last = at + 1 == len(record.steps)
                if not step.action or (last and totals is None):
                    continue
                worth = setting.outcomes[record.outcome].worth if last and record.outcome else 0.0
                total = float("nan") if totals is None else totals[at]
                reward = step.reward + setting.value.discount * worth if last else step.reward
                rows.append((numbers[at], actions[step.action], -1 if last else numbers[at + 1], reward, total))
        columns = np.array(rows, dtype=float).reshape(-1, 5).T
        before, action, after = (columns[number].astype(np.int64) for number in range(3))
        return cls(list(place), kinds, before, action, after, columns[3], columns[4])

    def first(self, book: Book) -> np.ndarray:
        """What each decision is worth by what came of its episode, as a share, (n,); where that is not known, .5."""
        found: np.ndarray = np.nan_to_num(book.setting.value.shares(self.total), nan=0.5)
        return found

    def improved(self, book: Book, values: np.ndarray) -> np.ndarray:
        """What each decision is worth, as a share, (n,), where prompts are worth ``values`` (prompts,), shares.

        Rewards count as they came for the setting's ``steps``; from there on counts what the prompt is worth that was come to.
        """
        value = book.setting.value
        worth = np.append([value.of(one) for one in values], 0.0)
        if value.steps == 1:
            return value.shares(self.reward + value.discount * worth[self.after])
        ends = np.append(np.flatnonzero(self.after < 0), len(self.after) - 1)
        last = ends[np.searchsorted(ends, np.arange(len(self.after)))]
        far = np.arange(len(self.after)) + value.steps
        inside = far <= last
        far = np.where(inside, far, 0)
        found = self.total + inside * value.discount**value.steps * (worth[self.before[far]] - self.total[far])
        return value.shares(np.where(np.isnan(found), self.reward + value.discount * worth[self.after], found))

    def views(self, book: Book, labels: np.ndarray, values: np.ndarray | None = None) -> list[View]:
        """How often decisions of each kind were met, and each distinct decision as two training sequences, good and bad, weighted
        by how often it was met and its mean label.

        ``values``: what prompts are worth, (prompts,), from which advantages are told with the setting's emphasis.
        """
        actions = [action_token(one.code) for one in book.setting.actions]
        pair, which = np.unique(self.before * len(actions) + self.action, return_inverse=True)
        count, good = np.bincount(which).astype(float), np.bincount(which, labels)
        told = good
        if values is not None and book.setting.value.emphasis > 1:
            base = values[pair // len(actions)]
            base = base + (labels - values[self.before]).mean()
            told = count * np.clip(base + book.setting.value.emphasis * (good / count - base), 0.0, 1.0)
        met = np.bincount(self.before, minlength=len(self.prompts))
        found = [kind(one, float(n)) for one, n in zip(self.kinds, met.tolist(), strict=True) if n]
        for number, n, g, t in zip(pair.tolist(), count.tolist(), good.tolist(), told.tolist(), strict=True):
            before, action = divmod(number, len(actions))
            for token, weight, stressed in ((GOOD, g, t), (BAD, n - g, n - t)):
                if weight > 0 or stressed > 0:
                    found.append(decision(self.prompts[before], token, actions[action], weight, stressed))
        return found


def decision(told: Sequence[str], value: str, action: str, weight: float, stressed: float) -> View:
    """One decision as a training sequence, its action with the weight ``stressed``."""
    return View((*told, value, action, END), (*[0.0] * len(told), weight, stressed, 0.0))


def kind(told: Sequence[str], weight: float) -> View:
    """How often decisions of a kind are met, as a training sequence."""
    return View((*told, END), (0.0, *[weight] * (len(told) - 1), 0.0))


@dataclass(frozen=True)
class Estimates:
    """What a network says about prompts: ``state``: V, (n,), ``actions``: Q, (n, actions), shares; ``taken``: p(a | s), (n,
    actions); ``support``: logged decisions, (n, actions); ``alike``: what patients who do about as well say that an action adds
    to V, (n, actions) or 0, see tiers.py; ``usual``: of the most frequent action's share, what an action's must be at least for
    it to be considered."""

    state: np.ndarray
    actions: np.ndarray
    taken: np.ndarray
    support: np.ndarray
    alike: np.ndarray | float = 0.0
    usual: float = 0.0

    def shrunken(self, shrink: float = SHRINK) -> np.ndarray:
        """Q', see above, (n, actions); -inf for actions that are not supported, or not usual enough."""
        weight = self.support / (self.support + shrink)
        base = self.state[:, None] + self.alike
        found = base + weight * (self.actions - base)
        known = (self.support >= LEAST) & (self.taken >= self.usual * self.taken.max(1, keepdims=True))
        return np.where(known, found, -np.inf)

    def best(self, shrink: float = SHRINK) -> np.ndarray:
        """What states are worth if the best supported action is taken, (n,); where there is none, what logged care makes of
        them."""
        found = self.shrunken(shrink).max(1)
        return np.where(np.isfinite(found), found, self.state)

    def choice(self, shrink: float = SHRINK) -> np.ndarray:
        """The best supported action, (n,); where there is none, the one that logged care takes most."""
        scores = self.shrunken(shrink)
        found: np.ndarray = np.where(np.isfinite(scores.max(1)), scores.argmax(1), self.taken.argmax(1))
        return found


def estimates(
    network: LlamaForCausalLM,
    vocabulary: Vocabulary,
    book: Book,
    prompts: Sequence[Sequence[str]],
    kinds: Sequence[Sequence[str]],
    decisions: float,
    emphasis: float = 1.0,
) -> Estimates:
    """Ask the network about ``prompts``; ``kinds``: what says among which logged decisions each is counted (`Book.kind`);
    ``decisions``: how many there are in all; ``emphasis``: see the module."""
    actions = [action_token(one.code) for one in book.setting.actions]
    told, begun = ([vocabulary.encode(one) for one in some] for some in (prompts, kinds))
    codes = [[vocabulary.ids[one] for one in tokens] for tokens in ((GOOD, BAD), actions)]
    before, value = np.zeros(len(told)), np.zeros((len(told), 2))
    action = np.zeros((len(told), 2, len(actions)))
    lengths = np.array([[len(one), len(kind)] for one, kind in zip(told, begun, strict=True)]).reshape(-1, 2)
    for length in np.unique(lengths, axis=0):
        here = np.flatnonzero((lengths == length).all(1))
        ids, starts = (np.array([some[place] for place in here]) for some in (told, begun))
        before[here], value[here], action[here] = likelihoods(network, ids, starts, *codes)
    return replace(reckoned(before, value, action, decisions, emphasis), usual=book.setting.value.usual)


def reckoned(
    before: np.ndarray, value: np.ndarray, action: np.ndarray, decisions: float, emphasis: float = 1.0
) -> Estimates:
    """Estimates from natural-log likelihoods: of the states, (n,), of good and bad after them, (n, 2), and of the actions
    after both, (n, 2, actions); ``emphasis``: see the module."""
    share = np.exp(value - np.logaddexp(value[:, :1], value[:, 1:]))
    taken = np.exp(action - np.logaddexp.reduce(action, axis=2, keepdims=True))
    joint = share[:, :, None] * taken
    whole = joint.sum(1)
    state = share[:, :1]
    worth = state + (joint[:, 0] / whole - state) / emphasis
    return Estimates(share[:, 0], worth, whole, decisions * np.exp(before)[:, None] * whole)


def ranked(scores: np.ndarray, equal: float | np.ndarray = 0.0) -> np.ndarray:
    """The places of actions from the best on, (n, actions), by their ``scores``, (n, actions). Those whose score is less than
    ``equal``, a number or (n,), below the best stand first, in the order in which the setting declares them."""
    near = scores >= scores.max(axis=1, keepdims=True) - np.reshape(equal, (-1, 1))
    return np.argsort(np.where(near, -np.inf, -scores), axis=1, kind="stable")

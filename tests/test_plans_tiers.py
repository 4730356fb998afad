"""What patients who do about as well tell of an action, beside those of the state itself."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puji.engine import network as networks
from puji.engine.batches import Weighted, collate, together
from puji.engine.objective import Objective
from puji.engine.optimizer import optimizers
from puji.engine.score import token_logprobs
from puji.engine.vocabulary import Vocabulary
from puji.modalities.plans import tiers
from puji.modalities.plans.book import ALIKE, BAD, GOOD, Book
from puji.modalities.plans.conditions import Ask
from puji.modalities.plans.episode import Episode, Step, typed
from puji.modalities.plans.modality import Plans
from puji.modalities.plans.setting import load_setting
from puji.modalities.plans.value import Decisions, Estimates, reckoned
from puji.modality import END

from .plans_cases import untrained


def of(records: list[Episode], wanted: int = 2) -> tuple[Book, Decisions]:
    setting, _ = load_setting("sepsis")
    value = setting.value.model_copy(update={"tiers": wanted})
    book = Book.learn(setting.model_copy(update={"value": value}), records, None)
    return book, Decisions.of(book, records)


def one(state: int, action: int, times: int = 1) -> list[Episode]:
    return [Episode(f"{state} {action} {n}", (Step(str(state), (), str(action)),), "survived") for n in range(times)]


@settings(max_examples=50)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 10**6))
def test_tiers_hold_as_many_decisions_each_as_prompts_let_them(wanted, n, seed):
    rng = np.random.default_rng(seed)
    values, met = rng.choice(rng.random(max(1, n // 2)), n), rng.integers(0, 9, n)
    met[0] += 1
    found = tiers.edges(wanted, values, met)
    assert found.shape == (wanted - 1,) and (np.diff(found) >= 0).all()
    book, _ = of(one(0, 0))
    book.tiers = found
    mine = tiers.tier(book, values)
    assert mine.min() >= 0 and mine.max() <= wanted - 1
    heaviest = max(met[values == value].sum() for value in values)
    for number in range(wanted - 1):
        below = met[mine <= number].sum()
        assert (number + 1) / wanted * met.sum() - 1e-9 <= below
        # Prompts of equal value are in one tier, whatever their number.
        assert below <= (number + 1) / wanted * met.sum() + heaviest


def test_a_tier_is_told_what_an_action_adds_and_not_who_gets_it():
    """Action 1 is given in the better state alone and adds nothing there; action 2 adds .02 in both."""
    records = [*one(0, 0, 4), *one(0, 2, 4), *one(1, 0, 4), *one(1, 2, 4), *one(1, 1, 8), *one(2, 3, 5)]
    book, found = of(records)
    worth = {"0": 0.60, "1": 0.70, "2": 0.90}
    state = np.array([told[1][3:-1] for told in found.prompts])[found.before]
    base = np.array([worth[name] for name in state])
    lift = 0.01 * (found.action == 2) - 0.01 * (found.action == 0)
    labels = base + lift
    assert tiers.views(book, found, labels, np.zeros(len(found.prompts))) == []  # not known yet who does well
    values = np.array([worth[told[1][3:-1]] for told in found.prompts])
    book.tiers = np.array([0.8])
    views = tiers.views(book, found, labels, values)
    told = {one.tokens: one.weights for one in views}
    assert told[(ALIKE, "<tier:0>", END)][1] == pytest.approx(24 * tiers.WEIGHT)
    assert told[(ALIKE, "<tier:1>", END)][1] == pytest.approx(5 * tiers.WEIGHT)

    def share(tier: int, action: int) -> float:
        good, bad = (told[(ALIKE, f"<tier:{tier}>", value, f"<a:{action}>", END)] for value in (GOOD, BAD))
        assert good[2] == bad[2]  # the tier itself is told as neither
        return good[3] / (good[3] + bad[3])

    assert share(0, 1) == pytest.approx(0.5) and share(1, 3) == pytest.approx(0.5)
    assert share(0, 2) == pytest.approx(0.5 + tiers.LOUD * 0.01)
    assert share(0, 0) == pytest.approx(0.5 - tiers.LOUD * 0.01)
    weight = sum(one.weights[-2] for one in views if len(one.tokens) == 5)
    assert weight == pytest.approx(tiers.WEIGHT * len(records))


def test_what_few_decisions_of_a_tier_say_counts_little():
    book, _ = of(one(0, 0))
    book.tiers = np.array([0.5])
    worth = np.array([[0.52, 0.48], [0.5, 0.6]])
    said = Estimates(np.array([0.5, 0.5]), worth, worth, np.array([[tiers.SHRINK, 3 * tiers.SHRINK], [0.0, 1.0]]))
    state = np.array([0.4, 0.7])
    found = Estimates(state, np.full((2, 2), 0.55), np.full((2, 2), 0.5), np.full((2, 2), 100.0))
    lent = tiers.lent(book, found, said)
    assert lent.alike == pytest.approx(np.array([[0.01, -0.015], [0.0, 0.1 / (tiers.SHRINK + 1)]]))
    # Half way between the state with what its tier adds, and what the action was worth in it.
    assert lent.shrunken(100.0) == pytest.approx((state[:, None] + lent.alike + 0.55) / 2)
    without = replace(found, support=np.full((2, 2), 0.6))
    assert tiers.lent(book, without, said).choice(1e9).tolist() == [0, 1]
    assert without.choice(1e9).tolist() == [0, 0]


def test_tiers_are_kept_with_the_book():
    book, _ = of(one(0, 0), wanted=3)
    assert {ALIKE, "<tier:0>", "<tier:1>", "<tier:2>"} < set(book.tokens())
    assert ALIKE not in of(one(0, 0), wanted=1)[0].tokens()
    book.tiers = np.array([0.2, 0.7])
    again = Book.restored(json.loads(json.dumps(book.state(), default=lambda one: one.tolist())))
    assert again.tiers.tolist() == [0.2, 0.7] and tiers.prompts(again) == tiers.prompts(book)


def test_a_question_and_all_states_at_once_are_answered_alike():
    """The slow way, candidates whose likelihoods come one by one, says what the fast one does."""
    model = untrained()
    modality = model.modality
    modality.decisions = 50_000.0
    modality.book.tiers = np.array([0.5])
    found = modality.estimates(model, [["<plan>", "<s:3>"]], [["<plan>", "<s:3>"]])
    assert np.abs(found.alike).max() > 0
    question = modality.question(typed("3"), Ask(least=1))
    encode = model.vocabulary.encode
    logs = [
        token_logprobs(model.network, [encode([*one.prompt, *one.continuation])])[0][len(one.prompt) :].sum()
        for one in question.candidates
    ]
    answer = question.answer(np.array(logs))
    for place, worth in enumerate(found.shrunken()[0]):
        assert answer[str(place)].value == pytest.approx(worth, abs=1e-4)


def test_a_network_learns_what_tiers_are_told():
    """From the labels of an environment whose better half does better with action 1, the worse half with action 0."""
    rng = np.random.default_rng(0)
    records = [
        Episode(str(n), (Step(str(n % 20), (), str(rng.integers(2))),), "survived" if rng.random() < 0.7 else "died")
        for n in range(2000)
    ]
    book, found = of(records)
    values = np.array([0.4 + 0.02 * int(told[1][3:-1]) for told in found.prompts])
    book.tiers = tiers.edges(2, values, np.bincount(found.before))
    better = values[found.before] > book.tiers[0]
    labels = values[found.before] + np.where(better == (found.action == 1), 0.04, -0.04)
    vocabulary = Vocabulary(book.tokens())
    shape = networks.config("nano", len(vocabulary), context=16, end=vocabulary.ids[END])
    network = networks.build(shape, seed=0)
    views = tiers.views(book, found, labels, values)
    batch = collate(together(Weighted(vocabulary.encode(one.tokens), one.weights) for one in views))
    objective = Objective(network, bf16=False)
    steps = optimizers(network, kind="muon", learning_rate=4e-3, weight_decay=0.05)
    for _ in range(150):
        loss = objective(batch.ids, batch.weights, None, batch.ends) / batch.total
        network.zero_grad()
        loss.backward()
        for optimizer in steps:
            optimizer.step()
    told = reckoned(np.zeros(1), np.zeros((1, 2)), np.zeros((1, 2, 25)), 1.0)
    state = np.array([values.min(), values.max()])
    plain = replace(told, state=state, actions=state[:, None], taken=np.full((2, 25), 0.04), support=np.ones((2, 25)))
    lent = tiers.shared(network, vocabulary, book, plain, float(len(records)))
    shown = lent.alike[:, 1] - lent.alike[:, 0]
    weight = 500 / (500 + tiers.SHRINK)
    assert shown == pytest.approx(np.array([-0.08, 0.08]) * weight, rel=0.1)


def test_what_is_much_more_seldom_than_the_usual_is_not_considered():
    taken = np.array([[0.6, 0.35, 0.05], [0.9, 0.1, 0.0]])
    found = Estimates(np.array([0.5, 0.5]), np.array([[0.5, 0.6, 0.9], [0.5, 0.6, 0.9]]), taken, 1000 * taken)
    assert found.choice().tolist() == [2, 1]
    assert replace(found, usual=0.1).choice().tolist() == [1, 1]
    assert replace(found, usual=0.2).choice().tolist() == [1, 0]
    assert np.isneginf(replace(found, usual=1.0).shrunken()).tolist() == [[False, True, True], [False, True, True]]


def test_rounds_grow_where_the_setting_says_so():
    modality = Plans()
    modality.rounds = 3
    assert modality.portions() == pytest.approx([1 / 6, 2 / 6, 3 / 6])
    value = modality.setting.value.model_copy(update={"growing": False})
    modality.setting = modality.setting.model_copy(update={"value": value})
    assert modality.portions() == pytest.approx([1 / 3] * 3)

"""What decisions are worth where rewards of several steps count, and where advantages are told with emphasis."""

from __future__ import annotations

import math

import numpy as np
import pytest

from puji.engine import network as networks
from puji.engine import score
from puji.engine.vocabulary import Vocabulary
from puji.errors import Invalid
from puji.modalities.plans import advise
from puji.modalities.plans.advise import load_facts
from puji.modalities.plans.book import BAD, GOOD, Book, action_token
from puji.modalities.plans.conditions import Ask
from puji.modalities.plans.demo import FACTS
from puji.modalities.plans.episode import Episode, Step
from puji.modalities.plans.modality import maker
from puji.modalities.plans.plan import Plan
from puji.modalities.plans.plan import Step as PlanStep
from puji.modalities.plans.safety import Facts, Safety
from puji.modalities.plans.setting import Setting, load_setting, parsed_setting
from puji.modalities.plans.value import Decisions, Estimates, estimates, ranked, reckoned
from puji.modality import END

DISCOUNT, STEPS = 0.9, 3


def setting(**value: float) -> Setting:
    return parsed_setting(
        {
            "name": "test",
            "title": {"en": "test"},
            "hours": 1,
            "observed": [{"column": "x", "edges": [0.0, 1.0]}, {"column": "y", "edges": [5.0]}],
            "actions": [{"code": "a"}, {"code": "b"}],
            "outcomes": {"well": {"worth": 1.0}},
            "value": {"name": {"en": "v"}, "low": -20.0, "high": 20.0, "hours": 1, "discount": DISCOUNT, **value},
        }
    )


def logged(count: int = 4) -> list[Episode]:
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        steps = tuple(
            Step("", (float(rng.normal()), float(rng.normal(5))), "ab"[rng.integers(2)], float(rng.normal()))
            for _ in range(2 + 2 * number)
        )
        found.append(Episode(str(number), steps, "well"))
    return found


def of(wanted: Setting, records: list[Episode]) -> tuple[Book, Decisions]:
    book = Book.learn(wanted, records, None)
    return book, Decisions.of(book, records)


def test_rewards_of_several_steps_count_as_they_came_then_the_value_of_the_state():
    records = logged()
    book, found = of(setting(steps=STEPS), records)
    values = np.random.default_rng(1).random(len(found.prompts))
    expected = []
    row = 0
    for record in records:
        n = len(record.steps)
        for at in range(n):
            total = sum(DISCOUNT**k * record.steps[at + k].reward for k in range(min(STEPS, n - at)))
            if at + STEPS < n:
                total += DISCOUNT**STEPS * book.setting.value.of(values[found.before[row + STEPS]])
            else:
                total += DISCOUNT ** (n - at)  # the ending
            expected.append(total)
            row += 1
    assert found.improved(book, values) == pytest.approx(book.setting.value.shares(np.array(expected)))


def test_where_the_ending_is_not_known_one_step_counts():
    records = [*logged(), Episode("open", logged()[1].steps)]
    book, found = of(setting(steps=STEPS), records)
    values = np.random.default_rng(1).random(len(found.prompts))
    some = len(found.before) - 1
    assert math.isnan(found.total[some])
    expected = found.reward[some] + DISCOUNT * book.setting.value.of(values[found.after[some]])
    assert found.improved(book, values)[some] == pytest.approx(float(book.setting.value.shares(np.array(expected))))


def test_one_step_is_the_reward_and_the_value_of_the_state_that_it_led_to():
    records = logged()
    book, found = of(setting(), records)
    values = np.random.default_rng(1).random(len(found.prompts))
    first = records[0].steps
    expected = first[0].reward + DISCOUNT * book.setting.value.of(values[found.before[1]])
    assert found.improved(book, values)[0] == pytest.approx(float(book.setting.value.shares(np.array(expected))))


def test_emphasis_enlarges_what_actions_are_told_by_and_nothing_else():
    same = (0.5, 4.0)
    records = [
        Episode(str(number), (Step("", same, "ab"[number % 2], 0.4 if number % 2 else -0.4),), "well")
        for number in range(8)
    ]
    shares = {}
    for emphasis in (1.0, 3.0):
        book, found = of(setting(emphasis=emphasis), records)
        labels = found.first(book)
        views = found.views(book, labels, np.array([labels.mean()]))
        for view in views:
            value, action = view.tokens[-3], view.tokens[-2]
            assert view.weights is not None
            shares[emphasis, value, action] = view.weights[-3], view.weights[-2]
    for value in (GOOD, BAD):
        for action in "ab":
            assert shares[1.0, value, action_token(action)][0] == shares[3.0, value, action_token(action)][0]
    plain, told = ({a: shares[e, GOOD, action_token(a)][1] for a in "ab"} for e in (1.0, 3.0))
    assert told["b"] - told["a"] == pytest.approx(3 * (plain["b"] - plain["a"]))
    assert sum(told.values()) == pytest.approx(sum(plain.values()))


def test_estimates_take_emphasis_back():
    rng = np.random.default_rng(0)
    told = (rng.normal(size=3), rng.normal(size=(3, 2)), rng.normal(size=(3, 2, 4)), 100.0)
    plain, stressed = reckoned(*told), reckoned(*told, emphasis=4.0)
    assert stressed.state == pytest.approx(plain.state) and stressed.taken == pytest.approx(plain.taken)
    apart = plain.actions - plain.state[:, None]
    assert stressed.actions - stressed.state[:, None] == pytest.approx(apart / 4)


def test_prompts_of_one_length_are_asked_together_and_answered_as_one_by_one():
    book, found = of(setting(), logged())
    vocabulary = Vocabulary(book.tokens())
    shape = networks.config("nano", len(vocabulary), context=32, end=vocabulary.ids[END])
    network = networks.build(shape, seed=0)
    got = estimates(network, vocabulary, book, found.prompts, found.kinds, 50.0)

    def likely(tokens: list[str]) -> np.ndarray:
        return score.token_logprobs(network, [vocabulary.encode(tokens)])[0]

    for row, (told, kind) in enumerate(zip(found.prompts, found.kinds, strict=True)):
        good, bad = (likely([*told, value])[-1] for value in (GOOD, BAD))
        share = 1 / (1 + math.exp(bad - good))
        assert got.state[row] == pytest.approx(share, abs=1e-5)
        after = np.array([[likely([*told, value, action_token(code)])[-1] for code in "ab"] for value in (GOOD, BAD)])
        chosen = np.exp(after) / np.exp(after).sum(axis=1, keepdims=True)
        taken = share * chosen[0] + (1 - share) * chosen[1]
        assert got.taken[row] == pytest.approx(taken, abs=1e-5)
        assert got.actions[row] == pytest.approx(share * chosen[0] / taken, abs=1e-5)
        assert got.support[row] == pytest.approx(50 * math.exp(likely(list(kind))[1:].sum()) * taken, rel=1e-4)


def test_declared_edges_are_the_bins_and_have_to_rise():
    book, _ = of(setting(), logged())
    assert book.edges[0].tolist() == [0.0, 1.0]
    assert [book.observed(Step("", (x, 9.0)))[0] for x in (-0.1, 0.0, 0.9, 1.0)] == ["<x:0>", "<x:1>", "<x:1>", "<x:2>"]
    told = setting().model_dump(mode="json")
    told["observed"][0]["edges"] = [1.0, 1.0]
    with pytest.raises(Invalid, match="have to rise"):
        parsed_setting(told)


def test_of_actions_that_are_as_good_the_first_declared_is_taken():
    scores = np.array([[0.5, 0.9, 0.8995, 0.7], [0.1, 0.2, -np.inf, 0.9], [-np.inf] * 4])
    assert ranked(scores).tolist()[:2] == [[1, 2, 3, 0], [3, 1, 0, 2]]
    assert ranked(scores[:, ::-1], 0.001).tolist()[:2] == [[1, 2, 0, 3], [0, 2, 3, 1]]
    assert sorted(ranked(scores, 1.0)[2].tolist()) == [0, 1, 2, 3]


def test_a_fact_that_the_rules_ask_for_is_no_reason_to_give_nothing():
    """Vetoed for what nobody told of the patient, every order falls away; that nothing is left is no recommendation."""
    setting, rules = load_setting("sepsis")
    assert rules is not None and not setting.actions[0].orders
    n = len(setting.actions)
    best = np.array([[0.9, *[0.8] * (n - 1)]])
    found = Estimates(np.array([0.8]), best, np.full((1, n), 1 / n), np.full((1, n), 1000.0))

    def plan(facts: Facts) -> Plan:
        pairs = advise.weighed(setting, Safety(rules), found, facts)
        return advise.plan(setting, Safety(rules), pairs, Ask(), names=setting.names(rules), maker=maker())

    told = plan(Facts())
    assert told.now is None and told.abstained == "plans.abstained.facts" and len(told.considered) > 1
    assert plan(load_facts(str(FACTS))).now == PlanStep(())
    for language in ("en", "zh"):
        assert "plans." not in told.reason(language)

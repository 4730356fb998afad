"""Settings, logs, decisions and plans: what the modality `plans` makes of logged care."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puji.engine.score import token_logprobs
from puji.errors import Invalid
from puji.modalities.plans.advise import considered, load_facts, plan, weighed
from puji.modalities.plans.book import BAD, GOOD, PLAN, Book, kmeans, load_description, nearest
from puji.modalities.plans.conditions import Ask
from puji.modalities.plans.demo import FACTS
from puji.modalities.plans.episode import Episode, Step, checked, returns, typed
from puji.modalities.plans.modality import Plans, maker
from puji.modalities.plans.read import read
from puji.modalities.plans.safety import Facts, Safety
from puji.modalities.plans.setting import load_setting, parsed_setting
from puji.modalities.plans.tokens import body, parsed
from puji.modalities.plans.value import Decisions, Estimates, prompt, reckoned
from puji.modality import END, Candidates

from .plans_cases import untrained

PUMP = {
    "name": "pump",
    "title": {"en": "Insulin", "zh": "胰岛素"},
    "hours": 1,
    "history": 2,
    "observed": [{"column": "glucose", "bins": 4, "unit": "mg/dL"}, {"column": "heart", "bins": 3}],
    "codes": {"levels": 2, "size": 3},
    "actions": [{"code": "none"}, {"code": "bolus"}],
    "value": {"name": {"en": "time in range", "zh": "达标时间"}, "low": 0, "high": 10, "hours": 10, "discount": 0.9},
}


def pump_records(n=40, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        steps = tuple(
            Step("", (float(rng.normal(150, 40)), None if rng.random() < 0.1 else float(rng.normal(80, 9))),
                 ("none", "bolus")[int(rng.integers(2))], float(rng.random()))
            for _ in range(int(rng.integers(1, 6)))
        )  # fmt: skip
        found.append(Episode(str(number), steps))
    return found


def refused(call, *arguments):
    with pytest.raises(Invalid) as caught:
        call(*arguments)
    for language in ("en", "zh"):
        assert caught.value.reason not in caught.value.message(language)
    return caught.value


# -- settings ----------------------------------------------------------------------------------------------------------


def test_the_sepsis_setting_orders_only_what_its_rules_list():
    setting, rules = load_setting("sepsis")
    assert [one.code for one in setting.actions] == [str(number) for number in range(25)]
    facts = Facts(60.0, 70.0, False, (), (), (), (), ())
    for action in setting.actions:
        verdict = Safety(rules).check(facts, tuple(one.order() for one in action.orders))
        assert verdict.outcome == "allowed", (action.code, verdict.findings)
    # Without a body weight no rate of norepinephrine can be judged, and what cannot be judged is vetoed.
    unknown = Safety(rules).check(replace(facts, weight=None), tuple(one.order() for one in setting.actions[1].orders))
    assert unknown.outcome == "vetoed"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"value": {**PUMP["value"], "low": 10}}, "plans.setting.range"),
        ({"actions": [{"code": "a"}, {"code": "a"}]}, "plans.setting.twice"),
        ({"actions": [{"code": "a"}]}, "plans.setting.wrong"),
        ({"hours": -1}, "plans.setting.wrong"),
        ({"surprise": 1}, "plans.setting.wrong"),
        ({"actions": [{"code": "a b"}, {"code": "c"}]}, "plans.setting.wrong"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place(change, reason):
    assert refused(parsed_setting, {**PUMP, **change}).reason == reason


def test_an_unknown_setting_names_those_there_are(tmp_path):
    assert "sepsis" in refused(load_setting, "nowhere").message("en")
    path = tmp_path / "own.json"
    path.write_text(json.dumps(PUMP), "utf-8")
    setting, rules = load_setting(path)
    assert setting.name == "pump" and rules is None


# -- episodes and files ------------------------------------------------------------------------------------------------


def test_what_is_typed():
    found = typed("417 5; 221 10; 33")
    assert [step.state for step in found.steps] == ["417", "221", "33"] and found.open
    assert typed("1 2: died").outcome == "died"
    assert typed("150 ? bolus; 90 80 -").steps == (Step("", (150.0, None), "bolus"), Step("", (90.0, 80.0)))
    for text in ("", ";", "1; 2", "1 2; 3: survived", "{", "1 2 3; 4"):
        refused(typed, text)


@settings(max_examples=80)
@given(st.text(max_size=60))
def test_any_text_is_an_episode_or_refused(text):
    try:
        found = typed(text)
    except Invalid:
        return
    assert checked(found.dump()) == found


ROWS = {
    "subject": ["a", "a", "b", "b", "b"],
    "step": [0, 1, 1, 0, 2],
    "state": [3, 4, 5, 6, 7],
    "action": [0, 1, 2, 3, 4],
    "outcome": ["", "died", "", "", "survived"],
}


def both(outcomes):
    found = [one.content if not isinstance(one, Invalid) else one for one in outcomes]
    return [one for one in found if isinstance(one, Episode)], [one for one in found if isinstance(one, Invalid)]


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_tables_are_read_patient_by_patient_in_order(ending, tmp_path):
    setting, _ = load_setting("sepsis")
    path = tmp_path / f"logs.{ending}"
    frame = polars.DataFrame(ROWS)
    if ending == "parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator="\t" if ending == "tsv" else ",")
    episodes, wrong = both(read(path, setting))
    assert not wrong
    assert [str(one) for one in episodes] == ["3 0; 4 1: died", "6 3; 5 2; 7 4: survived"]


def test_meds_is_read(tmp_path):
    setting = parsed_setting(PUMP)
    rows = [(1, 0, "glucose", 150.0), (1, 0, "ACTION//bolus", None), (1, 0, "REWARD", 1.0), (1, 1, "glucose", 120.0)]
    rows += [
        (1, 1, "heart", 70.0),
        (1, 1, "ACTION//none", None),
        (1, 1, "UNRELATED", 5.0),
        (1, 0, "FEATURE//adult", None),
    ]
    frame = polars.DataFrame(rows, schema=["subject_id", "time", "code", "numeric_value"], orient="row")
    frame.write_parquet(tmp_path / "meds.parquet")
    episodes, wrong = both(read(tmp_path, setting))
    assert not wrong
    assert episodes[0].features == ("adult",)
    assert episodes[0].steps == (Step("", (150.0, None), "bolus", 1.0), Step("", (120.0, 70.0), "none"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"action": [0, 1, 2, 99, 4]}, "plans.setting.action"),
        ({"step": [0, 1, 1, 1, 2]}, "plans.read.twice"),
        ({"step": ["0", "1", "1", "x", "2"]}, "plans.read.step"),
        ({"state": [3, 4, 5, None, 7]}, "plans.episode.no_state"),
        ({"outcome": ["", "died", "", "", "lost"]}, "plans.episode.outcome"),
    ],
)
def test_a_patient_with_a_wrong_row_is_refused_whole_and_the_others_go_on(change, reason, tmp_path):
    setting, _ = load_setting("sepsis")
    polars.DataFrame({**ROWS, **change}).write_csv(tmp_path / "logs.csv")
    episodes, wrong = both(read(tmp_path / "logs.csv", setting))
    assert [one.subject for one in episodes] == ["a"]
    assert [one.reason for one in wrong] == [reason] and "logs.csv" in wrong[0].source


def test_a_missing_column_is_named(tmp_path):
    setting, _ = load_setting("sepsis")
    polars.DataFrame(ROWS).drop("action").write_csv(tmp_path / "logs.csv")
    _, wrong = both(read(tmp_path / "logs.csv", setting))
    assert "action" in wrong[0].message("en")


# -- tokens ------------------------------------------------------------------------------------------------------------


def test_numbers_become_bins_and_codes_and_come_back_near():
    setting = parsed_setting(PUMP)
    records = pump_records()
    book = Book.learn(setting, records, None)
    assert set(body(book, records[0])) <= set(book.tokens())
    for record in records:
        again = parsed(book, body(book, record))
        assert body(book, again) == body(book, record)
        for step, other in zip(record.steps, again.steps, strict=True):
            assert [one is None for one in step.values] == [one is None for one in other.values]
    again = Book.restored(json.loads(json.dumps(book.state(), default=lambda one: one.tolist())))
    assert again.tokens() == book.tokens() and body(again, records[1]) == body(book, records[1])


def test_codes_of_described_states_are_coarse_to_fine(tmp_path):
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(centre, 0.1, (20, 3)) for centre in (-3, 0, 3)])
    frame = polars.DataFrame({"state": range(60), **{f"x{k}": points[:, k] for k in range(3)}})
    frame.write_csv(tmp_path / "states.csv")
    setting, _ = load_setting("sepsis")
    wanted = setting.model_copy(update={"codes": setting.codes.model_copy(update={"levels": 2, "size": 3})})
    book = Book.learn(wanted, [typed("0 1; 59 2: died")], load_description(tmp_path / "states.csv"))
    groups = {book.described[str(number)][0] for number in range(20)}
    assert len(groups) == 1 and len({book.described[str(k)][0] for k in (0, 30, 59)}) == 3
    told = book.observed(Step("30"))
    assert told[0] == "<s:30>" and len(told) == 3 and book.seen(told) == Step("30")
    frame.with_columns(state=polars.lit(1)).write_csv(tmp_path / "twice.csv")
    refused(load_description, tmp_path / "twice.csv")
    centres = kmeans(points, 3, rng)
    assert ((points - centres[nearest(points, centres)]) ** 2).sum(1).max() < 1


# -- decisions ---------------------------------------------------------------------------------------------------------


def test_decisions_are_merged_and_nothing_is_lost():
    setting, _ = load_setting("sepsis")
    records = [typed("1 5; 2 5: survived"), typed("1 5; 2 5: died"), typed("1 5; 3 0: survived"), typed("1 6; 2")]
    book = Book.learn(setting, records, None)
    found = Decisions.of(book, records)
    assert len(found.before) == 7  # of the last patient nobody knows what came of the second state
    assert found.after.tolist().count(-1) == 3
    first = found.first(book)
    assert first.tolist() == [1, 1, 0, 0, 1, 1, 0.5]
    views = found.views(book, first)
    told = {view.tokens: view.weights for view in views}
    assert told[(PLAN, "<s:1>", GOOD, "<a:5>", END)] == (0, 0, 2, 2, 0)
    assert told[(PLAN, "<s:1>", BAD, "<a:5>", END)] == (0, 0, 1, 1, 0)
    assert told[(PLAN, "<s:1>", END)] == (0, 4, 0) and told[(PLAN, "<s:2>", END)] == (0, 2, 0)
    assert sum(weights[-2] for tokens, weights in told.items() if len(tokens) == 5) == pytest.approx(7)
    values = np.array([{"<s:2>": 0.25, "<s:3>": 0.75}.get(prompt[-1], 0.0) for prompt in found.prompts])
    assert found.improved(book, values).tolist() == [0.25, 1, 0.25, 0, 0.75, 1, 0.25]


def test_rewards_are_discounted_and_histories_told():
    setting = parsed_setting(PUMP)
    record = Episode("x", tuple(Step("", (v, 80.0), "none", r) for v, r in ((100.0, 1.0), (140.0, 2.0), (180.0, 3.0))))
    assert returns(record, setting) == pytest.approx([1 + 0.9 * 2 + 0.81 * 3, 2 + 0.9 * 3, 3])
    book = Book.learn(setting, [*pump_records(), record], None)
    found = Decisions.of(book, [record])
    assert [one.count("<a:none>") for one in found.prompts] == [0, 1, 2]
    worth = found.improved(book, np.array([0.1, 0.2, 0.3]))
    assert worth == pytest.approx([(1 + 0.9 * 2) / 10, (2 + 0.9 * 3) / 10, 0.3])


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_estimates_are_those_of_the_joint_distribution(seed):
    rng = np.random.default_rng(seed)
    joint = rng.dirichlet(np.ones(2 * 4), 3).reshape(3, 2, 4)  # p(v, a | s)
    kinds = rng.dirichlet(np.ones(5))[:3]
    value, taken = joint.sum(2), joint.sum(1)
    found = reckoned(np.log(kinds), np.log(0.3 * value), np.log(0.2 * joint / value[:, :, None]), 1000.0)
    assert found.state == pytest.approx(value[:, 0])
    assert found.taken == pytest.approx(taken)
    assert found.actions == pytest.approx(joint[:, 0] / taken)
    assert found.support == pytest.approx(1000 * kinds[:, None] * taken)
    # The law of total probability: V is the mean of Q over what is done.
    assert (found.taken * found.actions).sum(1) == pytest.approx(found.state)
    between = found.shrunken()
    low, high = np.minimum(found.actions, found.state[:, None]), np.maximum(found.actions, found.state[:, None])
    inside = np.isfinite(between)
    assert ((between >= low - 1e-12) & (between <= high + 1e-12))[inside].all()


# -- plans -------------------------------------------------------------------------------------------------------------


def found(support, values, state=0.7):
    support, values = np.array([support], float), np.array([values], float)
    return Estimates(np.array([state]), values, support / support.sum(), support)


def of(estimates, rules="sepsis", facts=None, **ask):
    setting, own = load_setting("sepsis")
    small = setting.model_copy(update={"actions": setting.actions[: estimates.actions.shape[1]]})
    safety = Safety(own) if rules == "sepsis" else None
    pairs = weighed(small, safety, estimates, load_facts(facts, own))
    return plan(small, safety, pairs, Ask(patient=facts, **ask), names=small.names(own), maker=maker())


def test_the_best_supported_action_that_passes_is_recommended(tmp_path):
    facts = tmp_path / "patient.json"
    facts.write_text(json.dumps({"age": 61, "weight": 70, "pregnant": False, "allergies": []}), "utf-8")
    # Action 1 looks best by far, on one decision; 2 is well supported and better than 0.
    estimates = found([900, 1, 400], [0.7, 1.0, 0.75])
    made = of(estimates, facts=str(facts))
    assert made.chosen.proposed[0].code == "ATC/C01CA03" and made.chosen.support.cases == 400
    estimate = made.chosen.outcome.estimate
    assert estimate.value == pytest.approx(0.7 + 400 / 500 * 0.05) and estimate.low < estimate.value < estimate.high
    # Without a weight no norepinephrine can be judged: that to give nothing is left is no recommendation.
    facts.write_text(json.dumps({"age": 61}), "utf-8")
    assert of(estimates, facts=str(facts)).abstained == "plans.abstained.facts"
    assert [one.verdict.outcome for one in of(estimates, facts=str(facts)).considered].count("vetoed") == 2


def test_without_support_or_rules_nothing_is_recommended():
    few = of(found([5, 4, 3], [0.7, 0.8, 0.9]), least=20)
    assert few.abstained == "plans.abstained.support" and few.now is None and "5" in few.reason("en")
    assert of(found([500, 1, 1], [0.7, 0.8, 0.9]), rules=None).abstained == "plans.abstained.no_rules"
    none = of(found([0.1, 0.2, 0.3], [0.7, 0.8, 0.9]))
    assert none.abstained == "plans.abstained.support" and not none.considered


def test_more_support_makes_intervals_narrower():
    setting, _ = load_setting("sepsis")
    few, many = (considered(setting, found([n, n], [0.6, 0.5], 0.55))[0].estimate for n in (10, 10_000))
    assert many.high - many.low < 0.2 * (few.high - few.low)
    assert few.value < many.value


def test_facts_that_cannot_be_read_are_refused(tmp_path):
    path = tmp_path / "patient.json"
    for told in ("[]", "{", '{"shoe": 4}', '{"observations": [{"code": "LOINC/2339-0"}]}'):
        path.write_text(told, "utf-8")
        assert "patient.json" in refused(load_facts, str(path)).source
    for wrong in (
        '"age": "old"',
        '"age": -4',
        '"age": 3, "age": 64',
        '"weight": NaN',
        '"pregnant": "no"',
        '"allergies": "penicillin"',
        '"observations": [1]',
    ):
        path.write_text("{" + wrong + "}", "utf-8")
        told = refused(load_facts, str(path))
        assert (
            "patient.json" in told.source
            and "plans." not in told.message("zh")
            and told.reason in ("plans.safety.fact", "plans.facts.unreadable")
        ), wrong
    path.write_text('{"current": [{"code": "ATC/B01AA03", "daily": "5 mg"}], "age": 4}', "utf-8")
    assert load_facts(str(path)).current[0].daily.value == 5


def test_a_question_is_one_joint_distribution_and_its_answer_carries_the_plan():
    modality = Plans()
    records = [typed("1 5; 2 5: survived"), typed("1 0; 2 5: died")]
    modality.learn(records)
    modality.prepare(records * 500)
    question = modality.question(typed("1 5; 2 5"), Ask())
    assert isinstance(question, Candidates) and len(question.candidates) == 3 + 2 * 25
    assert all(one.prompt[:2] in ([PLAN], [PLAN, "<s:2>"]) for one in question.candidates)
    rest = np.full(25, 1e-6)
    rest[0] = 1 - rest.sum()  # to give nothing: the rules know nothing of the patient and let nothing else pass
    logs = np.concatenate([[np.log(0.5)], np.log([0.8, 0.2]), np.log(np.tile(rest, 2))])
    answer = question.answer(logs)
    assert answer["logged care"].value == pytest.approx(0.8) and answer["recommended"] == answer["0"]
    assert answer.plan.chosen.proposed == answer.plan.now.orders == ()
    assert modality.question(typed("1 5; 2 5"), Ask(least=10**6)).answer(logs).plan.abstained


def test_what_may_follow_is_told_by_how_the_patient_responds():
    modality = Plans()
    records = [typed("1 0; 2 5; 3 0: survived"), typed("1 0; 4 5: died")]
    modality.learn(records)
    modality.prepare(records * 500)
    question = modality.question(typed("1"), Ask(ahead=True, patient=str(FACTS)))
    states, actions = modality.book.states, 25

    def log(prompt, told):
        """States 2, 3 and 4 follow with .5, .3, .2 and are worth .9, .6, .2; in 2 action 5 is best, elsewhere 0."""
        if told[0] in ("<good>", "<bad>"):
            good = {"<s:2>": 0.9, "<s:3>": 0.6, "<s:4>": 0.2}.get(prompt[-1], 0.7)
            return good if told[0] == "<good>" else 1 - good
        if prompt[-1].startswith("<a:"):
            return {"<s:2>": 0.5, "<s:3>": 0.3, "<s:4>": 0.2}.get(told[0], 1e-9)
        if told[0].startswith("<s:"):
            return 0.25
        liked = {"<a:0>": 0.5, "<a:5>": 0.5}
        if prompt[-1] == "<good>":
            liked = {"<a:0>": 0.3, "<a:5>": 0.7} if prompt[-2] == "<s:2>" else {"<a:0>": 0.7, "<a:5>": 0.3}
        return liked.get(told[0], 1e-9)

    logs = np.array([np.log(log(one.prompt, one.continuation)) for one in question.candidates])
    assert len(logs) == (1 + len(states)) * (3 + 2 * actions) + actions * len(states)
    made = question.answer(logs).plan
    told = [
        (one.low, one.high, round(one.probability, 2), [order.code for order in one.step.orders])
        for one in made.now.branches
    ]
    assert [one[2] for one in told] == [0.2, 0.3, 0.5]
    assert [one[3] for one in told] == [[], [], ["ATC/B05BB01"]]
    assert told[0][0] is None and told[-1][1] is None and told[0][1] == told[1][0] and told[1][1] == told[2][0]
    assert all(one.step.at == 240 for one in made.now.branches)
    assert not modality.question(typed("1"), Ask(patient=str(FACTS))).answer(logs[:53]).plan.now.branches


def test_all_at_once_the_network_says_what_it_says_of_each():
    model = untrained()
    modality = model.modality
    every = [Episode("", (Step(state),)) for state in (*modality.book.states, "never met", "nor this one")]
    prompts = [prompt(modality.book, one, 0) for one in every]
    kinds = [modality.book.kind(one, one.steps[0]) for one in every]
    prompts[3] = [*prompts[4], "<a:7>", *prompts[3][1:]]  # a history, which its kind leaves out
    found = modality.estimates(model, prompts, kinds)
    actions = [f"<a:{number}>" for number in range(25)]
    encode = model.vocabulary.encode
    for place, (told, kind) in enumerate(zip(prompts, kinds, strict=True)):
        asked = [encode([*told, value, action]) for value in (GOOD, BAD) for action in actions]
        rows = token_logprobs(model.network, [encode(kind), *asked])
        action = np.array([row[-1] for row in rows[1:]]).reshape(1, 2, 25)
        value = np.array([row[-2] for row in rows[1:]]).reshape(1, 2, 25)[:, :, 0]
        told_large = modality.setting.value.emphasis
        one = reckoned(np.array([rows[0][1:].sum()]), value, action, modality.decisions, told_large)
        for name in ("state", "actions", "taken", "support"):
            np.testing.assert_allclose(getattr(found, name)[place], getattr(one, name)[0], rtol=1e-4)


def test_plans_are_evaluated_from_logged_care():
    """In state 0 action 1 saves nine of ten and action 0 one; the plan that always takes 1 is worth .9, by both estimates."""
    modality = Plans()
    rng = np.random.default_rng(0)
    records = []
    for number in range(600):
        action = int(rng.random() < 0.5)
        saved = rng.random() < (0.9 if action else 0.1)
        records.append(Episode(str(number), (Step("0", (), str(action)),), "survived" if saved else "died"))
    modality.learn(records)
    modality.prepare(records)

    class Fixed:
        network = vocabulary = None

    model = Fixed()
    model.modality = modality
    support = np.full((1, 25), 0.0)
    support[0, :2] = 300
    worth = np.full((1, 25), 0.5)
    worth[0, :2] = 0.1, 0.9
    modality.estimates = lambda *told: Estimates(np.array([0.5]), worth, support / 600, support)
    found = modality.assess(model, records, modality.Ask())
    metrics = found.metrics
    assert metrics["logged care"].value == pytest.approx(0.5, abs=0.05)
    for name in ("plan by fitted Q evaluation", "plan by importance sampling"):
        assert metrics[name].low < 0.9 < metrics[name].high and metrics[name].high - metrics[name].low < 0.1
    assert metrics["effective sample size"].value == pytest.approx(300, abs=40)
    assert metrics["overlap"].value == pytest.approx(0.5, abs=0.05)
    assert metrics["abstains"].value == 0 and metrics["never logged"].value == 0
    (figure,) = found.figures()
    assert set(figure.picture) == {"en", "zh"} and "%" in figure.picture["zh"]
    # With more support asked than there is, care goes on as it was.
    careful = modality.assess(model, records, modality.Ask(least=500)).metrics
    assert careful["abstains"].value == 1
    assert careful["plan by fitted Q evaluation"].value == pytest.approx(metrics["logged care"].value, abs=0.06)
    open_ended = [Episode("1", (Step("0", (), "1"), Step("0")))]
    assert refused(modality.assess, model, open_ended, modality.Ask()).reason == "plans.assess.no_outcome"

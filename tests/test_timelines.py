"""Timelines: ages as tokens, the codebook, the grammar, views, futures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from puji import corpus, flow
from puji.engine import network as networks
from puji.engine import score
from puji.engine.decode import Prompt
from puji.engine.vocabulary import Vocabulary
from puji.errors import Invalid
from puji.modalities.timelines import clock, conditions, future
from puji.modalities.timelines.codebook import Codebook
from puji.modalities.timelines.grammar import TimelineGrammar
from puji.modalities.timelines.modality import Timelines
from puji.modalities.timelines.timeline import DEATH, YEAR, Event, Timeline, revived
from puji.modalities.timelines.tokens import FOLLOWED, SEEN, START, body, parsed
from puji.modalities.timelines.views import follow_up, view
from puji.modality import END, Raw
from puji.model import Model

CODES = ("ICD10/I10", "ICD10/E11.9", "LOINC/4548-4", "LOCAL/ward")
AGES = st.floats(0, 110 * YEAR, allow_nan=False)
EVENTS = st.builds(Event, AGES, st.sampled_from(CODES)) | st.builds(
    Event, AGES, st.sampled_from(CODES), st.floats(1, 20, allow_nan=False), st.just("%")
)


def timeline(events, sex="female", born=1954, later=100.0, died=False):
    ordered = sorted(events, key=lambda event: event.age)
    end = ordered[-1].age + later
    if died:
        ordered.append(Event(end, DEATH))
    return Timeline(sex, born, tuple(ordered), end)


TIMELINES = st.builds(
    timeline,
    st.lists(EVENTS, min_size=1, max_size=12),
    st.sampled_from(["female", "male", ""]),
    st.none() | st.integers(1900, 2020),
    st.floats(0, 5000),
    st.booleans(),
)


def cohort(n=300, seed=0):
    """Patients who get E11.9 from 40 on and, mostly, I10 two years later; a measurement each time."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        age = rng.uniform(40, 70) * YEAR
        events = [Event(age, "ICD10/E11.9"), Event(age, "LOINC/4548-4", float(rng.normal(8, 1)), "%")]
        if rng.random() < 0.8:
            events.append(Event(age + rng.uniform(1.5, 2.5) * YEAR, "ICD10/I10"))
        sex = "female" if rng.random() < 0.5 else "male"
        # How long was looked depends on nothing: an end that follows what happened would itself tell the future.
        later = rng.uniform(75, 90) * YEAR - events[-1].age
        one = timeline(events, sex, int(rng.integers(1930, 1970)), later, rng.random() < 0.3)
        found.append(Timeline(one.sex, one.born, one.events, one.end, str(number)))
    return found


@pytest.fixture(scope="module")
def kind():
    modality = Timelines()
    modality.learn(cohort())
    return modality


@pytest.fixture(scope="module")
def model(kind):
    """Weights that know nothing, with the modality's own vocabulary."""
    vocabulary = Vocabulary(kind.tokens())
    shape = networks.config("nano", len(vocabulary), context=256, end=vocabulary.ids[END])
    return Model(kind, vocabulary, networks.build(shape, seed=0), {})


# -- the clock --------------------------------------------------------------------------------------------------------


def ages(moments):
    """What each of ``moments`` (days, ascending) is after encoding."""
    now = 0.0
    for moment in moments:
        _, now = clock.advance(now, moment)
        yield now


@given(st.lists(AGES, min_size=1, max_size=40))
def test_an_age_never_moves_further_than_the_tolerance(moments):
    moments = sorted(moments)
    for moment, found in zip(moments, ages(moments), strict=True):
        assert abs(moment - found) <= clock.TOLERANCE


@given(st.lists(AGES, min_size=1, max_size=40))
def test_what_was_rounded_is_not_rounded_again(moments):
    once = list(ages(sorted(moments)))
    assert list(ages(once)) == once


@given(AGES, AGES)
def test_short_gaps_keep_their_size(start, gap):
    """A gap below a year comes back within the share of it that its bin is wide."""
    gap = 1.0 + gap % 300
    _, after = clock.advance(start, start + gap)
    assert abs(after - start - gap) <= max(0.29 * gap, 0.51)


@given(AGES, AGES)
def test_what_the_clock_writes_it_also_reads(start, gap):
    told, after = clock.advance(start, start + gap)
    assert clock.read(start, [*told, "ICD10/I10"][:2]) == (after, len(told))
    assert told[0] in clock.open_tokens(start)
    assert set(told) <= set(clock.tokens())


def test_ages_beyond_the_oldest_are_that():
    told, after = clock.advance(0.0, 500 * YEAR)
    assert told == ["<age:125>", "<month:12>"] and after < 126 * YEAR
    last = 126 * YEAR - 0.1
    assert clock.advance(last, last + 0.02)[0] == ["<+30min>"]
    assert clock.advance(last, last + 400)[1] < 126 * YEAR


# -- tokens and grammar -----------------------------------------------------------------------------------------------


@given(TIMELINES)
def test_encoding_is_stable(record):
    book = Codebook.learn(cohort(100))
    told = body(book, record)
    again = parsed(book, told)
    assert body(book, again) == told
    assert [book.token(event.code) for event in record.events] == [event.code for event in again.events]
    assert (again.sex, again.died) == (record.sex, record.died)


@given(TIMELINES)
def test_the_grammar_allows_what_is_encoded_and_nothing_after(record):
    book = Codebook.learn(cohort(100))
    grammar = TimelineGrammar(book)
    told = body(book, record)
    state = grammar.start(told[:1])
    for token in told[1:]:
        assert token in grammar.allowed(state) or "/" in token
        before, state = state, grammar.advance(state, token)
    assert before.last or before.what == 6


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_whatever_the_grammar_allows_is_a_timeline(seed):
    book = Codebook.learn(cohort(100))
    grammar = TimelineGrammar(book)
    rng = np.random.default_rng(seed)
    told = [START]
    state = grammar.start(told)
    while told[-1] != END:
        allowed = sorted(grammar.allowed(state) - {"<spelled>"})
        # Ages run out by themselves; a record that ends soon is quicker to make.
        token = FOLLOWED if FOLLOWED in allowed and len(told) > 60 else allowed[int(rng.integers(len(allowed)))]
        told.append(token)
        state = grammar.advance(state, token)
    record = parsed(book, told)
    ages = [event.age for event in record.events]
    assert ages == sorted(ages) and max(ages) <= record.end
    if SEEN not in told and told.count(FOLLOWED) + told.count(DEATH) == 1:
        assert body(book, record) == told


@pytest.mark.parametrize(
    "tokens",
    [
        ["<female>"],
        ["<female>", "<born:1950s>"],
        ["<female>", "<born:1950s>", "ICD10/I10"],
        ["<female>", "<born:1950s>", "<+1d>", "ICD10/I10", "<+1d>"],
        ["<female>", "<born:1950s>", "ICD10/I10", "<age:50>"],
        ["<female>", "<born:1950s>", DEATH, "<+1d>", "ICD10/I10", "<+1d>"],
        ["<female>", "<born:1950s>", FOLLOWED, "<+1d>"],
    ],
)
def test_tokens_that_are_no_timeline_are_refused(tokens):
    with pytest.raises(Invalid):
        parsed(Codebook(), [START, *tokens, END])


# -- the codebook -----------------------------------------------------------------------------------------------------


def test_a_rare_code_is_told_by_the_one_above_it():
    records = [timeline([Event(1.0, "ICD10/E11.9")]) for _ in range(20)]
    records += [timeline([Event(1.0, f"ICD10/I21.{digit}")]) for digit in range(6)]
    records += [timeline([Event(1.0, "LOCAL/once")])]
    book = Codebook.learn(records, rare=5)
    assert book.token("ICD10/E11.9") == "ICD10/E11.9"
    assert book.token("ICD10/I21.3") == "ICD10/I21"
    assert book.token("ICD10/I22.1").startswith("ICD10/I00")
    assert book.token("LOCAL/once") == "LOCAL/once" and "LOCAL/once" not in book.codes
    assert Codebook.restored(book.state()).state() == book.state()


def test_quantiles_hold_equal_shares_and_come_back_as_medians(kind):
    values = [event.value for record in cohort() for event in record.events if event.value is not None]
    numbers = [kind.book.bin("LOINC/4548-4", value, "%") for value in values]
    counts = np.bincount(numbers)
    assert len(counts) == 10 and counts.min() >= 0.8 * len(values) / 10
    assert kind.book.value("LOINC/4548-4", 0)[0] < 7 < 9 < kind.book.value("LOINC/4548-4", 9)[0]
    assert kind.book.bin("LOINC/4548-4", 60.0, "mmol/mol") is None, "another unit has no quantile"


def test_a_code_of_few_different_values_has_no_empty_bins():
    records = [timeline([Event(1.0, "LOINC/1", float(i % 2), "")]) for i in range(100)]
    book = Codebook.learn(records)
    assert [book.value("LOINC/1", book.bin("LOINC/1", value, ""))[0] for value in (0.0, 1.0)] == [0.0, 1.0]


# -- views ------------------------------------------------------------------------------------------------------------


def test_views_learn_every_event_and_nothing_that_was_looked_up(kind):
    followed = follow_up(cohort())
    seen = until = 0
    for number, record in enumerate(cohort(60)):
        found = view(kind.book, record, np.random.default_rng(number), followed)
        pairs = list(zip(found.tokens, found.weights, strict=True))
        learned = [token for token, weight in pairs if weight == 1]
        assert [t for t in learned if "/" in t or t == DEATH] == [kind.book.token(e.code) for e in record.events]
        assert SEEN not in learned and not any(token.startswith("<until") for token in learned)
        seen += SEEN in found.tokens
        if found.tokens[0].startswith("<until"):
            until += 1
            year = int(found.tokens[0][7:-1])
            assert year == int(record.end // YEAR) or (record.died and year >= int(record.end // YEAR))
        state = TimelineGrammar(kind.book).start(found.tokens[: found.tokens.index(START) + 1])
        for token in found.tokens[found.tokens.index(START) + 1 :]:
            state = TimelineGrammar(kind.book).advance(state, token)
    assert 15 <= seen <= 45 and 15 <= until <= 45


# -- long histories, and the model's own distribution -----------------------------------------------------------------


def test_ten_thousand_events_pass_through_the_window(kind, model):
    rng = np.random.default_rng(0)
    ages = np.sort(rng.uniform(0, 90 * YEAR, 10_000))
    record = Timeline(
        "male", 1930, tuple(Event(float(age), CODES[i % 3]) for i, age in enumerate(ages)), float(ages[-1])
    )
    assert np.isfinite(model.log_likelihood([record])[0])
    answer = model.predict(record, outcomes="E11", horizon="1", futures=4)
    assert 0 <= answer.estimates["ICD10/E11 1y"].value <= 1


def test_sampling_is_the_models_own_distribution(kind, model):
    """First events drawn are as frequent as the model says, down to the least likely: no top-k is hidden anywhere."""
    prompt = [START, "<female>", "<born:1950s>"]
    ids, header = flow.encode(kind, model.vocabulary, prompt)
    codes = [*kind.book.codes, FOLLOWED]
    pairs = [(ids, [model.vocabulary.ids[code]]) for code in codes]
    expected = np.exp(score.score(model.network, pairs))
    n = 4000
    drawn = flow.decode(
        model.network,
        model.vocabulary,
        (Prompt(tuple(ids), seed=k, header=header) for k in range(n)),
        None,
        max_new_tokens=1,
    )
    counts = np.bincount([one.ids[0] for one in drawn], minlength=len(model.vocabulary))
    found = np.array([counts[model.vocabulary.ids[code]] for code in codes])
    assert np.all(np.abs(found - n * expected) <= 5 * np.sqrt(n * expected) + 1)
    assert np.count_nonzero(counts) > 0.8 * len(model.vocabulary), "a top-k would leave most tokens out"


def test_what_comes_once_in_a_life_is_not_told_twice(kind):
    """In `cohort` nobody has a code twice."""
    assert {"ICD10/E11.9", "ICD10/I10"} <= kind.book.once
    twice = [timeline([Event(50 * YEAR, "ICD10/I10"), Event(51 * YEAR, "ICD10/I10")])] * 2
    assert "ICD10/I10" not in kind.book.told_once([*cohort(), *twice])
    prompt = [START, "<female>", "<born:1950s>"]
    grammar = TimelineGrammar(kind.book)
    state = grammar.start([*prompt, "ICD10/I10", "<age:50>", "<month:1>"])
    assert "ICD10/I10" not in grammar.allowed(state) and "ICD10/E11.9" in grammar.allowed(state)
    assert "ICD10/I10" in grammar.allowed(grammar.start(prompt))


def test_what_one_sex_alone_has_does_not_come_to_the_other():
    rng = np.random.default_rng(0)

    def one(number):
        sex = ("female", "male")[number % 2]
        codes = ["ICD10/I10", "ICD10/O03" if sex == "female" else "ICD10/C61"]
        codes += ["ICD10/N40"] if sex == "male" and number < 38 else []  # of 19 men: chance might do that
        codes += ["ICD10/C50"] if sex == "female" or number == 1 else []  # one man has it, too
        return timeline([Event(rng.uniform(20, 60) * YEAR, code) for code in codes], sex)

    people = [one(number) for number in range(200)]
    book = Codebook.learn(people)
    assert book.one_sex == {"ICD10/O03": "female", "ICD10/C61": "male"}
    assert Codebook.restored(book.state()).one_sex == book.one_sex
    assert Codebook.restored({name: one for name, one in book.state().items() if name != "one_sex"}).one_sex == {}
    grammar = TimelineGrammar(book)
    for sex, never in (("<male>", {"ICD10/O03"}), ("<female>", {"ICD10/C61"}), ("<sex:?>", set())):
        state = grammar.start([START, sex, "<born:1950s>"])
        assert set(book.codes) - set(grammar.allowed(state)) == never
        for token in ("ICD10/I10", "<age:50>", "<month:3>"):
            state = grammar.advance(state, token)
        assert not never & set(grammar.allowed(state))
    # Women alone say nothing about men.
    assert Codebook.learn([one for one in people if one.sex == "female"]).one_sex == {}


def test_a_record_ends_where_its_follow_up_does(kind):
    grammar = TimelineGrammar(kind.book)
    state = grammar.start(["<until:60>", START, "<female>", "<born:1950s>", "ICD10/I10", "<age:50>", "<month:1>"])
    followed = grammar.allowed(grammar.advance(state, FOLLOWED))
    assert followed == {"<age:60>"}
    times = grammar.allowed(grammar.advance(state, "ICD10/E11.9"))
    assert "<age:60>" in times and "<age:61>" not in times and "<+3mo>" in times
    near = grammar.start(["<until:50>", START, "<female>", "<born:1950s>", "ICD10/I10", "<age:50>", "<month:12>"])
    assert grammar.allowed(grammar.advance(near, FOLLOWED)) <= {"<+0>", *clock.tokens()}
    assert "<+3mo>" not in grammar.allowed(grammar.advance(near, "ICD10/E11.9")), "it would be the year after"


# -- questions --------------------------------------------------------------------------------------------------------


def test_a_trained_model_knows_what_follows_and_when(tmp_path):
    """E11.9 is followed by I10 in 80 % within 2.5 years, and by nothing within one."""
    from puji.engine import train
    from puji.engine.settings import Settings

    records = cohort(600)
    modality = Timelines()
    modality.learn(records)
    vocabulary = Vocabulary(modality.tokens())
    torch.manual_seed(0)
    shape = networks.config("nano", len(vocabulary), context=64, end=vocabulary.ids[END])
    network = networks.build(shape, seed=0)
    views = corpus.Views(modality, vocabulary, records, context=64, seed=0)
    options = Settings(epochs=12, batch_tokens=256, progress=False, compile=False, precision="fp32")
    train.train(network, views, None, options, tmp_path / "run", source="cohort")
    model = Model(modality, vocabulary, network, {})
    age = 55 * YEAR
    events = (Event(age, "ICD10/E11.9"), Event(age, "LOINC/4548-4", 8.0, "%"))
    record = Timeline("female", 1950, events, age + 1.0)
    answer = model.predict(record, outcomes="I10; death", horizon="1,3", futures=400)
    soon, late = (answer.estimates[f"ICD10/I10 {years}y"] for years in ("1", "3"))
    assert soon.value < 0.1 and 0.6 < late.value < 0.95
    assert late.low < late.value < late.high and late.high - late.low < 0.1
    after = Timeline("female", 1950, events, age + 2.7 * YEAR)
    assert model.predict(after, outcomes="I10", horizon="1", futures=200).estimates["ICD10/I10 1y"].value < 0.35, (
        "almost three years without it tell that it will not come"
    )
    nearest = model.predict(record, by="next", outcomes="I10").estimates["ICD10/I10"]
    assert nearest.value > 0.5
    batch = model.generate(20, sex="male", born="1940:1949", having="E11.9")
    assert all(one.record.sex == "male" and one.record.born // 10 == 194 for one in batch.generated)
    assert all(one.record.events[0].code == "ICD10/E11.9" for one in batch.generated)


def test_wilson_intervals():
    """Wilson 1927: 8 of 10 has (.490, .943)."""
    paths = [[("ICD10/I10", 1.0)]] * 8 + [[]] * 2
    found = future.share(paths, conditions.groups("I10")[0], 2.0)
    assert (round(found.low, 3), round(found.high, 3)) == (0.490, 0.943)
    assert future.share([[]] * 5, conditions.groups("I10")[0], 2.0).low == 0


def test_outcomes_and_horizons_as_people_write_them():
    found = conditions.groups("heart attack=I21,I22；death; E11")
    assert [one.name for one in found] == ["heart attack", DEATH, "ICD10/E11"]
    assert found[0].holds("ICD10/I21.3") and not found[0].holds("ICD10/I20.0")
    assert conditions.horizons("10y, 1，5年") == [1.0, 5.0, 10.0]
    for wrong in ("", ";", "a=;", "E11;E11"):
        with pytest.raises(Invalid):
            conditions.groups(wrong)
    for wrong in ("", "0", "-1", "x", "nan", "1000", "inf"):
        with pytest.raises(Invalid):
            conditions.horizons(wrong)


def test_the_dead_have_no_future(kind):
    record = timeline([Event(50 * YEAR, "ICD10/I10")], died=True)
    with pytest.raises(Invalid, match="died"):
        kind.question(record, conditions.Ask())
    kind.question(record, conditions.Ask(now=49.0))
    with pytest.raises(Invalid, match="reach"):
        kind.question(record, conditions.Ask(now=99.0))


def test_a_file_with_one_who_died_answers_for_the_others(model, tmp_path, monkeypatch, capsys):
    from puji.cli import main
    from puji.commands import judge

    monkeypatch.setattr(judge, "load", lambda name, folder: model)
    path, out = tmp_path / "ward.jsonl", tmp_path / "risk.csv"
    alive = timeline([Event(50 * YEAR, "ICD10/I10")])
    path.write_text(timeline([Event(50 * YEAR, "ICD10/I10")], died=True).dump() + "\n" + alive.dump() + "\n")
    words = [
        "predict",
        "timelines",
        str(path),
        "--outcomes",
        "E11",
        "--futures",
        "4",
        "--horizon",
        "1",
        "--out",
        str(out),
    ]
    assert main(words) == 0
    assert len(out.read_text("utf-8-sig").splitlines()) == 2
    told = capsys.readouterr().err
    assert "ward.jsonl:1" in told and "died" in told and "Refused rows or records: 1; records used: 1." in told


def test_a_prediction_is_drawn(model, tmp_path, monkeypatch, capsys):
    from puji.cli import main
    from puji.commands import judge

    monkeypatch.setattr(judge, "load", lambda name, folder: model)
    words = [
        "predict",
        "timelines",
        "female 1956; I10 50; now 60",
        "--outcomes",
        "E11",
        "--futures",
        "4",
        "--horizon",
        "1,2",
    ]
    assert main([*words, "--out", str(tmp_path / "fan.svg"), "--lang", "zh"]) == 0
    assert "<svg" in (tmp_path / "fan.svg").read_text() and "抽样" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "fan.png")]) == 0
    assert (tmp_path / "fan.png").read_bytes().startswith(b"\x89PNG")
    assert main([*words, "--out", str(tmp_path / "fan.pdf")]) == 2
    assert main(["predict", "names", "xeloda", "--out", str(tmp_path / "name.svg")]) == 2


# -- records ----------------------------------------------------------------------------------------------------------


def test_what_a_person_types(kind):
    record = kind.parse("female 1956; E11 51.2; LOINC/4548-4 55.1 7.9 %; now 60")
    assert (record.sex, record.born, record.end) == ("female", 1956, 60 * YEAR)
    assert record.events[1].value == 7.9 and record.events[1].unit == "%"
    assert kind.parse("女，1956年；E11 51.2；死亡 70").died
    assert kind.parse("女性 1956; 死亡 70").sex == "female"
    assert kind.parse("女、１９５６年生；Ｅ11　51.2岁；至今 60岁") == kind.parse("female 1956; E11 51.2; now 60")
    for wrong in (
        "",
        "female",
        "female; E11",
        "female; E11 x",
        "what is this",
        "{",
        "[]",
        "female; E11 -3",
        "female; E11 999",
        "female male 1956; E11 51",
        "1956 1957; E11 51",
        "female; E11 70; now 65",
    ):
        with pytest.raises(Invalid):
            kind.parse(wrong)


@given(TIMELINES)
def test_dump_and_revive(record):
    assert revived(record.dump()) == record


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        3,
        {},
        {"sex": "female", "born": None, "end": 1.0, "events": []},
        {"sex": "female", "born": None, "end": math.nan, "events": [[1.0, "ICD10/I10"]]},
        {"sex": "robot", "born": None, "end": 1.0, "events": [[1.0, "ICD10/I10"]]},
        {"sex": "female", "born": None, "end": 1.0, "events": [[1.0, "I 10"]]},
        {"sex": "female", "born": None, "end": 1.0, "events": [[1.0, "<end>"]]},
        {"sex": "female", "born": None, "end": 9.0, "events": [[1.0, DEATH], [2.0, "ICD10/I10"]]},
        {"sex": "female", "born": None, "end": 1.0, "events": [[1.0]]},
    ],
)
def test_records_that_cannot_be_are_refused(kind, wrong):
    with pytest.raises(Invalid):
        kind.preprocess(Raw(wrong))

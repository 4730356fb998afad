"""Every law that Puji promises, over every modality and every golden example. A new modality is tested by existing."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import numpy as np
import pytest
from pydantic import TypeAdapter

import puji
from puji import flow, registry
from puji.errors import Invalid
from puji.language import LANGUAGES, catalogue
from puji.modality import END, SPELLED, Candidates, Raw
from puji.options import Range
from puji.tables import TABLES

KINDS = puji.list_modalities()
EXAMPLES = {
    name: [
        json.loads(line)
        for line in (registry.package_folder(entry) / "examples.jsonl").read_text("utf-8").splitlines()
        if line.strip()
    ]
    for name, entry in registry.entries().items()
}
CASES = [(name, example) for name in KINDS for example in EXAMPLES[name]]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{str(case[1]['raw'])[:30]}")
def case(request):
    name, example = request.param
    modality = KINDS[name]()
    return modality, modality.preprocess(Raw(example["raw"], "examples.jsonl", 1)), example


def test_there_are_examples():
    assert all(len(examples) >= 10 for examples in EXAMPLES.values())


def test_encoding_is_stable_and_lossless(case):
    modality, record, _ = case
    tokens = modality.encode(record)
    again = modality.postprocess(tokens)
    assert modality.encode(again) == tokens
    if modality.lossless:
        assert again == record
    else:
        assert modality.distance(record, again) <= modality.tolerance
    assert tokens.count(modality.start) == 1
    assert tokens[-1] == END


def test_preprocessing_is_idempotent(case):
    modality, record, _ = case
    assert modality.revive(modality.dump(record)) == record
    assert modality.parse(modality.dump(record)) == record


def test_the_grammar_allows_every_token_of_a_record(case):
    modality, record, _ = case
    grammar = modality.grammar(modality.Conditions())
    if grammar is None:
        return
    known = set(modality.tokens())
    tokens = modality.encode(record)
    header = modality.header(tokens)
    state = grammar.start(tokens[:header])
    for place, token in enumerate(tokens[header:]):
        allowed = grammar.allowed(state)
        assert token in allowed or (SPELLED in allowed and token not in known), (place, token)
        state = grammar.advance(state, token)
        hash(state)


def test_ids_come_back_as_the_same_tokens(case):
    modality, record, _ = case
    vocabulary = puji.engine.vocabulary.Vocabulary(modality.tokens())
    ids = flow.encode(modality, vocabulary, modality.encode(record)).ids
    assert vocabulary.decode(ids) == modality.encode(record)
    again = flow.postprocess(modality, vocabulary, ids, [])
    assert modality.distance(record, again) <= modality.tolerance


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_help_names_the_formats_that_can_be_written(name, language):
    told = catalogue(language).get(f"{name}.formats", "")
    own = tuple(ending for ending in KINDS[name].formats if ending not in TABLES)  # these are told of all
    assert tuple(part.strip() for part in re.split("[,、]", told) if part) == own


@pytest.mark.parametrize("name", KINDS)
def test_conditions_survive_json_and_speak_both_languages(name):
    kind = KINDS[name]
    adapter = TypeAdapter(kind.Conditions)
    for example in EXAMPLES[name]:
        asked = kind.Conditions(**example.get("conditions", {}))
        assert adapter.validate_json(adapter.dump_json(asked)) == asked
    for field in kind.Conditions.model_fields:
        for language in LANGUAGES:
            texts = [catalogue(language).get(f"{name}.conditions.{field}.{part}") for part in ("label", "description")]
            assert all(texts), (field, language)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\xfe\x80" * 200,
        b"\n\n\n",
        b"x" * 10_000_000,
        b'{"a": [1, 2',
        b"\x1f\x8b\x08\x00broken",
        "\u4e2d\ufeff\u202e".encode(),
    ],
    ids=["empty", "binary", "blank", "huge line", "truncated json", "broken gzip", "chinese"],
)
@pytest.mark.parametrize("ending", ["", ".csv", ".gz", ".parquet"])
def test_hostile_files_give_reasons(name, content, ending, tmp_path):
    modality = KINDS[name]()
    path = tmp_path / f"hostile{ending}"
    path.write_bytes(content)
    outcomes = list(flow.preprocess(modality, path))
    assert outcomes, "a file that gives nothing says why"
    for outcome in outcomes:
        assert isinstance(outcome, puji.Invalid)
        assert "hostile" in outcome.source
        for language in LANGUAGES:
            message = outcome.message(language)
            assert outcome.reason not in message, f"{outcome.reason} has no text in {language}"
            assert len(message) < 1000


@pytest.mark.parametrize("name", KINDS)
def test_views_are_sequences_the_engine_can_learn(name):
    modality = KINDS[name]()
    records = [modality.preprocess(Raw(example["raw"])) for example in EXAMPLES[name]]
    modality.learn(records)
    modality.prepare(records)
    known = set(modality.tokens())
    for index, record in enumerate(records):
        for epoch in range(5):
            views = list(modality.views(record, np.random.default_rng([epoch, index])))
            again = list(modality.views(record, np.random.default_rng([epoch, index])))
            assert views == again, "views depend on their generator alone"
            for view in views:
                assert modality.start in view.tokens
                assert END in view.tokens
                assert view.weights is None or len(view.weights) == len(view.tokens)
                assert all(token in known or not token.startswith("<") for token in view.tokens)
    other = KINDS[name]()
    other.restore(modality.state())
    assert other.state().keys() == modality.state().keys()


def test_generated_records_keep_what_was_asked(trained):
    model, _ = trained
    batch = model.generate(n=20, seed=3)
    assert len(batch) == 20
    assert batch.attempts == 20 + sum(batch.refusals().values())
    assert {refusal.reason for refusal in batch.rejected} == set(batch.refusals())
    for record in batch:
        assert model.modality.preprocess(Raw(model.modality.dump(record))) == record
    rows = batch.rows()
    assert all(row["synthetic"] is True and row["model"] and row["seed"] == 3 for row in rows)


def agree(wanted, told):
    """Whether ``told`` of a record may be what was asked as ``wanted``; a single real number is a wish, and no limit."""
    if isinstance(wanted, Range):
        wish = wanted.single and isinstance(wanted.low, float)
        return wish or (told.low <= wanted.high and wanted.low <= told.high)
    # One may be finer than the other: a code and its category, a stem and that of a group in it.
    stem = wanted.startswith("-") and told.endswith(wanted[1:])
    return wanted.startswith(told) or told.startswith(wanted) or stem


@pytest.mark.parametrize("name", puji.shipped())
def test_what_was_generated_is_described_as_it_was_asked(name):
    model = puji.load(name)
    modality = model.modality
    asked = {}
    for example in EXAMPLES[modality.name]:
        described = modality.describe(modality.preprocess(Raw(example["raw"])))
        tells = {field for field, value in described if value is not None}
        fields = {field: value for field, value in example.get("conditions", {}).items() if field in tells}
        wanted = modality.Conditions(**fields)
        with suppress(Invalid):  # what these weights do not know, such as a label
            modality.prompt(wanted, np.random.default_rng(0))
            asked[repr(fields)] = wanted
    known = sum(any(value is not None for _, value in one) for one in asked.values())
    if name != modality.name and not known:  # other weights of a modality may know none of its examples
        return
    assert known >= 2
    for wanted in asked.values():
        for record in model.generate(2, seed=0, conditions=wanted):
            described = modality.describe(record)
            modality.accept(record, described)
            for field, value in wanted:
                assert value is None or agree(value, getattr(described, field)), (field, value, record)


def test_a_row_depends_on_its_seed_alone(trained):
    model, _ = trained
    many = model.generate(n=30, seed=5)
    few = model.generate(n=7, seed=5)
    assert few.records == many.records[:7]
    assert [one.log_likelihood for one in few.generated] == [one.log_likelihood for one in many.generated[:7]]
    assert [one.record for one in model.stream(7, model.empty_batch(seed=5))] == few.records


def test_questions_are_answered_with_intervals(trained):
    model, _ = trained
    record = next(iter(model.generate(n=1, seed=0)))
    question = model.modality.question(record, model.modality.Ask())
    assert isinstance(question, Candidates)
    for estimate in model.predict(record).estimates.values():
        assert estimate.low <= estimate.high and 0 < estimate.coverage <= 1

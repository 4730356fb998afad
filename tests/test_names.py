"""The names modality: stems, tokens, conditions, grammar, reading, and a small model from fit to screening."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import puji
from puji.gallery import demonstrate
from puji.language import LANGUAGES, catalogue
from puji.modalities.names import stems
from puji.modalities.names.conditions import Conditions
from puji.modalities.names.modality import Names
from puji.modalities.names.screen import load_pairs
from puji.modalities.names.tokens import Name, clean, spelled, syllables
from puji.modality import END, Raw
from puji.options import validated

FOLDER = Path(stems.__file__).parent
EXAMPLES = [json.loads(line) for line in (FOLDER / "examples.jsonl").read_text("utf-8").splitlines()]


def reason(function, *arguments, **options):
    with pytest.raises(puji.Invalid) as caught:
        function(*arguments, **options)
    assert caught.value.reason in catalogue("en"), caught.value.reason
    return caught.value.reason


def follow(grammar, state, tokens):
    for token in tokens:
        assert token in grammar.allowed(state), (token, tokens)
        state = grammar.advance(state, token)
        hash(state)
    return state


# -- stems -----------------------------------------------------------------------------------------------------------


def test_the_table_of_stems():
    table = stems.table()
    assert sum(stem.names >= 10 for stem in table) >= 170
    assert {"-tug", "-bart", "-mig", "-rasib"} <= {stem.stem for stem in table}
    assert len({stem.token for stem in table}) == len(table)
    for stem in table:
        assert stem.letters.isalpha() and stem.letters.islower() and stem.names >= 3
        assert len(stem.en_meaning) > 5 and len(stem.zh_meaning) >= 2
        assert all(letter > "\u3000" or letter == "A" for letter in stem.zh), stem
    assert stems.find("替尼").stem == "-tinib" == stems.find("TINIB").stem
    assert stems.find("单抗").stem == "-mab"


def test_counts_are_those_of_the_lists():
    """The released checkpoint carries the lists."""
    names = puji.load("names").modality.known.names["generic"]
    assert len(names) == 10_932
    for stem in stems.table():
        assert stem.names == sum(stem.fits(name) for name in names), stem


@pytest.mark.parametrize(
    ("name", "main", "before"),
    [
        ("imatinib", "-tinib", "ima"),
        ("cefalexin", "cef-", "cefalexin"),
        ("sotorasib", "-rasib", "soto"),
        ("phenobarbital", "-barbital", "pheno"),
        ("insulin", None, "insulin"),
    ],
)
def test_the_stem_of_a_name(name, main, before):
    found = stems.main_stem(name)
    assert (found.stem if found else None) == main
    assert stems.before_stem(name) == before


def test_carried_agrees_with_fits():
    for pair in load_pairs(FOLDER / "confused.csv"):
        for name in pair:
            assert set(stems.carried(name)) == {stem for stem in stems.table() if stem.fits(name)}


def test_meanings_are_found_in_both_languages():
    assert "-tinib" in [stem.stem for stem in stems.search("tyrosine kinase inhibitors")]
    assert "-tinib" in [stem.stem for stem in stems.search("酪氨酸激酶抑制剂")]
    assert {"-formin", "-gliflozin", "gli-"} <= {stem.stem for stem in stems.search("降糖")}
    assert reason(stems.search, "haircut") == "names.meaning"
    assert reason(stems.find, "-tinibb") == "names.stem"
    with pytest.raises(puji.Invalid, match="-tinib"):
        stems.find("tinbi")


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "names.empty"),
        ("阿司匹林", "names.chinese"),
        ("drug9", "names.digits"),
        ("two words", "names.words"),
        ("al", "names.short"),
        ("a" * 25, "names.long"),
        ("x" * 100_000, "names.long"),
        ("a\x00bc", "names.characters"),
        ("\u202eabc", "names.characters"),
        ("-abcde", "names.suffix_length"),
    ],
)
def test_what_is_no_name_is_refused(raw, why):
    assert reason(Names().preprocess, Raw(raw)) == why
    for language in LANGUAGES:
        assert why in catalogue(language)


def test_clean():
    assert clean(" Glivec® ") == "glivec"
    assert clean("ＺＡＮＴＡＣ") == "zantac"
    assert clean("Aspirín") == "aspirin"
    parse = Names().parse
    assert parse("-atto") == Name("suffix", "atto")
    assert parse("Xeloda").kind == "brand"
    assert parse("adalimumab").kind == "generic"
    assert [syllables(word) for word in ("xanax", "imatinib", "ibuprofen", "quinine")] == [2, 4, 4, 2]


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_name_or_refused(text):
    modality = Names()
    try:
        record = modality.preprocess(Raw(text))
    except puji.Invalid as refusal:
        assert all(refusal.reason in catalogue(language) for language in LANGUAGES)
        return
    assert modality.revive(modality.dump(record)) == record == modality.parse(modality.dump(record))
    assert modality.postprocess(modality.encode(record)) == record


# -- conditions and grammar ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["raw"])
def test_a_name_obeys_the_grammar_of_its_own_description(example):
    modality = Names()
    record = modality.preprocess(Raw(example["raw"]))
    described = modality.describe(record)
    prompt = modality.prompt(described, np.random.default_rng(0))
    for conditions, start in ((described, prompt), (Conditions(), [modality.start])):
        grammar = modality.grammar(conditions)
        state = follow(grammar, grammar.start(start), modality.encode(record)[1:])
        assert not grammar.allowed(state)
    assert Conditions.model_validate_json(described.model_dump_json()) == described
    assert set(prompt) <= set(modality.tokens())


@pytest.mark.parametrize(
    "asked",
    [
        {"stem": "-tinib"},
        {"stem": "-tinib", "length": 7, "first": "ab"},
        {"stem": "-tinib", "length": 8},
        {"stem": "-erg-", "length": "5:9"},
        {"stem": "cef-", "length": "4:6"},
        {"stem": "cef-", "first": "cefa"[:3]},
        {"meaning": "kinase inhibitors", "length": "8:12"},
        {"kind": "brand", "length": "5:6", "first": "z"},
        {"kind": "suffix", "first": "q"},
        {"length": 24},
    ],
    ids=str,
)
def test_random_walks_through_the_grammar_keep_what_is_asked(asked):
    modality, conditions = Names(), Conditions(**asked)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        prompt = modality.prompt(conditions, rng)
        grammar = modality.grammar(conditions)
        state, tokens = grammar.start(prompt), []
        while not tokens or tokens[-1] != END:
            options = sorted(grammar.allowed(state))
            assert options, ("dead end", prompt, tokens)
            tokens.append(options[int(rng.integers(len(options)))])
            state = grammar.advance(state, tokens[-1])
        record = modality.postprocess(tokens, prompt)
        assert record.text.startswith(conditions.first or "")
        if conditions.stem:
            stem = stems.find(conditions.stem)
            # An infix may by chance also stand at the beginning, where it is no infix.
            assert stem.fits(record.text) or (stem.place == "infix" and record.text.startswith(stem.letters))
        if conditions.meaning:
            assert any(stem.fits(record.text) for stem in conditions.stems())
        if conditions.length:
            assert len(record.text) in conditions.length
        assert conditions.kind in (None, record.kind)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"stem": "-nonsense"}, "names.stem"),
        ({"stem": "-tinib", "meaning": "kinase"}, "names.stem_and_meaning"),
        ({"stem": "-tinib", "kind": "brand"}, "names.stem_kind"),
        ({"stem": "-tinib", "length": 5}, "names.stem_room"),
        ({"stem": "cef-", "first": "x"}, "names.stem_room"),
        ({"length": "9:6"}, "options.range_reversed"),
        ({"length": 6.5}, "options.range"),
        ({"length": 2}, "names.limits"),
        ({"syllables": "many"}, "options.range"),
        ({"first": "7"}, "names.first"),
        ({"kind": "poem"}, "names.kind"),
        ({"kind": "suffix", "length": 5}, "names.suffix_asked"),
        ({"kind": "brand", "first": "cef"}, "names.first_stem"),
    ],
    ids=str,
)
def test_conditions_that_no_name_fulfils(asked, why):
    assert reason(validated, Conditions, asked) == why


# -- a model ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    pairs = load_pairs(FOLDER / "confused.csv")
    names = sorted({name for pair in pairs for name in pair})
    lines = [str(Names().parse(name)) for name in names] + ["suffix:atto", "suffix:bwwd", "suffix:adbm"]
    (folder / "names.txt").write_text("\n".join(lines))
    options = {"progress": False, "precision": "fp32", "batch_tokens": 1024, "compile": False, "threads": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUJI_CACHE", str(folder / "cache"))
        model = puji.fit(Names, folder / "names.txt", epochs=8, size="nano", out=folder / "model", settings=options)
    return model, folder / "model"


def test_generated_names_are_as_asked_and_new(small):
    model, _ = small
    for asked in ({}, {"stem": "-tinib", "length": "7:11"}, {"kind": "brand", "length": "5:8"}, {"kind": "suffix"}):
        batch = model.generate(n=8, seed=1, **asked)
        conditions = Conditions(**asked)
        for record, row in zip(batch, batch.rows(), strict=True):
            model.modality.accept(record, conditions)
            assert record.text not in model.modality.known.set
            assert "clearance" in row["notice"]
            if "stem" in asked:
                assert row["name"].endswith("tinib") and row["stem_zh"] == "替尼"
        assert [note.reason for note in batch.notes] == ["names.notice"]
    assert b"<svg" in str(batch.figure("svg")).encode()


def test_a_name_is_screened_by_predict(small):
    model, _ = small
    answer = model.predict("Celebrax")
    assert list(answer.estimates) == ["generic", *(f"nearest_{rank}" for rank in range(1, 11)), "flags"]
    assert answer.estimates["nearest_1"].about == "celebrex (brand, high)"
    for estimate in answer.estimates.values():
        assert estimate.low <= estimate.value <= estimate.high
    assert answer.estimates["flags"].value == 0
    flagged = model.predict("mgtinib", kind="brand", nearest=3).estimates
    assert list(flagged) == ["generic", "nearest_1", "nearest_2", "nearest_3", "flags"]
    for ask in (model.modality.Ask(kind="brand"), {"kind": "brand", "nearest": 5}):
        assert model.predict("mgtinib", ask, nearest=3).estimates == flagged
    assert reason(model.predict, "mgtinib", 3) == "options.conditions"
    assert flagged["flags"].value == 2
    assert flagged["flags"].about == '"mg"; -tinib'
    suffix = model.predict("-atto").estimates
    assert suffix["flags"].about.startswith("in use")
    assert suffix["nearest_1"].value == 0
    assert reason(model.predict, "Celebrax", nearest=0) == "options.wrong"


def test_every_output_says_that_it_is_no_clearance(small, tmp_path):
    model, _ = small
    batch = model.generate(n=3, seed=2, kind="brand")
    assert [one.reason for one in batch.notes] == ["names.notice"]
    batch.save(tmp_path / "names.csv")
    assert (tmp_path / "names.csv").read_text("utf-8").count("not a regulatory clearance") == 3
    assert "names.notice" in model.predict("Celebrax").notes
    assert Names.notes == ("names.notice",)
    for language in LANGUAGES:
        said = [catalogue(language)[f"names.{key}"] for key in ("notice", "summary", "evaluate.note")]
        said += [text for key, text in catalogue(language).items() if key.startswith("names.demo.") and "note" in key]
        assert all({"en": "regulatory clearance", "zh": "不构成监管审批结论"}[language] in text for text in said)


def test_the_demo_shows_names_beside_their_neighbours(small):
    model, _ = small
    sections = {section.title.key: section for section in demonstrate(model, seed=1)}
    assert list(sections) == [f"names.demo.{name}" for name in ("generic", "brand", "suffix", "screened")]
    for name in ("generic", "brand", "screened"):
        section = sections[f"names.demo.{name}"]
        (figure,) = section.figures
        assert set(figure.picture) == set(LANGUAGES)
        for language in LANGUAGES:
            rows = section.rows(language)
            heads = catalogue(language)
            assert rows and all(row[heads["names.column.nearest"]] for row in rows)
            bands = {heads[f"names.band.{band}"] for band in ("high", "moderate", "low")}
            assert {row[heads["names.column.band"]] for row in rows} <= bands
    stems_shown = {row["stem"] for row in sections["names.demo.generic"].table}
    assert stems_shown == {"-tinib", "-xaban", "-gliptin"}


def test_the_known_names_travel_with_the_model(small):
    model, _ = small
    other = Names()
    other.restore(model.modality.state())
    assert other.known.names == model.modality.known.names
    assert Counter(kind for _, kind in other.known.all)["generic"] > 50
    assert np.array_equal(other.lengths, model.modality.lengths)


def test_views_tell_true_conditions():
    modality = Names()
    for raw in ("imatinib", "brand:xeloda", "-atto"):
        record = modality.parse(raw)
        for seed in range(50):
            (view,) = modality.views(record, np.random.default_rng(seed))
            assert len(view.weights) == len(view.tokens)
            start = view.tokens.index(modality.start)
            assert view.weights[start + 1] == 1 and not any(view.weights[: start + 1])
            assert spelled(view.tokens[start:]) == (record.kind, record.text)
            grammar = modality.grammar(Conditions())
            follow(grammar, grammar.start(view.tokens[: start + 1]), view.tokens[start + 1 :])


def test_metrics_score_names_from_anywhere(tmp_path, monkeypatch):
    modality = Names()
    drawn = [Raw(text) for text in ("xeloda", "xeloda", "zibratinib", "drug9", "brand:fomab")]
    drawn.append(puji.Invalid("text.encoding", line=6))
    found = modality.metrics(drawn, {"known": [Raw("Xeloda"), Raw("brand:zantac"), puji.Invalid("text.nul")]})
    assert found["valid"].value == pytest.approx(4 / 6)
    assert found["unique"].value == pytest.approx(3 / 4)
    assert found["novelty"].value == pytest.approx(2 / 4)
    assert found["brand without a stem"].value == pytest.approx(2 / 3)
    assert reason(modality.metrics, [], {}) == "names.no_rows"
    monkeypatch.setenv("PUJI_CACHE", str(tmp_path))
    assert reason(modality.metrics, drawn, {}) == "data.not_fetched"

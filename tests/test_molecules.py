"""The molecules modality: records, tokens, fragments, conditions, views, files, pictures."""

from __future__ import annotations

import gzip
import json
import random
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rdkit import Chem
from tokenizers import Tokenizer

from puji.engine.vocabulary import Vocabulary
from puji.errors import Invalid
from puji.modalities.molecules import fragments, tokens, views
from puji.modalities.molecules.bins import Bins
from puji.modalities.molecules.conditions import Conditions, highest_qed
from puji.modalities.molecules.draw import atom_attention, atom_scores, atoms_of
from puji.modalities.molecules.modality import Molecules
from puji.modalities.molecules.molecule import Molecule, canonical, parse, standardise
from puji.modalities.molecules.properties import PROPERTIES
from puji.modality import END, Raw
from puji.options import Range, validated

from .molecule_strategies import WHOLE, cage, sketch

FOLDER = Path(tokens.__file__).parent
EXAMPLES = [json.loads(line) for line in (FOLDER / "examples.jsonl").read_text("utf-8").splitlines()]
DRUGS = (Path(__file__).parent / "data" / "molecules.smi").read_text("utf-8").split()
SERIES = [
    f"{left}c1ccc(NC(=O)C{right})cc1" for left in ("C", "CO", "F", "Cl", "CC") for right in ("C", "CC", "O", "Cl", "N")
]


@pytest.fixture(scope="module")
def learned() -> Molecules:
    modality = Molecules()
    records = [modality.preprocess(Raw(smiles)) for smiles in [*DRUGS[:150], *SERIES]]
    modality.learn(records)
    modality.prepare(records)
    return modality


def reason(function, *arguments, **options) -> str:
    with pytest.raises(Invalid) as caught:
        function(*arguments, **options)
    return caught.value.reason


# -- records and tokens ----------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_any_molecule_becomes_known_tokens_and_comes_back(seed):
    mol = sketch(random.Random(seed))
    if mol is None:
        return
    smiles = canonical(mol)
    words = tokens.tokenize(smiles)
    assert "".join(words) == smiles
    assert set(words) <= set(tokens.vocabulary_tokens())
    assert canonical(parse(smiles)) == smiles
    try:
        record = standardise(mol)
    except Invalid:
        return
    assert standardise(record.mol) == record
    assert Molecules().postprocess(tokens.body(record.smiles)) == record


@pytest.mark.parametrize("smiles", [*WHOLE, *(cage(size) for size in (9, 12, 35, 102))])
def test_exotic_molecules_are_lossless(smiles):
    written = canonical(parse(smiles))
    assert "".join(tokens.tokenize(written)) == written
    assert set(tokens.tokenize(written)) <= set(tokens.vocabulary_tokens())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["note"])
def test_golden_examples(example):
    modality = Molecules()
    record = modality.preprocess(Raw(example["raw"]))
    assert record.smiles == example["smiles"]
    assert modality.preprocess(Raw(record.smiles)) == record


def test_stereochemistry_isotopes_and_hydrogens_are_kept():
    for smiles in ("C[C@H](N)C(=O)O", "F/C=C/F", "F/C=C\\F", "[2H]C", "[H][H]", "C[S@](=O)c1ccccc1"):
        assert Molecules().preprocess(Raw(smiles)).smiles == smiles


def test_end_stands_first_and_the_vocabulary_is_fixed():
    words = tokens.vocabulary_tokens()
    assert words[0] == END
    assert len(words) == len(set(words))
    assert Vocabulary(words).ids[END] == 1
    assert words == Molecules().tokens()


def test_the_stock_tokenizer_gives_the_same_ids():
    modality = Molecules()
    vocabulary = Vocabulary(modality.tokens())
    stock = Tokenizer.from_str(json.dumps(vocabulary.tokenizer_json(modality.splitter, END)))
    texts = [*WHOLE, *DRUGS[:50], *(canonical(parse(smiles)) for smiles in WHOLE), cage(35), cage(102)]
    generator = random.Random(1)
    texts += [canonical(mol) for mol in (sketch(generator) for _ in range(300)) if mol is not None]
    for smiles in texts:
        words = ["<logp:3>", tokens.LIKE, "<similarity:2>", *tokens.body(smiles)]
        assert stock.encode("".join(words)).ids == vocabulary.encode(words), smiles


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "molecules.empty"),
        ("   ", "molecules.empty"),
        ("not a molecule", "molecules.unparsable"),
        ("C(", "molecules.unparsable"),
        ("c1cccc1", "molecules.unparsable"),
        ("C" * 1001, "molecules.long"),
        ("C" * 700, "molecules.tokens"),
        ("C中", "molecules.characters"),
        ("C\x00C", "molecules.characters"),
        (None, "molecules.unparsable"),
    ],
)
def test_bad_molecules_are_refused_silently(text, expected, capfd):
    assert reason(Molecules().preprocess, Raw(text)) == expected
    assert capfd.readouterr().err == ""


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40) | st.text("CNOcn()[]=#123456+-@H.%*:", max_size=40))
def test_any_text_is_a_molecule_or_refused(text):
    try:
        record = Molecules().preprocess(Raw(text))
    except Invalid:
        return
    assert Molecules().preprocess(Raw(record.smiles)) == record


def test_what_is_generated_must_be_one_molecule():
    modality = Molecules()
    assert reason(modality.postprocess, ["C", ".", "C", END]) == "molecules.several"
    assert reason(modality.postprocess, [END]) == "molecules.empty"
    assert reason(modality.postprocess, ["<like>", "C", END]) == "molecules.unparsable"
    assert modality.postprocess(["<mol>", "O", "C", "C", END, "<logp:3>"]).smiles == "CCO"


# -- fragments -------------------------------------------------------------------------------------------------------


def test_what_is_cut_joins_to_the_same_molecule_and_stays_in_it():
    rng = np.random.default_rng(0)
    kinds = set()
    for smiles in [*DRUGS[:200], "C[C@H](N)C(=O)N[C@@H](Cc1ccccc1)C(=O)O", "C/C(=C\\c1ccccc1)C(=O)NC1CC1"]:
        mol = parse(smiles)
        for _ in range(3):
            pair = fragments.cuts(mol, rng)
            if pair is None:
                continue
            kept, missing = pair
            joined = fragments.join(kept, missing)
            assert joined.smiles == canonical(mol)
            assert fragments.contains(joined.mol, fragments.normalised(kept))
            labels = re.findall(r"\[\*:(\d)\]", missing)
            kinds.add(("." in kept, len(labels)))
            if "." in kept:
                assert missing.startswith("[*:1]")
                assert sorted(labels) == ["1", "2"]
            else:
                assert [part[:5] for part in missing.split(".")] == [f"[*:{n}]" for n in range(1, len(labels) + 1)]
    assert kinds == {(False, 1), (False, 2), (False, 3), (True, 2)}


@pytest.mark.parametrize(
    ("kept", "missing", "expected"),
    [
        ("[*:1]C", "[*:2]C", "molecules.labels"),
        ("[*:1]C", "[*:1]C.[*:1]C", "molecules.labels"),
        ("[*:1]C[*:2]", "[*:1]C", "molecules.labels"),
        ("CC", "CC", "molecules.labels"),
        ("[*:1]C", "[*:1]C.C", "molecules.several"),
    ],
)
def test_parts_that_do_not_match_are_refused(kept, missing, expected):
    assert reason(fragments.join, kept, missing) == expected


def test_points_are_numbered_and_opened_where_there_are_hydrogens():
    assert fragments.normalised("*c1ccccc1") == "c1ccc([*:1])cc1"
    assert fragments.normalised("[3*]CC[*:7]") == fragments.normalised("[*:1]CC[*:2]")
    rng = np.random.default_rng(0)
    for smiles in ("c1cc[nH]c1", "C[C@H](N)C(=O)O", "F/C=C/F", "c1ccccc1"):
        for _ in range(10):
            opened = fragments.opened(smiles, rng)
            points = opened.count("*")
            assert 1 <= points <= 3
            whole = fragments.join(opened, ".".join(f"[*:{n}]I" for n in range(1, points + 1)))
            assert fragments.contains(whole.mol, canonical(parse(smiles)))


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("FC(F)(F)F", "molecules.full"),
        ("*=C", "molecules.point"),
        ("C*C", "molecules.point"),
        ("**", "molecules.point"),
        ("C(*)(*)(*)C(*)(*)C(*)(*)C(*)(*)C(*)", "molecules.points"),
        ("xyz", "molecules.unparsable"),
    ],
)
def test_impossible_fragments_are_refused(smiles, expected):
    assert reason(Conditions, keep=smiles) == expected


def test_kept_means_substituted_at_its_points_only():
    points = fragments.normalised("[*:1]c1ccccc1")
    assert fragments.contains(parse("CCc1ccccc1"), points)
    assert not fragments.contains(parse("CCc1ccccc1C"), points)
    assert fragments.contains(parse("CCc1ccccc1C"), "c1ccccc1")


# -- conditions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [2.5, "2.5", [2.5], {"low": 2.5, "high": 2.5}, np.float64(2.5)])
def test_a_value_may_be_written_in_many_ways(value):
    assert Conditions(logp=value).logp == Range[float](low=2.5, high=2.5)


@pytest.mark.parametrize("value", ["2:3", [2, 3], (2, 3), {"low": 2, "high": 3}, "2.0:3"])
def test_a_range_may_be_written_in_many_ways(value):
    assert Conditions(logp=value).logp == Range[float](low=2, high=3)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"logp": "x"}, "options.range"),
        ({"logp": "1:2:3"}, "options.range"),
        ({"logp": "nan"}, "options.range"),
        ({"logp": True}, "options.range"),
        ({"logp": "3:2"}, "options.range_reversed"),
        ({"qed": 1.5}, "molecules.limits"),
        ({"sa": 0}, "molecules.limits"),
        ({"weight": "-3:100"}, "molecules.limits"),
        ({"keep": "CCO", "like": "CCO"}, "molecules.together"),
        ({"linker": "c1ccccc1.CC"}, "molecules.linker"),
        ({"linker": "*C"}, "molecules.linker"),
        ({"linker": "*CC*.*C"}, "molecules.linker"),
        ({"keep": "C.C"}, "molecules.several"),
        ({"like": "C.C"}, "molecules.several"),
        ({"like": "*C"}, "molecules.point_here"),
        ({"similarity": 0.5}, "molecules.similarity_alone"),
        ({"similarity": 1, "like": "CCO"}, "molecules.similarity_one"),
        ({"weight": "50:100", "scaffold": "c1ccc2ccccc2c1"}, "molecules.weight_of_kept"),
        ({"tpsa": 300, "weight": 100}, "molecules.contradiction"),
        ({"qed": 0.9, "weight": "900:1000"}, "molecules.qed_bound"),
    ],
)
def test_impossible_conditions_are_refused(asked, expected):
    assert reason(Conditions, **asked) == expected


def test_unknown_and_doubled_options_are_refused():
    for asked in ({"colour": 3}, {"keep": "CC", "scaffold": "CC"}):
        with pytest.raises(ValidationError):
            Conditions(**asked)


def test_conditions_survive_json():
    for asked in (
        {},
        {"logp": "2:3", "qed": 0.8},
        {"scaffold": "*c1ccccc1"},
        {"like": "OCC", "similarity": [0.4, 0.6]},
    ):
        conditions = Conditions(**asked)
        assert Conditions.model_validate_json(conditions.model_dump_json()) == conditions


def test_no_molecule_beats_the_bound_on_qed():
    for smiles in DRUGS[:100]:
        mol = parse(smiles)
        exact = [Range[float].of(PROPERTIES[name].compute(mol)) for name in ("logp", "tpsa", "weight")]
        assert PROPERTIES["qed"].compute(mol) <= highest_qed(*exact) + 1e-6
    assert highest_qed(None, None, None) == 1


def test_describe_agrees_with_what_it_is_asked_again(learned):
    rng = np.random.default_rng(0)
    for smiles in DRUGS[:40]:
        record = Molecule(canonical(parse(smiles)))
        conditions = learned.describe(record)
        prompt = learned.prompt(conditions, rng)
        assert prompt == [
            *(f"<{name}:{learned.bins[name].index(p.compute(record.mol))}>" for name, p in PROPERTIES.items()),
            "<mol>",
        ]
        learned.accept(record, conditions)
        assert set(learned.deviations(record, conditions).values()) == {0.0}


def test_ranges_are_kept_and_single_values_are_reported(learned):
    record = Molecule("CC(=O)Oc1ccccc1C(=O)O")
    learned.accept(record, Conditions(logp="1:2", weight="150:200"))
    assert reason(learned.accept, record, Conditions(logp="2:3")) == "molecules.outside_asked"
    learned.accept(record, Conditions(logp=2.5))
    assert learned.deviations(record, Conditions(logp=2.5))["logp"] == pytest.approx(2.5 - 1.3101, abs=1e-3)
    assert reason(learned.accept, record, Conditions(keep="c1ccncc1")) == "molecules.not_kept"
    assert reason(learned.accept, record, Conditions(like="CC(=O)Oc1ccccc1C(=O)O")) == "molecules.same"
    salicylic = Conditions(like="O=C(O)c1ccccc1O", similarity="0.9:0.95")
    assert reason(learned.accept, record, salicylic) == "molecules.outside_asked"


def test_a_range_is_answered_by_bins_inside_it(learned):
    rng = np.random.default_rng(0)
    low, high = 2.0, 3.0
    bins = learned.bins["logp"]
    drawn = {int(learned.prompt(Conditions(logp=[low, high]), rng)[0][6:-1]) for _ in range(200)}
    assert drawn == set(range(bins.index(low), bins.index(high) + 1))


def test_what_lies_outside_the_training_molecules_is_told(learned):
    assert [w.reason for w in learned.warnings(Conditions(logp=14))] == ["molecules.outside"]
    assert learned.prompt(Conditions(logp=14), np.random.default_rng(0)) == ["<logp:31>", "<mol>"]
    assert [w.details["option"] for w in learned.warnings(Conditions(like="CCO", similarity="0.1:0.2"))] == [
        "similarity"
    ]
    assert learned.warnings(Conditions(logp=2)) == []
    assert reason(Molecules().prompt, Conditions(logp=2), np.random.default_rng(0)) == "molecules.not_learned"


def test_prompts_tell_what_is_kept_or_resembled(learned):
    rng = np.random.default_rng(0)
    assert learned.prompt(Conditions(like="OCC", similarity=0.55), rng) == ["<like>", "<similarity:2>", *"CCO", "<mol>"]
    prompt = learned.prompt(Conditions(linker="*CC.*CN"), rng)
    assert prompt[0] == "<keep>"
    assert learned.postprocess([*tokens.tokenize("[*:1]O[*:2]"), END], prompt).smiles == "CCOCN"


# -- bins and answers ------------------------------------------------------------------------------------------------


def test_bins_hold_equal_shares_and_invert():
    values = np.random.default_rng(0).normal(size=5000)
    bins = Bins.of(list(values))
    counts = np.bincount([bins.index(value) for value in values], minlength=tokens.BINS)
    assert counts.min() > 0.8 * 5000 / tokens.BINS
    assert [bins.index(value) for value in bins.medians()] == list(range(tokens.BINS))
    assert bins.index(-99) == 0
    assert bins.index(99) == tokens.BINS - 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-50, 0), min_size=32, max_size=32), st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_estimates_are_ordered_whatever_the_distribution(likelihoods, values):
    bins = Bins.of([float(value) for value in values])
    found = bins.estimate(np.array(likelihoods), "g")
    assert found.low <= found.high
    least, most = min(values) - 1e-9, max(values) + 1e-9
    assert least <= found.low
    assert found.high <= most
    assert least <= found.value <= most


def test_a_question_compares_all_bins_of_each_property(learned):
    record = Molecule("CCO")
    question = learned.question(record, learned.Ask(properties=("weight", "logp")))
    assert len(question.candidates) == 2 * tokens.BINS
    assert question.candidates[0].prompt == learned.encode(record)
    likelihoods = np.full(2 * tokens.BINS, -30.0)
    likelihoods[[5, tokens.BINS + 9]] = 0
    answer = question.answer(likelihoods)
    assert answer["logp"].value == pytest.approx(learned.bins["logp"].medians()[5], abs=1e-6)
    assert answer["weight"].unit == "g/mol"
    assert answer["weight"].low < learned.bins["weight"].medians()[9] < answer["weight"].high
    assert (
        learned.Ask(properties="qed, logp").properties
        == learned.Ask(properties=("logp,qed",)).properties
        == ("logp", "qed")
    )
    assert reason(learned.Ask, properties=",") == reason(learned.Ask, properties="logp，x") == "molecules.property"
    for wrong in (5, None, [1, "logp"], {"logp": 1}):
        assert reason(validated, learned.Ask, {"properties": wrong}) == "options.wrong"
    assert reason(learned.Ask, properties=("colour",)) == "molecules.property"
    assert reason(learned.target, record, "colour") == "molecules.property"
    assert list(learned.target(record, "sa")[1]) == tokens.bin_tokens("sa")


def test_bins_survive_json(learned):
    other = Molecules()
    other.restore({"quantiles": json.loads(json.dumps(learned.state()["quantiles"]))})
    assert other.state()["quantiles"] == learned.state()["quantiles"]


# -- views -----------------------------------------------------------------------------------------------------------


def test_views_show_all_directions_and_weigh_only_what_follows_the_prompt(learned):
    rng = np.random.default_rng(0)
    seen = set()
    for smiles in [*DRUGS[:100], *SERIES * 3] * 3:
        record = Molecule(canonical(parse(smiles)))
        (view,) = learned.views(record, rng)
        words = list(view.tokens)
        start, end = words.index("<mol>"), words.index(END)
        assert view.weights == [0.0] * (start + 1) + [1.0] * (len(words) - start - 1)
        properties = [word for word in words[:start] if word[1:].split(":")[0] in PROPERTIES]
        kind = "keep" if "<keep>" in words else "like" if "<like>" in words else "plain"
        seen.add((kind, bool(properties), end + 1 < len(words)))
        assert learned.postprocess(words[start:], words[: start + 1]) == standardise(record.mol)
        for word in [*properties, *words[end + 1 :]]:
            name, index = word[1:-1].split(":")
            assert learned.bins[name].index(PROPERTIES[name].compute(record.mol)) == int(index)
        names = [word[1:].split(":")[0] for word in properties]
        assert names == sorted(names, key=list(PROPERTIES).index)
        if kind == "like":
            place = words.index("<like>")
            other = parse("".join(words[place + 2 : start]))
            band = views.similarity_band(fragments.similarity(other, record.mol))
            assert words[place + 1] == tokens.BAND_TOKENS[band]
    assert seen == {
        *(("plain", *rest) for rest in ((False, False), (True, False), (False, True))),
        *((kind, properties, False) for kind in ("keep", "like") for properties in (False, True)),
    }


def test_prompts_are_sometimes_spelled_by_characters(learned):
    words = ["[nH]", "C", "[*:1]"] * 200
    spelled = tokens.respelled(words, np.random.default_rng(0), 0.1)
    assert "".join(spelled) == "".join(words)
    assert 0.02 < (spelled.count("n") + spelled.count("*")) / 400 < 0.2


def test_views_without_learning_are_plain():
    for seed in range(30):
        (view,) = Molecules().views(Molecule("CCO"), np.random.default_rng(seed))
        assert list(view.tokens) == ["<mol>", *"CCO", END]


# -- files -----------------------------------------------------------------------------------------------------------


def outcomes(path: Path) -> list[str | tuple]:
    return [(item.reason, item.line) if isinstance(item, Invalid) else item.content for item in Molecules().read(path)]


def test_smiles_files(tmp_path):
    path = tmp_path / "a.smi"
    path.write_bytes(b"\xef\xbb\xbfSMILES name\n# comment\nCCO ethanol\r\n\n\tc1ccccc1\tbenzene\nC\xff\nCC")
    assert outcomes(path) == ["CCO", "c1ccccc1", ("text.encoding", 6), "CC"]
    lines = [item.line for item in Molecules().read(path)]
    assert lines == [3, 5, 6, 7]
    packed = tmp_path / "b.smi.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert outcomes(packed) == outcomes(path)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "id,SMILES\n1,CCO\n2,CC\n", ["CCO", "CC"]),
        ("a.csv", 'id;name;smiles\n1;"a;b";CCO\n', ["CCO"]),
        ("a.tsv", "id\tstructure\n1\tCCO\n", ["CCO"]),
        ("a.csv", "x,what\n1,CCO\n2,oops\n", ["CCO", "oops"]),
        ("a.csv", "CCO\nCC\n", ["CCO", "CC"]),
        ("a.csv", "a,b\nx,y\n", [("molecules.read.no_column", 1)]),
        ("a.csv", "id,smiles\n1\n2,CC\n", [("molecules.read.short_row", 2), "CC"]),
        ("a.csv", "smiles\n", [("read.nothing", None)]),
    ],
)
def test_tables(tmp_path, name, text, expected):
    path = tmp_path / name
    path.write_text(text)
    assert outcomes(path) == expected


def test_parquet(tmp_path):
    table = pl.DataFrame({"id": [1, 2, 3], "canonical_smiles": ["CCO", None, "CC"]})
    table.write_parquet(tmp_path / "a.parquet")
    assert outcomes(tmp_path / "a.parquet") == ["CCO", "", "CC"]
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    assert outcomes(tmp_path / "b.parquet.gz") == ["CCO", "", "CC"]
    table.select("id").write_parquet(tmp_path / "c.parquet")
    assert outcomes(tmp_path / "c.parquet") == [("molecules.read.no_column", None)]


def test_sdf_keeps_stereochemistry_and_goes_on_after_a_bad_record(tmp_path):
    modality = Molecules()
    good = [standardise(parse(smiles)) for smiles in ("C[C@H](N)C(=O)O", "F/C=C/F", "c1ccc2[nH]ccc2c1")]
    path = tmp_path / "a.sdf"
    rows = [{"smiles": record.smiles, "synthetic": True, "note": "two\n\nlines"} for record in good]
    modality.write(good, rows, path)
    text = path.read_text()
    assert text.count(">  <synthetic>\nTrue") == 3
    assert [modality.preprocess(raw) for raw in modality.read(path)] == good
    records = text.split("$$$$\n")
    path.write_text("$$$$\n".join([records[0], "cut off\n", "bad\n\n\n  9  9 x\nM  END\n", records[2]]))
    found = list(modality.read(path))
    assert isinstance(found[1], Invalid)
    assert found[1].line == records[0].count("\n") + 2
    assert reason(modality.preprocess, found[2]) == "molecules.unparsable"
    assert modality.preprocess(found[3]) == good[2]
    assert [mol.GetProp("synthetic") for mol in Chem.SDMolSupplier(str(path), sanitize=False) if mol][:1] == ["True"]


def test_smiles_files_are_written_with_their_origin(tmp_path):
    path = tmp_path / "a.smi"
    row = {"smiles": "CCO", "synthetic": True, "model": "puji molecules 1", "seed": 4}
    Molecules().write([Molecule("CCO")], [row], path)
    assert path.read_text() == "# synthetic=True model=puji molecules 1 seed=4\nCCO 1\n"
    assert outcomes(path) == ["CCO"]
    assert reason(Molecules().write, [], [], tmp_path / "a.xyz") == "write.format"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.smi", b"", ("read.nothing", None)),
        ("a.smi", b"C\x00C", ("text.binary", None)),
        ("a.csv", b"\x89PNG\r\n\x1a\n\x00\x00", ("text.binary", None)),
        ("a.smi.gz", b"\x1f\x8b\x08\x00broken", ("text.damaged", 1)),
        ("a.smi.gz", gzip.compress(b"C" * 10_000)[:30], ("text.damaged", 1)),
        ("a.parquet", b"PAR1 no", ("text.damaged", None)),
        ("a.docx", b"C", ("read.ending", None)),
        ("a.sdf", b"", ("read.nothing", None)),
        ("missing", None, ("read.missing", None)),
        ("missing.smi", None, ("read.missing", None)),
    ],
)
def test_hostile_files_are_refused_with_their_place(tmp_path, name, content, expected):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    found = [item for item in Molecules().read(path) if isinstance(item, Invalid)]
    assert (found[0].reason, found[0].line) == expected
    assert name in found[0].source


def test_a_line_of_ten_megabytes_is_passed_over(tmp_path):
    path = tmp_path / "a.smi"
    path.write_bytes(b"CCO\n" + b"C" * 10_000_000 + b"\nCC\n")
    assert outcomes(path) == ["CCO", ("text.long_line", 2), "CC"]
    path = tmp_path / "a.sdf"
    path.write_bytes(b"x\n" * 800_000 + b"$$$$\n")
    assert outcomes(path) == [("molecules.read.long_record", 1)]


def test_a_folder_is_read_file_by_file(tmp_path):
    assert outcomes(tmp_path) == [("read.folder", None)]
    (tmp_path / "b.smi").write_text("CC\n")
    (tmp_path / "a.csv").write_text("smiles\nCCO\n")
    (tmp_path / "readme.md").write_text("no molecules")
    assert outcomes(tmp_path) == ["CCO", "CC"]


# -- rows and pictures -----------------------------------------------------------------------------------------------


def test_a_row_says_what_a_chemist_wants_to_know():
    row = Molecules().row(Molecule("CC(=O)Oc1ccccc1C(=O)O"))
    assert row["formula"] == "C9H8O4"
    assert row["inchikey"] == "BSYNRYMUTXBXSQ-UHFFFAOYSA-N"
    assert row["heavy_atoms"] == 13
    assert row["weight"] == pytest.approx(180.159)
    assert isinstance(row["alerts"], str)
    assert {"smiles", *PROPERTIES} <= set(row)


def test_scores_and_attention_fall_on_the_atoms_that_were_written():
    words = ["<mol>", *tokens.tokenize("C[C@H](N)C(=O)[Pt+]Cl"), END]
    mol, places = atoms_of(words)
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
    assert symbols == ["C", "C", "N", "C", "O", "Pt", "Cl"]
    assert places[0] is None
    assert places[-1] is None
    assert [places[index] for index, word in enumerate(words) if word == "Cl"] == [6]
    assert [places[words.index(word)] for word in "[Pt+]"] == [5] * 5
    assert places[words.index("=")] == 3
    assert atom_scores(places, np.ones(len(words)), 7).sum() == len(words) - 2
    attention = np.zeros((len(words), len(words)))
    attention[words.index("Cl"), words.index("N")] = 1
    found = atom_attention(places, attention, 7)
    assert found[6, 2] == 1
    assert found.sum() == 1


def test_pictures_are_pictures(learned):
    record = Molecule("CC(=O)Oc1ccccc1C(=O)O")
    words = learned.encode(record)
    picture = learned.render(record)["image/svg+xml"]
    assert picture.startswith("<svg")
    assert picture.endswith("</svg>")
    explained = learned.render_explanation(record, words, np.ones(len(words)), np.eye(len(words)))["image/svg+xml"]
    assert explained.count("<svg") == 3
    records = [Molecule("CCO"), Molecule("CC")]
    rows = [learned.row(records[0]), {"smiles": "CC"}]
    assert learned.figure(records, rows, "svg").startswith("<svg")
    assert learned.figure(records, rows, "png").startswith(b"\x89PNG")
    assert reason(learned.figure, [], [], "svg") == "molecules.no_rows"
    assert reason(learned.figure, records, rows, "gif") == "write.figure"


def test_what_was_kept_is_found_where_it_is_not_substituted():
    kept = fragments.normalised("[*:1]c1ccccc1.[*:2]N1CCOCC1")
    mol = parse("Cc1ccc(F)cc1C(c1ccccc1)N1CCOCC1")
    rings = [mol.GetAtomWithIdx(index) for index in fragments.held(mol, kept)]
    assert len(rings) == 12 and sum(atom.GetDegree() == 3 for atom in rings) == 2, "each ring hangs by its point alone"

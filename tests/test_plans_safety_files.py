"""Rules and interaction tables as files: what is read, and how a mistake is told."""

import json
import re

import pytest

from puji.errors import Invalid
from puji.language import LANGUAGES, catalogue
from puji.modalities.plans.safety import Current, Safety, load_rules
from puji.modalities.plans.safety.interactions import COLUMNS, load_interactions
from puji.modalities.plans.safety.interactions import EXAMPLE as INTERACTIONS
from puji.modalities.plans.safety.rules import EXAMPLE, parsed_rules
from puji.modalities.timelines.codes import normalised
from tests.plans_cases import FACTS, FORMULARY, IBUPROFEN, WARFARIN, facts, order

LIMIT = {"kind": "limit", "id": "dose", "medicines": ["ATC/A10A"], "of": "dose", "most": "12 U"}
STEPS = {
    "kind": "change",
    "id": "steps",
    "medicines": ["ATC/A10A"],
    "of": "dose",
    "unit": "U",
    "within": 60,
    "rise": "2 U",
}
SEEN = {"kind": "observation", "id": "seen", "observations": ["LOINC/2339-0"], "fresh": 30, "least": "70 mg/dL"}


def written(tmp_path, *rules, name="rules.json", **more):
    path = tmp_path / name
    path.write_text(json.dumps({"name": "test", "rules": [FORMULARY, *rules], **more}), "utf-8")
    return path


def refused(path):
    with pytest.raises(Invalid) as caught:
        load_rules(path)
    for language in LANGUAGES:
        assert caught.value.reason in catalogue(language)
        assert not re.search(r"\{[a-z_]+\}", caught.value.message(language))
    return caught.value.message("en")


def test_the_example_is_read_and_comes_back_the_same():
    rules = load_rules(EXAMPLE)
    assert {rule.kind for rule in rules.rules} >= {
        "allowed",
        "limit",
        "change",
        "interval",
        "observation",
        "interaction",
    }
    assert parsed_rules(json.loads(rules.model_dump_json())) == rules
    assert Safety(rules).digest == Safety(load_rules(EXAMPLE)).digest
    assert rules.naming["RXNORM/86009"]["zh"] == "赖脯胰岛素"


def test_json_and_toml_say_the_same(tmp_path):
    toml = tmp_path / "rules.toml"
    toml.write_text(
        'name = "x"\n[[rules]]\nkind = "allowed"\nid = "a"\nentries = [{medicine="ATC/A10A", routes=["oral"], most="5 U"}]\n'
    )
    same = {"kind": "allowed", "id": "a", "entries": [{"medicine": "ATC/A10A", "routes": ["oral"], "most": "5 U"}]}
    path = tmp_path / "rules.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"name": "x", "rules": [same]}).encode())
    assert load_rules(toml) == load_rules(path)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({**LIMIT, "most": "12 Uu"}, "rules[2] dose, most: The unit"),
        ({**LIMIT, "most": "12"}, "does not fit"),
        ({**LIMIT, "most": 12}, "no quantity"),
        ({**LIMIT, "most": "-12 U"}, "no quantity"),
        ({**LIMIT, "most": "12 U/h"}, "does not fit"),
        ({**LIMIT, "of": "rate"}, "does not fit"),
        ({**LIMIT, "hours": 24}, "Only a limit of a total has hours"),
        ({**LIMIT, "hours": "24", "of": "total"}, "rules[2] dose, hours"),
        ({**LIMIT, "hours": -1, "of": "total"}, "rules[2] dose, hours"),
        ({**LIMIT, "mots": "12 U"}, "mots: no such field"),
        ({key: value for key, value in LIMIT.items() if key != "most"}, "most: this field is missing"),
        ({**LIMIT, "medicines": []}, "rules[2] dose, medicines"),
        ({**LIMIT, "medicines": ["ATC/A1"]}, "No code of ATC"),
        ({**LIMIT, "medicines": ["RXNORM/86009"]}, "under [codes]"),
        ({**LIMIT, "medicines": ["A10AB04"]}, "no code of ATC"),
        ({**LIMIT, "routes": ["iv"]}, "no route"),
        ({**LIMIT, "excess": "ignore"}, "excess"),
        ({**LIMIT, "enabled": False}, "no such field"),
        ({**LIMIT, "kind": "limits"}, "unknown kind"),
        ({"id": "x"}, "no kind"),
        ({**LIMIT, "id": "formulary"}, "Each needs its own"),
        ({**LIMIT, "id": "Not An Id"}, "id"),
        ({**STEPS, "rise": None}, "needs rise"),
        ({**STEPS, "rise": "2 mg"}, "does not fit"),
        ({**STEPS, "rise_ratio": 0.5}, "rise_ratio"),
        ({**SEEN, "least": None}, "needs least or most"),
        ({**SEEN, "most": "10 mmol/L"}, "needs least or most"),
        ({**SEEN, "substance": "sugar"}, "molar mass"),
        ({"kind": "condition", "id": "c", "conditions": ["SNOMED/46177005"]}, "ICD10"),
        ({"kind": "interaction", "id": "i", "pairs": []}, "pairs"),
        ({"kind": "interaction", "id": "i", "table": "none.csv"}, "there is no file none.csv"),
        ("not a rule", "rules[2]"),
        (None, "rules[2]"),
        (5, "rules[2]"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path, rule, told):
    message = refused(written(tmp_path, rule))
    assert str(tmp_path / "rules.json") in message
    assert told in message, message


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "5",
        "null",
        "{",
        '{"name": "x", "name": "y", "rules": []}',
        '{"name": "x", "rules": NaN}',
        '{"name": "x", "rules": [{"kind": "age", "id": "a", "least": Infinity}]}',
        '{"name": "x", "rules": {"a": 1}}',
        '{"name": "x", "rules": "all", "codes": 5}',
        "[" * 100_000,
        "\x00\x01",
    ],
)
def test_what_is_no_set_of_rules_is_refused(tmp_path, content):
    path = tmp_path / "rules.json"
    path.write_text(content, "utf-8")
    refused(path)


def test_files_that_cannot_be_read(tmp_path):
    refused(tmp_path / "missing.json")
    refused(tmp_path)
    broken = tmp_path / "broken.json"
    broken.write_bytes(b'{"name": "\xff\xfe"}')
    refused(broken)
    toml = tmp_path / "rules.toml"
    for content in (
        "name = ",
        "a = 1\na = 2",
        'name = "x"\nrules = 1979-05-27',
        'name = "x"\n[[rules]]\nkind = "age"\nid = "a"\nleast = nan',
    ):
        toml.write_text(content)
        refused(toml)


HEADING = ",".join(COLUMNS)


def table(tmp_path, *rows, heading=HEADING):
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join([heading, *rows]) + "\n", "utf-8")
    return path


GOOD = "B01AA03,M01A,major,,bleeding,出血,test"


def test_a_table_of_ones_own(tmp_path):
    table(tmp_path, "# a comment", "", GOOD, 'B01AA03,"M01A N02BA01",moderate,3,"bleeding, mild",出血,"a, b"')
    rules = load_rules(written(tmp_path, {"kind": "interaction", "id": "pairs", "table": "pairs.csv"}))
    pairs = rules.rules[1].pairs
    assert [(pair.first, pair.second, pair.severity, pair.days) for pair in pairs] == [
        (("ATC/B01AA03",), ("ATC/M01A",), "major", 1.0),
        (("ATC/B01AA03",), ("ATC/M01A", "ATC/N02BA01"), "moderate", 3.0),
    ]
    taking = facts(current=(Current(WARFARIN),))
    verdict = Safety(rules).check(taking, (order(IBUPROFEN, 400, "mg", "oral"),))
    assert {one.effect for one in verdict.findings} == {"veto", "caution"}


def test_a_table_from_a_chinese_spreadsheet(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_bytes(("\r\n".join([",".join(COLUMNS), GOOD]) + "\r\n").encode("gb18030"))
    assert load_interactions(path)[0]["effect_zh"] == "出血"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("B01AA03,M01A,major,,bleeding,出血", "needs 7 cells"),
        ("B01AA03,M01A,severe,,bleeding,出血,test", "severity"),
        ("B01AA03,M01A,major,soon,bleeding,出血,test", "days"),
        ("B01AA03,M01A,major,-1,bleeding,出血,test", "days"),
        ("B01AA03,M01A,major,nan,bleeding,出血,test", "days"),
        (",M01A,major,,bleeding,出血,test", "first"),
        ("warfarin,M01A,major,,bleeding,出血,test", "first"),
        ("B01AA03,M01A,major,,,出血,test", "effect_en"),
        ("B01AA03,M01A,major,,bleeding,出血,", "source"),
    ],
)
def test_a_wrong_row_is_told_with_its_line(tmp_path, row, told):
    path = table(tmp_path, GOOD, row)
    with pytest.raises(Invalid) as caught:
        load_interactions(path)
    message = caught.value.message("en")
    assert message.startswith(f"{path}:3: ")
    assert told in message


def test_another_heading_and_an_empty_table(tmp_path):
    with pytest.raises(Invalid, match="heading"):
        load_interactions(table(tmp_path, GOOD, heading="a,b,c"))
    with pytest.raises(Invalid, match="no interactions"):
        load_interactions(table(tmp_path))


def test_the_table_that_comes_with_it():
    rows = load_interactions(INTERACTIONS)
    assert len(rows) > 40
    for row in rows:
        for code in (*row["first"], *row["second"]):
            assert normalised(code) == code
        assert row["source"].startswith("PI ")
        assert row["effect_en"].isascii()
    sides = [(tuple(row["first"]), tuple(row["second"])) for row in rows]
    assert len(set(sides)) == len(sides)


@pytest.mark.parametrize(
    ("one", "other", "severe"),
    [
        ("C01DA02", "G04BE03", True),  # glyceryl trinitrate, sildenafil
        ("N06AF03", "N06AB06", True),  # phenelzine, sertraline
        ("C10AA01", "J01FA09", True),  # simvastatin, clarithromycin
        ("M04AA01", "L04AX01", True),  # allopurinol, azathioprine
        ("N02AA01", "N05BA01", True),  # morphine, diazepam
        ("A10AB04", "C07AB02", False),  # insulin lispro, metoprolol
        ("A10BA02", "C09AA02", None),  # metformin, enalapril
    ],
)
def test_well_known_pairs_in_both_orders(one, other, severe):
    entries = [{"medicine": "ATC/" + code, "routes": ["oral"], "most": "9 g"} for code in (one, other)]
    rule = {"kind": "interaction", "id": "pairs", "pairs": list(load_interactions(INTERACTIONS))}
    safety = Safety(parsed_rules({"name": "x", "rules": [{**FORMULARY, "entries": entries}, rule]}))
    for asked, taken in ((one, other), (other, one)):
        verdict = safety.check(facts(current=(Current("ATC/" + taken),)), (order("ATC/" + asked, 1, "mg", "oral"),))
        assert {finding.effect for finding in verdict.findings} == (
            {"veto" if severe else "caution"} if severe is not None else set()
        )
    assert safety.check(FACTS, (order("ATC/" + one, 1, "mg", "oral"),)).findings == ()

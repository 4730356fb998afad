"""Results and codes as hospitals write them: what is read, what is told, what is refused."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puji.errors import Invalid
from puji.modalities.timelines.codebook import Codebook
from puji.modalities.timelines.codes import Codes, ancestors, normalised, pair
from puji.modalities.timelines.modality import Timelines
from puji.modalities.timelines.sources import read
from puji.modalities.timelines.timeline import YEAR, Event, Timeline
from puji.modalities.timelines.values import ANSWERS, reading
from puji.modalities.timelines.write import write


@pytest.fixture
def table(tmp_path):
    def made(text, name="t.csv"):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        found = list(read(path))
        refused = Counter()
        for one in found:
            if isinstance(one, Invalid):
                refused[one.reason.rpartition(".")[2]] += one.details.get("rows", 1)
        return [one.content for one in found if not isinstance(one, Invalid)], refused

    return made


@pytest.mark.parametrize(
    ("text", "value", "answer", "remark"),
    [
        ("7.9", 7.9, "", ""),
        ("７．９↑", 7.9, "", ""),
        ("<3.9", 3.9, "", "bound"),
        (">=200", 200.0, "", "bound"),
        ("≥ 200", 200.0, "", "bound"),
        ("阳性", None, "positive", ""),
        ("Positive", None, "positive", ""),
        ("阴性(-)", None, "negative", ""),
        ("弱阳性", None, "weak_positive", ""),
        ("++", None, "2+", ""),
        ("3+", None, "3+", ""),
        ("标本溶血", None, "", "text"),
        ("<", None, "", "text"),
        ("", None, "", ""),
    ],
)
def test_results_as_people_write_them(text, value, answer, remark):
    found = reading(text)
    assert (found.value, found.answer, found.remark.rpartition(".")[2]) == (value, answer, remark)


@given(st.text(max_size=12))
def test_no_result_is_lost_in_silence(text):
    found = reading(text)
    assert (
        not text.strip() or found.value is not None or found.answer or found.remark or not text.strip(" ↑↓\t\r\n\f\v")
    )


@given(
    st.sampled_from(sorted(set(ANSWERS.values()))),
    st.sampled_from(["LOCAL/HBsAg", "LOINC/5196-1", "LAB/50912", "ICD10/I10"]),
)
def test_an_answer_stands_below_its_question(answer, question):
    code = f"{question}=LOCAL/{answer}"
    assert normalised(code) == code and ancestors(code)[0] == question and not any(c.isspace() for c in code)


def test_a_laboratory_keeps_its_events_and_counts_what_it_drops(table):
    patients, refused = table(
        "subject,sex,birth,date,code,value,unit\n"
        "1,F,1950-01-01,2001-01-01,LOCAL/CRP,<3.9,mg/L\n"
        "1,F,1950-01-01,2001-01-02,LOCAL/HBsAg,阳性,\n"
        "1,F,1950-01-01,2001-01-03,LOCAL/HBsAg,Negative,\n"
        "1,F,1950-01-01,2001-01-04,LOCAL/K,haemolysed,mmol/L\n"
        "1,F,1950-01-01,2001-01-05,E11.9+I79.2*,,\n"
        "1,F,1950-01-01,2001-01-06,E11.9+nonsense,,\n"
    )
    (one,) = patients
    assert [(event.code, event.value, event.unit) for event in one.events] == [
        ("LOCAL/CRP", 3.9, "mg/L"),
        ("LOCAL/HBsAg=LOCAL/positive", None, ""),
        ("LOCAL/HBsAg=LOCAL/negative", None, ""),
        ("LOCAL/K", None, ""),
        ("ICD10/E11.9", None, ""),
        ("ICD10/I79.2", None, ""),
        ("ICD10/E11.9", None, ""),
    ]
    assert refused == {"bound": 1, "text": 1, "malformed": 1}


def test_two_codes_in_one_cell():
    assert pair("E11.9+I79.2*") == pair("E11.9† I79.2*") == ["ICD10/E11.9", "ICD10/I79.2"]
    assert [normalised(code) for code in pair("G63.2*E11.4†")] == ["ICD10/G63.2", "ICD10/E11.4"]
    assert pair("A00.0+") == ["A00.0+"] and normalised("A00.0+") == "ICD10/A00.0"
    assert pair("LOCAL/a+b") == ["LOCAL/a+b"]


def test_fhir_tells_words_and_bounds(table):
    common = {"resourceType": "Observation", "subject": {"reference": "Patient/1"}, "effectiveDateTime": "2001-01-01"}
    told = [
        {"resourceType": "Patient", "id": "1", "gender": "male", "birthDate": "1950-01-01"},
        {**common, "code": {"text": "HBsAg"}, "valueString": "positive"},
        {**common, "code": {"text": "HCV"}, "valueCodeableConcept": {"text": "阴性"}},
        {**common, "code": {"text": "CRP"}, "valueQuantity": {"value": 3.9, "comparator": "<", "code": "mg/L"}},
        {**common, "code": {"text": "K"}, "valueString": "see comment"},
    ]
    (one,), refused = table("".join(json.dumps(line) + "\n" for line in told), "t.ndjson")
    assert {(event.code, event.value) for event in one.events} == {
        ("LOCAL/HBsAg=LOCAL/positive", None),
        ("LOCAL/HCV=LOCAL/negative", None),
        ("LOCAL/CRP", 3.9),
        ("LOCAL/K", None),
    }
    assert refused == {"bound": 1, "text": 1}


def test_events_dated_after_today_are_dropped_and_shifted_dates_kept(table):
    patients, refused = table(
        "subject,sex,birth,date,code,death\n"
        "1,F,1950-01-01,2001-01-01,I10,\n"
        "1,F,1950-01-01,2901-01-01,E11,\n"  # beyond any age, too
        "2,F,2000-01-01,2010-01-01,I10,2088-01-01\n"
        "3,M,2850-01-01,2901-01-01,I10,\n"  # as MIMIC shifts its dates
        "3,M,2850-01-01,2902-01-01,E11,\n"
    )
    assert [[event.code for event in one.events] for one in patients] == [["ICD10/I10"]] * 2 + [
        ["ICD10/I10", "ICD10/E11"]
    ]
    assert refused["future"] == 2 and not patients[1].died


@pytest.mark.parametrize("ending", ["meds", "ndjson", "omop", "csv"])
def test_synthetic_patients_may_live_beyond_today(tmp_path, ending):
    events = (Event(5 * YEAR, "ICD10/I10"), Event(70 * YEAR, "ICD10/E11"), Event(80 * YEAR, "DEATH"))
    write([Timeline("male", 2015, events, 80 * YEAR)], [{"synthetic": True}], tmp_path / f"cohort.{ending}")
    found = list(read(tmp_path / f"cohort.{ending}"))
    assert [[event.code for event in one.content.events] for one in found] == [["ICD10/I10", "ICD10/E11", "DEATH"]]


def test_a_word_that_a_person_types_is_no_code_and_a_name_is_suggested():
    kind = Timelines()
    names = {"ICD10/E11": {"en": "type 2 diabetes", "zh": "2型糖尿病"}}
    kind.book = Codebook(("DEATH", "ICD10/E11", "LOINC/4548-4", "LOCAL/ward"), spelled=False, own=Codes({}, names))
    kind.people = {("<female>", "<born:1950s>"): 9}
    for word, meant in (("diabetes", "ICD10/E11"), ("糖尿病", "ICD10/E11"), ("4548-4", "LOINC/4548-4")):
        with pytest.raises(Invalid) as refusal:
            kind.parse(f"female 1956; {word} 51")
        told = refusal.value.message("en")
        assert refusal.value.reason == "timelines.typed_code" and word in told and meant in told
    with pytest.raises(Invalid) as refusal:
        kind.parse("female 1956; nothing 51")
    assert "mean" not in refusal.value.message("en")
    typed = kind.parse("female 1956; ward 50; LOCAL/diabetes 51; E11.9+I79.2* 52; LOCAL/HBsAg 53 阳性")
    assert [event.code for event in typed.events] == [
        *("LOCAL/ward", "LOCAL/diabetes", "ICD10/E11.9", "ICD10/I79.2", "LOCAL/HBsAg=LOCAL/positive"),
    ]
    with pytest.raises(Invalid, match=r"<3\.9"):
        kind.parse("female 1956; LOINC/4548-4 51 <3.9 %")

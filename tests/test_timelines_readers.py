"""What hostile files taught the readers of timelines: nothing is misread, nothing vanishes, nothing stops the rest."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puji import flow
from puji.errors import Invalid
from puji.modalities.timelines import cleaning
from puji.modalities.timelines.codes import load_mapping
from puji.modalities.timelines.conditions import Ask
from puji.modalities.timelines.modality import Timelines
from puji.modalities.timelines.read_tables import COLUMNS
from puji.modalities.timelines.timeline import YEAR, Event, Timeline
from puji.modalities.timelines.values import moment, number, numbers
from puji.options import validated

ICD = "http://hl7.org/fhir/sid/icd-10"


def read(path):
    """Patients by subject, and how many were refused for which reason."""
    kind = Timelines()
    patients, refused = {}, Counter()
    for one in flow.preprocess(kind, path):
        if isinstance(one, Invalid):
            assert one.message("en") and one.message("zh") and one.source
            refused[one.reason.rpartition(".")[2]] += one.details.get("rows", 1)
        else:
            patients[one.subject] = one
    return patients, refused


def codes(record):
    return [event.code.partition("/")[2] for event in record.events]


@pytest.fixture
def table(tmp_path):
    def made(text, name="t.csv"):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return read(path)

    return made


def patient(identifier="p1", **more):
    return {"resourceType": "Patient", "id": identifier, "gender": "female", "birthDate": "1956-01-01", **more}


def condition(code="I10", reference="Patient/p1", **more):
    told = {"resourceType": "Condition", "code": {"coding": [{"system": ICD, "code": code}]}}
    told |= {"onsetDateTime": "2005-01-01"}
    return told | ({"subject": {"reference": reference}} if reference else {}) | more


@pytest.fixture
def bundle(tmp_path):
    def made(*resources):
        path = tmp_path / "b.json"
        entries = [one if "resource" in one else {"resource": one} for one in resources]
        path.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}), "utf-8")
        return read(path)

    return made


# -- dates beside ages ------------------------------------------------------------------------------------------------


def test_a_date_of_death_without_a_birth_kills_nobody_whose_events_are_told_by_age(table):
    patients, refused = table(
        "subject,sex,age,code,death_date\np1,female,30,I10,2020-01-01\np2,male,70,I10,2020-01-01\np2,male,71,E11,\n"
    )
    assert codes(patients["p1"]) == ["I10"] and codes(patients["p2"]) == ["I10", "E11"]
    assert not any(one.died for one in patients.values()) and refused == {"undated": 2}


def test_an_end_without_a_birth_is_not_counted_from_1970(table):
    patients, refused = table("subject,age,code,end\np1,30,I10,2020-01-01\n")
    assert patients["p1"].end == 30 * YEAR and refused == {"undated": 1}
    patients, refused = table("subject,age,code,end_age\np1,30,I10,45\np1,31,E11,old\n")
    assert patients["p1"].end == 45 * YEAR and refused == {"no_age": 1}


def test_dates_alone_or_beside_ages_still_place_the_end_and_the_death(table):
    patients, refused = table(
        "subject,age,date,code,end,death\n"
        "1,,2000-01-01,I10,2002-01-01,\n"
        "2,50,2000-01-01,I10,2002-01-01,\n"
        "3,50,2000-01-01,I10,,2001-01-01\n"
    )
    assert patients["1"].end == 731 and not refused
    assert 51.5 < patients["2"].end / YEAR < 53 and patients["3"].died


def test_an_age_that_cannot_be_beside_a_date_stops_nothing(table):
    patients, _ = table("subject,date,age,code\n1,2000-01-01,99999,I10\n1,2001-01-01,nan,E11\n2,2000-01-01,50,I10\n")
    assert codes(patients["1"]) == ["I10", "E11"] and patients["1"].born is None and patients["2"].born == 1949


def test_a_cohort_without_births_keeps_its_ends(tmp_path):
    path = tmp_path / "cohort.csv"
    Timelines().write([Timeline("male", None, (Event(50 * YEAR, "ICD10/I10"),), 60 * YEAR)], [{"seed": 1}], path)
    patients, refused = read(path)
    assert [one.end for one in patients.values()] == [60 * YEAR] and not refused


# -- FHIR -------------------------------------------------------------------------------------------------------------


def test_a_resource_about_nobody_goes_to_nobody(bundle):
    patients, refused = bundle(
        patient(),
        patient("p2"),
        condition(),
        condition("E11", "Patient/p2"),
        condition("C50", None),
        condition("C51", ""),
    )
    assert codes(patients["p1"]) == ["I10"] and codes(patients["p2"]) == ["E11"] and refused == {"no_subject": 2}


@pytest.mark.parametrize(
    ("kind", "time", "code", "fields"),
    [
        ("Procedure", "performedDateTime", "code", {"status": "not-done"}),
        ("Procedure", "performedDateTime", "code", {"status": "preparation"}),
        ("Procedure", "performedDateTime", "code", {"status": "entered-in-error"}),
        ("Immunization", "occurrenceDateTime", "vaccineCode", {"status": "not-done"}),
        ("MedicationRequest", "authoredOn", "medicationCodeableConcept", {"status": "cancelled"}),
        ("MedicationRequest", "authoredOn", "medicationCodeableConcept", {"status": "draft"}),
        ("MedicationRequest", "authoredOn", "medicationCodeableConcept", {"status": "active", "intent": "proposal"}),
        ("MedicationRequest", "authoredOn", "medicationCodeableConcept", {"status": "active", "doNotPerform": True}),
        ("Observation", "effectiveDateTime", "code", {"status": "cancelled"}),
        ("Observation", "effectiveDateTime", "code", {"status": "registered"}),
        (
            *("Observation", "effectiveDateTime", "code"),
            {"status": "final", "dataAbsentReason": {"coding": [{"code": "not-performed"}]}},
        ),
        ("Condition", "onsetDateTime", "code", {"verificationStatus": {"coding": [{"code": "refuted"}]}}),
        ("Condition", "onsetDateTime", "code", {"verificationStatus": {"coding": [{"code": "differential"}]}}),
    ],
)
def test_what_did_not_happen_is_no_event(bundle, kind, time, code, fields):
    told = {"resourceType": kind, time: "2006-01-01", code: {"text": "it"}, "subject": {"reference": "Patient/p1"}}
    patients, refused = bundle(patient(), condition(), {**told, **fields})
    assert codes(patients["p1"]) == ["I10"] and refused == {"refuted": 1}
    patients, refused = bundle(patient(), condition(), {**told, "status": "stopped"})
    assert codes(patients["p1"]) == ["I10", "it"] and not refused


def test_a_visit_that_is_planned_follows_nobody(bundle):
    visit = {"resourceType": "Encounter", "subject": {"reference": "Patient/p1"}, "period": {"end": "2015-01-01"}}
    patients, refused = bundle(patient(), condition(), {**visit, "status": "planned"}, {**visit, "status": "cancelled"})
    assert patients["p1"].end == patients["p1"].events[-1].age and refused == {"refuted": 2}
    patients, _ = bundle(patient(), condition(), {**visit, "status": "finished"})
    assert round(patients["p1"].end / YEAR) == 59


def test_references_lead_to_the_patient_that_they_name(bundle):
    nameless = patient()
    del nameless["id"]
    patients, refused = bundle(
        patient(),
        patient("p9"),
        {"fullUrl": "urn:uuid:aaa", "resource": nameless},
        {"fullUrl": "urn:uuid:bbb", "resource": patient("p4")},
        condition("I10", "Patient/p1/_history/2"),
        condition("I11", "http://h/fhir/Patient/p1"),
        condition("E11", "Patient/p9/_history/2"),
        condition("C50", "urn:uuid:aaa"),
        condition("C51", "urn:uuid:bbb"),
        condition("J45", "Patient?identifier=http://h|1"),
        condition("J46", "#contained"),
        condition("J47", "Group/p1"),
        condition("J48", "Patient/nobody"),
    )
    found = {subject: codes(one) for subject, one in patients.items()}
    assert found == {"p1": ["I10", "I11"], "p9": ["E11"], "aaa": ["C50"], "p4": ["C51"]}
    assert all((one.sex, one.born) == ("female", 1956) for one in patients.values())
    assert refused == {"reference": 3, "nobody": 1}


def test_the_patient_may_be_told_of_in_another_file_or_nowhere_at_all(tmp_path, monkeypatch):
    (tmp_path / "a.ndjson").write_text("\n".join(json.dumps(condition(code)) for code in ("I10", "E11")))
    patients, refused = read(tmp_path)
    assert codes(patients["p1"]) == ["E11", "I10"] and not refused
    (tmp_path / "b.ndjson").write_text(json.dumps(patient()) + "\n" + json.dumps(condition(reference="Patient/p3")))
    for held in (200_000, 2):  # in memory, and by way of the disk
        monkeypatch.setattr(cleaning, "HELD", held)
        patients, refused = read(tmp_path)
        assert patients.keys() == {"p1"} and patients["p1"].born == 1956 and refused == {"nobody": 1}


# -- OMOP -------------------------------------------------------------------------------------------------------------

PERSONS = "person_id,gender_concept_id,year_of_birth\n1,8532,1956\n2,8507,1960\n"
HEAD = "person_id,condition_concept_id,condition_start_date,condition_source_value\n"


def test_a_quote_that_is_never_closed_takes_one_row_not_the_rest(tmp_path):
    (tmp_path / "person.csv").write_text(PERSONS)
    path = tmp_path / "condition_occurrence.csv"
    path.write_text(HEAD + '1,0,2005-01-01,"E11\n1,0,2006-01-01,I10\n2,0,2007-01-01,"I\n1"\n2,0,2008-01-01,E11\n')
    found = [one for one in Timelines().read(tmp_path) if isinstance(one, Invalid)]
    assert [(one.reason, one.line, one.source) for one in found] == [("read.quote", 2, str(path))]
    patients, _ = read(tmp_path)
    assert codes(patients["1"]) == ["I10"] and codes(patients["2"]) == ["I_1", "E11"]


def test_two_open_quotes_do_not_meet(tmp_path):
    (tmp_path / "person.csv").write_text(PERSONS)
    rows = '1,0,2005-01-01,"E11\n1,0,2006-01-01,I10\n1,0,2007-01-01,"I11\n1,0,2008-01-01,"E""12"\n'
    (tmp_path / "condition_occurrence.csv").write_text(HEAD + rows + "2,0,2008-01-01,I10\n3,0,2008-01-01,I10\n")
    patients, refused = read(tmp_path)
    assert codes(patients["1"]) == ["I10", 'E"12'] and refused == {"quote": 2, "nobody": 1}


def test_a_folder_of_omop_without_persons_says_so(tmp_path):
    (tmp_path / "condition_occurrence.csv").write_text(HEAD + "1,0,2005-01-01,E11\n")
    patients, refused = read(tmp_path)
    assert not patients and refused == {"no_person_file": 1}


def test_a_table_that_is_only_called_as_in_omop_is_a_table(tmp_path):
    (tmp_path / "measurement.csv").write_text("subject,age,code\n1,50,I10\n")
    patients, refused = read(tmp_path)
    assert codes(patients["1"]) == ["I10"] and not refused


# -- files and headings -----------------------------------------------------------------------------------------------


def test_only_the_folder_metadata_is_beside_the_data(tmp_path):
    (tmp_path / "metadata").mkdir()
    (tmp_path / "a.csv").write_text("subject,age,code\n1,50,I10\n")
    (tmp_path / "metadata_2020.csv").write_text("patientnr,age,code\n2,50,I10\n")
    (tmp_path / "metadata" / "codes.csv").write_text("code,description\nI10,x\n")
    patients, refused = read(tmp_path)
    assert patients.keys() == {"1"} and refused == {"columns": 1}


def test_a_heading_that_stands_twice_is_refused_by_name(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("subject,Date,date ,code\n1,2005-01-01,2099-01-01,I10\n")
    (refusal,) = Timelines().read(path)
    assert (refusal.reason, refusal.line) == ("read.heading_twice", 1) and "Date" in refusal.message("en")
    path.write_text("subject,date,note,note,code\n1,2005-01-01,,,I10\n")  # nobody reads the notes
    assert read(path)[0].keys() == {"1"}
    path.unlink()
    (tmp_path / "person.csv").write_text(PERSONS.replace("gender_concept_id", "person_id"))
    assert read(tmp_path)[1]["heading_twice"] == 1


def test_a_mapping_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "bin.csv"
    path.write_bytes(b"\x00\x01\x02" * 1000)
    with pytest.raises(Invalid) as refusal:
        load_mapping(path)
    assert refusal.value.reason == "text.binary" and refusal.value.source == str(path)


# -- cells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "usual", "comma"),
    [
        ("1,024.5", 1024.5, 1024.5),
        ("1.024,5", 1024.5, 1024.5),
        ("7,9", 7.9, 7.9),
        ("7.9", 7.9, 7.9),
        ("0,912", 0.912, 0.912),
        ("1234,567", 1234.567, 1234.567),
        ("1,024", None, 1.024),
        ("1.024", 1.024, None),
        ("-250,000", None, -250.0),
        ("1,024,000", 1024000.0, 1024000.0),
        ("1.024.000,5", 1024000.5, 1024000.5),
        ("1,5e3", 1500.0, 1500.0),
        (",5", 0.5, 0.5),
        ("5.", 5.0, 5.0),
        ("1,2,3", None, None),
        ("7.9.1", None, None),
        ("1,0245.6", None, None),
        ("1_000", None, None),
        (".", None, None),
    ],
)
def test_a_comma_is_read_where_it_can_mean_one_thing_only(text, usual, comma):
    assert (number(text), number(text, comma=True)) == (usual, comma)


@given(st.floats(0, 1e12).map(lambda value: round(value, 2)), st.booleans())
def test_numbers_with_grouped_thousands_are_what_was_written(value, comma):
    told = f"{value:,.2f}"
    swapped = told.translate(str.maketrans(",.", ".,"))
    assert number(told, comma) == number(swapped, comma) == pytest.approx(float(f"{value:.2f}"))


def test_numbers_in_files_and_in_what_is_typed(table):
    head = "subject,age,code,value\n"
    patients, refused = table(head + '1,50,LOCAL/a,"7,9"\n1,51,LOCAL/a,"1,024"\n1,52,LOCAL/a,1_000\n')
    assert [event.value for event in patients["1"].events] == [7.9, None, None]
    assert refused == {"ambiguous": 1, "text": 1}
    patients, refused = table(
        (head + "1,50.5,LOCAL/a,7.9\n1,51.5,LOCAL/a,1;024.5\n").translate(str.maketrans(",.;", ";,."))
    )
    assert [event.value for event in patients["1"].events] == [7.9, 1024.5] and not refused
    assert Timelines().parse("female 1956; LOINC/4548-4 51 7,9 %").events[0].value == 7.9
    for wrong in ("1,024", "1_000"):
        with pytest.raises(Invalid):
            Timelines().parse(f"female 1956; LOINC/4548-4 51 {wrong} %")


def sexes(table, words):
    rows = "".join(f"{place},{word},50,I10\n" for place, word in enumerate(words))
    patients, refused = table("subject,sex,age,code\n" + rows)
    return [patients[str(place)].sex for place in range(len(words))], refused


def test_a_sex_is_understood_or_counted(table, tmp_path):
    clear = ["W", "weiblich", "femme", "girl", "F.", "女", "M.", "homme", "boy", "männlich", "Ｍ"]
    assert sexes(table, clear) == (["female"] * 6 + ["male"] * 5, {})
    assert sexes(table, ["unknown", "", "未知", "f"]) == (["", "", "", "female"], {})
    assert sexes(table, ["K", "K", "other", "f"]) == (["", "", "", "female"], {"sex": 3})
    told = {
        one.message("en").partition(": ")[2] for one in Timelines().read(tmp_path / "t.csv") if isinstance(one, Invalid)
    }
    assert "Sex not understood: K. The patient is kept without it. (× 2)" in told


def test_what_a_code_of_the_sex_means_depends_on_what_stands_beside_it(table):
    assert sexes(table, ["1", "2", "0", "9"]) == (["male", "female", "", ""], {})  # ISO/IEC 5218
    assert sexes(table, ["0", "1", "1"]) == (["", "", ""], {"sex": 3})
    assert sexes(table, ["H", "M", "M"]) == (["", "", ""], {"sex": 3})  # hombre, mujer
    assert sexes(table, ["M", "F"]) == (["male", "female"], {})


def test_a_column_of_names_in_place_of_the_sex_does_not_fill_the_memory(table, tmp_path):
    words = [f"name{place}" for place in range(300)]
    assert sexes(table, words)[1] == {"sex": 300}
    told = [one for one in Timelines().read(tmp_path / "t.csv") if isinstance(one, Invalid)]
    assert len(told) == cleaning.MOST_KINDS + 1 and "name0" in told[0].message("en")


@pytest.mark.parametrize(
    "wrong", ["2005-01-01 ፩:00", f"2005-01-01 {'9' * 5000}:1", "2005年1月1日 下午٣点", "٢٠٠٥-01-01"]
)
def test_one_bad_time_costs_one_row(table, bundle, wrong):
    assert moment(wrong) is None
    patients, refused = table(f"subject,date,code\n1,{wrong},I10\n1,2006-01-01,E11\n")
    assert codes(patients["1"]) == ["E11"] and refused == {"no_time": 1}
    patients, refused = bundle(patient(), condition(onsetDateTime=wrong), condition("E11"))
    assert codes(patients["p1"]) == ["E11"] and refused == {"no_time": 1}


@pytest.mark.parametrize("entry", [5, "x", {"resource": {}}, True])
def test_a_bundle_whose_entries_are_none_is_refused(tmp_path, entry):
    (tmp_path / "a.ndjson").write_text(json.dumps({"resourceType": "Bundle", "entry": entry}) + "\n")
    assert read(tmp_path) == ({}, {"shape": 1})


# -- what is typed ----------------------------------------------------------------------------------------------------


def test_nobody_is_born_in_the_future_but_where_dates_were_shifted():
    kind = Timelines()
    with pytest.raises(Invalid, match="2090"):
        kind.parse("female 2090; I10 51")
    kind.people = {("<female>", "<born:2090s>"): 7}
    assert kind.parse("female 2090; I10 51").born == 2090


@pytest.mark.parametrize("now", ["nan", "inf", float("nan")])
def test_an_age_now_that_is_no_number_is_refused_as_such(now):
    with pytest.raises(Invalid) as refusal:
        validated(Ask, {"now": now})
    assert refusal.value.reason == "options.wrong" and refusal.value.source == "--now"


# -- anything ---------------------------------------------------------------------------------------------------------

ODD = st.sampled_from(
    (
        *("", "1", "p1", "I10", "50", "-1", "1e400", "nan", "٣", "፩:00", "9" * 400, "2000-01-01", "0000-00-00"),
        *("9999-12-31", "2005年1月1日 下午፩点", '"', '"x', "=", "/", "\ud800", "\x1b", "1,024", "DEATH", "MEDS_BIRTH"),
        *("GENDER//", "上午"),
    )
)
CELL = ODD | st.text(max_size=12)
SEVERAL = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def survives(path, content):
    """Whatever a file holds, it is read to its end, and each record can be told and written."""
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    for record in read(path.parent)[0].values():
        record.dump().encode("utf-8")
        record.subject.encode("utf-8")


@SEVERAL
@given(st.lists(st.sampled_from(sorted(COLUMNS)), unique=True), st.lists(st.lists(CELL, max_size=9), max_size=6))
def test_any_table_is_read_to_its_end(tmp_path, more, rows):
    heading = list(dict.fromkeys(["subject", "code", "time", "age", *more]))
    survives(tmp_path / "t.csv", ",".join(heading) + "\n" + "\n".join(",".join(row) for row in rows))


PARTS = (
    *("id", "reference", "coding", "code", "system", "text", "start", "end", "value", "unit", "security", "resource"),
    *("resourceType", "fullUrl", "subject", "dataAbsentReason", "valueQuantity", "comparator"),
)
JSON = st.recursive(
    ODD | st.none() | st.booleans() | st.integers() | st.floats() | st.integers(10**400, 10**401),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(PARTS), inner, max_size=4),
    max_leaves=6,
)
FIELDS = [
    "id",
    "gender",
    "birthDate",
    "deceasedDateTime",
    "subject",
    "patient",
    "code",
    "onsetDateTime",
    "period",
    "issued",
]
FIELDS += [
    "onsetPeriod",
    "effectiveDateTime",
    "valueQuantity",
    "valueString",
    "valueCodeableConcept",
    "component",
    "meta",
]
FIELDS += ["status", "verificationStatus", "medicationCodeableConcept", "authoredOn", "dataAbsentReason", "recorded"]
KINDS = ["Patient", "Condition", "Observation", "Procedure", "MedicationRequest", "Immunization", "Encounter", "X"]
ABOUT = st.sampled_from([{"reference": "Patient/p1"}, {"reference": "urn:uuid:\udfff"}])


@st.composite
def resource(draw):
    told = draw(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5))
    return {"subject": draw(ABOUT), **told, "resourceType": draw(st.sampled_from(KINDS))}


@SEVERAL
@given(st.lists(resource() | JSON, max_size=4), JSON)
def test_any_resource_costs_no_more_than_itself(tmp_path, resources, entry):
    entries = [{"resource": one, "fullUrl": "urn:uuid:x"} for one in resources]
    bundles = [{"resourceType": "Bundle", "entry": one} for one in (entries, entry, [entry])]
    lines = [json.dumps(one) for one in (*resources, *bundles, patient("good"), condition(reference="Patient/good"))]
    survives(tmp_path / "t.ndjson", "\n".join(lines))
    assert "good" in read(tmp_path)[0]


@SEVERAL
@given(st.lists(st.lists(CELL, min_size=4, max_size=5), max_size=5), st.lists(st.lists(CELL, max_size=3), max_size=4))
def test_any_omop_table_is_read_to_its_end(tmp_path, rows, persons):
    (tmp_path / "person.csv").write_text(PERSONS, "utf-8")
    with (tmp_path / "person.csv").open("ab") as more:
        more.write("\n".join(",".join(row) for row in persons).encode("utf-8", "surrogatepass"))
    survives(tmp_path / "condition_occurrence.csv", HEAD + "\n".join(",".join(row) for row in rows))


@SEVERAL
@given(
    st.lists(
        st.fixed_dictionaries({}, optional={"sex": JSON, "born": JSON, "end": JSON, "events": JSON, "record": JSON})
    )
)
def test_any_dump_is_read_to_its_end(tmp_path, records):
    first = Timeline("female", 1956, (Event(1.0, "ICD10/I10"),), 2.0, "first").dump()
    survives(tmp_path / "t.jsonl", "\n".join([first, *map(json.dumps, records)]))


@given(st.text(max_size=15) | ODD)
def test_any_text_is_a_number_or_none(text):
    for comma in (False, True):
        assert len(numbers(text, comma)) <= 2
    try:
        Timelines().parse(f"female 1956; I10 {text}")
    except Invalid as refusal:
        assert refusal.message("zh")


@pytest.mark.parametrize("column", ["subject_id", "time", "code", "numeric_value", "sex", "birth", "age", "end"])
def test_a_parquet_column_of_any_kind_stops_nothing(tmp_path, column):
    usual = {
        "subject_id": pl.Series([1, 2]),
        "time": pl.Series([datetime(2000, 1, 1)] * 2),
        "code": pl.Series(["I10", "E11"]),
        "numeric_value": pl.Series([1.0, 2.0]),
        "sex": pl.Series(["F", "M"]),
        "age": pl.Series([50, 50]),
        "birth": pl.Series([date(1950, 1, 1)] * 2),
        "end": pl.Series([date(2010, 1, 1)] * 2),
    }
    far = pl.Series([2**62, 0])
    odd = [
        *(pl.Series([[1], [2]]), pl.Series([{"a": 1}, {"a": 2}]), pl.Series([b"\xff", b"a"]), pl.Series([True, False])),
        *(pl.Series([timedelta(1)] * 2), pl.Series([None, None]), pl.Series([Decimal("1.5")] * 2), far),
        *(pl.Series([float("nan"), float("inf")]), pl.Series(["x", "\x00"]).cast(pl.Categorical)),
        *(far.cast(pl.Datetime(unit)) for unit in ("ms", "us", "ns")),
        *(far.cast(pl.Datetime("us", "Asia/Shanghai")), pl.Series([2**31 - 1, 0], dtype=pl.Int32).cast(pl.Date)),
    ]
    for kind in odd:
        pl.DataFrame({**usual, column: kind}).write_parquet(tmp_path / "t.parquet")
        patients, refused = read(tmp_path)
        assert patients or refused
        for record in patients.values():
            record.dump().encode("utf-8")

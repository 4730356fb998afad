"""Timelines in files: what each format tells, what is refused and counted, what comes back after writing."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puji.errors import Invalid
from puji.modalities.timelines import cleaning
from puji.modalities.timelines.codes import ancestors, load_mapping, normalised
from puji.modalities.timelines.modality import Timelines
from puji.modalities.timelines.timeline import DEATH, YEAR, Event, Timeline
from puji.modalities.timelines.values import moment, number
from puji.modality import Raw

RECORDS = [
    Timeline(
        "female",
        1956,
        (
            Event(51.2 * YEAR, "ICD10/E11.9"),
            Event(51.2 * YEAR, "LOINC/4548-4", 7.9, "%"),
            Event(55.0 * YEAR, "RXNORM/860975"),
            Event(63.0 * YEAR, DEATH),
        ),
        63.0 * YEAR,
        "1",
    ),
    Timeline("male", 1990, (Event(3.0, "CVX/08"), Event(4.5 * YEAR, "ICD10CN/J45.900x002")), 20 * YEAR, "2"),
]


def read(source):
    found = list(Timelines().read(source))
    return [one.content for one in found if isinstance(one, Raw)], [one for one in found if isinstance(one, Invalid)]


def reasons(refused):
    return {one.reason.removeprefix("timelines."): (one.details.get("rows", 1), one.line) for one in refused}


# -- codes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("e119", "ICD10/E11.9"),
        ("I10", "ICD10/I10"),
        ("Ｉ１０", "ICD10/I10"),
        ("A17.0†", "ICD10/A17.0"),
        ("I10.x00x002", "ICD10CN/I10.x00x002"),
        ("ICD10CM//S72.001A", "ICD10CM/S72.001A"),
        ("ICD10CM/E11.9", "ICD10CM/E11.9"),
        ("LOINC//4548-4", "LOINC/4548-4"),
        ("4548-5", "LOCAL/4548-5"),
        ("http://snomed.info/sct|44054006", "SNOMED/44054006"),
        ("LAB//50912//mg/dL", "LAB/50912//mg/dL"),
        ("MEDS_DEATH", DEATH),
        ("心电图 异常", "LOCAL/心电图_异常"),
    ],
)
def test_codes_as_people_write_them(text, found):
    assert normalised(text) == found
    assert normalised(found) == found


@pytest.mark.parametrize("wrong", ["SNOMED//44054007", "LOINC//4548-5", "ICD10//heart", ""])
def test_codes_that_their_system_cannot_have_are_refused(wrong):
    with pytest.raises(Invalid):
        normalised(wrong)


def test_what_stands_above_a_code():
    assert ancestors("ICD10CM/S72.001A")[-2:] == ("ICD10/S72", "ICD10/S00-T98")
    assert ancestors("ICD10/E11.9") == ("ICD10/E11", "ICD10/E00-E90")
    assert ancestors("ICD10CN/I10.x00x002")[-2:] == ("ICD10/I10", "ICD10/I00-I99")
    assert ancestors("ICD10/E00-E90") == ancestors("SNOMED/44054006") == ancestors(DEATH) == ()


@given(st.text(max_size=30))
def test_any_text_is_a_code_or_refused(text):
    try:
        found = normalised(text)
    except Invalid:
        return
    assert found and not any(one.isspace() or one in "<>" for one in found)
    for above in ancestors(found):
        assert above != found


# -- dates and numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["2024-03-05", "2024/3/5", "20240305", "2024年3月5日", "２０２４年３月５日", "2024.03.05", "2024-03-05T00:00:00Z"],
)
def test_dates_as_people_write_them(text):
    assert moment(text) == 1709596800


def test_times_and_time_zones():
    assert moment("2024-03-05T08:30:00+08:00") == moment("2024年3月5日 0:30") == 1709596800 + 1800


def test_ages_beside_dates_tell_the_birth(tmp_path):
    path = tmp_path / "病历.csv"
    path.write_text(
        "病案号,性别,年龄,出院日期,主要诊断编码\n1,女,65岁,2024年3月5日,E11.9\n1,女,66岁,2025年1月5日,I10\n2,男,6月,2024年3月5日,J06\n",
        "utf-8",
    )
    (woman, boy), refused = read(path)
    # 65 years old on March 5, 2024 and 66 on January 5, 2025: born between March 6, 1958 and January 5, 1959.
    assert woman.born == 1958 and [round(event.age / YEAR, 1) for event in woman.events] == [65.6, 66.4]
    assert boy.born == 2023 and boy.events[0].age == YEAR / 2 and not refused


def test_a_patient_of_two_sexes_or_births_is_told(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("subject,sex,birth,date,code\n1,F,1950-01-01,2000-01-01,I10\n1,M,1960-01-01,2001-01-01,E11\n")
    (record,), refused = read(path)
    assert record.sex == "" and record.born == 1950
    assert reasons(refused) == {"read.two.sex": (1, 3), "read.two.birth": (1, 3)}


@pytest.mark.parametrize(
    ("text", "hour"),
    [("下午3点", 15), (" 下午3点00分", 15), ("上午9时", 9), ("晚上8:00", 20), ("下午13点", 13)],
)
def test_halves_of_a_chinese_day(text, hour):
    assert moment("2024年3月5日" + text) == 1709596800 + hour * 3600


def test_a_year_alone_is_its_middle():
    assert moment("1956年") == moment("1956") == moment("1956-07-01")


@given(st.text(max_size=20))
def test_no_text_breaks_the_clock(text):
    found = moment(text)
    assert found is None or isinstance(found, float)
    assert number(text) is None or isinstance(number(text), float)


# -- tables -----------------------------------------------------------------------------------------------------------


def test_a_table_with_errors_keeps_its_good_rows(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text(
        "subject,sex,birth,date,code,value,unit\n"
        "1,F,1956-07-01,2007-09-12,E11.9,,\n"
        "1,F,1956-07-01,2007-09-12,E11.9,,\n"
        "1,F,1956-07-01,1950-01-01,I10,,\n"
        "1,F,1956-07-01,2010-01-01,LOINC/4548-4,7.9,%\n"
        "1,F,1956-07-01,not a date,I10,,\n"
        "1,F,1956-07-01,2011-01-01,SNOMED//44054007,,\n"
        "1,F,1956-07-01,2012-05-01,DEATH,,\n"
        "1,F,1956-07-01,2014-01-01,I10,,\n"
        "2,M,1990-07-01\n"
        ",M,1990-07-01,2000-01-01,I10,,\n"
        "3,男,1990-07-01,2000-01-01,I10,,\n"
    )
    found, refused = read(path)
    assert [(one.subject, one.sex, len(one.events)) for one in found] == [("1", "female", 3), ("3", "male", 1)]
    assert found[0].died and found[0].events[1].value == 7.9
    assert reasons(refused) == {
        "read.duplicate": (1, 3),
        "read.impossible_age": (1, 4),
        "read.no_time": (1, 6),
        "codes.malformed": (1, 7),
        "read.after_death": (1, 9),
        "read.row": (1, 10),
        "read.no_subject": (1, 11),
    }
    assert all("events.csv" in one.source for one in refused)


def test_a_chinese_hospital_table(tmp_path):
    path = tmp_path / "就诊.csv"
    text = "患者编号,性别,出生日期,诊断日期,诊断编码,数值,单位\n"
    text += (
        "甲,女,1956年7月1日,２００７年９月１２日,I10.x00x002,,\n甲,女,1956年7月1日,2008/3/5,LOINC/4548-4,７．９,％\n"
    )
    path.write_bytes(text.encode("gb18030"))
    found, refused = read(path)
    assert not refused
    assert found[0].sex == "female" and found[0].born == 1956
    assert [event.code for event in found[0].events] == ["ICD10CN/I10.x00x002", "LOINC/4548-4"]
    assert found[0].events[1].value == 7.9 and found[0].events[1].unit == "%"
    path.write_text("\ufeff" + text, "utf-8")
    assert read(path)[0] == found


def test_ages_instead_of_dates(tmp_path):
    path = tmp_path / "ages.csv"
    path.write_text("id;age;icd\n7;51.5;E11\n7;-3;I10\n7;900;I10\n")
    found, refused = read(path)
    assert found[0].events == (Event(round(51.5 * YEAR, 4), "ICD10/E11"),) and found[0].born is None
    assert reasons(refused) == {"read.impossible_age": (2, 3)}


def test_a_table_without_the_needed_columns_says_which(tmp_path):
    path = tmp_path / "wrong.csv"
    path.write_text("a,b\n1,2\n")
    _, (refusal,) = read(path)
    assert refusal.reason == "timelines.read.columns" and refusal.details["missing"] == "subject, code, time"


def test_one_patient_in_many_files_and_more_rows_than_are_held(tmp_path, monkeypatch):
    monkeypatch.setattr(cleaning, "HELD", 100)
    for part in range(5):
        rows = [f"{subject},{40 + part + 0.01 * subject},ICD10/I1{part}" for subject in range(60)]
        (tmp_path / f"{part}.csv").write_text("subject,age,code\n" + "\n".join(rows) + "\n")
    found, refused = read(tmp_path)
    assert not refused and len(found) == 60
    assert all([event.code for event in one.events] == [f"ICD10/I1{part}" for part in range(5)] for one in found)


def test_many_duplicates_take_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(cleaning, "HELD", 5000)
    path = tmp_path / "many.csv"
    with path.open("w") as out:
        out.write("subject,age,code\n")
        for number_ in range(60_000):
            out.write(f"{number_ % 300},50.0,I10\n")
    tracemalloc.start()
    found, refused = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 300 and reasons(refused)["read.duplicate"][0] == 60_000 - 300
    assert peak < 12_000_000


# -- MEDS, FHIR, OMOP -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".meds", ".ndjson", ".omop", ".csv"])
def test_what_is_written_reads_back(tmp_path, ending):
    target = tmp_path / f"cohort{ending}"
    Timelines().write(RECORDS, [{"synthetic": True, "model": "m", "seed": 0}] * 2, target)
    found, refused = read(target)
    assert not refused, [one.message() for one in refused]
    for one, two in zip(sorted(found, key=lambda one: one.subject), RECORDS, strict=True):
        assert (one.sex, one.born) == (two.sex, two.born)
        assert [(e.code, e.unit) for e in one.events] == [(e.code, e.unit) for e in two.events]
        assert [e.value for e in one.events] == pytest.approx([e.value for e in two.events])
        assert all(abs(a.age - b.age) < 0.01 for a, b in zip(one.events, two.events, strict=True))
        if ending != ".meds":  # MEDS has no place for it
            assert abs(one.end - two.end) < 1.01
    with pytest.raises(Invalid):
        Timelines().write(RECORDS, [{}] * 2, tmp_path / "cohort.xyz")


def test_everything_written_is_marked_as_synthetic(tmp_path):
    rows = [{"synthetic": True, "model": "puji timelines", "seed": 3}] * 2
    for ending in (".ndjson", ".csv", ".meds", ".omop"):
        Timelines().write(RECORDS, rows, tmp_path / f"c{ending}")
    resources = [json.loads(line) for line in (tmp_path / "c.ndjson").read_text().splitlines()]
    assert all(one["meta"]["security"][0]["code"] == "HTEST" for one in resources)
    assert pl.read_csv(tmp_path / "c.csv")["synthetic"].all()
    assert pl.read_parquet(tmp_path / "c.meds/data/train/0.parquet")["synthetic"].all()
    assert "puji timelines" in (tmp_path / "c.omop/cdm_source.csv").read_text()


def test_a_folder_that_is_there_already_is_left_alone(tmp_path):
    (tmp_path / "c.meds").mkdir()
    with pytest.raises(Invalid):
        Timelines().write(RECORDS, [{}] * 2, tmp_path / "c.meds")
    assert not list((tmp_path / "c.meds").iterdir()) and len(list(tmp_path.iterdir())) == 1


def test_meds_without_a_birth_counts_from_the_first_event(tmp_path):
    frame = pl.DataFrame(
        {
            "subject_id": [5, 5, 5],
            "time": [None, "2020-01-01", "2020-01-11"],
            "code": ["GENDER//M", "ICD10CM//I10", "LAB//50912//mg/dL"],
            "numeric_value": [None, None, 1.1],
        }
    ).with_columns(pl.col("time").str.to_datetime())
    (tmp_path / "data").mkdir()
    frame.write_parquet(tmp_path / "data" / "0.parquet")
    (record,), refused = read(tmp_path)
    assert not refused
    assert (record.sex, record.born) == ("male", None)
    assert record.events == (Event(0.0, "ICD10CM/I10"), Event(10.0, "LAB/50912//mg/dL", 1.1, ""))


def test_fhir_with_errors_keeps_what_is_good(tmp_path):
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1956-07-01"}
    told = {"subject": {"reference": "Patient/p"}}
    code = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "E11.9"}]}
    pressure = {
        "resourceType": "Observation",
        **told,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
        "effectiveDateTime": "2010-01-01",
        "component": [
            {
                "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
                "valueQuantity": {"value": 142, "unit": "mmHg"},
            }
        ],
    }
    lines = [
        json.dumps(patient),
        json.dumps({"resourceType": "Condition", **told, "code": code, "onsetDateTime": "2007-09-12"}),
        '{"resourceType": "Condition", "subj',
        json.dumps(pressure),
        json.dumps({"resourceType": "Organization", "id": "o"}),
        json.dumps({"resourceType": "Organization", "id": "o2"}),
        json.dumps({**pressure, "status": "entered-in-error"}),
        json.dumps({"resourceType": "Condition", "code": code}),
        json.dumps({"resourceType": "Condition", **told, "code": "E11"}),
        json.dumps([1, 2]),
    ]
    path = tmp_path / "export.ndjson"
    path.write_text("\n".join(lines))
    (record,), refused = read(path)
    assert [event.code for event in record.events] == ["ICD10/E11.9", "LOINC/8480-6"]
    assert record.events[1].value == 142 and record.events[1].unit == "mm[Hg]"
    assert reasons(refused) == {
        "read.json": (1, 3),
        "read.resource": (2, None),
        "read.refuted": (1, 7),
        "read.no_subject": (1, 8),
        "read.no_code": (1, 9),
        "read.no_resource": (1, 10),
    }
    bundle = {
        "resourceType": "Bundle",
        "entry": [
            {"fullUrl": "urn:uuid:abc", "resource": patient},
            {
                "resource": {
                    "resourceType": "Condition",
                    "code": code,
                    "onsetDateTime": "2007-09-12",
                    "subject": {"reference": "urn:uuid:abc"},
                }
            },
        ],
    }
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps(bundle))
    (record,), refused = read(path)
    assert record.subject == "p" and len(record.events) == 1 and not refused


def test_omop_takes_codes_from_the_concept_table(tmp_path):
    (tmp_path / "person.csv").write_text("person_id,gender_concept_id,year_of_birth\n9,8532,1956\n")
    (tmp_path / "condition_occurrence.csv").write_text(
        "person_id,condition_concept_id,condition_start_date,condition_source_value\n"
        "9,201826,2007-09-12,x\n9,77,2008-01-01,y\n9,0,2009-01-01,I10\n9,0,2009-01-01,\n"
    )
    (tmp_path / "concept.csv").write_text("concept_id,vocabulary_id,concept_code\n201826,SNOMED,44054006\n")
    (record,), refused = read(tmp_path)
    assert [event.code for event in record.events] == ["SNOMED/44054006", "OMOP/77", "ICD10/I10"]
    assert reasons(refused) == {"read.no_code": (1, 5)}


def test_a_dump_reads_back_with_its_subjects(tmp_path):
    path = tmp_path / "patients.jsonl"
    path.write_text("".join(one.dump() + "\n" for one in RECORDS) + "{\n")
    found, refused = read(path)
    assert [Timelines().preprocess(Raw(one)) for one in found] == RECORDS
    assert reasons(refused) == {"read.json": (1, 3)}


def test_a_folder_may_hold_dumps_beside_other_files(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(one.dump() + "\n" for one in RECORDS))
    (tmp_path / "b.csv").write_text("subject,sex,born,age,code\nx1,F,1950,50,I10\nx1,F,1950,60,E11\n")
    found, refused = read(tmp_path)
    assert [Timelines().preprocess(Raw(one)).subject for one in found] == [*(one.subject for one in RECORDS), "x1"]
    assert not refused


# -- what hostile users brought ---------------------------------------------------------------------------------------


def told(path):
    found = list(Timelines().read(path))
    records = [Timelines().preprocess(one) for one in found if not isinstance(one, Invalid)]
    patients = {one.subject: one for one in records}
    refused: Counter[str] = Counter()
    for one in found:
        if isinstance(one, Invalid):
            refused[one.reason] += one.details.get("rows", 1)
    return patients, refused


@pytest.mark.parametrize("code", ["MEDS_DEATH", "death", "死亡", "MEDS//MEDS_DEATH"])
def test_death_is_known_by_every_name(tmp_path, code):
    path = tmp_path / "ward.csv"
    path.write_text(f"subject,age,code\n1,50,I10\n1,60,{code}\n1,61,E11\n1,60,{code}\n", "utf-8")
    patients, refused = told(path)
    assert [event.code for event in patients["1"].events] == ["ICD10/I10", DEATH]
    assert refused["timelines.read.after_death"] == 1 and refused["timelines.read.duplicate"] == 1


def test_an_end_that_has_not_come_is_left_out_and_the_patient_kept(tmp_path):
    path = tmp_path / "ward.csv"
    rows = (
        "subject,birth,time,code,end\n1,1950-01-01,2000-01-01,I10,9999-12-31\n2,1990-01-01,2000-01-01,I10,2099-12-31\n"
    )
    path.write_text(rows, "utf-8")
    patients, refused = told(path)
    assert len(patients) == 2 and refused["timelines.read.end"] == 2
    assert all(one.end == one.events[-1].age for one in patients.values())


def test_who_died_nobody_knows_when_is_refused(tmp_path):
    lines = [
        {"resourceType": "Patient", "id": "a", "birthDate": "1950-01-01", "deceasedBoolean": True},
        {"resourceType": "Patient", "id": "b", "birthDate": "1950-01-01", "deceasedBoolean": False},
    ]
    for subject in "ab":
        concept = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "I10"}]}
        event = {"resourceType": "Condition", "subject": {"reference": f"Patient/{subject}"}, "code": concept}
        lines.append({**event, "onsetDateTime": "2000-01-01"})
    big = {"resourceType": "Observation", "subject": {"reference": "Patient/b"}, "code": {"text": "x"}}
    lines.append({**big, "effectiveDateTime": "2000-01-01", "valueQuantity": {"value": 10**400}})
    path = tmp_path / "ward.ndjson"
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    patients, refused = told(path)
    assert set(patients) == {"b"} and refused["timelines.read.dead_undated"] == 1
    assert refused["timelines.read.shape"] == 1, "a number of 401 digits stops nothing"


def test_a_decimal_comma_and_patients_called_by_a_number_sign(tmp_path):
    path = tmp_path / "ward.csv"
    path.write_text("# exported\nsubject;age;code;value;unit\n#1;50,5;LOINC/4548-4;7,9;%\n#2;51;I10;;\n", "utf-8")
    patients, refused = told(path)
    assert set(patients) == {"#1", "#2"} and not refused
    (event,) = patients["#1"].events
    assert (event.value, round(event.age / YEAR, 2)) == (7.9, 50.5)


def test_omop_in_gb18030_and_a_birth_that_is_no_number(tmp_path):
    (tmp_path / "person.csv").write_bytes(
        "person_id,gender_source_value,year_of_birth\n1,女性患者,1950\n2,男,unknown\n".replace("女性患者", "女").encode(
            "gb18030"
        )
        + "3,女,1960\n".encode("gb18030")
        + "4,不详不详,1970\n".encode("gb18030")
    )
    rows = "".join(f"{person},0,I10,2000-01-01\n" for person in (1, 2, 3, 4))
    (tmp_path / "condition_occurrence.csv").write_text(
        "person_id,condition_concept_id,condition_source_value,condition_start_date\n" + rows, "utf-8"
    )
    patients, refused = told(tmp_path)
    assert [patients[one].sex for one in "123"] == ["female", "male", "female"]
    assert patients["2"].born is None and refused["timelines.read.date"] == 1


@pytest.mark.parametrize("ending", [".jsonl", ".parquet", ".meds", ".csv", ".ndjson"])
def test_a_written_cohort_comes_back_with_its_follow_up(tmp_path, ending):
    from puji.tables import write_table

    modality = Timelines()
    records = [
        Timeline("female", 1955, (Event(50.2 * YEAR, "ICD10/I10"), Event(51 * YEAR, "ICD10/E11")), 60 * YEAR, "a"),
        Timeline("male", 1945, (Event(50 * YEAR, "ICD10/I10"), Event(70 * YEAR, DEATH)), 70 * YEAR, "b"),
    ]
    rows = [{**modality.row(one), "synthetic": True} for one in records]
    target = tmp_path / f"cohort{ending}"
    if ending in (".jsonl", ".parquet"):
        write_table(rows, target)
    else:
        modality.write(records, rows, target)
    patients, refused = told(target)
    assert not refused
    for one, other in zip(records, patients.values(), strict=True):
        assert [event.code for event in other.events] == [event.code for event in one.events]
        assert other.end == pytest.approx(one.end, abs=1.5) and other.died == one.died


def test_a_bundle_in_one_long_line_is_read(tmp_path):
    concept = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "I10", "display": "x" * 500}]}
    entries = [{"resource": {"resourceType": "Patient", "id": "a", "birthDate": "1950-01-01"}}]
    for day in range(1, 29):
        event = {"resourceType": "Condition", "subject": {"reference": "Patient/a"}, "code": concept}
        entries += [{"resource": {**event, "onsetDateTime": f"20{year:02d}-01-{day:02d}"}} for year in range(10)]
    path = tmp_path / "ward.ndjson"
    path.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}), "utf-8")
    patients, refused = told(path)
    assert path.stat().st_size > 150_000 and len(patients["a"].events) == 280 and not refused


def test_a_mapping_may_not_chain_or_kill(tmp_path):
    path = tmp_path / "codes.csv"
    for rows, reason in (("EXIT,DEATH", "mapped_death"), ("A,B\nB,I10", "mapped_on")):
        path.write_text(f"from,to\n{rows}\n", "utf-8")
        with pytest.raises(Invalid) as refusal:
            load_mapping(path)
        assert refusal.value.reason == f"timelines.codes.{reason}"

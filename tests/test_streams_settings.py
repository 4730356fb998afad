"""The file of what patients usually get: what is taken, and that everything else is refused with line and reason."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puji.errors import Invalid
from puji.modalities.plans.diabetes.doses import Therapy
from puji.modalities.plans.diabetes.patients import patients
from puji.streams.devices import chosen, identifiers
from puji.streams.settings import FIELDS, Settings, read, virtual

GOOD = {
    "patient": "p1",
    "age": 9,
    "weight": 31.5,
    "basal": 0.35,
    "carbohydrate_ratio": 25,
    "correction_factor": 50,
    "current": "none",
}


def written(path, *rows, raw=None):
    if raw is not None:
        path.write_bytes(raw)
    elif path.suffix == ".json":
        path.write_text(json.dumps(list(rows)), "utf-8")
    else:
        lines = [",".join(FIELDS), *(",".join(str(row.get(name, "")) for name in FIELDS) for row in rows)]
        path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.mark.parametrize("name", ["doses.csv", "doses.json"])
def test_good_patients_are_taken_and_bad_ones_told_with_their_line(tmp_path, name):
    rows = [GOOD, {**GOOD, "patient": "p2", "basal": 3500}, GOOD, {**GOOD, "patient": "p3"}]
    found, refused = read(written(tmp_path / name, *rows))
    assert found["p1"] == Settings("p1", 9.0, 31.5, 0.35, 25.0, 50.0)
    assert list(found) == ["p1", "p3"]
    first = 2 if name.endswith("csv") else 1  # a header is a line, too
    assert [(one.reason, one.line) for one in refused] == [
        ("streams.patients.value", first + 1),
        ("streams.patients.twice", first + 2),
    ]
    assert all(name in one.message() and not one.message("zh").startswith("streams") for one in refused)


@pytest.mark.parametrize("encoding", ["gbk", "utf-8-sig", "utf-16", "gb18030"])
def test_a_file_that_excel_saved_in_china_is_read(tmp_path, encoding):
    text = "患者编号,年龄,体重,基础率,碳水系数,校正系数,合并用药\r\np1,9,31.5,0.35,25,2.8 mmol/L,无\r\n"
    found, refused = read(written(tmp_path / "doses.csv", raw=text.encode(encoding)))
    assert not refused and found["p1"].weight == 31.5 and found["p1"].correction_factor == pytest.approx(50.4, abs=0.1)
    with pytest.raises(Invalid) as refusal:
        read(written(tmp_path / "doses.csv", raw="患者编号\n".encode() + b"\xff\xff\xff\n"))
    assert refusal.value.line == 2 and "text." not in refusal.value.message("zh")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"patient": "a b"}, "id"),
        ({"patient": "x" * 65}, "id"),
        ({"patient": 7}, "id"),
        ({"age": -1}, "value"),
        ({"weight": 4000}, "value"),
        ({"weight": None}, "missing"),
        ({"basal": 0}, "value"),
        ({"basal": "0.35 mg/h"}, "number"),
        ({"basal": True}, "number"),
        ({"basal": float("nan")}, "number"),
        ({"basal": 1e300}, "number"),
        ({"carbohydrate_ratio": "ten"}, "number"),
        ({"carbohydrate_ratio": "-10"}, "value"),
        ({"carbohydrate_ratio": [10]}, "number"),
        ({"correction_factor": 2.8}, ""),  # mg/dl: possible, if unlikely; the unit is told in the header
        ({"correction_factor": 0.3}, "value"),
        ({"correction_factor": "2.8 mmol"}, "number"),
        ({"current": "metformin?"}, "current"),
        ({"current": "none ATC/A10BA02"}, "current"),
        ({"current": ""}, "current"),
        ({"current": {"code": 1}}, "current"),
        ({"current": [1]}, "current"),
        ({"insulin": 5}, "unknown"),
    ],
)
def test_everything_that_is_not_believed_is_refused(tmp_path, changes, why):
    rows = [{**GOOD, "patient": "good"}, {**GOOD, **changes}]
    found, refused = read(written(tmp_path / "doses.json", *rows))
    assert [one.reason for one in refused] == ([f"streams.patients.{why}"] if why else [])
    assert "good" in found


def test_a_correction_factor_may_be_told_in_mmol(tmp_path):
    found, _ = read(written(tmp_path / "doses.csv", {**GOOD, "correction_factor": "2.8 mmol/L"}))
    assert found["p1"].correction_factor == pytest.approx(2.8 * 18.0156)


def test_other_medicines_are_codes(tmp_path):
    found, _ = read(written(tmp_path / "doses.csv", {**GOOD, "current": "ATC/A10BA02 ATC/C09AA05"}))
    assert found["p1"].current == ("ATC/A10BA02", "ATC/C09AA05")


@pytest.mark.parametrize(
    ("name", "raw", "why"),
    [
        ("a.csv", b"", "none"),
        ("a.csv", b"\xff\xfe\x00", "file"),
        ("a.csv", b"patient,age\n", "none"),
        ("a.csv", b'patient,age\n"p1', "file"),
        ("a.csv", b"p" * 200_000 + b"\n" + b"q" * 200_000, "file"),
        ("a.json", b"{}", "file"),
        ("a.json", b"[", "file"),
        ("a.json", b"[" * 100_000, "file"),
        ("a.json", b"[]", "none"),
        ("a.json", b"[1]", "object"),
        ("a.json", b'[{"patient": "p1"}]', "missing"),
    ],
)
def test_a_file_of_which_nothing_can_be_used_is_refused(tmp_path, name, raw, why):
    with pytest.raises(Invalid) as refusal:
        read(written(tmp_path / name, raw=raw))
    assert refusal.value.reason == f"streams.patients.{why}"
    assert name in refusal.value.message()


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(Invalid, match=r"nowhere\.csv"):
        read(tmp_path / "nowhere.csv")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["a.csv", "a.json"]))
def test_no_file_can_crash_it(tmp_path_factory, raw, name):
    try:
        found, _ = read(written(tmp_path_factory.mktemp("any") / name, raw=raw))
    except Invalid as refusal:
        assert refusal.reason.startswith("streams.patients.")
    else:
        assert found


def test_virtual_patients_bring_their_own():
    found = virtual(chosen(6), identifiers(6))
    people = patients(chosen(6))
    table = Therapy.of(people)
    assert list(found) == identifiers(6)
    for row, one in enumerate(found.values()):
        assert one.patient == identifiers(6)[row]
        assert one.therapy.basal[0] == pytest.approx(table.basal[row])
        assert (one.carbohydrate_ratio, one.correction_factor) == (table.ratio[row], table.factor[row])
        # What two weeks of care tell mends the pump.
        assert (
            0.7 <= one.therapy.factor[0] / table.factor[row] <= 4
            and one.therapy.response.noise[0] != table.response.noise[row]
        )
        assert one.therapy.response.largest[0] < 150
        assert (one.age, one.weight) == (people.column("age")[row], people.column("BW")[row])
    assert any(one.therapy.factor[0] != table.factor[row] for row, one in enumerate(found.values()))

"""What sensors and pumps export becomes the columns and actions that simulated care has, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

import puji
from puji import language
from puji.errors import Invalid
from puji.modalities.plans.demo import DIABETES
from puji.modalities.plans.diabetes import care
from puji.modalities.plans.diabetes.doses import ACTIONS, Therapy
from puji.modalities.plans.diabetes.patients import patients
from puji.modalities.plans.diabetes.world import seeds_of
from puji.modalities.plans.pump_log import EVERY, answer, main, read, told

HEAD = "subject,time,glucose,insulin,basal,carbohydrate"


@pytest.fixture(autouse=True)
def english():
    """A command speaks the language it was told for the rest of its life; the tests after it speak English."""
    yield
    language.use("en")


@pytest.fixture(scope="module")
def simulated():
    """A day of an adult's own care: what happened, what was told, what was done, and how the pump is set."""
    people = patients(["adult#003"])
    therapy = Therapy.of(people)
    course, controller = care.lived(people, therapy, seeds_of(3, people, [0]), 1, care.Care(), np.array([True]))
    return course, controller, therapy


def exported(course, unit=1.0, head=HEAD):
    """The course as a device would export it."""
    rows = [head]
    for step in range(course.reading.shape[1]):
        minute = step * EVERY
        time = f"2026-03-01T{minute // 60:02}:{minute % 60:02}:00"
        bolus, basal = course.bolus[0, step] * EVERY, course.basal[0, step] * 60
        rows.append(
            f"p1,{time},{course.reading[0, step] * unit:.4f},{bolus:.4f},{basal:.4f},{course.announced[0, step]:.2f}"
        )
    return "\n".join(rows)


def settings(therapy):
    told = f"p1,30,70,{therapy.basal[0] * 60:.6f},{therapy.ratio[0]:.6f},{therapy.factor[0]:.6f},none"
    return f"patient,age,weight,basal,carbohydrate_ratio,correction_factor,current\n{told}\n"


def converted(tmp_path, text, therapy, *more, encoding="utf-8"):
    (tmp_path / "export.csv").write_bytes(text.encode(encoding))
    (tmp_path / "patients.csv").write_text(settings(therapy), "utf-8")
    out = tmp_path / "care.jsonl"
    code = main([str(tmp_path / "export.csv"), "--patients", str(tmp_path / "patients.csv"), "--out", str(out), *more])
    return code, [json.loads(line) for line in out.read_text("utf-8").splitlines()] if out.exists() else []


@pytest.mark.parametrize("unit", ["mg/dL", "mmol/L"])
def test_an_export_of_simulated_care_is_that_care(simulated, tmp_path, unit, capsys):
    course, controller, therapy = simulated
    text = exported(course, 1.0 if unit == "mg/dL" else 1 / 18.0156)
    code, found = converted(tmp_path, text, therapy, "--unit", unit, "--language", "en")
    assert code == 0 and "1 subjects" in capsys.readouterr().out
    steps = [step for one in found for step in one["steps"]]
    true = np.stack(controller.states, axis=1)[0]
    acted = [ACTIONS[one] for one in np.stack(controller.actions, axis=1)[0]]
    # The first decision has one reading alone, and no trend yet.
    numbers = np.array([[np.nan if one is None else one for one in values] for values, _, _ in steps])
    assert len(steps) >= len(true) - 3
    where = [int(np.nanargmin(np.nansum(np.abs(true - row), axis=1))) for row in numbers]
    np.testing.assert_allclose(numbers, true[where], atol=0.6)
    assert where == sorted(where)
    told = [(code, acted[place]) for (_, code, _), place in zip(steps, where, strict=True) if code]
    # A bolus of nothing is the usual basal rate: what was decided beyond what was given, no pump tells.
    wrong = [pair for pair in told if pair[0] != pair[1]]
    assert len(told) > 80 and len(wrong) <= 0.1 * len(told), wrong
    costs = np.array([reward for _, code, reward in steps if code])
    assert ((costs >= 0) & (costs <= 0.05)).all() and costs.max() > 0


def test_a_week_tells_how_insulin_acts(tmp_path):
    """In this child it acts three times as strongly as the pump's factor says: all that is told in mg/dl follows."""
    people = patients(["child#004"])
    therapy = Therapy.of(people)
    course, _ = care.lived(people, therapy, seeds_of(4, people, [0]), 8, care.Care(), np.array([True]))
    first = datetime(2026, 3, 1)
    rows = [HEAD]
    for step in range(course.reading.shape[1]):
        when = first + timedelta(minutes=step * EVERY)
        bolus, basal = course.bolus[0, step] * EVERY, course.basal[0, step] * 60
        rows.append(
            f"p1,{when.isoformat()},{course.reading[0, step]:.4f},{bolus:.4f},{basal:.4f},{course.announced[0, step]:.2f}"
        )
    (tmp_path / "export.csv").write_text("\n".join(rows), "utf-8")
    export = read(tmp_path / "export.csv")[0]["p1"]
    found = answer(export, therapy)
    assert found.insulin[0] > 1.7 and found.rise[0] > 1.5 and np.isfinite(found.largest[0])
    ((_, week, _),) = told({"p1": export}, {"p1": therapy})
    meals = [step for one in week for step in one.steps if step.values[3] is not None]
    gram = {round(float(one), 2) for one in course.announced[0] if one > 0}
    # Carbohydrate is told by what it raises in this child.
    raised = meals[0].values[3] / (found.rise[0] * therapy.factor[0] / therapy.ratio[0])
    assert min(abs(raised - one) for one in gram) < 0.05 or raised == pytest.approx(found.largest[0], abs=0.05)
    few = replace(export, glucose=dict(list(export.glucose.items())[:500]))
    assert answer(few, therapy).insulin.tolist() == [1.0]


def test_it_is_learned_from_and_asked_about(simulated, tmp_path):
    course, _, therapy = simulated
    _, found = converted(tmp_path, exported(course), therapy)
    model = puji.load(DIABETES)
    records = [one for one in model.read(tmp_path / "care.jsonl") if not isinstance(one, Invalid)]
    assert len(records) == len(found) and records[-1].open
    last = model.predict(records[-1], unfamiliar="answer")
    assert last.estimates and records[-1].features == ("counting",)


def test_gaps_and_what_is_no_action_end_an_episode(simulated, tmp_path):
    course, _, therapy = simulated
    rows = exported(course).split("\n")
    gap = [row for row in rows if not "T06:00" <= row.split(",")[1][10:16] <= "T07:00"]
    code, found = converted(tmp_path, "\n".join(gap), therapy)
    assert code == 0 and len(found) > 1 and {one["subject"] for one in found} == {"p1"}
    hours = {step[0][4] for one in found for step in one["steps"]}
    assert 5 in hours and 6 not in hours and 8 in hours
    # Ten units without a meal, while the calculator says none.
    low = next(step for step in range(40, 280, 3) if course.reading[0, step] < 120 and course.announced[0, step] == 0)
    parts = rows[low + 1].split(",")
    rows[low + 1] = ",".join([*parts[:3], "10", *parts[4:]])
    _, odd = converted(tmp_path, "\n".join(rows), therapy)
    assert len(odd) > 1


def test_wrong_rows_are_refused_with_line_and_column_and_the_rest_is_used(tmp_path, simulated, capsys):
    rows = [
        HEAD,
        "p1,2026-03-01T08:00,7.8,,,",
        "p1,yesterday,140,,,",
        "p1,2026-03-01T08:05,140,-1,,",
        ",2026-03-01T08:05,1,,,",
    ]
    (tmp_path / "export.csv").write_text("\n".join([*rows, "p1,2026/03/01 08:07,140,1,,"]), "utf-8")
    found, refused = read(tmp_path / "export.csv")
    assert [one.line for one in refused] == [2, 3, 4, 5]
    assert "glucose" in refused[0].message("en") and "mmol/L" in refused[0].message("zh")
    assert list(found["p1"].glucose.values()) == [140.0]
    code, _ = converted(tmp_path, "subject,time\np1,2026-03-01T08:00", simulated[2], "--language", "zh")
    assert code == 1 and "glucose" in capsys.readouterr().err
    code, _ = converted(tmp_path, f"{HEAD}\nnobody,2026-03-01T08:00,140,,,", simulated[2])
    assert code == 1


def test_an_export_in_gbk_is_read(simulated, tmp_path):
    course, _, therapy = simulated
    text = exported(course, head="患者编号,时间,葡萄糖,大剂量,基础率,碳水")
    code, found = converted(tmp_path, text, therapy, encoding="gbk")
    assert code == 0 and found


PUMP = Therapy.set(np.array([1 / 60]), np.array([10.0]), np.array([40.0]))


def day(*changes, start="08:00", n=60):
    """Readings of five hours, in the rows of which ``changes`` (time -> row) stand something else."""
    hour, minute = map(int, start.split(":"))
    found = [HEAD]
    for place in range(n):
        time = f"2026-03-01T{hour + (minute + 5 * place) // 60:02}:{(minute + 5 * place) % 60:02}"
        found.append(dict(changes).get(time[11:], f"p1,{time},{140 + place % 7},,1.0,"))
    return "\n".join(found)


def meals(found):
    return [step[0][3] for one in found for step in one["steps"] if step[0][3] is not None]


def test_a_row_that_stands_there_twice_is_one_dose(tmp_path, capsys):
    text = day(("09:00", "p1,2026-03-01T09:00,140,4,1.0,40"))
    _, once = converted(tmp_path, text, PUMP)
    _, twice = converted(tmp_path, text + "\n" + text.split("\n", 1)[1], PUMP, "--language", "en")
    assert meals(once) == [160.0] and twice == once and "1 rows refused" in capsys.readouterr().out


@pytest.mark.parametrize("dose", ["4u", "300", "-1", "1e308", "nan"])
def test_after_a_dose_that_cannot_be_read_nothing_is_decided(tmp_path, dose):
    code, found = converted(tmp_path, day(("09:00", f"p1,2026-03-01T09:00,140,{dose},1.0,"), n=110), PUMP)
    told = [step[0][4] for one in found for step in one["steps"]]
    assert code == 0 and set(told) == {8, 14, 15, 16, 17}


def test_a_reading_that_cannot_be_read_leaves_what_was_given(tmp_path):
    _, found = converted(tmp_path, day(("09:00", "p1,2026-03-01T09:00,Low,4,1.0,40")), PUMP)
    assert len(found) == 2 and found[1]["steps"][0][0][2] > 100  # the meal is still to act


def test_what_a_slip_of_the_pump_puts_on_board_is_told_to_nobody(tmp_path):
    _, found = converted(tmp_path, day(("09:00", "p1,2026-03-01T09:00,140,99,1.0,"), n=110), PUMP)
    assert found and all(step[0][1] >= -1000 for one in found for step in one["steps"])


def test_times_are_those_of_the_wall(tmp_path, capsys):
    excel = day().replace("2026-03-01T0", "2026/3/1 ").replace("2026-03-01T", "2026/3/1 ")
    assert converted(tmp_path, excel, PUMP) == converted(tmp_path, day(), PUMP)
    for wrong in ("2026-03-01", "2026-03-01T08:05Z", "2026-03-01T08:05+08:00", "1970-01-01T00:00", "2026-02-30T08:05"):
        (tmp_path / "export.csv").write_text(f"{HEAD}\np1,{wrong},140,,,", "utf-8")
        assert [one.reason for one in read(tmp_path / "export.csv")[1]] == ["plans.pump.time"], wrong
    # A clock that was set years later: the years between are not walked through.
    capsys.readouterr()
    code, found = converted(tmp_path, day() + "\np1,2001-01-01T00:00,140,,,", PUMP)
    assert code == 0 and found == converted(tmp_path, day(), PUMP)[1]


def test_a_long_stretch_is_cut_where_an_episode_may_be_no_longer(tmp_path, monkeypatch):
    monkeypatch.setattr("puji.modalities.plans.pump_log.LONGEST", 7)
    _, found = converted(tmp_path, day(), PUMP)
    assert [len(one["steps"]) for one in found] == [7, 7, 5]


def test_the_export_is_not_written_over(tmp_path, capsys):
    code, _ = converted(tmp_path, day(), PUMP)
    export = tmp_path / "export.csv"
    code = main([str(export), "--patients", str(tmp_path / "patients.csv"), "--out", str(export), "--language", "zh"])
    assert code == 1 and "--out" in capsys.readouterr().err and export.read_text("utf-8") == day()

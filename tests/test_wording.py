"""What people read in tables, in both languages, beside what files keep; columns that are chosen."""

from __future__ import annotations

import csv
import io
import json

import pytest

import puji
from puji import language
from puji.cli import main
from puji.commands.output import heading, shown
from puji.modalities.molecules.modality import Molecules
from puji.modalities.names.modality import Names
from puji.modalities.timelines.draw import picture
from puji.modalities.timelines.modality import Timelines
from puji.modalities.timelines.timeline import YEAR, Event, Timeline

PRESSURE = Timeline("female", 1950, (Event(50 * YEAR, "LOINC/8480-6", 140.0, "mm[Hg]"),), 51 * YEAR)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    yield
    language.use(None)


@pytest.mark.parametrize(
    ("kind", "column", "value", "en", "zh"),
    [
        (Timelines, "sex", "female", "female", "女"),
        (Timelines, "born", "1950s", "1950s", "1950 年代"),
        (Timelines, "predicted", "DEATH 5y", "death within 5 y", "死亡（5 年内）"),
        (Timelines, "column", "ICD10/I21 0.5y", "ICD10/I21 within 0.5 y", "ICD10/I21（0.5 年内）"),
        (Timelines, "metric", "DEATH 5y", "death within 5 y", "死亡（5 年内）"),
        (Timelines, "column", "sex", "Sex", "性别"),
        (Names, "kind", "generic", "generic", "通用名"),
        (Names, "band", "high", "high", "高"),
        (Names, "record", "brand:xeloda", "xeloda (brand)", "xeloda（商品名）"),
        (Names, "predicted", "nearest_3", "Similar name 3", "相近名称 3"),
        (Names, "column", "nearest_3", "Similarity 3", "相似度 3"),
        (Names, "column", "nearest_3_about", "Similar name 3", "相近名称 3"),
        (Molecules, "predicted", "logp", "logP", "logP（脂水分配系数）"),
        (Names, "name", "erfomin", "erfomin", "erfomin"),
    ],
)
def test_words_of_cells_and_heads(kind, column, value, en, zh):
    assert [kind.wording(column, value).text(one) for one in ("en", "zh")] == [en, zh]


def test_death_is_told_in_the_short_text_of_a_timeline_and_nowhere_inside_a_code():
    language.use("zh")
    assert shown("I10@55.0 DEATH@80.1", "timelines", "timeline") == "I10@55.0 死亡@80.1"
    assert shown("XDEATH@80.1 DEATH@81.0", "timelines", "timeline") == "XDEATH@80.1 死亡@81.0"
    assert heading("DEATH 5y_low", "timelines") == "死亡（5 年内）下限"


@pytest.mark.parametrize("told", ["en", "zh"])
def test_a_picture_tells_a_unit_as_people_write_it(told, monkeypatch):
    seen = []
    monkeypatch.setattr("matplotlib.axes.Axes.text", lambda self, x, y, s, **more: seen.append(s))
    picture(PRESSURE, language=told)
    assert seen == ["8480-6 140 mmHg"]
    assert "mm[Hg]" in PRESSURE.dump()


def test_a_chinese_table_has_no_english_words_and_its_file_keeps_them(capsys):
    words = ["generate", "names", "-n", "2", "--kind", "brand", "--columns", "kind,band,similarity"]
    assert main([*words, "--lang", "zh", "--format", "table"]) == 0
    out = capsys.readouterr().out
    assert "商品名" in out and "brand" not in out and "high" not in out and "low" not in out
    assert main([*words, "--lang", "zh", "--format", "csv"]) == 0
    told = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["kind"] for row in told} == {"brand"} and list(told[0]) == ["kind", "band", "similarity"]


def test_screened_names_stand_beside_their_similarity(tmp_path, capsys):
    source = tmp_path / "names.txt"
    source.write_text("Xeloda\nBanelax\n", "utf-8")
    assert main(["predict", "names", str(source), "--format", "table", "--lang", "en"]) == 0
    first = next(line for line in capsys.readouterr().out.splitlines() if "xeloda" in line)
    near = puji.load("names").predict("Xeloda").estimates["nearest_1"]
    assert 0 < first.index(near.about) < first.index(f"{near.value:.3g}")


def test_columns_of_predictions_in_every_format(tmp_path, capsys):
    source = tmp_path / "patients.jsonl"
    source.write_text(PRESSURE.dump() + "\n", "utf-8")
    words = ["predict", "timelines", str(source), "--outcomes", "death", "--by", "next", "--unfamiliar", "answer"]
    assert main([*words, "--columns", "DEATH,line", "--format", "jsonl"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["DEATH", "line"]
    assert main([*words, "--columns", "DEATH,nothing", "--out", str(tmp_path / "risk.csv")]) == 2
    told = capsys.readouterr().err
    assert "nothing" in told and "familiar" in told and not (tmp_path / "risk.csv").exists()
    assert main([*words, "--columns", "DEATH", "--out", str(tmp_path / "risk.ndjson")]) == 2
    assert main([*words, "--columns", ","]) == 2


def test_lines_of_json_come_one_by_one(tmp_path, capsys, monkeypatch):
    source = tmp_path / "patients.jsonl"
    source.write_text(PRESSURE.dump() + "\n" + PRESSURE.dump() + "\n", "utf-8")
    seen = []
    write = puji.tables.JsonRows.write
    predict = puji.Model.predict
    monkeypatch.setattr("puji.tables.JsonRows.write", lambda self, row: (seen.append("row"), write(self, row)))
    monkeypatch.setattr(
        puji.Model, "predict", lambda *given, **more: (seen.append("asked"), predict(*given, **more))[1]
    )
    words = ["predict", "timelines", str(source), "--by", "next", "--unfamiliar", "answer", "--format", "jsonl"]
    assert main(words) == 0
    assert seen == ["asked", "row", "asked", "row"]

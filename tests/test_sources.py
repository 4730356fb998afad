"""What reading files has in common: headings, quotes over several lines, paths that lead nowhere."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puji.errors import Invalid
from puji.modalities.images.modality import Images
from puji.modalities.molecules.modality import Molecules
from puji.modalities.names.modality import Names
from puji.modalities.plans.modality import Plans
from puji.modalities.timelines.modality import Timelines
from puji.sources import TALLEST, chunks, column, rows, unreachable

from .cli_stub import runner

KINDS = (Images, Molecules, Names, Plans, Timelines)


@pytest.mark.parametrize(
    ("kind", "heading"),
    [
        (Molecules, "id,smiles,SMILES"),
        (Names, "name,kind,Name"),
        (Images, "path,label, Label"),
        (Plans, "subject,step,state,action,action"),
        (Timelines, "subject,date,code,Code"),
    ],
)
def test_a_heading_that_stands_twice_is_refused_in_every_modality(tmp_path, kind, heading):
    path = tmp_path / "t.csv"
    path.write_text(heading + "\n" + ",".join("1" for _ in heading.split(",")) + "\n")
    (refusal,) = kind().read(path)
    told = refusal.message("en")
    assert (refusal.reason, refusal.line) == ("read.heading_twice", 1)
    assert "stands twice" in told and heading.split(",")[1 if kind is Molecules else -1].strip().lower() in told.lower()


def test_a_column_of_parquet_that_stands_twice_is_refused(tmp_path):
    pl.DataFrame({"smiles": ["C"], "SMILES": ["CC"]}).write_parquet(tmp_path / "t.parquet")
    (refusal,) = Molecules().read(tmp_path / "t.parquet")
    assert refusal.reason == "read.heading_twice"


def test_headings_that_nobody_asks_for_may_stand_twice():
    assert column(["Note", " B ", "note", "A"], ("a", "b")) == 3
    assert column(["Note", "note"], ("a", "b")) is None


CELL = st.text(st.sampled_from('ab",;\n '), max_size=6)


@given(st.lists(st.lists(CELL, min_size=2, max_size=4), max_size=6))
def test_rows_with_line_breaks_are_those_of_the_csv_module(table):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    found = list(rows(enumerate(text.getvalue().split("\n")[:-1], 1), ","))
    assert [row for _, row in found] == table
    assert [number for number, _ in found] == [
        1 + sum(cell.count("\n") for row in table[:place] for cell in row) + place for place in range(len(table))
    ]


@given(st.lists(st.text(st.sampled_from('ab",'), max_size=8), max_size=8))
def test_whatever_its_quotes_a_row_is_read_or_refused(lines):
    found = list(rows(list(enumerate(lines, 1)), ","))
    starts = [one.line if isinstance(one, Invalid) else one[0] for one in found]
    told = sum(1 if isinstance(one, Invalid) else 1 + sum(cell.count("\n") for cell in one[1]) for one in found)
    assert starts == sorted(set(starts)) and told == len(lines)


def test_a_quote_that_is_never_closed_does_not_read_the_file_again_for_each_line():
    looked = []

    def told():
        for number in range(1, 10 * TALLEST):
            looked.append(number)
            yield number, '1,"x' if number == 1 else "2,y"

    found = rows(told(), ",")
    assert isinstance(next(found), Invalid) and len(looked) <= TALLEST + 1
    assert next(found) == (2, ["2", "y"]) and len(looked) <= TALLEST + 1


def test_dates_that_python_has_not_come_as_its_last():
    days = pl.Series([-(2**31), 2**31 - 1, 0, None], dtype=pl.Int32).cast(pl.Date)
    times = pl.Series([-(2**62), 2**62, 0, None])
    columns = {unit: times.cast(pl.Datetime(unit)) for unit in ("ms", "us", "ns")}
    frame = pl.DataFrame({"day": days, **columns, "here": times.cast(pl.Datetime("us", "Asia/Shanghai"))})
    ((first, piece),) = chunks(frame.lazy())
    assert first == 1 and piece.schema == frame.schema and piece["ns"].equals(columns["ns"])
    assert piece["day"].to_list() == [date.min, date.max, date(1970, 1, 1), None]
    for name in ("ms", "us", "here"):
        early, late, usual, none = piece[name].to_list()
        assert (early.year, late.year, usual.year, none) == (1, 9999, 1970, None)
    assert piece["us"][1] == datetime.max


@pytest.mark.parametrize("kind", KINDS)
def test_links_in_a_circle_are_said_to_be_unreadable(tmp_path, kind):
    for name in ("loop", "loop.csv"):
        loop = tmp_path / name
        loop.symlink_to(name)
        (refusal,) = kind().read(loop)
        assert refusal.reason == "read.failed" and "links" in refusal.message("en") and str(loop) in str(refusal)
    assert unreachable(tmp_path) is None and unreachable(tmp_path / "none").reason == "read.missing"


@pytest.fixture
def run(capsys):
    return runner(capsys)


def test_evaluation_says_why_a_file_holds_nothing(tmp_path, run):
    path = tmp_path / "bin.csv"
    path.write_bytes(b"\x00\x01" * 500)
    code, out, err = run("evaluate", "molecules", path)
    assert (code, out) == (2, "") and f"{path}: This is not a text file." in err and "no usable record" in err
    (tmp_path / "loop").symlink_to("loop")
    code, _, err = run("evaluate", "molecules", tmp_path / "loop")
    assert code == 2 and "symbolic links" in err


def test_prediction_says_that_links_go_in_a_circle(tmp_path, run, monkeypatch, smiles):
    import puji

    from .cli_stub import Stub

    monkeypatch.setattr(puji, "load", lambda name: Stub(smiles[:5]))
    (tmp_path / "loop").symlink_to("loop")
    code, _, err = run("predict", "molecules", tmp_path / "loop")
    assert code == 2 and "symbolic links" in err and "RDKit" not in err


def test_a_mapping_that_is_no_text_is_named_by_fit(tmp_path, run):
    (tmp_path / "bin.csv").write_bytes(b"\x00\x01" * 500)
    (tmp_path / "t.csv").write_text("subject,age,code\n1,50,I10\n")
    words = ("--data", tmp_path / "t.csv", "--mapping", tmp_path / "bin.csv", "--out", tmp_path / "out")
    code, _, err = run("fit", "timelines", *words)
    assert code == 2 and f"{tmp_path / 'bin.csv'}: This is not a text file." in err

"""The command line: what it prints where, its exit codes, and that nothing is left half-written."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import polars
import pytest

import puji
from puji.commands import generate
from puji.errors import Invalid
from puji.modalities.molecules.modality import Molecules

from .cli_stub import Stub, runner


@pytest.fixture
def run(capsys):
    return runner(capsys)


@pytest.fixture
def stub(monkeypatch, smiles):
    model = Stub(smiles[:40])
    monkeypatch.setattr(puji, "load", lambda name: model)
    return model


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


# -- generate ----------------------------------------------------------------------------------------------------------


def test_results_go_to_stdout_and_notes_to_stderr(run, stub):
    code, out, err = run("generate", "molecules", "-n", "5", "--seed", "3")
    assert code == 0
    assert [row["smiles"] for row in rows(out)] == [stub.modality.parse(text).smiles for text in stub.smiles[3:8]]
    assert {row["synthetic"] for row in rows(out)} == {"True"}
    assert "5 of 5 records" in err and "2 of 7 draws were refused" in err and "× 2" in err
    assert "Research use, not for clinical decisions." in err


def test_options_may_stand_before_the_modality(run, stub):
    assert len(rows(run("generate", "-n", "4", "molecules")[1])) == 4


def test_conditions_and_sampling_arrive(run, stub):
    words = "--logp 2:3 --qed 0.6 --scaffold c1ccccc1 --temperature 0.8 --top-k 20 --top-p 0.9 --unique --no-grammar"
    assert run("generate", "molecules", "-n", "2", *words.split())[0] == 0
    conditions = stub.asked.pop("conditions")
    assert (conditions.logp.low, conditions.logp.high, conditions.qed.low, conditions.keep) == (2, 3, 0.6, "c1ccccc1")
    assert stub.asked == {
        "n": 2, "seed": 0, "temperature": 0.8, "top_k": 20, "top_p": 0.9, "unique": True, "grammar": False
    }  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "sdf", "smi", "svg", "png"])
def test_files_of_every_format(run, stub, tmp_path, ending):
    target = tmp_path / f"new.{ending}"
    code, out, err = run("generate", "molecules", "-n", "6", "--out", target)
    assert (code, out) == (0, "") and f"written: {target}" in err
    content = target.read_bytes()
    count = {
        "csv": lambda: len(rows(content.decode())),
        "jsonl": lambda: len([json.loads(line) for line in content.splitlines()]),
        "parquet": lambda: len(polars.read_parquet(target)),
        "sdf": lambda: content.count(b"$$$$"),
        "smi": lambda: len(content.strip().splitlines()) - 1,
        "svg": lambda: 6 if b"<svg" in content else 0,
        "png": lambda: 6 if content.startswith(b"\x89PNG") else 0,
    }
    assert count[ending]() == 6
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_many_records_are_written_as_they_are_made(run, stub, tmp_path, monkeypatch, ending):
    held, streamed = tmp_path / f"held.{ending}", tmp_path / f"streamed.{ending}"
    assert run("generate", "molecules", "-n", "9", "--out", held)[0] == 0
    monkeypatch.setattr(generate, "HELD", 5)
    assert run("generate", "molecules", "-n", "9", "--out", streamed)[0] == 0
    one, other = (polars.read_csv(path) if ending == "csv" else polars.read_ndjson(path) for path in (held, streamed))
    assert one["smiles"].to_list() == other["smiles"].to_list()
    assert one["qed"].to_list() == other["qed"].to_list()
    assert one.columns == other.columns


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (Invalid("generate.nothing", attempts=9, why="x"), 1, "none of 9"),
        (RuntimeError("oops"), 1, "RuntimeError"),
        (MemoryError(), 1, "memory"),
        (OSError(5, "Input/output error"), 1, "Input/output error"),
    ],
)
@pytest.mark.parametrize("held", [5, 50_000])
def test_a_failure_midway_leaves_nothing(run, stub, tmp_path, monkeypatch, error, code, says, held):
    monkeypatch.setattr(generate, "HELD", held)
    stub.fails = error
    target = tmp_path / "new.csv"
    target.write_text("before")
    result = run("generate", "molecules", "-n", "9", "--out", target)
    assert result[0] == code
    assert says in result[2] and "Traceback" not in result[2]
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_debug_shows_where(run, stub):
    stub.fails = RuntimeError("oops")
    with pytest.raises(RuntimeError, match="oops"):
        run("generate", "molecules", "-n", "9", "--debug")


def test_a_model_of_another_modality_is_refused(run, stub, tmp_path):
    stub.modality = SimpleNamespace(name="plans")
    code, _, err = run("generate", "molecules", "--model", tmp_path)
    assert code == 2 and "plans" in err and "molecules" in err


PIPE = """
import sys
import puji
from puji.cli import main
from tests.cli_stub import Stub
puji.load = lambda name: Stub(["CCO", "c1ccccc1"])
sys.exit(main(["generate", "molecules", "-n", "300", "--format", "csv"]))
"""


def test_a_reader_that_goes_away_is_no_error():
    root = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    with subprocess.Popen(
        [sys.executable, "-c", PIPE], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=120) == 141
    assert "Traceback" not in err and "Exception" not in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_a_full_disk_behind_stdout_is_told():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        command = [sys.executable, "-m", "puji.cli", "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: the disk is full; nothing was written.\n"


# -- predict, explain, embed, evaluate ---------------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path):
    path = tmp_path / "mixed.smi"
    path.write_text("CCO\nnot a molecule\nc1ccccc1O\n")
    return path


def test_predict_a_file_reports_what_it_refuses(run, stub, mixed):
    code, out, err = run("predict", "molecules", mixed, "--properties", "logp")
    assert code == 0
    table = rows(out)
    assert [row["record"] for row in table] == ["CCO", "Oc1ccccc1"]
    assert (table[0]["logp"], table[0]["logp_low"], table[0]["logp_high"], table[0]["familiar"]) == (
        "2.5",
        "1.0",
        "4.0",
        "False",
    )
    assert "qed" not in table[0]
    assert "mixed.smi:2" in err and "1 of 3 records were refused" in err


def test_predict_one_record_for_people(run, stub):
    code, out, err = run("predict", "molecules", "CCO", "--format", "table", "--lang", "zh")
    assert code == 0
    assert "logP（脂水分配系数）" in out and "预测项目" in out
    assert "不宜采信" in err


def test_a_file_without_a_usable_record_is_refused(run, stub, tmp_path):
    path, out = tmp_path / "bad.smi", tmp_path / "out.csv"
    path.write_text("((((\n")
    code, _, err = run("predict", "molecules", path, "--out", out)
    assert code == 2 and "bad.smi:1" in err
    assert not out.exists()


def test_explain_writes_a_picture_or_the_scores(run, stub, tmp_path):
    target = tmp_path / "why.svg"
    code, out, err = run("explain", "molecules", "CCO", "--target", "logp", "--out", target)
    assert (code, out) == (0, "") and "<svg" in target.read_text() and "2.25" in err and "0.0001" in err
    code, out, _ = run("explain", "molecules", "CCO", "--target", "logp")
    assert code == 0 and "C" in {row["token"] for row in rows(out)}


def test_embed(run, stub, mixed, tmp_path):
    target = tmp_path / "vectors.npy"
    assert run("embed", "molecules", mixed, "--out", target)[0] == 0
    assert np.load(target, allow_pickle=False).shape == (2, 3)
    _, out, _ = run("embed", "molecules", mixed)
    assert [row["e1"] for row in rows(out)] == ["1.0", "4.0"]


def test_evaluate_scores_a_file_from_anywhere(run, monkeypatch, mixed):
    seen = {}

    def metrics(self, generated, references):
        from puji.modality import Metric

        seen.update(generated=generated, references=dict(references))
        return {"valid": Metric(2 / 3, 3, "up", 0.2, 0.9)}

    monkeypatch.setattr(Molecules, "metrics", metrics)
    code, out, _ = run("evaluate", "molecules", mixed, "--reference", f"train={mixed}")
    assert code == 0
    assert len(seen["generated"]) == 3 and list(seen["references"]) == ["train"]
    assert rows(out)[0]["metric"] == "valid" and rows(out)[0]["better"] == "↑"


# -- the others --------------------------------------------------------------------------------------------------------


def test_list_and_data(run):
    code, out, _ = run("list")
    assert code == 0 and rows(out)[0]["modality"] == "molecules"
    assert run("data", "list")[1].split() == ["moses"]


def test_card(run, stub):
    assert run("card", "molecules")[1] == "data.name: moses\ndata.sha256: ab\ntraining.minutes: 3\n"


def test_fit_passes_on_what_was_asked(run, monkeypatch, tmp_path):
    seen = {}

    def fit(name, *, note, **options):
        seen.update(options, name=name)
        note("fit.read", {"training": 3, "held_out": 1, "refused": 0})

    monkeypatch.setitem(vars(puji), "fit", fit)  # setattr would import torch
    out, data = tmp_path / "mine", tmp_path / "a.smi"
    data.touch()
    words = f"--data {data} --out {out} --minutes 2 --from molecules --seed 4 --resume --threads 1 --holdout 0.2"
    code, said, err = run("fit", "molecules", *words.split())
    assert code == 0 and said == f"{out}\n" and "3 records" in err
    assert seen == {
        "name": "molecules", "data": str(data), "out": out, "minutes": 2.0, "epochs": None, "base": "molecules", "size": None,
        "seed": 4, "resume": True, "holdout": 0.2, "workers": 1, "settings": {"progress": True, "threads": 1},
    }  # fmt: skip


def test_demo_writes_one_page(run, stub, monkeypatch, tmp_path):
    from puji.modalities.molecules.demo import demo

    monkeypatch.setattr(Molecules, "demo", lambda self, model, seed: demo(model, seed), raising=False)
    monkeypatch.setattr(puji, "shipped", lambda: {"molecules": {}})
    code, out, err = run("demo", "--out", tmp_path / "gallery", "--lang", "zh")
    assert code == 0 and "已写入" in err
    assert "全新分子" in out and "按指定性质生成" in out
    page = (tmp_path / "gallery" / "index.html").read_text("utf-8")
    assert page.count("<figure") > 50 and "molecules." not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    assert [path.name for path in (tmp_path / "gallery").iterdir()] == ["index.html"]


def test_demo_without_weights_says_so(run, monkeypatch, tmp_path):
    monkeypatch.setattr(puji, "shipped", dict)
    code, _, err = run("demo", "--out", tmp_path / "gallery")
    assert code == 2 and "puji fit" in err and not (tmp_path / "gallery").exists()


def test_the_real_thing_from_the_shell(trained, tmp_path):
    target = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "puji.cli", "predict", "molecules", "CC(=O)Oc1ccccc1C(=O)O", "--out", str(target)]
    done = subprocess.run(
        [*command, "--model", str(trained[1])], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(target.read_text("utf-8"))
    assert row["record"] == "CC(=O)Oc1ccccc1C(=O)O" and 1 < row["logp"] < 5

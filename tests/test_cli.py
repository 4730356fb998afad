"""The command line: what it prints where, its exit codes, and that nothing is left half-written."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars
import pytest

import puji
from puji import registry
from puji.commands.generate import chosen
from puji.errors import Invalid
from puji.language import translate
from puji.modalities.molecules.modality import Molecules
from puji.tables import write_table

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
    assert {row["synthetic"] for row in rows(out)} == {"true"}
    assert "5 of 5 records" in err and "refused: 2 of 7" in err and "× 2" in err
    assert "Research use, not for clinical decisions." in err


def test_options_may_stand_before_the_modality(run, stub):
    assert len(rows(run("generate", "-n", "4", "molecules")[1])) == 4


def test_conditions_and_sampling_arrive(run, stub):
    words = "--logp 2:3 --qed 0.6 --scaffold c1ccccc1 --temperature 0.8 --top-k 20 --top-p 0.9 --unique --no-grammar"
    assert run("generate", "molecules", "-n", "2", *words.split())[0] == 0
    conditions = stub.batch.conditions
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


def test_a_batch_saved_at_once_has_the_cells_of_rows_written_one_by_one(run, stub, tmp_path):
    """Booleans, empty cells, numbers: a file must not depend on who wrote it."""
    for ending in ("csv", "jsonl"):
        streamed, saved = tmp_path / f"streamed.{ending}", tmp_path / f"saved.{ending}"
        assert run("generate", "molecules", "-n", "9", "--out", streamed)[0] == 0
        stub.generate(9).save(saved)
        assert streamed.read_bytes() == saved.read_bytes()
    table = polars.read_csv(tmp_path / "streamed.csv")
    assert table["synthetic"].dtype == polars.Boolean and table["alerts"].null_count() > 0


def test_numbers_that_are_none_become_null(tmp_path):
    rows = [{"a": float("nan"), "b": np.float32(0.1), "c": [1, float("inf")]}, {"a": None, "b": True, "d": "x"}]
    for ending in ("csv", "jsonl", "parquet"):
        write_table(rows[:1] if ending == "parquet" else rows, tmp_path / f"t.{ending}")
    assert (tmp_path / "t.csv").read_text() == "a,b,c,d\n,0.1,1 ,\n,true,,x\n"
    assert (tmp_path / "t.jsonl").read_text().splitlines() == [
        '{"a": null, "b": 0.1, "c": [1, null], "d": null}',
        '{"a": null, "b": true, "c": null, "d": "x"}',
    ]
    assert polars.read_parquet(tmp_path / "t.parquet")["a"].null_count() == 1


@pytest.mark.parametrize("words", [[], ["--out", "new.csv"], ["--out", "new.jsonl"], ["--out", "new.sdf"]])
def test_fewer_or_no_records_are_told_whatever_the_format(run, stub, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    stub.most = 3
    code, _, err = run("generate", "molecules", "-n", "60000", "--logp", "9:9.5", *words)
    assert code == 0
    assert "3 of 60,000 records" in err and "refused: 2 of 5" in err and "note: --logp 9:9.5 lies outside" in err
    written = [path.unlink() for path in tmp_path.iterdir()]
    stub.most = 0
    code, out, err = run("generate", "molecules", "-n", "60000", "--logp", "9:9.5", *words)
    assert (code, out) == (1, "")
    assert "in 2 draws" in err and "RDKit does not accept" in err and "note: --logp" in err
    assert len(written) == bool(words) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (Invalid("generate.nothing", attempts=9, why="x"), 1, "in 9 draws"),
        (RuntimeError("oops"), 1, "RuntimeError"),
        (MemoryError(), 1, "memory"),
        (OSError(5, "Input/output error"), 1, "Input/output error"),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "sdf"])
def test_a_failure_midway_leaves_nothing(run, stub, tmp_path, error, code, says, ending):
    stub.fails = error
    target = tmp_path / f"new.{ending}"
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


def test_a_released_model_is_chosen_by_its_name_unless_there_is_such_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert registry.folder_of(chosen("molecules", Path("plans-diabetes"))).parent == registry.CHECKPOINTS
    Path("plans-diabetes").mkdir()
    assert registry.folder_of(chosen("molecules", Path("plans-diabetes"))) == Path("plans-diabetes")


# -- predict, explain, embed, evaluate ---------------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path):
    path = tmp_path / "mixed.smi"
    path.write_text(f"CCO.Cl ethanol\nnot a molecule\nc1ccccc1O\n{LONG}\n")
    return path


LONG = "C" * 300


def test_predict_a_file_reports_what_it_refuses(run, stub, mixed):
    code, out, err = run("predict", "molecules", mixed, "--properties", "logp")
    assert code == 0
    first, *others = rows(out)
    assert first == {
        "source": str(mixed), "line": "1", "given": "CCO.Cl", "record": "CCO", "logp": "2.5", "logp_low": "1.0",
        "logp_high": "4.0", "log_likelihood": "-20.0", "familiar": "false", "notes": translate("predict.unfamiliar", "en"),
    }  # fmt: skip
    # Each row says where its record stood, though one before it was refused; nothing is cut off.
    assert [(row["line"], row["record"]) for row in others] == [("3", "Oc1ccccc1"), ("4", LONG)]
    assert "mixed.smi:2" in err and "Refused rows or records: 1; records used: 3." in err


def test_predict_draws_from_the_seed_that_is_told(run, stub):
    assert run("predict", "molecules", "OCC", "--seed", "7")[0] == 0
    assert stub.seed == 7


def test_predict_one_record_for_people(run, stub):
    code, out, err = run("predict", "molecules", "OCC", "--format", "table", "--lang", "zh")
    assert code == 0
    assert "记录  CCO" in out and "logP（脂水分配系数）" in out and "预测项目" in out
    assert "不宜采信" in err


def test_predict_a_file_for_people(run, stub, mixed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, err = run("predict", "molecules", mixed, "--format", "table", "--lang", "zh")
    head = out[: out.index("───")].split()
    assert head.index("行号") < head.index("记录") < min(head.index("logP"), head.index("TPSA"))
    assert LONG not in out and "C" * 39 + "…" in out
    assert "logp_low" in err, "columns that do not fit keep the names that a file has"


def test_a_file_without_a_usable_record_is_refused(run, stub, tmp_path):
    path, out = tmp_path / "bad.smi", tmp_path / "out.csv"
    path.write_text("((((\n")
    for words in (["predict"], ["embed"], ["explain", "--target", "logp"]):
        code, _, err = run(words[0], "molecules", path, *words[1:], "--out", out)
        assert code == 2 and "bad.smi:1" in err and "no usable record" in err
        assert not out.exists()


def test_explain_writes_a_picture_or_the_scores(run, stub, tmp_path):
    target = tmp_path / "why.svg"
    code, out, err = run("explain", "molecules", "CCO", "--target", "logp", "--out", target)
    assert (code, out) == (0, "") and "<svg" in target.read_text() and "2.25" in err and "0.0001" in err
    assert "unlike the training data" in err
    code, out, err = run("explain", "molecules", "CCO", "--target", "logp", "--method", "occlusion")
    assert code == 0 and "C" in {row["piece"] for row in rows(out)}
    sizes = [abs(float(row["score"])) for row in rows(out)]
    assert sizes == sorted(sizes, reverse=True), "the largest contribution comes first"
    assert "completeness" not in err


def test_explain_takes_the_first_of_several_records_and_says_so(run, stub, tmp_path):
    path = tmp_path / "many.smi"
    path.write_text("((((\nCCO\nCCN\n")
    code, out, err = run("explain", "molecules", path, "--target", "logp")
    told = sorted(rows(out), key=lambda row: int(row["place"]))
    assert code == 0 and [row["piece"] for row in told][1:-1] == ["C", "C", "O"]
    assert "many.smi:1" in err and "only the first" in err and "many.smi:2" in err
    path.write_text("CCO\n")
    assert "only the first" not in run("explain", "molecules", path, "--target", "logp")[2]


def test_embed(run, stub, mixed, tmp_path):
    target = tmp_path / "vectors.npy"
    assert run("embed", "molecules", mixed, "--out", target)[0] == 0
    assert np.load(target, allow_pickle=False).shape == (3, 3)
    _, out, _ = run("embed", "molecules", mixed)
    assert [(row["line"], row["e1"]) for row in rows(out)] == [("1", "1.0"), ("3", "4.0"), ("4", "7.0")]


@pytest.fixture
def scores(monkeypatch):
    seen = {}

    def metrics(self, generated, references, step):
        from puji.modality import Metric

        seen.update(generated=generated, references=dict(references))
        found = {"valid": Metric(2 / 3, 3, "up", 0.2, 0.9), "FCD/Test": Metric(float("nan"), 999, "down")}
        return {**found, "FCD/TestSF": Metric(2.0, 999, "down")}

    monkeypatch.setattr(Molecules, "metrics", metrics)
    return seen


def test_evaluate_scores_a_file_from_anywhere(run, scores, mixed):
    code, out, err = run("evaluate", "molecules", mixed, "--reference", f"train={mixed}", "--format", "jsonl")
    assert code == 0
    assert len(scores["generated"]) == 4 and list(scores["references"]) == ["train"]
    valid, fcd, _ = (json.loads(line, parse_constant=pytest.fail) for line in out.splitlines())
    assert (valid["metric"], valid["better"], valid["low"]) == ("valid", "↑", 0.2)
    assert (fcd["value"], fcd["low"], fcd["n"]) == (None, None, 999)
    assert err.count("biased upward") == 1 and "999" in err


def test_tables_on_the_terminal_have_chinese_heads(run, scores, mixed):
    words = ["--format", "table", "--lang", "zh"]
    _, out, err = run("evaluate", "molecules", mixed, "--reference", f"train={mixed}", *words)
    assert all(word in out for word in ("指标", "数值", "更优方向", "样本数")) and "nan" not in out
    assert "偏高" in err
    assert "记录类型" in run("list", *words)[1]
    _, out, _ = run("generate", "molecules", "-n", "2", "--logp", "0.5", *words)
    assert "logP" in out and "logp" not in out


def test_files_of_a_chinese_session_open_in_excel_and_here(run, stub, tmp_path):
    target = tmp_path / "分子.csv"
    assert run("generate", "molecules", "-n", "3", "--out", str(target), "--lang", "zh")[0] == 0
    assert target.read_bytes().startswith(b"\xef\xbb\xbfsmiles,")
    assert [raw.content for raw in Molecules().read(target)] == [
        stub.modality.parse(text).smiles for text in stub.smiles[:3]
    ]
    assert run("list", "--format", "csv", "--lang", "zh")[1].startswith("modality,weights,summary\n")


# -- the others --------------------------------------------------------------------------------------------------------


def test_list_and_data(run):
    code, out, _ = run("list")
    assert code == 0 and {"molecules", "names", "timelines"} <= {row["modality"] for row in rows(out)}
    assert {"moses", "drug-names"} <= set(run("data", "list")[1].split())


def test_card(run, stub):
    _, out, err = run("card", "molecules")
    assert out == "Data: moses\nData, SHA-256 of the cleaned records: ab\nTraining minutes: 3\n"
    assert err.strip().endswith("README.md")
    assert run("card", "molecules", "--lang", "zh")[1].startswith("数据：moses\n")


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
        "seed": 4, "resume": True, "holdout": 0.2, "workers": 1, "setup": {}, "settings": {"progress": True, "threads": 1},
    }  # fmt: skip


def fit_that(tells, monkeypatch):
    """Replaces `puji.fit` by one that tells the messages ``tells``; an exception among them is raised."""

    def fit(name, *, note, **options):
        for key, details in tells:
            if isinstance(key, BaseException):
                raise key
            note(key, details)

    monkeypatch.setitem(vars(puji), "fit", fit)  # setattr would import torch


def test_fit_tells_what_it_refused(run, monkeypatch, tmp_path):
    tells = [("fit.read", {"training": 3, "held_out": 1, "refused": 23})]
    tells += [("fit.refused", {"why": f"a.smi:{line}: wrong", "rows": 1}) for line in range(1, 21)]
    tells += [("fit.start", {"parameters": 1, "minutes": 1, "epochs": 0})]
    tells += [("fit.done", {"folder": "x", "minutes": 1.0, "why": "patience"})]
    fit_that(tells, monkeypatch)
    words = ["fit", "molecules", "--data", "moses", "--out", tmp_path / "x"]
    code, out, err = run(*words)
    assert (code, out) == (0, f"{tmp_path / 'x'}\n")
    assert "refused: a.smi:20: wrong" in err and "not listed: 3." in err and "no longer fell" in err
    assert "验证损失不再下降" in run(*words, "--lang", "zh")[2]
    quiet = run(*words, "--quiet")[2].splitlines()
    assert len(quiet) == 22, "what was refused, and that there is too little to learn from, are told all the same"
    assert "Only 3 records" in err and "3 条训练记录" in run(*words, "--lang", "zh")[2]
    fit_that([("fit.read", {"training": 100, "held_out": 11, "refused": 0}), *tells[-2:]], monkeypatch)
    assert "Only" not in run(*words)[2]


@pytest.mark.parametrize(
    "end", [(KeyboardInterrupt(), {}), ("fit.done", {"folder": "x", "minutes": 1.0, "why": "interrupted"})]
)
def test_an_interrupted_fit_says_how_to_go_on(run, monkeypatch, tmp_path, end):
    fit_that([end], monkeypatch)
    words = ["fit", "molecules", "--data", "moses", "--out", tmp_path / "x"]
    code, _, err = run(*words)
    assert code == 130 and "--resume" not in err, "there is nothing yet to go on from"
    (tmp_path / "x.run").mkdir()
    (tmp_path / "x.run" / "state-00000001.safetensors").touch()
    code, _, err = run(*words)
    assert code == 130 and "--resume" in err


def test_folders_that_cannot_be_made_are_refused_before_the_work(run, stub, monkeypatch, tmp_path):
    monkeypatch.setattr(puji, "shipped", lambda: {"molecules": {}})
    fit_that([(AssertionError("it began"), {})], monkeypatch)
    file, ready = tmp_path / "a.smi", tmp_path / "ready"
    file.touch()
    (tmp_path / "b.run").touch()
    for words in (
        ["demo", "--out", file],
        ["demo", "--out", file / "x"],
        *(["fit", "molecules", "--data", file, "--out", out] for out in (file, file / "deep" / "er", tmp_path / "b")),
    ):
        code, _, err = run(*words)
        assert code == 2 and "--out" in err and "this is a file" in err
    ready.mkdir()
    for out in (ready, tmp_path / "new" / "deep"):
        assert "it began" in run("fit", "molecules", "--data", file, "--out", out)[2]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.smi", "b.run", "ready"]


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


def test_a_released_name_stands_where_a_folder_may(tmp_path, monkeypatch):
    """`--model plans-diabetes`; a folder of the same name in the working directory comes first."""
    from puji.commands.generate import load

    assert load("plans", Path("plans-diabetes")).modality.setting.name == "diabetes"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plans-diabetes").mkdir()
    with pytest.raises(Invalid):
        load("plans", Path("plans-diabetes"))

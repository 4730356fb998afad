"""The command line: what it prints where, its exit codes, its languages, and that nothing is left half-written."""

import csv
import io
import json
import os
import re
import resource
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

import puji
from puji import registry
from puji.batch import Batch, Generated
from puji.cli import COMMANDS, main
from puji.commands import fields, generate, interface
from puji.errors import Invalid
from puji.modalities.molecules.modality import Molecules
from puji.modality import Answer, Estimate

MODALITY_COMMANDS = ("generate", "predict", "explain", "embed", "evaluate", "fit", "card")
PAGES = [[], *([name] for name in COMMANDS), *([name, "molecules"] for name in MODALITY_COMMANDS), ["data", "get"]]


class Stub:
    """A model that gives molecules from a list and remembers what it was asked."""

    name = "molecules"
    card = {"data": {"name": "moses", "sha256": "ab"}, "training": {"minutes": 3}}  # noqa: RUF012

    def __init__(self, smiles):
        self.modality = Molecules()
        self.smiles = smiles
        self.asked = {}
        self.fails = None

    def empty_batch(self, seed, conditions):
        return Batch(self.modality, conditions, seed, {"synthetic": True, "model": "puji stub"})

    def stream(self, n=1, *, seed=0, **asked):
        self.asked = {"n": n, "seed": seed, **asked}
        for draw in range(n):
            if self.fails and draw == 2:
                raise self.fails
            yield Generated(self.modality.parse(self.smiles[(seed + draw) % len(self.smiles)]), -1.5, draw, ())

    def generate(self, n=1, *, seed=0, on_record=None, conditions=None, **asked):
        if conditions is None:
            names = Molecules.Conditions.model_fields
            conditions = Molecules.Conditions(**{name: asked.pop(name) for name in list(asked) if name in names})
        batch = self.empty_batch(seed, conditions)
        for one in self.stream(n, seed=seed, conditions=conditions, **asked):
            batch.generated.append(one)
            if on_record:
                on_record(one)
        batch.rejected = [Invalid("molecules.unparsable"), Invalid("molecules.unparsable")]
        batch.attempts = n + 2
        return batch

    def read(self, path):
        for raw in self.modality.read(path):
            try:
                yield raw if isinstance(raw, Invalid) else self.modality.preprocess(raw)
            except Invalid as refusal:
                yield refusal.at(raw.source, raw.line)

    def record(self, text):
        return self.modality.parse(text)

    def predict(self, record, ask=None):
        names = ask.properties if ask else ("logp", "qed")
        return Answer({name: Estimate(2.5, 1.0, 4.0, "") for name in names}, -20.0, False, ("predict.unfamiliar",))

    def explain(self, record, *, target, method="integrated_gradients"):
        record = self.modality.parse(record) if isinstance(record, str) else record
        tokens = self.modality.encode(record)
        scores = np.linspace(-1, 1, len(tokens))
        pictures = self.modality.render_explanation(record, tokens, scores, None)
        rows = [{"place": n, "token": token, "score": float(scores[n])} for n, token in enumerate(tokens)]
        found = SimpleNamespace(pictures=pictures, rows=lambda: rows, value=2.25, completeness_error=1e-4)
        found.save = lambda path: path.write_text(pictures["image/svg+xml"])
        return found

    def embed(self, records):
        return np.arange(3 * len(records), dtype=np.float32).reshape(-1, 3)


@pytest.fixture
def stub(monkeypatch, smiles):
    model = Stub(smiles[:40])
    monkeypatch.setattr(puji, "load", lambda name: model)
    return model


@pytest.fixture
def run(capsys):
    """Run a command line: (exit code, stdout, stderr)."""

    def runs(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return runs


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


# -- help and languages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_every_help_page_speaks_both_languages(run, words):
    english, chinese = run(*words, "--help"), run(*words, "--help", "--lang", "zh")
    assert english[0] == chinese[0] == 0
    for _, page, err in (english, chinese):
        assert not err
        assert not re.search(r"\b(cli|molecules)\.[a-z_]+(\.[a-z_]+)?\b", page), "a message is missing"
        assert all(interface.width(line) <= 100 for line in page.splitlines())
    assert "Usage: puji" in english[1] and "Options:" in english[1]
    assert "用法：puji" in chinese[1] and "选项：" in chinese[1]
    options = set(re.findall(r"--[a-z-]+", english[1]))
    assert {"--help"} <= options == set(re.findall(r"--[a-z-]+", chinese[1]))


def test_the_language_may_be_named_anywhere_and_is_forgotten_afterwards(run):
    for words in (
        ["--lang", "zh", "generate", "molecules", "--help"],
        ["generate", "--lang=zh", "molecules", "--help"],
        ["generate", "molecules", "--help", "--lang", "zh"],
    ):
        assert "生成新的记录" in run(*words)[1]
    assert "Generate new records" in run("generate", "molecules", "--help")[1]


def test_conditions_are_explained_on_the_help_page(run):
    page = run("generate", "molecules", "--help")[1]
    assert "--keep, --scaffold, --fragment VALUE" in page
    for name in Molecules.Conditions.model_fields:
        assert re.search(rf"--{name}\b.*\n?.*[a-z]{{3}}", page)


LIGHT = """
import sys
from puji.cli import main
code = main(sys.argv[1:])
heavy = {"torch", "transformers", "rdkit", "polars", "numpy", "pydantic", "matplotlib", "accelerate", "numba"}
print(sorted(heavy & set(sys.modules)), code, file=sys.stderr)
"""


@pytest.mark.parametrize("words", [["--help"], ["generate", "molecules", "--help"], ["predict", "molecules", "--help"]])
def test_help_is_instant(words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", LIGHT, *words], capture_output=True, text=True, timeout=60, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr.split("\n")[0] == "[] 0"
    # Processor time, so that a busy machine does not fail the test.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@given(st.text(st.sampled_from("癌症 abc，。（）de"), max_size=120), st.integers(24, 90))
def test_wrapping_loses_nothing_and_keeps_the_width(text, columns):
    lines = interface.wrap(text, columns)
    assert "".join("".join(lines).split()) == "".join(text.split())
    for line in lines:
        # A word has no place to break; a closing mark may hang over by one.
        longest = max((interface.width(word) for word in re.findall(r"[a-z]+", line)), default=0)
        assert interface.width(line) <= max(columns, longest) + 2


@pytest.mark.parametrize("name", registry.entries())
@pytest.mark.parametrize("kind", ["Conditions", "Ask"])
def test_options_are_read_from_the_source_as_the_class_has_them(name, kind):
    source = registry.package_folder(registry.entries()[name]) / "conditions.py"
    declared = fields.declared_fields(source.read_text("utf-8"), kind)
    assert declared == fields.model_fields(getattr(registry.modality(name), kind))


def test_options_that_the_source_does_not_tell_are_left_to_the_class():
    assert fields.declared_fields("class Conditions(Other):\n    a: int = 1", "Conditions") is None
    assert fields.declared_fields("Conditions = make()", "Conditions") is None
    told = fields.declared_fields("class Ask(BaseModel):\n    a: bool = False\n    b: list[str] | None = None", "Ask")
    assert told == [fields.Field("a", flag=True), fields.Field("b", many=True)]


# -- what is refused ---------------------------------------------------------------------------------------------------

REFUSED = [
    (["generat"], "Did you mean generate?"),
    (["generate", "moleculs"], "Did you mean molecules?"),
    (["generate", "zebra"], "There are: molecules"),
    (["generate", "molecules", "--logpp", "2"], "Did you mean --logp?"),
    (["generate", "molecules", "-n"], "-n needs a value"),
    (["generate", "molecules", "-n", "0"], "--number 0"),
    (["generate", "molecules", "-n", "-1"], "--number -1"),
    (["generate", "molecules", "-n", "1000000000"], "10,000,000"),
    (["generate", "molecules", "-n", "ten"], "--number ten"),
    (["generate", "molecules", "--temperature", "0"], "--temperature 0"),
    (["generate", "molecules", "--temperature", "nan"], "--temperature nan"),
    (["generate", "molecules", "--top-p", "1.5"], "--top-p 1.5"),
    (["generate", "molecules", "--seed", "-3"], "--seed -3"),
    (["generate", "molecules", "two", "words"], "two"),
    (["generate", "molecules", "--format", "xml"], "table, csv, jsonl"),
    (["generate", "molecules", "--out", "new.docx"], ".docx"),
    (["generate", "molecules", "--out", "new"], ".sdf"),
    (["generate", "molecules", "--logp", "high"], "--logp"),
    (["generate", "molecules", "--logp", "3:2"], "--logp"),
    (["generate", "molecules", "--keep", "C1CC"], "--keep"),
    (["generate", "molecules", "--model", "no-such-folder"], "no-such-folder"),
    (["predict", "molecules"], "INPUT is missing"),
    (["predict", "molecules", "absent.smi"], "absent.smi: there is no such file"),
    (["explain", "molecules", "CCO"], "--target is missing"),
    (["explain", "molecules", "CCO", "--target", "logp", "--method", "guess"], "integrated_gradients, occlusion"),
    (["evaluate", "molecules", "absent.smi"], "absent.smi"),
    (["evaluate", "molecules", os.devnull, "--reference", "train"], "NAME=FILE"),
    (["fit", "molecules", "--out", "x"], "--data is missing"),
    (["fit", "molecules", "--data", "absent.smi", "--out", "x"], "absent.smi"),
    (["fit", "molecules", "--data", "a", "--out", "x", "--size", "huge"], "nano, micro, small, base"),
    (["data", "get", "mosess"], "Did you mean moses?"),
    (["--lang", "fr"], "en, zh"),
    (["generate", "molecules", "--lang"], "--lang"),
]


@pytest.mark.parametrize(
    ("words", "says"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_wrong_line_is_explained_and_leaves_with_2(run, monkeypatch, tmp_path, words, says):
    monkeypatch.chdir(tmp_path)
    if "--model" not in words:
        monkeypatch.setattr(puji, "load", lambda name: Stub(["CCO"]))
    for language in ("en", "zh"):
        before = [] if "--lang" in words else ["--lang", language]
        code, out, err = run(*before, *words)
        assert code == 2
        assert not out
        assert err.startswith("错误：" if before and language == "zh" else "error: ")
        assert "Traceback" not in err and len(err.splitlines()) == 1
        if language == "en":
            assert says in err
    assert not list(tmp_path.iterdir())


def test_a_group_alone_shows_its_page(run):
    code, out, err = run("generate")
    assert code == 2 and not out and "molecules" in err
    code, out, err = run()
    assert code == 2 and "Usage: puji" in err


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
from tests.test_cli import Stub
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

    monkeypatch.setattr(puji, "fit", fit, raising=False)
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

"""Help pages, languages, and what the command line refuses."""

import os
import re
import resource
import subprocess
import sys

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

import puji
from puji import registry
from puji.cli import COMMANDS
from puji.commands import fields, interface
from puji.errors import Invalid
from puji.modalities.molecules.modality import Molecules

from .cli_stub import Stub, runner

MODALITY_COMMANDS = ("generate", "predict", "explain", "embed", "evaluate", "fit", "card")
PAGES = [[], *([name] for name in COMMANDS), *([name, "molecules"] for name in MODALITY_COMMANDS), ["data", "get"]]


@pytest.fixture
def run(capsys):
    return runner(capsys)


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


def test_the_most_records_are_as_many_as_generation_allows():
    """Kept twice, since a help page must not wait for torch."""
    from puji.generation import LARGEST

    assert interface.MOST == LARGEST


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
    (["generate", "zebra"], "There are: images, molecules"),
    (["generate", "molecules", "--logpp", "2"], "Did you mean --logp?"),
    (["generate", "molecules", "-n"], "-n needs a value"),
    (["generate", "molecules", "-n", "0"], "-n 0"),
    (["generate", "molecules", "-n", "-1"], "-n -1"),
    (["generate", "molecules", "-n", "1000000000"], "10,000,000"),
    (["generate", "molecules", "--number", "ten"], "--number ten"),
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
    (["generate", "molecules", "--scaffold", "xyz"], "error: --scaffold: "),
    (["generate", "molecules", "--fragment=C1CC1", "--like", "CCO"], "--fragment, --like"),
    (["generate", "molecules", "--keep", "CCO", "--scaffold", "CCN"], "--keep and --scaffold"),
    (["generate", "molecules", "--similarity", "0.5"], "error: --similarity needs --like"),
    (["generate", "molecules", "--out", ""], "--out is empty"),
    (["generate", "molecules", "--out", "."], "--out .: this is a folder"),
    (["generate", "molecules", "--out", "a.jsonl", "--format", "csv"], "--format csv and --out a.jsonl"),
    (["generate", "molecules", "--model", ""], "--model is empty"),
    (["generate", "molecules", "--model", "no-such-folder"], "no-such-folder"),
    (["predict", "molecules"], "INPUT is missing"),
    (["predict", "molecules", ""], "INPUT is empty"),
    (["predict", "molecules", "CCO", "--properties", "foo"], "--properties: foo"),
    (["embed", "molecules", "CCO", "--out", "a.npy", "--format", "table"], "--format table"),
    (["predict", "molecules", "absent.smi"], "absent.smi: there is no such file"),
    (["explain", "molecules", "CCO"], "--target is missing"),
    (["explain", "molecules", "CCO", "--target", "logp", "--method", "guess"], "integrated_gradients, occlusion"),
    (["explain", "molecules", "CCO", "--target", "foo"], "--target: foo"),
    (["explain", "molecules", "CCO", "--target", "logp", "--out", "a.pdf"], "choose one of .svg, .png, .csv"),
    (["evaluate", "molecules", ""], "FILE is empty"),
    (["evaluate", "molecules", "absent.smi"], "absent.smi"),
    (["evaluate", "molecules", os.devnull, "--reference", "train"], "NAME=FILE"),
    (["fit", "molecules", "--out", "x"], "--data is missing"),
    (["fit", "molecules", "--data", "absent.smi", "--out", "x"], "absent.smi"),
    (["fit", "molecules", "--data", "a", "--out", "x", "--size", "huge"], "nano, micro, small, base"),
    *(
        (["fit", "molecules", "--data", ".", "--out", out], f"--out {out}: not a name")
        for out in (".", "..", "/", "a/..")
    ),
    (["fit", "molecules", "--data", "a", "--out", " "], "--out is empty"),
    (["fit", "molecules", "--data", "", "--out", "x"], "--data is empty"),
    (["fit", "molecules", "--data", ".", "--out", "x", "--from", ""], "--from is empty"),
    (["fit", "molecules", "--data", ".", "--out", "x", "--threads", "100000"], "--threads 100000"),
    (["fit", "molecules", "--data", ".", "--out", "x", "--workers", "0"], "--workers 0"),
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


def test_names_of_options_are_those_that_were_typed():
    context = click.Context(click.Command("x"))
    context.meta[interface.TYPED] = {"asked_keep": "--scaffold"}
    refusal = Invalid("molecules.together", options="--keep, --keeper, --like")
    with context.scope(cleanup=False):
        told = fields.as_typed(refusal, {"keep": "C", "like": "C"}, "")
        assert told.message("en").startswith("--scaffold, --keeper, --like")
        assert fields.as_typed(Invalid("molecules.empty"), {"keep": ""}, "keep").source == "--scaffold"

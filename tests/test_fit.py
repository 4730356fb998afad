"""`puji.fit` as a user meets it: options, refusals, fine-tuning, the files it leaves."""

import json
import subprocess
import sys

import numpy as np
import pytest

import puji
from puji import corpus
from puji.modalities.molecules.modality import Molecules

from .conftest import EXAMPLES

QUICK = {"progress": False, "precision": "fp32", "batch_tokens": 1024, "compile": False}


def refusal(*arguments, **options):
    with pytest.raises(puji.Invalid) as caught:
        puji.fit(*arguments, settings=QUICK, **options)
    return caught.value.reason


def test_files_and_provenance(trained):
    model, folder = trained
    run = folder.with_name("nano.run")
    assert (run / "loss.svg").read_text().startswith("<svg")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["validation_loss"] < lines[0]["loss"]
    card = (folder / "README.md").read_text()
    assert "Research use" in card
    assert model.card["data"]["sha256"] in card
    assert model.card["data"]["training_records"] + model.card["data"]["held_out_records"] == 400


def test_the_split_keeps_groups_together():
    found = corpus.load(Molecules(), EXAMPLES, share=0.3)
    group = Molecules().group
    assert found.held_out
    assert not {group(record) for record in found.training} & {group(record) for record in found.held_out}
    again = corpus.load(Molecules(), EXAMPLES, share=0.3)
    assert again.held_out == found.held_out


def test_the_share_held_out_goes_by_the_number_of_records(monkeypatch):
    few = corpus.load(Molecules(), EXAMPLES)
    monkeypatch.setattr(corpus, "MANY", 400)
    many = corpus.load(Molecules(), EXAMPLES)
    assert (
        len(few.held_out) > 3 * len(many.held_out)
        and few.held_out == corpus.load(Molecules(), EXAMPLES, share=0.1).held_out
    )


def test_workers_and_cache_change_nothing(tmp_path):
    alone = corpus.load(Molecules(), EXAMPLES, share=0.1)
    shared = corpus.load(Molecules(), EXAMPLES, share=0.1, workers=2, cache=tmp_path)
    cached = corpus.load(Molecules(), EXAMPLES, share=0.1, cache=tmp_path)
    assert alone.training == shared.training == cached.training
    assert alone.held_out == shared.held_out == cached.held_out


def test_refused_records_are_counted_and_the_rest_goes_on(tmp_path):
    lines = EXAMPLES.read_text().split()[:50]
    lines[10], lines[20] = "C1CC", "not a molecule"
    source = tmp_path / "some.smi"
    source.write_text("\n".join(lines))
    told = {}
    puji.fit(
        "molecules",
        source,
        epochs=0.5,
        size="nano",
        out=tmp_path / "m",
        settings=QUICK,
        note=lambda k, d: told.update({k: d}),
    )
    assert told["fit.read"]["refused"] == 2
    found = corpus.load(Molecules(), source, share=0.1)
    assert [(one.line, one.source) for one in found.refusals] == [(11, str(source)), (21, str(source))]
    # The cache remembers what was refused; a damaged one is made anew.
    for damage in (None, b"not parquet"):
        corpus.load(Molecules(), source, share=0.1, cache=tmp_path)
        (kept,) = tmp_path.glob("records-*.parquet")
        if damage:
            kept.write_bytes(damage)
        again = corpus.load(Molecules(), source, share=0.1, cache=tmp_path)
        assert again.training == found.training and again.refused == found.refused
        assert [one.message() for one in again.refusals] == [one.message() for one in found.refusals]


def test_a_single_record_and_no_held_out_ones(tmp_path):
    source = tmp_path / "one.smi"
    source.write_text("CCO\n")
    model = puji.fit("molecules", source, epochs=2, size="nano", out=tmp_path / "m", settings=QUICK)
    assert model.card["training"]["steps"] == 2
    assert len((tmp_path / "m.run" / "log.jsonl").read_text().splitlines()) == 1


def test_a_run_is_not_resumed_on_other_records(tmp_path):
    source = tmp_path / "some.smi"
    lines = EXAMPLES.read_text().split()
    source.write_text("\n".join(lines[:60]))
    puji.fit("molecules", source, epochs=0.5, size="nano", out=tmp_path / "m", settings=QUICK)
    source.write_text("\n".join(lines[60:120]))
    assert refusal("molecules", source, epochs=1, size="nano", out=tmp_path / "m", resume=True) == "fit.other_run"


def test_fine_tuning_keeps_the_vocabulary_and_moves_the_model(trained, tmp_path):
    model, folder = trained
    source = tmp_path / "series.smi"
    source.write_text(
        "\n".join(f"O=C(Nc1ccc({side})cc1)c1cccnc1" for side in ("F", "Cl", "Br", "C", "OC", "CC", "N", "O")) + "\n"
    )
    before = model.log_likelihood(["O=C(Nc1ccc(I)cc1)c1cccnc1"])
    tuned = puji.fit("molecules", source, epochs=30, base=folder, out=tmp_path / "tuned", holdout=0, settings=QUICK)
    assert tuned.vocabulary.words == model.vocabulary.words
    assert tuned.card["base"]["seed"] == 0
    assert tuned.log_likelihood(["O=C(Nc1ccc(I)cc1)c1cccnc1"]) > before
    # What the user's own series holds is now what the nearest molecule is looked up in.
    assert tuned.modality.row(tuned.record("O=C(Nc1ccc(F)cc1)c1cccnc1"))["nearest_similarity"] == 1


def test_an_unfinished_run_is_not_overwritten_but_resumed(tmp_path):
    out = tmp_path / "m"
    puji.fit("molecules", EXAMPLES, epochs=0.5, size="nano", out=out, settings=QUICK)
    assert refusal("molecules", EXAMPLES, epochs=0.5, size="nano", out=out) == "fit.run_exists"
    longer = puji.fit("molecules", EXAMPLES, epochs=1, size="nano", out=out, resume=True, settings=QUICK)
    assert longer.card["training"]["epochs"] >= 1


HOLD = """
import sys
from pathlib import Path
from puji.training import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_trainings_do_not_share_a_folder(tmp_path):
    run = tmp_path / "x.run"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdin=-1, stdout=-1) as other:
        assert other.stdout.readline().strip() == b"held"
        begun = run / "state-00000001.safetensors"
        begun.touch()  # a running one is not to be removed
        assert refusal("molecules", EXAMPLES, epochs=0.1, size="nano", out=tmp_path / "x") == "fit.busy"
        begun.unlink()
        other.kill()  # the system frees the lock of a process that is no more
    puji.fit("molecules", EXAMPLES, epochs=0.1, size="nano", out=tmp_path / "x", settings=QUICK)


def test_a_training_that_is_refused_leaves_no_folder(tmp_path):
    (tmp_path / "empty.smi").write_text("")
    with pytest.raises(puji.Invalid):
        puji.fit("molecules", tmp_path / "empty.smi", epochs=0.1, out=tmp_path / "x", settings=QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["empty.smi"]


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True, 2**32])
def test_seeds_that_cannot_be(trained, seed):
    with pytest.raises(puji.Invalid) as caught:
        trained[0].predict("CCO", seed=seed)
    assert caught.value.reason == "generate.seed"


@pytest.mark.parametrize("record", [None, 5, b"CCO", ["CCO"]])
def test_what_is_no_record_is_refused(trained, record):
    with pytest.raises(puji.Invalid) as caught:
        trained[0].predict(record)
    assert caught.value.reason == "record.kind" and "Molecule" in caught.value.message("en")


def test_options_that_cannot_be(tmp_path, trained):
    out = tmp_path / "m"
    assert refusal("molecules", tmp_path / "none.smi", out=out) == "data.missing"
    (tmp_path / "bad.smi").write_text("not molecules\nat all\n")
    assert refusal("molecules", tmp_path / "bad.smi", out=out) == "data.nothing"
    assert refusal("molecules", EXAMPLES, minutes=-1, out=out) == "fit.failed"
    assert refusal("molecules", EXAMPLES, holdout=1.5, out=out) == "fit.holdout"
    assert refusal("molecules", EXAMPLES, size="giant", out=out) == "fit.failed"
    assert refusal("molecules", EXAMPLES, size="nano", base=trained[1], out=out) == "fit.decided"
    assert refusal("poems", EXAMPLES, out=out) == "modality.unknown"
    assert refusal("molecules", EXAMPLES, out="") == refusal("molecules", EXAMPLES, out=".") == "files.is_folder"
    assert not out.exists()


def test_generation_options_that_cannot_be(trained):
    model, _ = trained
    for options, reason in [
        ({"n": 0}, "generate.number"),
        ({"n": 10**9}, "generate.number"),
        ({"temperature": -1}, "generate.sampling"),
        ({"top_k": 0}, "generate.sampling"),
        ({"colour": "red"}, "options.unknown"),
        ({"n": 2.5}, "generate.number"),
        ({"seed": -1}, "generate.seed"),
        ({"conditions": "x"}, "options.conditions"),
        ({"conditions": {"colour": "red"}}, "options.unknown"),
    ]:
        with pytest.raises(puji.Invalid) as caught:
            model.generate(**options)
        assert caught.value.reason == reason


def test_embeddings_are_one_vector_a_record(trained):
    model, _ = trained
    assert model.embed("CCO").shape[0] == len(model.log_likelihood("CCO")) == 1
    vectors = model.embed(["CCO", "CCN", "CCO"])
    assert vectors.shape[0] == 3
    assert np.allclose(vectors[0], vectors[2], atol=1e-6)
    assert not np.allclose(vectors[0], vectors[1])


def test_what_is_unlike_the_training_data_is_said(trained):
    model, _ = trained
    assert model.predict("CCOc1ccc(C(=O)Nc2ccc(F)cc2)cc1").familiar is True
    assert model.predict("O=C(Nc1ccccc1)c1ccccc1").familiar is False, "lighter than all training molecules"
    strange = model.predict("C[Si](C)(C)C#C[Si](C)(C)C#CP(Br)Br")
    assert strange.familiar is False
    assert strange.notes == ("predict.unfamiliar",)

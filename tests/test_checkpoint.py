import json
import pickle
import shutil

import pytest
import torch

import puji
from puji.engine import checkpoint


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained[1], tmp_path / "copy")


def refusal(folder, **options):
    with pytest.raises(puji.Invalid) as caught:
        checkpoint.load(folder, **options)
    assert caught.value.message("zh") != caught.value.message("en") != ""
    return caught.value


def test_what_is_saved_comes_back(trained):
    model, folder = trained
    opened = puji.load(folder)
    assert opened.vocabulary.words == model.vocabulary.words
    assert opened.modality.state().keys() == model.modality.state().keys()
    assert opened.card["seed"] == 0
    for name, value in model.network.state_dict().items():
        assert torch.equal(opened.network.state_dict()[name], value.to(torch.bfloat16).float()), name


def test_a_changed_byte(copy):
    path = copy / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    assert refusal(copy).reason == "checkpoint.changed"


def test_a_truncated_file(copy):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(copy).reason == "checkpoint.truncated"


def test_another_grammar_version_or_modality(copy):
    assert refusal(copy, version=99).reason == "checkpoint.version"
    assert refusal(copy, modality="names").reason == "checkpoint.modality"


@pytest.mark.parametrize("name", ["optimizer.pt", "innocent.json"])
def test_a_pickle_in_the_folder(copy, name):
    (copy / name).write_bytes(pickle.dumps({"a": 1}))
    assert refusal(copy).reason == "checkpoint.pickle"


@pytest.mark.parametrize("name", checkpoint.REQUIRED)
def test_a_missing_file(copy, name):
    (copy / name).unlink()
    assert refusal(copy).reason == "checkpoint.missing"


def test_a_changed_provenance(copy):
    path = copy / "modality.json"
    content = json.loads(path.read_text())
    content["state"]["quantiles"]["logp"][3] += 50
    path.write_text(json.dumps(content))
    assert refusal(copy).reason == "checkpoint.changed"


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00\x01"])
def test_an_unreadable_provenance(copy, content):
    (copy / "modality.json").write_text(content)
    assert refusal(copy).reason == "checkpoint.unreadable"


def test_saving_that_fails_leaves_the_old_one(copy, monkeypatch):
    model = puji.load(copy)
    before = (copy / "modality.json").read_bytes()
    monkeypatch.setattr(
        checkpoint, "_write_json", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(puji.Invalid) as caught:
        model.save(copy)
    assert caught.value.reason == "checkpoint.unwritable"
    assert (copy / "modality.json").read_bytes() == before
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


def test_saving_over_an_older_one(copy):
    model = puji.load(copy)
    model.provenance["note"] = "second"
    model.save(copy)
    assert puji.load(copy).card["note"] == "second"


@pytest.mark.parametrize("what", ["a file", "a device", "a folder of the user's", "a checkpoint with the user's notes"])
def test_saving_over_anything_else_is_refused(copy, tmp_path, what):
    model = puji.load(copy)
    target = tmp_path / "target"
    if what == "a file":
        target.write_text("precious")
    elif what == "a device":
        target.symlink_to("/dev/null")
    elif what == "a folder of the user's":
        target.mkdir()
        (target / "thesis.txt").write_text("precious")
    else:
        shutil.copytree(copy, target)
        (target / "notes.txt").write_text("precious")
    before = sorted(path.name for path in target.iterdir()) if target.is_dir() else None
    with pytest.raises(puji.Invalid) as caught:
        model.save(target)
    assert caught.value.reason == "checkpoint.occupied"
    with pytest.raises(puji.Invalid) as caught:
        puji.fit("molecules", tmp_path, minutes=0.01, out=target)
    assert caught.value.reason == "checkpoint.occupied"
    assert target.exists() and before == (sorted(path.name for path in target.iterdir()) if before else None)


def test_released_index_matches_the_folders():
    for name, entry in puji.shipped().items():
        folder = puji.registry.CHECKPOINTS / name
        checkpoint.check_index(folder, entry)
        total = sum(path.stat().st_size for path in folder.iterdir() if path.name != "README.md")
        assert entry["bytes"] == total
        assert json.loads((folder / "modality.json").read_text())["modality"] == entry["modality"]

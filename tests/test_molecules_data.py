"""The MOSES data: fetched through pip, checked, whole or not at all; no test here connects anywhere."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from puji.errors import Invalid
from puji.modalities.molecules import data

CONTENTS = {
    "moses/dataset/data/train.csv.gz": gzip.compress(b"SMILES\nCCO\nc1ccccc1\n", mtime=0),
    "moses/dataset/data/test.csv.gz": gzip.compress(b"SMILES,SPLIT\nCCN,test\n", mtime=0),
    "moses/dataset/data/test_scaffolds.csv.gz": gzip.compress(b"SMILES\n", mtime=0),
    "moses/metrics/mcf.csv": b"names,smarts\n",
    "moses/metrics/wehi_pains.csv": b"smarts,names\n",
}


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Path:
    """A tiny wheel with the real one's layout, and the hashes of its content in place of the real ones."""
    path = tmp_path / "molsets-0.3.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in CONTENTS.items():
            archive.writestr(member, content)
        archive.writestr("moses/dataset/data/test_stats.npz", b"not wanted")
    files = {Path(member).name: hashlib.sha256(content).hexdigest() for member, content in CONTENTS.items()}
    tiny = replace(data.MOSES, wheel=hashlib.sha256(path.read_bytes()).hexdigest(), files=files)
    monkeypatch.setattr(data, "MOSES", tiny)
    return path


@pytest.fixture
def pip(wheel, monkeypatch) -> list[list[str]]:
    """Stand in for ``pip download``; the commands that were run."""
    commands: list[list[str]] = []

    def run(command, **options):
        commands.append(command)
        (Path(command[command.index("--dest") + 1]) / wheel.name).write_bytes(wheel.read_bytes())
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_fetched_asks_pip_once_and_keeps_only_what_is_needed(pip, tmp_path):
    folder = data.MOSES.fetched(tmp_path / "moses")
    assert {path.name for path in folder.iterdir()} == {Path(member).name for member in CONTENTS}
    assert pip[0][1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary", data.MOSES.requirement} <= set(pip[0])
    assert data.MOSES.fetched(tmp_path / "moses") == folder
    assert len(pip) == 1
    assert list(data.moses_split("train", folder)) == ["CCO", "c1ccccc1"]
    assert list(data.moses_split("test", folder)) == ["CCN"]
    assert list(data.moses_split("test_scaffolds", folder)) == []


def test_the_cache_folder_follows_the_environment(pip, tmp_path, monkeypatch):
    monkeypatch.setenv("PUJI_CACHE", str(tmp_path / "elsewhere"))
    assert data.MOSES.fetched() == tmp_path / "elsewhere" / "moses"


def test_a_changed_byte_is_refused_and_repaired(pip, tmp_path):
    folder = data.MOSES.fetched(tmp_path / "moses")
    train = folder / "train.csv.gz"
    train.write_bytes(train.read_bytes()[:-1] + b"\x01")
    with pytest.raises(Invalid) as refusal:
        data.moses_split("train", folder)
    assert refusal.value.reason == "data.not_fetched"
    data.MOSES.fetched(folder)
    assert train.read_bytes() == CONTENTS["moses/dataset/data/train.csv.gz"]


def test_another_wheel_is_refused_and_leaves_nothing(wheel, pip, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "MOSES", replace(data.MOSES, wheel="0" * 64))
    with pytest.raises(Invalid) as refusal:
        data.MOSES.fetched(tmp_path / "moses")
    assert refusal.value.reason == "data.hash"
    assert list((tmp_path / "moses").iterdir()) == []


def test_no_network_is_explained(monkeypatch, tmp_path):
    stderr = "WARNING: Retrying\n\nERROR: No matching distribution found for molsets==0.3.1\n"
    monkeypatch.setattr(subprocess, "run", lambda *a, **o: SimpleNamespace(returncode=1, stderr=stderr))
    with pytest.raises(Invalid) as refusal:
        data.MOSES.fetched(tmp_path / "moses")
    assert refusal.value.reason == "data.download"
    assert "No matching distribution" in refusal.value.details["why"]
    assert list((tmp_path / "moses").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_explained(pip, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Invalid) as refusal:
        data.MOSES.fetched(tmp_path / "file")
    assert refusal.value.reason == "data.unwritable"


def test_missing_data_and_unknown_splits_are_refused_at_once(tmp_path):
    with pytest.raises(Invalid) as refusal:
        data.moses_split("train", tmp_path)
    assert refusal.value.reason == "data.not_fetched"
    with pytest.raises(Invalid) as refusal:
        data.moses_split("valid", tmp_path)
    assert refusal.value.reason == "molecules.moses_split"

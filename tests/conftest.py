"""What many tests share: a small set of molecules, and a nano model trained on it in a few seconds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A deadline measures how busy the machine is.
settings.register_profile("puji", deadline=None)
settings.load_profile("puji")
os.environ.setdefault("PUJI_LANG", "en")

EXAMPLES = Path(__file__).parent / "data" / "molecules.smi"


@pytest.fixture(scope="session", autouse=True)
def _english():
    from puji import language

    language.use("en")


@pytest.fixture(scope="session")
def smiles() -> list[str]:
    """Small drug-like molecules."""
    return EXAMPLES.read_text("utf-8").split()


@pytest.fixture(scope="session")
def answering():
    """A nano network that has learned the planted task (`benchmarks.planted`)."""
    from benchmarks import planted

    return planted.train(steps=150, length=16)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A nano model of molecules and its checkpoint folder."""
    import puji

    folder = tmp_path_factory.mktemp("trained") / "nano"
    options = {"progress": False, "precision": "fp32", "batch_tokens": 1024, "compile": False}
    model = puji.fit("molecules", EXAMPLES, epochs=12, size="nano", out=folder, settings=options)
    return model, folder

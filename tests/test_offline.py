"""Nothing connects anywhere while running."""

import socket

import pytest

import puji

from .conftest import EXAMPLES


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def test_generate_predict_explain_fit_without_a_network(no_sockets, trained, tmp_path):
    model = puji.load(trained[1])
    assert len(model.generate(n=3, seed=1, temperature=0.7)) == 3
    aspirin = "CC(=O)Oc1ccccc1C(=O)O"
    assert set(model.predict(aspirin).estimates) == {"logp", "tpsa", "qed", "sa", "weight"}
    assert model.explain(aspirin, target="logp").scores.shape
    options = {"progress": False, "precision": "fp32", "compile": False}
    puji.fit("molecules", EXAMPLES, epochs=0.2, size="nano", out=tmp_path / "m", settings=options)

"""What the released weights of molecules do, not only that they load."""

import numpy as np
import pytest

import puji
from puji.modalities.molecules import fragments
from puji.modalities.molecules.molecule import parse
from puji.modalities.molecules.properties import PROPERTIES

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


@pytest.fixture(scope="module")
def model():
    return puji.load("molecules")


def values(batch, name):
    return np.array([PROPERTIES[name].compute(record.mol) for record in batch])


def test_raw_draws_are_molecules_and_new(model):
    batch = model.generate(300, seed=1, grammar=False)
    assert len(batch) / batch.attempts > 0.95
    assert len(set(batch.records)) > 295
    assert np.mean([row["nearest_similarity"] < 1 for row in batch.rows()]) > 0.9


@pytest.mark.parametrize(("name", "low", "high"), [("logp", 1.0, 4.0), ("tpsa", 40.0, 90.0), ("weight", 270.0, 340.0)])
def test_properties_go_where_they_are_asked(model, name, low, high):
    below, above = (values(model.generate(60, seed=2, **{name: asked}), name) for asked in (low, high))
    assert above.mean() - below.mean() > 0.6 * (high - low)


def test_a_range_is_kept(model):
    found = values(model.generate(20, seed=3, qed="0.8:0.95"), "qed")
    assert ((found >= 0.8) & (found <= 0.95)).all()


def test_scaffolds_and_linkers_are_kept(model):
    for asked in (
        {"scaffold": "[*:1]c1ccc2[nH]ccc2c1"},
        {"scaffold": "C1CCNCC1"},
        {"linker": "[*:1]c1ccccc1.[*:2]C1CCNCC1"},
    ):
        batch = model.generate(12, seed=4, **asked)
        kept = next(iter(asked.values()))
        assert all(fragments.contains(record.mol, fragments.normalised(kept)) for record in batch)
        assert len(set(batch.records)) > 4
        assert len(batch) / batch.attempts > 0.5


def test_analogues_are_alike_and_say_how_much(model):
    drug = "O=C(Nc1ccc(F)cc1)c1cccnc1Oc1ccccc1"
    alike = [row["similarity"] for row in model.generate(40, seed=5, like=drug).rows()]
    free = [fragments.similarity(parse(drug), record.mol) for record in model.generate(40, seed=5)]
    assert np.mean(alike) > np.mean(free) + 0.1
    near = model.generate(10, seed=5, like=drug, similarity="0.4:1").rows()
    assert all(row["similarity"] >= 0.4 for row in near)


def test_what_was_asked_is_described_and_its_distance_told(model):
    batch = model.generate(5, seed=6, logp=2.5)
    for row, record in zip(batch.rows(), batch, strict=True):
        assert row["logp_off"] == pytest.approx(abs(PROPERTIES["logp"].compute(record.mol) - 2.5), abs=2e-3)
        assert model.modality.describe(record).logp.low == pytest.approx(row["logp"], abs=1e-3)


def test_properties_are_predicted(model):
    batch = model.generate(40, seed=7)
    told = np.array([model.predict(record).estimates["logp"].value for record in batch])
    assert np.corrcoef(told, values(batch, "logp"))[0, 1] > 0.85


def test_what_is_unlike_the_training_data_is_flagged(model):
    assert model.predict("O=C(Nc1ccc(F)cc1)c1cccnc1Oc1ccccc1").familiar is True
    for strange in ("C[Si](C)(C)C#CP(Br)Br", "[Na+].[O-]S(=O)(=O)CCCCCCCCCCCCCCCCCCCCCC", "O=[U]=O"):
        assert model.predict(strange).familiar is False
    assert model.log_likelihood(ASPIRIN)[0] > model.log_likelihood("CC(=O)Oc1ccccc1C(=O)[P]Br")[0]


def test_molecules_beyond_the_training_range_are_unfamiliar(model):
    """Caffeine is a likely SMILES, but lighter than all molecules of MOSES; moclobemide is within."""
    assert model.familiar("CN1C=NC2=C1C(=O)N(C(=O)N2C)C") is False
    assert model.familiar("O=C(NCCN1CCOCC1)c1ccc(Cl)cc1") is True
    assert "predict.unfamiliar" in model.predict("CN1C=NC2=C1C(=O)N(C(=O)N2C)C").notes

"""MOSES metrics against hand-computed values, RDKit's own functions and the fcd package."""

from __future__ import annotations

import math
import sys
import warnings

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import Crippen, Descriptors, rdFingerprintGenerator
from scipy import linalg

from puji.errors import Invalid
from puji.modalities.molecules import analysis, chemnet, filters, metrics, similarity
from puji.modalities.molecules.properties import PROPERTIES, alerts

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
EXOTIC = [
    "[Na+].[Cl-]",
    "C",
    "[2H]C",
    "F/C=C\\Cl",
    "[U]",
    "C[Si](C)(C)C",
    "*C",
    "B1OCCO1",
    "c1cc[se]c1",
    "O=[Pt](Cl)Cl",
]


@pytest.fixture(scope="module")
def references(smiles) -> metrics.References:
    return metrics.References.of(smiles[:60], smiles[40:100], smiles[100:150])


# -- properties ------------------------------------------------------------------------------------------------------


def test_properties_are_rdkits():
    mol = Chem.MolFromSmiles(ASPIRIN)
    found = {name: one.compute(mol) for name, one in PROPERTIES.items()}
    assert list(found) == ["logp", "tpsa", "qed", "sa", "weight"]
    assert found["logp"] == pytest.approx(Crippen.MolLogP(mol))
    assert found["weight"] == pytest.approx(Descriptors.MolWt(mol)) == pytest.approx(180.159)
    assert found["tpsa"] == pytest.approx(63.6)
    assert found["qed"] == pytest.approx(0.5501, abs=1e-4)
    assert found["sa"] == pytest.approx(1.580, abs=1e-3)
    assert not any("SA_Score" in path for path in sys.path)


@pytest.mark.parametrize("text", EXOTIC)
def test_properties_of_exotic_molecules_are_within_their_limits(text):
    mol = Chem.MolFromSmiles(text)
    for one in PROPERTIES.values():
        assert one.lowest <= one.compute(mol) <= one.highest


# -- alerts and filters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "alert"),
    [
        ("CC=O", "MCF7 aldehyde"),
        ("C1CO1", "MCF5 epoxide"),
        ("CCCCl", "MCF4 primary alkyl halide"),
        ("C=CC#N", "MCF1 acrylonitrile"),
        ("CSSC", "MCF16 disulfide"),
        ("ClC(Cl)(Cl)CCl", "MCF21 four chlorine atoms"),
        ("c1ccccc1N=Nc1ccccc1", "PAINS azo_A(324)"),
    ],
)
def test_alerts_name_what_is_there(text, alert):
    mol = Chem.MolFromSmiles(text)
    assert alert in alerts(mol)
    assert not filters.passes_moses_filters(mol)


def test_a_clean_molecule_has_no_alerts():
    assert alerts(Chem.MolFromSmiles(ASPIRIN)) == []


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        (ASPIRIN, True),
        ("C1CCCCCC1", True),
        ("C1CCCCCCC1", False),  # a ring of eight
        ("CC[NH3+]", False),  # a charge
        ("CB(O)O", False),  # boron
        ("C[N+](=O)[O-]", False),  # charges that cancel
    ],
)
def test_moses_filters(text, passes):
    assert filters.passes_moses_filters(Chem.MolFromSmiles(text)) is passes


def test_the_screen_never_hides_a_pattern(smiles):
    reactive = ["O=CC1CO1.CCBr", "ClC(Cl)(Cl)Cl.CC=O", "NN=CC=O", "O=C1CC(=S)SC1=Cc1ccccc1", "NC(=N)N.[Na+].[Cl-]"]
    for text in [*smiles[:8], *reactive, *EXOTIC]:
        mol = Chem.AddHs(Chem.MolFromSmiles(text))
        there = {i for i, query in enumerate(filters._patterns().queries) if mol.HasSubstructMatch(query)}
        assert there <= set(filters._possible(mol).tolist())


def test_all_patterns_of_moses_are_there():
    names = filters._patterns().names
    assert len(names) == 502
    assert sum(name.startswith("MCF") for name in names) == 22
    assert all(query is not None for query in filters._patterns().queries)


# -- similarity ------------------------------------------------------------------------------------------------------


def test_tanimoto_equals_rdkits(smiles):
    mols = [Chem.MolFromSmiles(text) for text in smiles[:90]]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    vectors = [generator.GetFingerprint(mol) for mol in mols]
    expected = np.array([DataStructs.BulkTanimotoSimilarity(v, vectors[30:]) for v in vectors[:30]])
    packed = similarity.stack(map(similarity.fingerprint, mols))
    for workers in (1, 2):
        found = similarity.scan(packed[:30], packed[30:], workers)
        np.testing.assert_allclose(found.highest, expected.max(axis=1), atol=1e-6)
        np.testing.assert_allclose(expected[np.arange(30), found.where], expected.max(axis=1), atol=1e-6)
        np.testing.assert_allclose(found.mean, expected.mean(axis=1), atol=1e-6)
        np.testing.assert_allclose(found.mean_square, (expected**2).mean(axis=1), atol=1e-6)


def test_tanimoto_counts_beyond_a_byte_and_across_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    dense = rng.random((70, 1024)) < 0.7  # some 700 bits, intersections above 255
    monkeypatch.setattr(similarity, "BLOCK", 16)
    packed = np.packbits(dense, axis=1, bitorder="little")
    both = dense[:5].astype(int) @ dense.T.astype(int)
    expected = both / (dense[:5].sum(1)[:, None] + dense.sum(1)[None] - both)
    np.testing.assert_allclose(similarity.scan(packed[:5], packed).mean, expected.mean(axis=1), atol=1e-6)
    assert (similarity.scan(packed[60:], packed).where == np.arange(60, 70)).all()


def test_nearest_molecule(smiles):
    index = metrics.similarity_index(smiles[:50])
    assert len(index.smiles) == index.total == 50
    (same, text), (unknown, nothing), (other, _) = index.nearest([smiles[7], "C(", smiles[200]])
    assert (same, text) == (1.0, smiles[7])
    assert math.isnan(unknown)
    assert nothing == ""
    assert 0 < other < 1


def test_a_subset_says_so(smiles):
    subset = metrics.similarity_index(smiles, keep=20, seed=1)
    assert (len(subset.smiles), subset.total) == (20, len(smiles))
    whole = metrics.similarity_index(smiles)
    for (low, _), (high, _) in zip(subset.nearest(smiles[:40]), whole.nearest(smiles[:40]), strict=True):
        assert low <= high


def test_activations_and_distance_equal_the_fcd_package(smiles):
    import torch
    from fcd.utils import SmilesDataset, calculate_frechet_distance

    some = [*smiles[:40], "[2H]/C=C\\C", "C" * 349]
    dataset = SmilesDataset(some)
    with torch.no_grad():
        inputs = torch.tensor(np.stack([dataset[i] for i in range(len(some))]))
        expected = chemnet._network()(inputs.transpose(1, 2).float()).numpy()
    found = chemnet.activations(some, batch=16)
    np.testing.assert_allclose(found, expected, atol=1e-4)

    # Singular covariances (fewer molecules than dimensions): scipy's square root needs a small ridge to be stable there.
    ridge = 1e-3 * np.eye(chemnet.WIDTH)
    a, b = (chemnet.gaussian(part) for part in (expected[:20], expected[20:]))
    np.testing.assert_allclose(a.covariance, np.cov(expected[:20].T.astype(float)), atol=1e-12)
    a, b = (part._replace(covariance=part.covariance + ridge) for part in (a, b))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of scipy, about an argument that the package uses
        theirs = calculate_frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
    assert chemnet.distance(a, b) == pytest.approx(theirs, abs=1e-6)


def test_distance_of_gaussians_by_hand():
    rng = np.random.default_rng(0)
    m = rng.normal(size=(3, 3))
    a = chemnet.Gaussian(np.zeros(3), np.diag([1.0, 4.0, 9.0]), 9)
    b = chemnet.Gaussian(np.array([1.0, 2.0, 0.0]), np.diag([4.0, 4.0, 1.0]), 9)
    assert chemnet.distance(a, b) == pytest.approx(5 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2)
    c = chemnet.Gaussian(np.zeros(3), m @ m.T, 9)
    assert chemnet.distance(c, c) == pytest.approx(0, abs=1e-9)
    trace = np.trace(a.covariance + c.covariance - 2 * linalg.sqrtm(a.covariance @ c.covariance).real)
    assert chemnet.distance(a, c) == pytest.approx(trace)
    assert chemnet.distance(a, c) == pytest.approx(chemnet.distance(c, a))


def test_a_long_smiles_is_padded_to_itself_and_changes_no_other(smiles):
    alone = chemnet.activations(smiles[:3])
    together = chemnet.activations([*smiles[:3], "C" * 500])
    np.testing.assert_allclose(together[:3], alone, atol=1e-5)
    assert np.isfinite(together).all()


# -- MOSES -----------------------------------------------------------------------------------------------------------


def test_names_and_order_are_those_of_the_moses_table(references, smiles):
    found = metrics.moses(smiles[:20], references)
    assert list(found) == [
        *("valid", "unique@1k", "unique@10k", "FCD/Test", "SNN/Test", "Frag/Test", "Scaf/Test"),
        *("FCD/TestSF", "SNN/TestSF", "Frag/TestSF", "Scaf/TestSF", "IntDiv", "IntDiv2", "Filters"),
        *("logP", "SA", "QED", "weight", "Novelty"),
    ]
    assert {found[name].better for name in ("FCD/Test", "logP", "SA", "QED", "weight")} == {"down"}
    assert {found[name].better for name in ("valid", "SNN/Test", "IntDiv", "Novelty")} == {"up"}


def test_test_scores_perfectly_against_itself(references, smiles):
    found = {name: metric.value for name, metric in metrics.moses(smiles[40:100], references).items()}
    assert found["FCD/Test"] == pytest.approx(0, abs=1e-4)
    for name in ("valid", "SNN/Test", "Frag/Test", "Scaf/Test"):
        assert found[name] == pytest.approx(1)
    for name in ("logP", "SA", "QED", "weight"):
        assert found[name] == pytest.approx(0)
    assert found["Novelty"] == pytest.approx(40 / 60)


def test_invalid_duplicate_and_known_molecules_by_hand():
    references = metrics.References.of(["CCO", "C1=CC=CC=C1"], ["CCO", "CCN", "c1ccccc1C"])
    found = metrics.moses(["OCC", "CCO", "C(", "", "c1ccccc1", "CCCC"], references)
    assert found["valid"].value == pytest.approx(4 / 6)
    assert found["valid"].n == 6
    assert found["unique@1k"].value == pytest.approx(3 / 4)
    assert found["Novelty"].value == pytest.approx(1 / 3)  # distinct: ethanol and benzene known, butane new
    assert found["Novelty"].n == 3
    assert found["Filters"].value == 1
    low, high = found["valid"].low, found["valid"].high
    assert 0 <= low < found["valid"].value < high <= 1
    assert "FCD/TestSF" not in found
    # Wasserstein-1 distance of equal-sized sets is the mean gap of the sorted values.
    weight = {text: Descriptors.MolWt(Chem.MolFromSmiles(text)) for text in ("CCO", "CCN", "Cc1ccccc1", "CCCC")}
    three = metrics.moses(["CCO", "CCCC", "CCN"], references)
    drawn, test = (
        sorted(weight[text] for text in some) for some in (("CCO", "CCCC", "CCN"), ("CCO", "CCN", "Cc1ccccc1"))
    )
    gaps = [abs(a - b) for a, b in zip(drawn, test, strict=True)]
    assert three["weight"].value == pytest.approx(np.mean(gaps))


def test_internal_diversity_includes_self_pairs_as_moses_does(references):
    found = metrics.moses(["CCO", "CCO", "c1ccccc1"], references)
    # Ethanol and benzene share no bit: the Tanimoto matrix is [[1,1,0],[1,1,0],[0,0,1]].
    assert found["IntDiv"].value == pytest.approx(1 - 5 / 9)
    assert found["IntDiv2"].value == pytest.approx(1 - (2 * math.sqrt(2 / 3) + math.sqrt(1 / 3)) / 3)


def test_unique_looks_at_the_first_k_valid_ones():
    references = metrics.References.of(["C"], ["CCO", "CCN"])
    samples = ["C" * (i % 30 + 1) for i in range(1000)] + ["C(", *["CCO"] * 40]
    found = metrics.moses(samples, references)
    assert found["unique@1k"].value == pytest.approx(30 / 1000)
    assert found["unique@10k"].value == pytest.approx(31 / 1040)
    assert found["unique@10k"].n == 1040


def test_no_valid_molecule_and_no_sample(references):
    found = metrics.moses(["C(", "x"], references)
    assert found["valid"].value == 0
    assert all(math.isnan(metric.value) and metric.n == 0 for name, metric in found.items() if name != "valid")
    assert math.isnan(metrics.moses(["CCO"], references)["FCD/Test"].value)
    with pytest.raises(Invalid) as refusal:
        metrics.moses([], references)
    assert refusal.value.reason == "molecules.no_samples"


def test_cosine_by_hand():
    assert metrics.cosine({"a": 1, "b": 2}, {"b": 3, "c": 4}) == pytest.approx(6 / (math.sqrt(5) * 5))
    assert metrics.cosine({"a": 2}, {"a": 7}) == pytest.approx(1)
    assert math.isnan(metrics.cosine({}, {"a": 1}))


def test_average_and_proportion_by_hand():
    found = metrics.average(np.array([0.2, 0.4, 0.6], dtype=np.float32))
    assert found.value == pytest.approx(0.4)
    assert (found.low, found.high) == pytest.approx(
        (0.4 - 1.96 * 0.2 / math.sqrt(3), 0.4 + 1.96 * 0.2 / math.sqrt(3)), abs=1e-4
    )
    half = metrics.proportion(5, 10)
    assert (half.value, half.n) == (0.5, 10)
    assert (half.low, half.high) == pytest.approx((0.2366, 0.7634), abs=1e-4)  # Wilson's interval, textbook value


def test_scaffolds_and_fragments():
    two_rings = Chem.MolFromSmiles("CCc1ccc(-c2ccccc2)cc1")
    assert analysis.murcko_scaffold(two_rings) == "c1ccc(-c2ccccc2)cc1"
    assert analysis.murcko_scaffold(Chem.MolFromSmiles("CCc1ccccc1")) is None  # MOSES asks for two rings
    assert analysis.murcko_scaffold(Chem.MolFromSmiles("CCC")) is None
    assert sorted(analysis.brics_fragments(Chem.MolFromSmiles("CCOC(C)=O"))) == ["[1*]C(C)=O", "[3*]O[3*]", "[4*]CC"]


def test_processes_give_the_same_numbers(smiles, monkeypatch):
    monkeypatch.setattr(analysis, "CHUNK", 40)
    told = []
    one = analysis.analyse([*smiles[:70], "C("], progress=lambda *done: told.append(done))
    assert told == [(40, 71), (71, 71)]
    two = analysis.analyse([*smiles[:70], "C("], workers=2)
    assert one.canonical == two.canonical
    assert (one.fragments, one.scaffolds, one.passed, one.total) == (two.fragments, two.scaffolds, two.passed, 71)
    np.testing.assert_array_equal(one.properties, two.properties)
    np.testing.assert_array_equal(one.fingerprints, two.fingerprints)


def test_references_are_computed_once_and_kept_without_pickle(smiles, tmp_path, monkeypatch):
    calls = []

    def source():
        calls.append(1)
        return smiles[:12]

    first = metrics._statistics("identity", source, tmp_path, 1, analysis.silent)
    assert len(calls) == 2  # counts, activations
    again = metrics._statistics("identity", source, tmp_path, 1, analysis.silent)
    assert len(calls) == 2
    np.testing.assert_array_equal(first.fingerprints, again.fingerprints)
    np.testing.assert_array_equal(first.gaussian.covariance, again.gaussian.covariance)
    assert (first.fragments, first.scaffolds, first.n) == (again.fragments, again.scaffolds, again.n)
    for path in tmp_path.iterdir():
        with np.load(path, allow_pickle=False) as archive:
            assert all(archive[name].dtype != object for name in archive.files)
    monkeypatch.setattr(metrics, "VERSION", metrics.VERSION + 1)
    metrics._statistics("identity", source, tmp_path, 1, analysis.silent)
    assert len(calls) == 4

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import explanations, planted
from puji.engine import network as networks
from puji.engine.explain import Attribution, evaluate, integrated_gradients, occlusion
from puji.engine.faithfulness import (
    bootstrap,
    deletion_aucs,
    faithfulness,
    randomised_weights_check,
    spearman,
)
from puji.resampling import ranks as ranked

NEUTRAL = planted.FIRST


@pytest.fixture(scope="module")
def sequences() -> list[list[int]]:
    return [case.ids for case in planted.cases(15, seed=3, length=16, share=1.0)]


@pytest.mark.parametrize("mode", ["mask", "delete"])
def test_areas_equal_the_curve_drawn_by_hand(answering, sequences, mode) -> None:
    ids, order = sequences[0], [4, 0, 9]
    rows, insertions = [], []
    for count in range(4):
        gone, absent = order[:count], order[count:]
        for where, places in ((rows, gone), (insertions, absent)):
            kept = [NEUTRAL if place in places else token for place, token in enumerate(ids)]
            where.append(kept if mode == "mask" else [t for place, t in enumerate(ids) if place not in places])
    # Tokens that come in are those of the reversed order that go.
    areas = deletion_aucs(answering, ids, [order, order[::-1]], planted.TARGET, NEUTRAL, mode=mode)
    for curve, area in zip((rows, insertions), areas, strict=True):
        values = evaluate(answering, curve, planted.TARGET)
        expected = (values[0] / 2 + values[1] + values[2] + values[3] / 2) / 3
        assert area == pytest.approx(expected, abs=1e-4)


def test_areas_of_many_orders_equal_those_one_by_one(answering, sequences) -> None:
    orders = [[0, 1, 2], [5], [14, 3]]
    together = deletion_aucs(answering, sequences[0], orders, planted.TARGET, NEUTRAL)
    alone = [deletion_aucs(answering, sequences[0], [order], planted.TARGET, NEUTRAL)[0] for order in orders]
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_senseless_orders_are_refused(answering, sequences) -> None:
    for order in ([], [0, 0], [-1], [16]):
        with pytest.raises(ValueError, match=r"order|positions"):
            deletion_aucs(answering, sequences[0], [order], planted.TARGET, NEUTRAL)
    with pytest.raises(ValueError, match="empty sequence"):
        deletion_aucs(answering, sequences[0], [range(16)], planted.TARGET, NEUTRAL, mode="delete")
    with pytest.raises(ValueError, match="scores for a sequence"):
        faithfulness(answering, sequences[:1], [np.zeros(3)], planted.TARGET, NEUTRAL)
    with pytest.raises(ValueError, match="no values"):
        faithfulness(answering, [], [], planted.TARGET, NEUTRAL)


@pytest.mark.parametrize("mode", ["mask", "delete"])
def test_the_true_order_beats_random_beats_reversed(answering, sequences, mode) -> None:
    scores = [occlusion(answering, ids, planted.TARGET, NEUTRAL, mode=mode).scores for ids in sequences]
    report = faithfulness(answering, sequences, scores, planted.TARGET, NEUTRAL, mode=mode)
    assert report.deletion.high < report.random.low and report.random.high < report.insertion.low
    assert report.deletion_gain.low > 0 and report.insertion_gain.low > 0
    assert report.deletion_gain.mean == pytest.approx(report.random.mean - report.deletion.mean)
    worst = faithfulness(answering, sequences, [-score for score in scores], planted.TARGET, NEUTRAL, mode=mode)
    assert worst.deletion_gain.high < 0 and worst.insertion_gain.high < 0
    again = faithfulness(answering, sequences, scores, planted.TARGET, NEUTRAL, mode=mode)
    assert again == report


def test_scores_without_information_are_no_better_than_random(answering, sequences) -> None:
    blank = [np.zeros(len(ids)) for ids in sequences]
    report = faithfulness(answering, sequences, blank, planted.TARGET, NEUTRAL)
    assert report.deletion_gain.low < 0 < report.deletion_gain.high


def test_attributions_of_randomised_weights_are_unrelated(answering, sequences) -> None:
    state = torch.get_rng_state()
    before = {name: value.clone() for name, value in answering.state_dict().items()}
    for attribute in (
        lambda network, ids: integrated_gradients(network, ids, planted.TARGET, NEUTRAL, steps=8, max_steps=8).scores,
        lambda network, ids: occlusion(network, ids, planted.TARGET, NEUTRAL).scores,
    ):
        report = randomised_weights_check(answering, sequences, attribute)
        assert abs(report.signed.mean) < 0.3 and report.signed.n == len(sequences)
        assert report.absolute.mean < 0.5
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in answering.state_dict().items())


def test_the_randomised_check_catches_an_explanation_that_ignores_the_network(answering, sequences) -> None:
    report = randomised_weights_check(answering, sequences, lambda _, ids: np.asarray(ids, dtype=float))
    assert report.signed.mean == pytest.approx(1) and report.absolute.mean == pytest.approx(1)
    with pytest.raises(ValueError, match="no values"):
        randomised_weights_check(answering, sequences, lambda _, ids: np.zeros(len(ids)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=12))
def test_spearman_equals_scipy(pairs) -> None:
    first, second = np.array(pairs).T
    np.testing.assert_array_equal(ranked(first), scipy.stats.rankdata(first) - 1)
    if len(set(first)) > 1 and len(set(second)) > 1:
        assert spearman(first, second) == pytest.approx(scipy.stats.spearmanr(first, second).statistic)
    else:
        assert np.isnan(spearman(first, second))


def test_bootstrap_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    interval = bootstrap(values)
    assert interval.mean == pytest.approx(values.mean()) and interval.n == 400
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert interval.low < interval.mean < interval.high
    with pytest.raises(ValueError, match="no values"):
        bootstrap([])


@pytest.mark.parametrize("smiles", ["CC(=O)Oc1ccccc1C(=O)O", "C[N+](C)(C)CC(O)C#N", "O=S(=O)(N)c1ccc(Cl)cc1"])
def test_parts_of_atoms_add_up_to_the_property(smiles) -> None:
    descriptors = pytest.importorskip("rdkit.Chem.Descriptors")
    molecule = pytest.importorskip("rdkit.Chem").MolFromSmiles(smiles)
    parts = explanations.atom_parts(smiles)
    assert parts["logp"].sum() == pytest.approx(descriptors.MolLogP(molecule))
    assert parts["tpsa"].sum() == pytest.approx(descriptors.TPSA(molecule))


def test_the_benchmark_of_molecules_lines_tokens_up_with_atoms(monkeypatch) -> None:
    pytest.importorskip("rdkit")
    from puji.engine.vocabulary import Vocabulary
    from puji.modalities.molecules.tokens import bin_tokens, body, vocabulary_tokens

    vocabulary = Vocabulary(vocabulary_tokens())
    network = networks.build(networks.config("nano", len(vocabulary), context=64), seed=0)
    true = {name: dict(zip(bin_tokens(name), range(32), strict=True)) for name in ("logp", "tpsa")}
    model = SimpleNamespace(
        network=network,
        vocabulary=vocabulary,
        record=str,
        modality=SimpleNamespace(target=lambda record, name: (body(record), true[name]), neutral="C"),
    )
    smiles = ["CC(=O)Oc1ccccc1C(=O)O", "[2H]C(F)(Cl)Br", "C[N+](C)(C)CCO", "O=[U]=O"]

    def oracle(_, ids, target, *baseline, **options) -> Attribution:
        """An explanation that knows the truth: the benchmark must find full agreement."""
        name = "logp" if target.ids[0] == vocabulary.ids["<logp:0>"] else "tpsa"
        words = vocabulary.decode(ids)
        parts = iter(explanations.atom_parts("".join(words[1:-1]))[name])
        scores = [next(parts) if word[0] in "[BCNOFcno" else 0.0 for word in words]
        return Attribution(np.array(scores), 0.0, 0.0, 0.0, "truth")

    monkeypatch.setattr(explanations, "occlusion", oracle)
    rows = explanations.molecules(model, smiles)
    assert len(rows) == 2 * 5
    for name, row in rows.items():
        agreement = row["agreement_with_atom_parts"]
        assert agreement["n"] == 3  # [U] has no token of its own and is left out
        assert ("occlusion" in name) == (agreement["mean"] == pytest.approx(1))

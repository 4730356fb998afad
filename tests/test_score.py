import numpy as np
import pytest
import torch

from puji.engine import network, window
from puji.engine.score import embed, score, token_logprobs

CONTEXT = 24


@pytest.fixture(scope="module")
def net():
    built = network.build(network.config("nano", 50, context=CONTEXT), seed=1).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4.0)
    return built


def sequences(n, low=1, high=CONTEXT, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 50, rng.integers(low, high)).tolist() for _ in range(n)]


def by_hand(net, ids, header=0):
    """Log-probability of each token after what is in view before it, one stock pass a token."""
    result = [0.0]
    for t in range(1, len(ids)):
        seen = window.visible(ids[:t], header, CONTEXT)
        with torch.no_grad():
            result.append(net(input_ids=torch.tensor([seen])).logits[0, -1].log_softmax(-1)[ids[t]].item())
    return np.array(result[: len(ids)])


def test_token_logprobs_equal_stock_forward(net):
    lists = sequences(20)
    for ids, mine in zip(lists, token_logprobs(net, lists, batch_tokens=50), strict=True):
        assert mine.shape == (len(ids),)
        np.testing.assert_allclose(mine, by_hand(net, ids), atol=1e-4)


def test_score_sums_the_continuation(net):
    lists = sequences(20, low=3)
    pairs = [(ids[:2], ids[2:]) for ids in lists]
    expected = [by_hand(net, ids)[2:].sum() for ids in lists]
    np.testing.assert_allclose(score(net, pairs), expected, atol=1e-3)
    np.testing.assert_allclose(score(net, pairs[::-1], batch_tokens=1), expected[::-1], atol=1e-3)


def test_alternatives_to_one_prompt_take_one_pass(net, monkeypatch):
    prompt = [3, 4, 5, 6]
    passes = []
    forward = net.model.forward
    monkeypatch.setattr(
        net.model, "forward", lambda **inputs: passes.append(inputs["input_ids"].shape) or forward(**inputs)
    )
    scores = score(net, [(prompt, [token]) for token in range(50)])
    assert passes == [(1, 4)]
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-5)


def test_a_prefix_and_what_extends_it_share_a_pass(net):
    lists = [[1, 2, 3], [1, 2, 3, 4, 5], [1, 2], [1, 2, 9], [1, 2, 3, 4, 7, 8], [1, 2, 3]]
    for ids, mine in zip(lists, token_logprobs(net, lists), strict=True):
        np.testing.assert_allclose(mine, by_hand(net, ids), atol=1e-4)


def test_empty_continuation_scores_zero_and_empty_prompt_is_refused(net):
    assert score(net, [([1, 2], []), ([], [])]).tolist() == [0.0, 0.0]
    assert score(net, []).shape == (0,)
    with pytest.raises(ValueError, match="prompt"):
        score(net, [([], [1])])


@pytest.mark.parametrize("header", [0, 4, CONTEXT - 1])
def test_longer_than_the_context(net, header):
    (ids,) = sequences(1, low=70, high=71)
    np.testing.assert_allclose(token_logprobs(net, [ids], headers=[header])[0], by_hand(net, ids, header), atol=1e-4)


def test_header_of_the_whole_sequence(net):
    ids = [1, 2, 3, 4]
    np.testing.assert_allclose(token_logprobs(net, [ids], headers=[4])[0], by_hand(net, ids), atol=1e-4)


def test_embedding_is_the_mean_over_own_tokens(net):
    lists = sequences(9)
    mine = embed(net, lists, batch_tokens=60)
    assert mine.shape == (9, 64) and mine.dtype == np.float32
    for ids, vector in zip(lists, mine, strict=True):
        with torch.no_grad():
            states = net.model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        np.testing.assert_allclose(vector, states.mean(0).numpy(), atol=1e-4)


def test_embedding_of_a_long_sequence_counts_each_token_once(net):
    (ids,) = sequences(1, low=60, high=61)
    total = np.zeros(64)
    for t in range(1, 61):
        with torch.no_grad():
            seen = torch.tensor([window.visible(ids[:t], 2, CONTEXT)])
            total += net.model(input_ids=seen).last_hidden_state[0, -1].numpy()
    np.testing.assert_allclose(embed(net, [ids], headers=[2])[0], total / 60, atol=1e-4)


def test_training_mode_is_kept_and_does_not_matter(net):
    ids = sequences(1, low=10)
    before = token_logprobs(net, ids)[0]
    net.train()
    after = token_logprobs(net, ids)[0]
    assert net.training
    net.eval()
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    "call",
    [
        lambda net: score(net, [([1], [50])]),
        lambda net: token_logprobs(net, [[1, -1]]),
        lambda net: token_logprobs(net, [[1, 2]], headers=[3]),
        lambda net: token_logprobs(net, [[1, 2]], headers=[]),
        lambda net: token_logprobs(net, [[1] * 40], headers=[CONTEXT]),
        lambda net: embed(net, [[]]),
    ],
)
def test_what_is_out_of_range_is_refused(net, call):
    with pytest.raises(ValueError):
        call(net)

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import planted
from puji.engine import network as networks
from puji.engine.attention import attention_maps, rollout
from puji.engine.explain import Target, evaluate, integrated_gradients, occlusion

IDS = [5, 9, 7, 12, 6, 9, 1]
TARGET = Target((2, 3, 4), (-1.0, 0.5, 3.0))


def build(seed: int = 0) -> networks.LlamaForCausalLM:
    """A nano network whose fresh weights are large enough for its logits to depend on the input."""
    network = networks.build(networks.config("nano", 20, context=32), seed=seed)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 2:
                weight.mul_(5)
    return network


@pytest.fixture(scope="module")
def network() -> networks.LlamaForCausalLM:
    return build()


class Linear(torch.nn.Module):
    """Logits that are a sum over the tokens: each token's effect is known exactly."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.embedding = torch.nn.Embedding(20, 8)
            self.head = torch.nn.Linear(8, 20)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.embedding

    def forward(self, input_ids=None, inputs_embeds=None, **_: object) -> SimpleNamespace:
        embedded = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        return SimpleNamespace(logits=self.head(embedded.sum(1, keepdim=True)))


# -- target ------------------------------------------------------------------------------------------------------------


def test_targets_equal_their_definitions() -> None:
    logits = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    p = logits.softmax(-1)[:, [2, 3, 4]]
    p = p / p.sum(-1, keepdim=True)
    torch.testing.assert_close(TARGET(logits), p @ torch.tensor([-1.0, 0.5, 3.0]))
    odds = Target((2, 3, 4), (1.0, 1.0, 0.0), "log_odds")
    torch.testing.assert_close(odds(logits), torch.log((p[:, 0] + p[:, 1]) / p[:, 2]))
    pair = Target((7, 9), (1, 0), "log_odds")
    torch.testing.assert_close(pair(logits), logits[:, 7] - logits[:, 9])


@pytest.mark.parametrize(
    ("ids", "values", "kind"),
    [
        ((2,), (1.0,), "expectation"),
        ((2, 2), (1.0, 0.0), "expectation"),
        ((-1, 2), (1.0, 0.0), "expectation"),
        ((2, 3), (1.0,), "expectation"),
        ((2, 3), (1.0, float("nan")), "expectation"),
        ((2, 3), (1.0, 0.0), "odds"),
        ((2, 3), (1.0, 1.0), "log_odds"),
        ((2, 3), (0.0, 0.0), "log_odds"),
        ((2, 3), (2.0, 0.0), "log_odds"),
    ],
)
def test_senseless_targets_are_refused(ids, values, kind) -> None:
    with pytest.raises(ValueError, match=r"target|log-odds"):
        Target(ids, values, kind)


def test_evaluation_does_not_depend_on_batch_or_order(network) -> None:
    rng = np.random.default_rng(0)
    rows = [rng.integers(2, 20, length).tolist() for length in (3, 7, 3, 5, 7, 1)]
    alone = [evaluate(network, [row], TARGET)[0] for row in rows]
    np.testing.assert_allclose(evaluate(network, rows, TARGET, batch=2), alone, atol=1e-5)
    with pytest.raises(ValueError, match="empty"):
        evaluate(network, [[5], []], TARGET)


# -- integrated gradients ----------------------------------------------------------------------------------------------


def test_linear_case_is_exact_and_equal_to_occlusion() -> None:
    network = Linear()
    odds = Target((2, 3), (1, 0), "log_odds")
    found = integrated_gradients(network, IDS, odds, 0, steps=1)
    assert found.steps == 1 and found.relative_error < 1e-5
    with torch.no_grad():
        direction = network.head.weight[2] - network.head.weight[3]
        effect = (network.embedding.weight[IDS] - network.embedding.weight[0]) @ direction
    np.testing.assert_allclose(found.scores[:-1], effect[:-1], atol=1e-5)
    assert found.scores[-1] == 0
    taken = occlusion(network, IDS, odds, 0)
    np.testing.assert_allclose(taken.scores, found.scores, atol=1e-5)
    assert taken.total == pytest.approx(found.total, abs=1e-5) and taken.completeness_error < 1e-5


@pytest.mark.parametrize("baseline", [8, [3, 3, 4, 4, 5, 5, 6]])
def test_completeness(network, baseline) -> None:
    found = integrated_gradients(network, IDS, TARGET, baseline, tolerance=0.01)
    other = [8] * 6 + [1] if baseline == 8 else baseline
    value, reference = evaluate(network, [IDS, other], TARGET)
    assert found.value == pytest.approx(value) and found.total == pytest.approx(value - reference)
    assert abs(found.total) > 0.1
    assert found.completeness_error == pytest.approx(abs(found.scores.sum() - found.total), abs=1e-9)
    assert found.relative_error <= 0.01


def test_integral_equals_a_plain_midpoint_sum(network) -> None:
    found = integrated_gradients(network, IDS, TARGET, 8, tolerance=1e-4)
    embedding = network.get_input_embeddings().weight.detach()
    end, start = embedding[IDS], embedding[[8] * 6 + [1]]
    shares = (torch.arange(1000) + 0.5) / 1000
    points = (start + shares[:, None, None] * (end - start)).requires_grad_()
    value = TARGET(network(inputs_embeds=points, use_cache=False).logits[:, -1]).sum()
    (slopes,) = torch.autograd.grad(value, points)
    expected = ((end - start) * slopes.mean(0)).sum(-1)
    np.testing.assert_allclose(found.scores, expected.numpy(), atol=2e-3)


def test_steps_double_until_the_error_is_small_or_the_limit_reached(network) -> None:
    rough = integrated_gradients(network, IDS, TARGET, 8, steps=1, max_steps=3, tolerance=1e-9)
    assert rough.steps == 2 and rough.relative_error > 1e-4
    fine = integrated_gradients(network, IDS, TARGET, 8, steps=1, max_steps=256, tolerance=0.01)
    assert fine.steps > 2 and fine.completeness_error < rough.completeness_error
    for steps, most in ((0, 4), (8, 4)):
        with pytest.raises(ValueError, match="steps"):
            integrated_gradients(network, IDS, TARGET, 8, steps=steps, max_steps=most)
    with pytest.raises(ValueError, match="neutral tokens"):
        integrated_gradients(network, IDS, TARGET, [8, 8])


def test_a_sequence_that_is_its_own_baseline_has_no_attributions(network) -> None:
    found = integrated_gradients(network, [8, 8, 1], TARGET, 8)
    assert not found.scores.any()
    # Not exactly 0: the two evaluations are rows of batches of different sizes.
    assert abs(found.total) < 1e-6


# -- occlusion ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["mask", "delete"])
def test_occlusion_equals_brute_force(network, mode) -> None:
    found = occlusion(network, IDS, TARGET, 8, mode=mode, batch=3)
    with torch.no_grad():
        for place in range(len(IDS) - 1):
            row = IDS[:place] + ([8] if mode == "mask" else []) + IDS[place + 1 :]
            values = [TARGET(network(torch.tensor([ids])).logits[:, -1]).item() for ids in (IDS, row)]
            assert found.scores[place] == pytest.approx(values[0] - values[1], abs=1e-5)
    assert found.scores[-1] == 0 and found.method == f"occlusion:{mode}"


def test_senseless_occlusions_are_refused(network) -> None:
    with pytest.raises(ValueError, match="do not all exist"):
        occlusion(network, IDS, TARGET, 8, keep=[7])
    with pytest.raises(ValueError, match="mode"):
        occlusion(network, IDS, TARGET, 8, mode="blur")
    with pytest.raises(ValueError, match="empty sequence"):
        occlusion(network, IDS, TARGET, 8, keep=(), mode="delete")


# -- attention ---------------------------------------------------------------------------------------------------------


def rotated(x: torch.Tensor, base: float) -> torch.Tensor:
    """Rotary positions written out: pairs (i, i + d/2) turned by position * base^(-2i/d)."""
    half = x.shape[-1] // 2
    angle = torch.outer(torch.arange(x.shape[-2]).float(), base ** (-torch.arange(half).float() / half))
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def test_attention_maps_equal_softmax_of_qk_by_hand(network) -> None:
    maps = attention_maps(network, IDS)
    n, heads, shape = len(IDS), network.config.num_attention_heads, network.config
    assert maps.shape == (shape.num_hidden_layers, heads, n, n)
    with torch.no_grad():
        states = network.model(torch.tensor([IDS]), output_hidden_states=True).hidden_states
    for index, layer in enumerate(network.model.layers):
        with torch.no_grad():
            x = layer.input_layernorm(states[index][0])
            query = (x @ layer.self_attn.q_proj.weight.T).view(n, heads, -1).transpose(0, 1)
            key = (x @ layer.self_attn.k_proj.weight.T).view(n, shape.num_key_value_heads, -1).transpose(0, 1)
        base = shape.rope_parameters["rope_theta"]
        key = rotated(key, base).repeat_interleave(heads // shape.num_key_value_heads, 0)
        scores = rotated(query, base) @ key.transpose(1, 2) / query.shape[-1] ** 0.5
        scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
        np.testing.assert_allclose(maps[index], scores.softmax(-1).numpy(), atol=1e-5)


def test_rollout_rows_add_up_to_one_and_are_causal(network) -> None:
    maps = attention_maps(network, IDS)
    assert not np.triu(maps, 1).any()
    flow = rollout(maps)
    np.testing.assert_allclose(flow.sum(-1), 1, atol=1e-6)
    assert not np.triu(flow, 1).any() and (flow >= 0).all()
    halves = [0.5 * np.eye(len(IDS)) + 0.5 * layer.mean(0) for layer in maps]
    np.testing.assert_allclose(flow, halves[1] @ halves[0], atol=1e-6)
    np.testing.assert_array_equal(rollout(maps, residual=1.0), np.eye(len(IDS)))


def test_senseless_maps_are_refused(network) -> None:
    for maps, residual in ((np.ones((2, 3, 3)), 0.5), (np.ones((1, 1, 2, 3)), 0.5), (np.ones((1, 1, 2, 2)), 1.5)):
        with pytest.raises(ValueError, match="need"):
            rollout(maps, residual)
    with pytest.raises(ValueError, match="empty"):
        attention_maps(network, [])


@pytest.fixture
def untouched() -> Iterator[networks.LlamaForCausalLM]:
    network = build().train()
    frozen = network.model.norm.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    yield network
    assert network.training and network.config._attn_implementation == "sdpa"
    assert [p for p in network.parameters() if not p.requires_grad] == [frozen]
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_network_is_left_as_it_was(untouched) -> None:
    state = torch.get_rng_state()
    integrated_gradients(untouched, IDS, TARGET, 8)
    occlusion(untouched, IDS, TARGET, 8)
    attention_maps(untouched, IDS)
    for failing in (lambda: evaluate(untouched, [[999]], TARGET), lambda: attention_maps(untouched, [999])):
        with pytest.raises(IndexError):
            failing()
    assert torch.equal(state, torch.get_rng_state())


# -- planted truth -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "occlusion:delete"])
@pytest.mark.parametrize("baseline", [planted.PAD, planted.FIRST])
def test_the_planted_token_is_ranked_first(answering, method, baseline) -> None:
    held_out = planted.cases(200, seed=1, length=16, share=1.0)
    assert planted.found_first(answering, held_out, method, baseline) >= 0.95


def test_the_planted_task_was_learned_and_training_is_deterministic(answering) -> None:
    held_out = planted.cases(500, seed=2, length=16)
    value = evaluate(answering, [case.ids for case in held_out], planted.TARGET)
    assert np.mean((value > 0) == [case.place is not None for case in held_out]) >= 0.99
    first, second = (planted.train(steps=3, length=16).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)

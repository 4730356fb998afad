"""One layer's attention is softmax(Q K^T / sqrt(d_k)) V, computed here by hand from the stock layer's weights."""

import math

import numpy as np
import pytest
import torch

from puji.engine import network
from puji.engine.step import Step, prepare


def rotated(x, position):
    """Rotary embedding (Su et al. 2021) of one head's vector x (d,): j and j + d/2 turn by position * 10000^(-2j/d)."""
    half = len(x) // 2
    result = torch.empty_like(x)
    for j in range(half):
        angle = position * 10000.0 ** (-2 * j / len(x))
        result[j] = x[j] * math.cos(angle) - x[j + half] * math.sin(angle)
        result[j + half] = x[j + half] * math.cos(angle) + x[j] * math.sin(angle)
    return result


def attention(x, weights, heads, groups):
    """softmax(Q K^T / sqrt(d_k)) V for x (length, width), each position over itself and what is before it."""
    q, k, v = (x @ weights[name].T for name in ("q", "k", "v"))
    d = q.shape[1] // heads
    outputs = torch.zeros(len(x), heads * d)
    for head in range(heads):
        group = head // (heads // groups)
        for t in range(len(x)):
            query = rotated(q[t, head * d : (head + 1) * d], t)
            scores = []
            for s in range(t + 1):
                key = rotated(k[s, group * d : (group + 1) * d], s)
                scores.append(sum(query * key) / math.sqrt(d))
            weights_of = torch.stack(scores).exp()
            weights_of = weights_of / weights_of.sum()
            for s in range(t + 1):
                outputs[t, head * d : (head + 1) * d] += weights_of[s] * v[s, group * d : (group + 1) * d]
    return outputs @ weights["o"].T


@pytest.fixture(scope="module")
def net():
    built = network.build(network.config("nano", 40, context=16), seed=2).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.ndim == 2:
                parameter.mul_(5.0)
    return built


def parts(layer):
    return {name: getattr(layer.self_attn, f"{name}_proj").weight for name in ("q", "k", "v", "o")}


def test_stock_layer_equals_attention_by_hand(net):
    caught = {}

    def hook(module, positional, named, output):
        caught["in"], caught["out"] = named["hidden_states"][0], output[0][0]

    layer = net.model.layers[1]
    handle = layer.self_attn.register_forward_hook(hook, with_kwargs=True)
    with torch.no_grad():
        net(input_ids=torch.tensor([[3, 9, 27, 4, 12, 36, 31, 16]]))
        handle.remove()
        by_hand = attention(caught["in"], parts(layer), net.config.num_attention_heads, net.config.num_key_value_heads)
    torch.testing.assert_close(by_hand, caught["out"], atol=1e-5, rtol=1e-4)
    # The layer attends unevenly, so that a mean over positions would not pass.
    assert (
        caught["out"] - caught["in"].mean(0) @ parts(layer)["v"].T.repeat(1, 2) @ parts(layer)["o"].T
    ).abs().max() > 0.1


def test_decoding_step_equals_the_whole_network_by_hand(net):
    def norm(x, weight):
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + net.config.rms_norm_eps) * weight

    ids = [3, 9, 27, 4, 12]
    with torch.no_grad():
        x = net.model.embed_tokens.weight[ids]
        for layer in net.model.layers:
            x = x + attention(norm(x, layer.input_layernorm.weight), parts(layer), 2, 1)
            h = norm(x, layer.post_attention_layernorm.weight)
            gate, up = h @ layer.mlp.gate_proj.weight.T, h @ layer.mlp.up_proj.weight.T
            x = x + (gate * torch.sigmoid(gate) * up) @ layer.mlp.down_proj.weight.T
        expected = norm(x, net.model.norm.weight) @ net.model.embed_tokens.weight.T
    step = Step(prepare(net, "float32"), 1)
    for t, token in enumerate(ids):
        logits = step(np.array([token]), np.array([0]), np.array([t]))[0]
        np.testing.assert_allclose(logits, expected[t].numpy(), atol=1e-4, rtol=1e-4)

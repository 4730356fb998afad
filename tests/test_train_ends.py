"""Sequences that differ in their last token alone are computed as one, with the same loss and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from puji.engine import network as networks
from puji.engine.batches import Batches, Position, Weighted, collate, together
from puji.engine.objective import Objective


def sequences(seed: int) -> list[Weighted]:
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(2, 20, int(rng.integers(1, 6))).tolist() for _ in range(5)]
    found = []
    for _ in range(40):
        ids = [1, *prompts[int(rng.integers(5))], int(rng.integers(2, 20)), 0]
        weights = [0.0, *rng.random(len(ids) - 2).tolist(), 0.0]
        found.append(Weighted(ids, weights))
    return [*found, Weighted([1, 2, 3, 4])]


def loss_of(network, batch) -> tuple[float, torch.Tensor]:
    network.zero_grad()
    loss = Objective(network, bf16=False)(*batch.share(0, 1))
    loss.backward()
    return float(loss.detach()), network.model.layers[0].mlp.up_proj.weight.grad.clone()


@pytest.mark.parametrize("seed", range(3))
def test_loss_gradients_and_total_are_the_same(seed):
    network = networks.build(networks.config("nano", 24, context=16), seed=0)
    some = sequences(seed)
    merged = together(some)
    assert len(merged) <= 6
    (one, gradient), (other, same) = (loss_of(network, collate(rows)) for rows in (some, merged))
    assert one == pytest.approx(other, rel=1e-5)
    torch.testing.assert_close(gradient, same, rtol=1e-4, atol=1e-5)
    assert collate(some).total == pytest.approx(collate(merged).total, rel=1e-6)


def test_ranks_share_the_targets():
    network = networks.build(networks.config("nano", 24, context=16), seed=0)
    batch = collate(together(sequences(4)))
    objective = Objective(network, bf16=False)
    whole = float(objective(*batch.share(0, 1)).detach())
    parts = [float(objective(*batch.share(rank, 3)).detach()) for rank in range(3)]
    assert sum(parts) == pytest.approx(whole, rel=1e-5)
    beyond = batch.share(len(batch.ids) + 1, len(batch.ids) + 2)
    assert float(objective(*beyond).detach()) == 0


def everywhere(network, ids, weights, allowed, ends, forbidden: float) -> torch.Tensor:
    """The loss, by logits of all places."""
    logits = network(input_ids=ids[:, :-1], use_cache=False).logits
    losses = -logits.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    if allowed is not None:
        bits = torch.from_numpy(np.unpackbits(allowed[:, 1:].numpy(), axis=-1)[..., : logits.shape[-1]]).bool()
        masked = logits.masked_fill(~bits, -torch.inf)
        losses = losses + (forbidden - 1) * (logits.logsumexp(-1) - masked.logsumexp(-1))
    total = (losses * weights[:, 1:]).sum()
    for owner, id_, weight in zip(ends.owners, ends.ids, ends.weights, strict=True):
        total = total - weight * logits[ends.rows[owner], ends.places[owner]].log_softmax(-1)[id_]
    return total


@pytest.mark.parametrize("forbidden", [1.0, 0.25])
def test_the_output_product_is_computed_where_it_counts_alone_and_gives_the_same(forbidden):
    rng = np.random.default_rng(3)
    network = networks.build(networks.config("nano", 24, context=16), seed=0)
    rows = []
    for one in together(sequences(1)):
        allowed = rng.random((len(one.ids), 24)) < 0.7
        allowed[np.arange(len(one.ids)), list(one.ids)] = True
        weights = [0.0 if rng.random() < 0.5 else weight for weight in one.weights]
        rows.append(one._replace(weights=weights, allowed=np.packbits(allowed, axis=1)))
    batch = collate(rows)
    seen = []
    hook = network.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[:-1]))
    found = []
    for loss in (Objective(network, False, forbidden), lambda *told: everywhere(network, *told, forbidden)):
        network.zero_grad()
        total = loss(*batch.share(0, 1))
        total.backward()
        gradients = torch.cat([one.grad.flatten() for one in network.parameters()])
        found.append((float(total.detach()), gradients))
    hook.remove()
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-5)
    assert seen[0].numel() == int((batch.weights != 0).sum()) + len(batch.ends.rows) < seen[1].numel() / 2


def test_what_counts_nowhere_is_left_out():
    assert together([Weighted([1, 2, 3], [0, 0, 0]), Weighted([1, 2, 3], [1, 0, 0])]) == []
    assert together([Weighted([1, 2, 3], [0, 2, 0]), Weighted([1, 4, 3], [0, 1, 0])]) == [
        Weighted([1, 2], [0, 0], None, ((2, 2), (4, 1)))
    ]


def test_batches_of_merged_sequences_hold_all_of_their_weight():
    merged = together(sequences(2))

    class Data:
        def __len__(self):
            return len(merged)

        def sequences(self, index, epoch):
            return [merged[index]]

    found, total = Batches(Data(), 16, seed=0, context=16).after(Position()), 0.0
    for batch in found:
        total += batch.total
        if batch.after.epoch == 1:
            break
    assert total == pytest.approx(collate(merged).total, rel=1e-6)

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

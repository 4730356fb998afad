"""The training loop, its batches, its saved states, and data-parallel training."""

from __future__ import annotations

import inspect
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from puji.curve import loss_curve
from puji.engine import state
from puji.engine.batches import STRIDE, Batches, Position, Weighted, collate, cut
from puji.engine.network import build, config
from puji.engine.objective import Objective
from puji.engine.optimizer import Muon, factor, flatten, optimizers, restore
from puji.engine.settings import Settings
from puji.engine.train import train
from puji.errors import Invalid
from puji.files import temporary_of

VOCABULARY = 24
QUICK = Settings(epochs=1, threads=1, precision="fp32", compile=False, progress=False, batch_tokens=64, log_every=1)
SOURCE = Path(__file__).parents[1] / "src"


class Sequences:
    """A data set of given sequences, one a record."""

    def __init__(self, sequences: Sequence[Weighted]) -> None:
        self.rows = list(sequences)

    def __len__(self) -> int:
        return len(self.rows)

    def sequences(self, index: int, epoch: int) -> list[Weighted]:
        return [self.rows[index]]


def random_rows(n: int, seed: int = 0, longest: int = 14) -> list[Weighted]:
    draw = np.random.default_rng(seed)
    return [Weighted(draw.integers(2, VOCABULARY, draw.integers(4, longest)).tolist()) for _ in range(n)]


def network(seed: int = 0) -> LlamaForCausalLM:
    return build(config("nano", VOCABULARY, context=32), seed=seed)


def weights(model: LlamaForCausalLM) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in model.parameters()])


# -- batches -------------------------------------------------------------------------------------------------------------


@given(
    lengths=st.lists(st.integers(2, 40), min_size=1, max_size=60),
    tokens=st.integers(1, 200),
    seed=st.integers(0, 5),
    taken=st.integers(0, 30),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_batches_cover_each_record_once_an_epoch_and_resume_anywhere(
    lengths: list[int], tokens: int, seed: int, taken: int
) -> None:
    # The second token is the record's number, so that a record is recognised in a batch.
    data = Sequences([Weighted([1, 100 + number, *[5] * (length - 2)]) for number, length in enumerate(lengths)])
    stream = Batches(data, tokens, seed).after(Position())
    for epoch in range(2):
        seen: list[int] = []
        while True:
            batch = next(stream)
            width = batch.ids.shape[1] - 1
            assert width <= STRIDE or width % STRIDE == 0
            assert batch.tokens == int((batch.weights > 0).sum()) == batch.total
            assert torch.equal(batch.weights[:, 1:] > 0, batch.ids[:, 1:] > 0)
            assert epoch < batch.epochs <= epoch + 1
            seen += [int(row[1]) - 100 for row in batch.ids]
            if batch.after.epoch > epoch:
                assert batch.epochs == epoch + 1
                break
        assert sorted(seen) == list(range(len(lengths)))
    unbroken = Batches(data, tokens, seed).after(Position())
    position = Position()
    for _ in range(taken):
        position = next(unbroken).after
    expected, again = next(unbroken), next(Batches(data, tokens, seed).after(position))
    assert torch.equal(expected.ids, again.ids)
    assert expected.after == again.after and expected.epochs == again.epochs


def test_batches_made_ahead_in_a_process_are_the_same() -> None:
    data = Sequences(random_rows(300))
    here, ahead = Batches(data, 16, 3).after(Position()), Batches(data, 16, 3, ahead=True).after(Position())
    for _ in range(250):
        expected, found = next(here), next(ahead)
        assert torch.equal(expected.ids, found.ids) and torch.equal(expected.weights, found.weights)
        assert (expected.after, expected.epochs) == (found.after, found.epochs)
    position = expected.after
    ahead.close()
    resumed = Batches(data, 16, 3, ahead=True).after(position)
    assert torch.equal(next(here).ids, next(resumed).ids)
    resumed.close()
    too_long = Batches(Sequences([Weighted([1, *[2] * 40])]), 16, 3, context=32, ahead=True).after(Position())
    with pytest.raises(ValueError, match="longer than the context"):
        next(too_long)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be blocked here")
def test_ctrl_c_is_heard_while_rdkit_searches() -> None:
    code = (
        "import os, signal, threading, time\n"
        "from rdkit import Chem\n"
        "from puji.interrupts import heard\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job would ignore it
        "mol, pattern = Chem.MolFromSmiles('C' * 300), Chem.MolFromSmarts('*~*~*~*~*')\n"
        "with heard():\n"
        "    threading.Thread(target=lambda: (time.sleep(0.3), os.kill(os.getpid(), signal.SIGINT)), daemon=True).start()\n"
        "    try:\n"
        "        until = time.monotonic() + 20\n"
        "        while time.monotonic() < until:\n"
        "            found = len(mol.GetSubstructMatches(pattern, maxMatches=100000))\n"
        "            assert found == 296, found\n"
        "    except KeyboardInterrupt:\n"
        "        print('heard')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "heard\n", done.stderr


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
def test_a_killed_trainer_leaves_no_process_behind() -> None:
    code = (
        "import multiprocessing, time\n"
        "from tests.test_train import Batches, Position, Sequences, random_rows\n"
        "if __name__ == '__main__':\n"
        "    stream = Batches(Sequences(random_rows(50)), 16, 0, ahead=True).after(Position())\n"
        "    next(stream)\n"
        "    print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=SOURCE.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        children = parent.stdout.readline().split() if parent.stdout else []
        assert children
        parent.kill()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def test_batches_hold_about_the_tokens_asked_with_little_padding_and_few_shapes() -> None:
    data = Sequences(random_rows(6000, longest=60))
    stream = Batches(data, 512, 0).after(Position())
    batches = [next(stream) for _ in range(200)]
    tokens = sum(batch.tokens for batch in batches)
    assert tokens / sum(batch.ids[:, 1:].numel() for batch in batches) > 0.85
    assert 430 < tokens / len(batches) < 540
    assert len({tuple(batch.ids.shape) for batch in batches}) < 20


def test_order_depends_on_epoch_and_seed() -> None:
    data = Sequences(random_rows(50))
    first = [next(Batches(data, 64, seed).after(Position(epoch))).ids for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    again = next(Batches(data, 64, 0).after(Position())).ids
    assert torch.equal(first[0], again)
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])


@pytest.mark.parametrize(
    ("sequence", "said"),
    [
        (Weighted([1]), "at least 2"),
        (Weighted([1, 2, 3], [1.0]), "weights"),
        (Weighted([1, 2, 3], None, np.zeros((2, 4), np.uint8)), "allowed"),
        (Weighted(list(range(1, 23)) * 2), "context"),
    ],
)
def test_a_bad_sequence_is_named(sequence: Weighted, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"record 1: .*{said}"):
        train(network(), Sequences([Weighted([1, 2]), sequence]), None, QUICK, tmp_path)


def test_an_epoch_without_sequences_ends_in_an_error(tmp_path: Path) -> None:
    class Empty(Sequences):
        def sequences(self, index: int, epoch: int) -> list[Weighted]:
            return []

    with pytest.raises(ValueError, match="no sequence"):
        train(network(), Empty(random_rows(3)), None, QUICK, tmp_path)


def test_shares_of_ranks_are_the_batch() -> None:
    batch = collate(random_rows(3))
    for ranks in (2, 3, 5):
        shares = [batch.share(rank, ranks) for rank in range(ranks)]
        assert sum(float(weight.sum()) for _, weight, *_ in shares) == batch.total
        assert all(len(ids) > 0 for ids, *_ in shares)


# -- settings, schedule, optimizers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": None},
        {"epochs": 0},
        {"minutes": 0},
        {"minutes": -1},
        {"minutes": float("nan")},
        {"minutes": float("inf")},
        {"batch_tokens": 0},
        {"dropout": 1.0},
        {"forbidden": -1.0},
        {"patience": 0},
        {"keep": "first"},
        {"optimizer": "sgd"},
        {"precision": "fp8"},
        {"compile": "yes"},
    ],
)
def test_settings_that_make_no_sense_are_refused(bad: dict[str, Any]) -> None:
    (name,) = bad
    with pytest.raises(ValueError, match=name):
        Settings(**{"epochs": 1, **bad})


def test_no_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no training records"):
        train(network(), Sequences([]), None, QUICK, tmp_path)


def test_the_learning_rate_warms_up_then_falls_to_zero() -> None:
    common: dict[str, Any] = {"warmup_steps": 10, "warmup_share": 0.1, "decay_share": 0.4}
    linear = [factor(step, step / 100, **common) for step in range(101)]
    assert linear[0] == pytest.approx(0.1) and linear[9] == linear[60] == 1
    assert linear[80] == pytest.approx(0.5) and linear[100] == 0
    # A warm-up of more steps than the budget has ends after its share of the budget.
    assert factor(3, 0.1, warmup_steps=1000, warmup_share=0.1, decay_share=0.4) == 1


def test_muon_trains_the_layers_matrices_and_adamw_the_rest() -> None:
    model = network()
    muon, adamw = optimizers(model, kind="muon", learning_rate=1e-3, weight_decay=0.05)
    names = {id(value): name for name, value in model.named_parameters()}
    by_muon = {names[id(value)] for group in muon.param_groups for value in group["params"]}
    by_adamw = {names[id(value)] for group in adamw.param_groups for value in group["params"]}
    assert isinstance(muon, Muon)
    assert by_muon | by_adamw == set(names.values()) and not by_muon & by_adamw
    assert all("proj" in name for name in by_muon) and not any("proj" in name for name in by_adamw)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_muon_gives_what_torch_gives(dtype: torch.dtype) -> None:
    # Torch iterates in bfloat16 only, hence the tolerance on single entries in float32.
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in ((24, 16), (16, 24), (24, 16), (16, 16))]
    theirs = [torch.nn.Parameter(value.detach().clone()) for value in ours]
    start = [value.detach().clone() for value in ours]
    one = Muon(ours, lr=0.02, weight_decay=0.1, dtype=dtype)
    other = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for mine, its in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            its.grad = mine.grad.clone()
        one.step()
        other.step()
    for mine, its, before in zip(ours, theirs, start, strict=True):
        torch.testing.assert_close(mine - before, its - before, atol=2e-3, rtol=0.05)
        assert float((mine - before).detach().norm()) > 0.1


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_optimizer_states_survive_flattening(kind: str) -> None:
    def steps(model: LlamaForCausalLM, these: list[torch.optim.Optimizer], n: int) -> None:
        for _ in range(n):
            loss = Objective(model, False)(batch.ids, batch.weights)
            loss.backward()
            for one in these:
                one.step()
                one.zero_grad()

    batch = collate(random_rows(5))
    model = network()
    first = optimizers(model, kind=kind, learning_rate=1e-3, weight_decay=0.05)
    steps(model, first, 2)
    other = network()
    other.load_state_dict(model.state_dict())
    second = optimizers(other, kind=kind, learning_rate=1e-3, weight_decay=0.05)
    tensors, scalars = flatten(first)
    restore(second, {name: value.clone() for name, value in tensors.items()}, json.loads(json.dumps(scalars)))
    steps(model, first, 2)
    steps(other, second, 2)
    assert torch.equal(weights(model), weights(other))


# -- the loop -----------------------------------------------------------------------------------------------------------


def test_overfits_ten_sequences_which_it_then_recites(tmp_path: Path) -> None:
    rows = random_rows(10)
    model = network()
    result = train(model, Sequences(rows), rows, replace(QUICK, epochs=120, batch_tokens=2048), tmp_path)
    assert result.stopped_because == "budget" and result.steps == 120 and result.epochs == 120
    assert result.validation is not None and result.validation < 0.1
    assert result.nats == pytest.approx(result.validation * sum(len(one.ids) - 1 for one in rows) / 10)
    assert result.tokens == 120 * sum(len(one.ids) - 1 for one in rows)
    for ids, *_ in rows:
        with torch.no_grad():
            guess = model(input_ids=torch.tensor([ids])).logits[0, 2:-1].argmax(-1)
        assert guess.tolist() == list(ids[3:])


def test_adamw_learns_too(tmp_path: Path) -> None:
    rows = random_rows(10)
    settings = replace(QUICK, epochs=60, batch_tokens=2048, optimizer="adamw")
    result = train(network(), Sequences(rows), rows, settings, tmp_path)
    assert result.validation is not None and result.validation < 0.6 * result.history[0]["loss"]


def test_same_seed_same_weights_another_seed_others(tmp_path: Path) -> None:
    results = []
    for number, seed in enumerate((0, 0, 1)):
        model = network()
        torch.manual_seed(number)  # what was drawn before must not matter
        train(model, Sequences(random_rows(40)), None, replace(QUICK, seed=seed, dropout=0.1), tmp_path / str(number))
        results.append(weights(model))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_training_leaves_the_callers_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(network(), Sequences(random_rows(5)), None, replace(QUICK, dropout=0.1), tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_what_has_weight_zero_is_not_learned(tmp_path: Path) -> None:
    # Two tokens alternate: 2 is followed by 3 (weight 1) and 3 by 2 (weight 0), but the unweighted one by 4 in the data.
    rows = [Weighted([2, 3, 4, 3, 4, 3, 4], [1, 1, 0, 1, 0, 1, 0])] * 8
    model = network()
    untrained = network()
    train(model, Sequences(rows), None, replace(QUICK, epochs=60, batch_tokens=2048), tmp_path)
    with torch.no_grad():
        probabilities = model(input_ids=torch.tensor([[2, 3, 4]])).logits.softmax(-1)[0]
        before = untrained(input_ids=torch.tensor([[2, 3, 4]])).logits.softmax(-1)[0]
    assert probabilities[0, 3] > 0.95 and probabilities[2, 3] > 0.95
    assert probabilities[1, 4] < before[1, 4] + 0.05


def test_gradients_do_not_depend_on_padding() -> None:
    short, long = random_rows(1, longest=6)[0], Weighted([1, *[2] * 30], [0.0] * 31)
    gradients = []
    for rows in ([short], [short, long]):
        model = network()
        batch = collate(rows)
        Objective(model, False)(batch.ids, batch.weights).backward()
        gradients.append(torch.cat([value.grad.flatten() for value in model.parameters()]))  # type: ignore[union-attr]
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-4)


def ruled(rows: Sequence[Weighted]) -> list[Weighted]:
    """The rows with a third of the other ids forbidden at each place."""
    draw = np.random.default_rng(1)
    found = []
    for one in rows:
        allowed = draw.random((len(one.ids), VOCABULARY)) < 2 / 3
        allowed[np.arange(len(one.ids)), list(one.ids)] = True
        found.append(one._replace(allowed=np.packbits(allowed, axis=1)))
    return found


@pytest.mark.parametrize("forbidden", [0.0, 0.25, 1.0, 4.0])
def test_the_loss_is_that_of_the_token_among_the_allowed_and_that_of_the_allowed(forbidden: float) -> None:
    rows, model = ruled(random_rows(4)), network()
    batch = collate(rows)
    with torch.no_grad():
        found = float(Objective(model, False, forbidden)(batch.ids, batch.weights, batch.allowed))
        expected = 0.0
        for one in rows:
            p = model(input_ids=torch.tensor([list(one.ids)])).logits[0].softmax(-1).double()
            for place in range(1, len(one.ids)):
                mask = np.unpackbits(one.allowed[place])[:VOCABULARY].astype(bool)  # type: ignore[index]
                mass = float(p[place - 1, mask].sum())
                expected -= math.log(float(p[place - 1, one.ids[place]]) / mass) + forbidden * math.log(mass)
    assert found == pytest.approx(expected, rel=1e-4)


def test_what_is_forbidden_loses_its_probability_the_more_the_more_it_counts(tmp_path: Path) -> None:
    rows = ruled(random_rows(40))
    batch = collate(rows)
    mass = {}
    for forbidden in (0.0, 1.0, 8.0):
        model = network()
        train(model, Sequences(rows), None, replace(QUICK, epochs=10, forbidden=forbidden), tmp_path / str(forbidden))
        with torch.no_grad():
            plain = Objective(model, False)(batch.ids, batch.weights)
            among = Objective(model, False, 0.0)(batch.ids, batch.weights, batch.allowed)
        mass[forbidden] = float(plain - among)
    assert mass[8.0] < 0.7 * mass[1.0] < 0.7 * mass[0.0]


def test_dropout_acts_in_training_only_and_leaves_nothing_behind(tmp_path: Path) -> None:
    rows = random_rows(20)
    outcomes = {}
    for share in (0.0, 0.5):
        model = network()
        outcomes[share] = train(model, Sequences(rows), rows, replace(QUICK, dropout=share), tmp_path / str(share))
        assert not model.training
        assert not any(module._forward_hooks for module in model.modules())
        batches = [collate(group) for group in cut(rows, 64)]
        with torch.no_grad():
            loss = sum(float(Objective(model, False)(batch.ids, batch.weights)) for batch in batches)
        # Evaluation within training saw the network without dropout.
        assert outcomes[share].nats == pytest.approx(loss / len(rows), rel=1e-5)
    assert outcomes[0.0].history[0]["loss"] != outcomes[0.5].history[0]["loss"]


def test_training_that_makes_nothing_better_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    settings = replace(QUICK, epochs=5, learning_rate=5.0)
    model = network()
    start = weights(model)
    result = train(model, Sequences(random_rows(10)), random_rows(20, seed=9), settings, tmp_path)
    assert result.before is not None and result.validation == result.before
    assert torch.equal(weights(model), start)


def test_stops_early_and_ends_with_the_best_weights(tmp_path: Path) -> None:
    # Random training sequences say nothing about others: the validation loss rises once they are learned by heart.
    settings = replace(QUICK, epochs=400, patience=3, evaluate_every=5, batch_tokens=2048)
    held_out = random_rows(20, seed=9)
    model = network()
    result = train(model, Sequences(random_rows(10)), held_out, settings, tmp_path)
    assert result.stopped_because == "patience" and result.steps < 400
    losses = [line["validation_loss"] for line in result.history if line["validation_loss"] is not None]
    assert result.validation == min(losses) and losses.index(min(losses)) == len(losses) - 4
    batch = collate(held_out)
    with torch.no_grad():
        now = float(Objective(model, False)(batch.ids, batch.weights)) / batch.total
    assert now == pytest.approx(result.validation, rel=1e-4)
    # Resuming a run that stopped early does not train on.
    assert train(network(), Sequences(random_rows(10)), held_out, settings, tmp_path, resume=True).steps == result.steps


def test_ends_with_the_last_weights_where_asked(tmp_path: Path) -> None:
    settings = replace(QUICK, epochs=60, evaluate_every=5, batch_tokens=2048, keep="last")
    held_out = random_rows(20, seed=9)
    model = network()
    result = train(model, Sequences(random_rows(10)), held_out, settings, tmp_path)
    losses = [line["validation_loss"] for line in result.history if line["validation_loss"] is not None]
    assert result.validation == losses[-1] > min(losses)
    batch = collate(held_out)
    with torch.no_grad():
        now = float(Objective(model, False)(batch.ids, batch.weights)) / batch.total
    assert now == pytest.approx(losses[-1], rel=1e-4)


def test_bfloat16_learns_and_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    rows = random_rows(10)
    model = network()
    settings = replace(QUICK, epochs=40, batch_tokens=2048, precision="bf16")
    result = train(model, Sequences(rows), rows, settings, tmp_path)
    assert result.validation is not None and result.validation < 0.6 * result.history[0]["loss"]
    assert model.config._attn_implementation == "sdpa"
    assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_the_attention_chosen_for_speed_gives_the_same_loss() -> None:
    batch = collate(random_rows(5))
    model = network()
    losses = []
    for name in ("sdpa", "eager"):
        model.set_attn_implementation(name)
        losses.append(float(Objective(model, False)(batch.ids, batch.weights).detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_minutes_end_training_and_the_rate_falls_to_zero(tmp_path: Path) -> None:
    rates: list[float] = []
    settings = replace(QUICK, epochs=None, minutes=0.02)
    result = train(
        network(), Sequences(random_rows(10)), None, settings, tmp_path, on_step=lambda line: rates.append(line["lr"])
    )
    assert result.stopped_because == "budget" and 0.02 <= result.minutes < 0.1
    assert max(rates) == pytest.approx(settings.learning_rate) and rates[-1] < 0.5 * settings.learning_rate


def test_a_loss_that_is_not_finite_gives_up(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="learning rate"):
        train(model, Sequences(random_rows(10)), None, replace(QUICK, epochs=50), tmp_path)


def test_a_step_that_does_not_compile_runs_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        def fails(*_: Any, **__: Any) -> Any:
            raise RuntimeError("no compiler")

        return fails

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.warns(UserWarning, match="not compiled"):
        result = train(network(), Sequences(random_rows(10)), None, replace(QUICK, compile=True), tmp_path)
    assert result.stopped_because == "budget" and result.steps > 0


def test_log_and_curve(tmp_path: Path) -> None:
    rows = random_rows(30)
    train(network(), Sequences(rows), rows, replace(QUICK, epochs=3), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)
    assert {"step", "epoch", "elapsed", "loss", "validation_loss", "lr", "tokens", "tokens_per_second"} <= set(lines[0])
    pictures = [loss_curve(tmp_path / "log.jsonl", language) for language in ("en", "zh")]
    assert all(picture.startswith("<svg") for picture in pictures) and pictures[0] != pictures[1]
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match="no loss"):
        loss_curve(tmp_path / "empty.jsonl")


# -- saved states -------------------------------------------------------------------------------------------------------


def test_a_run_is_not_overwritten_unasked_and_another_one_not_continued(tmp_path: Path) -> None:
    data = Sequences(random_rows(10))
    train(network(), data, None, QUICK, tmp_path)
    with pytest.raises(FileExistsError, match="resume"):
        train(network(), data, None, QUICK, tmp_path)
    with pytest.raises(ValueError, match="records"):
        train(network(), Sequences(random_rows(11)), None, QUICK, tmp_path, resume=True)
    with pytest.raises(ValueError, match="seed"):
        train(network(), data, None, replace(QUICK, seed=1), tmp_path, resume=True)
    for path in state.states(tmp_path):
        path.unlink()
    train(network(), data, None, QUICK, tmp_path)


def test_a_finished_run_goes_on_with_a_larger_budget(tmp_path: Path) -> None:
    data = Sequences(random_rows(10))
    first = train(network(), data, None, QUICK, tmp_path)
    model = network()
    second = train(model, data, None, replace(QUICK, epochs=2), tmp_path, resume=True)
    assert second.epochs == 2 and second.steps > first.steps
    assert [line["step"] for line in second.history] == list(range(1, second.steps + 1))


def test_interrupting_saves_and_resuming_gives_the_unbroken_result(tmp_path: Path) -> None:
    rows = random_rows(60)
    settings = replace(QUICK, epochs=3, dropout=0.1, evaluate_every=7)
    whole = network()
    unbroken = train(whole, Sequences(rows), rows[:9], settings, tmp_path / "whole")

    def stop(line: dict[str, Any]) -> None:
        if line["step"] == 11:
            os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    broken = train(network(), Sequences(rows), rows[:9], settings, tmp_path / "broken", on_step=stop)
    assert broken.stopped_because == "interrupted" and broken.steps in (11, 12)
    assert signal.getsignal(signal.SIGTERM) is handler
    model = network(seed=3)
    resumed = train(model, Sequences(rows), rows[:9], settings, tmp_path / "broken", resume=True)
    assert torch.equal(weights(model), weights(whole))
    assert resumed.validation == unbroken.validation and resumed.tokens == unbroken.tokens
    losses = [[line["loss"] for line in one.history] for one in (resumed, unbroken)]
    assert losses[0] == losses[1]


def test_a_state_that_was_cut_off_is_ignored(tmp_path: Path) -> None:
    data = Sequences(random_rows(40))
    whole = network()
    train(whole, data, None, replace(QUICK, epochs=2), tmp_path / "whole")
    folder = tmp_path / "cut"
    train(network(), data, None, QUICK, folder)
    train(network(), data, None, replace(QUICK, epochs=1.5), folder, resume=True)
    newest, older = state.states(folder)
    newest.write_bytes(newest.read_bytes()[:-100])
    killed = folder / temporary_of("state-0000009999.safetensors", "1")
    killed.write_bytes(b"half")
    found = state.read(folder)
    assert found is not None and found[1]["counters"]["step"] == int(older.stem.split("-")[1])
    model = network()
    train(model, data, None, replace(QUICK, epochs=2), folder, resume=True)
    assert len(state.states(folder)) == 2 and not killed.exists()


def test_a_full_disk_leaves_the_older_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.write(tmp_path, 1, {"a": torch.ones(3)}, {"step": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Invalid) as refusal:
        state.write(tmp_path, 2, {"a": torch.ones(3)}, {"step": 2})
    assert refusal.value.reason == "files.full"
    found = state.read(tmp_path)
    assert found is not None and found[1] == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["state-0000000001.safetensors"]


def trained(folder: str, options: str, report: Any = None) -> dict[str, Any]:
    """Train in this process. Its source is also what the sub-processes below run, which import no pytest."""
    import json
    from pathlib import Path

    import numpy as np
    import torch

    from puji.engine.batches import Weighted
    from puji.engine.network import build, config
    from puji.engine.settings import Settings
    from puji.engine.train import train

    class Data(list):  # type: ignore[type-arg]
        def sequences(self, index: int, epoch: int) -> Any:
            return [self[index]]

    draw = np.random.default_rng(0)
    rows = Data(Weighted(draw.integers(2, 24, draw.integers(4, 14)).tolist()) for _ in range(120))
    model = build(config("nano", 24, context=32), seed=0)
    settings = Settings(**json.loads(options))
    result = train(model, rows, rows[:9], settings, Path(folder), resume=True, on_step=report)
    flat = torch.cat([value.detach().flatten() for value in model.parameters()]).double()
    losses = [line["loss"] for line in result.history]
    return {"sum": float(flat.sum()), "norm": float(flat.norm()), "nats": result.nats, "losses": losses}


SCRIPT = f"""
import json, os, sys
from typing import Any

{inspect.getsource(trained)}
found = trained(*sys.argv[1:], lambda line: print(line["step"], flush=True))
if os.environ.get("RANK", "0") == "0":
    print(json.dumps(found), flush=True)
"""


def options(**changes: Any) -> str:
    return json.dumps({**asdict(QUICK), "evaluate_every": 10, **changes})


def start(command: list[str], folder: Path, wanted: str) -> subprocess.Popen[str]:
    script = folder.with_suffix(".py")
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    arguments = [*command, str(script), str(folder), wanted]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)


def test_killed_at_any_moment_it_resumes_to_the_unbroken_result(tmp_path: Path) -> None:
    wanted = options(epochs=3, save_every=0.05, dropout=0.1)
    process = start([sys.executable], tmp_path / "killed", wanted)
    unbroken = trained(str(tmp_path / "unbroken"), wanted)
    assert process.stdout is not None
    kill_at = random.randint(5, 40)
    for text in process.stdout:
        if int(text) == kill_at:
            time.sleep(random.random() * 0.05)
            process.kill()
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    assert state.states(tmp_path / "killed")
    assert trained(str(tmp_path / "killed"), wanted) == unbroken, f"killed after step {kill_at}"


def test_two_ranks_train_as_one(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    process = start(torchrun, tmp_path / "two", options())
    one = trained(str(tmp_path / "one"), options())
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    two = json.loads(output.splitlines()[-1])
    assert len(one["losses"]) == len(two["losses"]) > 10
    for name in ("losses", "nats", "norm"):
        assert two[name] == pytest.approx(one[name], rel=2e-3), name

"""The training loop: next-token prediction within a budget of minutes or epochs, resumable after a kill at any time.

One process on a laptop; the same call under ``torchrun`` trains data-parallel, where every global batch is shared out
by rows, so that the number of ranks changes the speed and not the result. (``accelerate launch --cpu --num_processes 2``
silently starts one process.)
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from puji.engine import optimizer as optimization
from puji.engine import state as saved
from puji.engine import surroundings
from puji.engine.batches import Batch, Batches, Dataset, Position, Weighted, collate, cut
from puji.engine.log import Log
from puji.engine.objective import Objective
from puji.engine.settings import Counters, Result, Settings

EVALUATIONS = 50
"""Evaluations in a budget where `Settings.evaluate_every` does not say."""
SPARED = 3
"""Training tokens for each validation token, at least, from one such evaluation to the next: a tenth of the time, about."""
DIVERGED = 10
"""Steps in a row without a finite gradient after which training gives up."""


def train(
    network: LlamaForCausalLM,
    dataset: Dataset,
    validation: Sequence[Weighted] | None,
    settings: Settings,
    folder: Path,
    *,
    resume: bool = False,
    source: str = "",
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> Result:
    """Train ``network`` in place; it ends with the weights that did best on ``validation``, or with
    the last ones: without ``validation``, and where `Settings.keep` says so.

    ``folder`` receives the log (``log.jsonl``) and the state of the run every `Settings.save_every` seconds; all ranks
    must see it. With ``resume`` a run that was stopped, killed or cut off there goes on where its last state was saved,
    to the same result as an unbroken run (a budget of minutes is continued). Ctrl-C and SIGTERM save and return.
    ``source`` identifies the records: a run is not resumed on others. ``on_step`` sees each step's numbers.

    Raises ValueError for no records, sequences that do not fit the network, and a state of another run;
    FileExistsError if ``folder`` holds a state and ``resume`` is False; FloatingPointError if the loss diverges;
    Invalid or OSError if a file cannot be written.
    """
    if not len(dataset):
        raise ValueError("there are no training records")
    if not resume and saved.states(folder):
        raise FileExistsError(f"{folder} holds a training run that could be resumed; resume it or remove its states")
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(surroundings.threads_set(settings.threads))
        stack.enter_context(surroundings.dropout(network, settings.dropout))
        stack.callback(network.set_attn_implementation, network.config._attn_implementation)
        stop = stack.enter_context(surroundings.signals())
        run = Run(network, dataset, validation, settings, folder, stop, source)
        if resume:
            run.load()
        else:
            run.log.restore(0, write=run.rank == 0)  # of a run that was killed before its first state
        if run.compiled:
            stack.enter_context(surroundings.compiled(network))
            run.warm_up()
        return run.run(on_step)


class OtherRun(ValueError):
    """The folder holds the state of a run that cannot be continued so: ``different`` names what is not as it was."""

    def __init__(self, folder: Path, different: Sequence[str]) -> None:
        super().__init__(f"{folder} holds the state of another run; not the same: {', '.join(different)}")
        self.different = different


class Run:
    """One training run: the network, its optimizers, where it stands, and its files."""

    def __init__(
        self,
        network: LlamaForCausalLM,
        dataset: Dataset,
        validation: Sequence[Weighted] | None,
        settings: Settings,
        folder: Path,
        stop: threading.Event,
        source: str = "",
    ) -> None:
        from accelerate import Accelerator

        self.network, self.settings, self.folder, self.stop = network, settings, folder, stop
        self.source = source
        self.accelerator = Accelerator(cpu=True)
        self.rank, self.ranks = self.accelerator.process_index, self.accelerator.num_processes
        bf16 = surroundings.bf16(settings.precision, network.config.hidden_size)
        self.objective = Objective(network, bf16, settings.forbidden)
        # Only the network goes through `prepare`: it adds the averaging of gradients over ranks. The optimizers need
        # nothing from it on a CPU, and a wrapped one would hide the state that is saved.
        self.model = self.accelerator.prepare(self.objective)
        self.parameters = dict(network.named_parameters())
        self.optimizers = optimization.optimizers(
            network,
            kind=settings.optimizer,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            bf16=self.objective.bf16,
        )
        context = network.config.max_position_embeddings
        self.batches = Batches(dataset, settings.batch_tokens, settings.seed, context, ahead=settings.ahead)
        self.validation = [collate(rows) for rows in cut(validation or [], settings.batch_tokens)]
        self.validation_rows = len(validation or [])
        self.validation_tokens = sum(batch.tokens for batch in self.validation)
        self.at = Counters()
        self.position = Position()
        self.best: dict[str, Tensor] | None = None
        self.history: list[dict[str, Any]] = []
        self.log = Log(folder / "log.jsonl")
        self.diverged = 0
        self.compiled = surroundings.compiles(settings)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self, on_step: Callable[[dict[str, Any]], None] | None) -> Result:
        """Train until the budget is used up, the validation loss no longer falls, or a signal asks to stop."""
        last_save = started = time.monotonic()
        before = self.at.wall
        batches = self.batches.after(self.position)
        rate = 0.0
        if self.validation and self.at.before is None and self.at.step == 0:
            self.evaluate()  # training may make nothing better; then the network stays as it was
            self.at.before = self.at.best
        self.network.train()
        with surroundings.bar(self.settings.progress and self.rank == 0) as bar:
            while not self.at.stopped:
                progress = self.progress()
                if progress >= 1:
                    self.at.stopped = "budget"
                    break
                line = self.step(batches, progress)
                rate = line["lr"]
                self.at.wall = before + time.monotonic() - started
                if self._evaluation_due():
                    self.evaluate()
                if self.at.step % self.settings.log_every == 0 or self.at.evaluated == self.at.step:
                    bar(self.progress(), self.write_line(rate))
                if on_step:
                    on_step(line)
                if line["interrupted"]:
                    break
                if time.monotonic() - last_save >= self.settings.save_every:
                    self.save()
                    last_save = time.monotonic()
        interrupted = not self.at.stopped
        if not interrupted:
            if self.at.evaluated != self.at.step and self.validation:
                self.evaluate()
            if self.at.weight_sum or not self.history:
                self.write_line(rate)
        self.at.wall = before + time.monotonic() - started
        self.save()
        return self._result("interrupted" if interrupted else self.at.stopped)

    def warm_up(self) -> None:
        """Compile on batches of two widths, before the clock of the budget runs: the second makes lengths dynamic."""
        self.network.train()
        batches = [collate(rows) for rows in self.batches.pool(self.position)[0]]
        others = (batch for batch in batches if batch.ids.shape[1] != batches[0].ids.shape[1])
        for batch in (batches[0], next(others, batches[0])):
            self._backward(batch)
            self._zero()

    def progress(self) -> float:
        """Share of the budget that is used up, 0 to 1."""
        shares = [0.0]
        if self.settings.minutes is not None:
            shares.append(self.at.elapsed / 60 / self.settings.minutes)
        if self.settings.epochs is not None:
            shares.append(self.at.epochs / self.settings.epochs)
        return max(shares)

    def step(self, batches: Iterator[Batch], progress: float) -> dict[str, Any]:
        """One batch, one update; returns its numbers."""
        settings, at = self.settings, self.at
        started = time.perf_counter()
        batch = next(batches)
        rate = settings.learning_rate * optimization.factor(
            at.step,
            progress,
            warmup_steps=settings.warmup_steps,
            warmup_share=settings.warmup_share,
            decay_share=settings.decay_share,
        )
        # Seeded step by step, dropout needs no saved generator and differs between ranks.
        torch.manual_seed(((settings.seed * 1_000_003 + at.step) * self.ranks + self.rank) % 2**63)
        loss = self._backward(batch)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), settings.gradient_clip)
        self._update(rate, bool(torch.isfinite(norm)))
        # One small reduction a step: every rank goes by the first one's clock, and all stop together.
        spent = time.perf_counter() - started if self.rank == 0 else 0.0
        numbers = torch.tensor([loss, spent, float(self.stop.is_set())], dtype=torch.float64)
        loss, spent, stop = self.accelerator.reduce(numbers, "sum").tolist()
        at.step += 1
        at.tokens += batch.tokens
        at.epochs = batch.epochs
        at.elapsed += spent
        at.loss_sum += loss
        at.weight_sum += batch.total
        at.token_sum += batch.tokens
        at.seconds_sum += spent
        self.position = batch.after
        mean = loss / batch.total if batch.total else 0.0
        return {"step": at.step, "loss": mean, "lr": rate, "tokens": batch.tokens, "interrupted": stop > 0}

    def _backward(self, batch: Batch) -> float:
        """Gradients of the mean loss over the whole batch; returns this rank's sum of the loss."""
        self.objective.prepare(batch.ids.shape[1])
        try:
            loss = self.model(*batch.share(self.rank, self.ranks))
            # Ranks' gradients are averaged: times their number, divided by the weights of all, is the mean over all.
            self.accelerator.backward(loss * (self.ranks / (batch.total or 1.0)))
        except Exception as error:
            if not self.compiled:
                raise
            warnings.warn(f"not compiled ({type(error).__name__}), training goes on without", stacklevel=2)
            self.compiled = False
            surroundings.not_compiled(self.network)
            self._zero()
            return self._backward(batch)
        return float(loss.detach())

    def _update(self, rate: float, finite: bool) -> None:
        self.diverged = 0 if finite else self.diverged + 1
        if self.diverged >= DIVERGED:
            raise FloatingPointError(f"the loss is not finite for {DIVERGED} steps; lower the learning rate")
        if finite:
            for one in self.optimizers:
                for group in one.param_groups:
                    group["lr"] = rate
                one.step()
        self._zero()

    def _zero(self) -> None:
        for one in self.optimizers:
            one.zero_grad()

    # -- evaluation --------------------------------------------------------------------------------------------------

    def _evaluation_due(self) -> bool:
        if not self.validation:
            return False
        if self.settings.evaluate_every is not None:
            return self.at.step % self.settings.evaluate_every == 0
        if self.progress() >= 1:
            return True
        if self.at.tokens - self.at.evaluated_tokens < SPARED * self.validation_tokens:
            return False
        return self.progress() >= (int(self.at.evaluated_at * EVALUATIONS) + 1) / EVALUATIONS

    def evaluate(self) -> None:
        """Loss on the validation sequences; keeps the best weights and counts evaluations without a better one."""
        # Compiled layers would be compiled once more for this mode.
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            self.network.eval()
            total = 0.0
            for batch in self.validation:
                self.objective.prepare(batch.ids.shape[1])
                total += float(self.objective(*batch.share(self.rank, self.ranks)))
            self.network.train()
            total = float(self.accelerator.reduce(torch.tensor(total, dtype=torch.float64), "sum"))
            loss = total / (sum(batch.total for batch in self.validation) or 1.0)
            self.at.evaluated = self.at.step
            self.at.evaluated_tokens = self.at.tokens
            self.at.evaluated_at = self.progress()
            self.at.last = (loss, total / self.validation_rows)
            if self.at.best is None or loss < self.at.best:
                self.at.best, self.at.best_nats = self.at.last
                self.at.stale = 0
                self.best = {name: value.detach().clone() for name, value in self.parameters.items()}
            else:
                self.at.stale += 1
        if self.settings.patience is not None and self.at.stale >= self.settings.patience:
            self.at.stopped = "patience"

    def _copy(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in weights.items():
                self.parameters[name].copy_(value)

    # -- files -------------------------------------------------------------------------------------------------------

    def write_line(self, rate: float) -> dict[str, Any]:
        """One line of the log: the mean since the last one."""
        at = self.at
        if at.weight_sum:
            at.loss = at.loss_sum / at.weight_sum
        line: dict[str, Any] = {
            "step": at.step,
            "epoch": round(at.epochs, 4),
            "elapsed": round(at.elapsed, 2),
            "loss": at.loss,
            "validation_loss": None,
            "validation_nats": None,
            "lr": rate,
            "tokens": at.tokens,
            "tokens_per_second": round(at.token_sum / at.seconds_sum, 1) if at.seconds_sum else None,
        }
        if at.evaluated == at.step:
            line["validation_loss"], line["validation_nats"] = self.at.last
        at.loss_sum = at.weight_sum = at.seconds_sum = 0.0
        at.token_sum = 0
        self.history.append(line)
        if self.rank == 0:
            self.log.append(line)
        return line

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a run to be continued."""
        shapes = {name: list(value.shape) for name, value in self.parameters.items()}
        names = ("seed", "batch_tokens", "optimizer", "forbidden")
        return {
            "source": self.source,
            "records": len(self.batches.dataset),
            "parameters": shapes,
            **{name: getattr(self.settings, name) for name in names},
        }

    def save(self) -> None:
        """Write the whole state, on the first rank."""
        if self.rank != 0:
            return
        groups = {"weights": {name: value.detach() for name, value in self.parameters.items()}}
        groups["optimizer"], scalars = optimization.flatten(self.optimizers)
        groups["best"] = self.best or {}
        tensors = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
        content = {
            "identity": self._identity(),
            "counters": asdict(self.at),
            "position": asdict(self.position),
            "optimizer": scalars,
        }
        saved.write(self.folder, self.at.step, tensors, content)

    def load(self) -> None:
        """Continue from the newest whole state in the folder, if there is one."""
        found = saved.read(self.folder)
        self.accelerator.wait_for_everyone()
        if found is None:
            return
        tensors, content = found
        mine = self._identity()
        if different := [name for name, value in content["identity"].items() if mine.get(name) != value]:
            raise OtherRun(self.folder, different)
        groups: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            group, key = name.split("/", 1)
            groups.setdefault(group, {})[key] = value
        self._copy(groups["weights"])
        optimization.restore(self.optimizers, groups.get("optimizer", {}), content["optimizer"])
        self.best = groups.get("best")
        self.at = Counters(**content["counters"])
        self.position = Position(**content["position"])
        if self.at.stopped == "budget":  # a larger budget goes on
            self.at.stopped = ""
        self.history = self.log.restore(self.at.step, write=self.rank == 0)

    def _result(self, stopped: str) -> Result:
        at = self.at
        loss, nats = at.best, at.best_nats
        if self.settings.keep == "best":
            self._copy(self.best or {})
        elif at.last is not None:
            loss, nats = at.last
        self.network.eval()
        self.accelerator.wait_for_everyone()
        return Result(
            steps=at.step,
            epochs=at.epochs,
            tokens=at.tokens,
            loss=at.loss_sum / at.weight_sum if at.weight_sum else at.loss,
            before=at.before,
            validation=loss,
            nats=nats,
            minutes=at.elapsed / 60,
            core_hours=at.wall / 3600 * torch.get_num_threads() * self.ranks,
            stopped_because=stopped,
            history=self.history,
        )

"""`puji.fit`: from a file of records to a checkpoint folder. Steps 1 to 3 of flow.py, then learning."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from puji import corpus, registry
from puji.card import card
from puji.curve import loss_curve
from puji.engine import checkpoint, train
from puji.engine import network as networks
from puji.engine.batches import Weighted
from puji.engine.settings import Result, Settings
from puji.engine.state import states
from puji.engine.vocabulary import Vocabulary
from puji.errors import Invalid
from puji.files import atomic_write, refusal
from puji.interrupts import heard
from puji.modality import END, Modality
from puji.model import Model
from puji.options import validated

VALIDATION = 2000
"""Most held-out records that the loss is measured on."""
TOLD = 20
"""Refusals of records that are told one by one."""
DECIDED_BY = {"source": "--data", "records": "--data", "parameters": "--size", "seed": "--seed"}
"""The options by which what must be the same in a run that goes on is decided."""
NOT_TOLD = ("minutes", "epochs", "seed", "log_every", "evaluate_every", "save_every", "progress", "ahead", "threads")
"""Settings that the card leaves out: they change no result, or stand elsewhere in it."""


def fit(
    modality: str | type[Modality[Any]],
    data: str | Path,
    *,
    minutes: float | None = None,
    epochs: float | None = None,
    base: str | Path | None = None,
    size: str | None = None,
    out: str | Path | None = None,
    holdout: float | None = None,
    seed: int = 0,
    resume: bool = False,
    workers: int = 1,
    setup: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    note: Callable[[str, dict[str, Any]], None] | None = None,
) -> Model[Any]:
    """Train a model on your own records.

    Parameters
    ----------
    modality : str or Modality class
        What the records are, e.g. "molecules".
    data : str or Path
        A file or folder that the modality reads, or the name of one of its public data sets.
    minutes, epochs : float
        The budget; 30 minutes if neither is given.
    base : str or Path, optional
        A released model or a checkpoint folder to start from (fine-tuning): its vocabulary and learned state are kept.
    size : str, optional
        nano, micro, small or base; default: the modality's. Not together with ``base``.
    out : str or Path, optional
        Checkpoint folder to write; the run's state and log go to ``<out>.run``, which ``resume`` continues from.
        Default: ``runs/<modality>``.
    holdout : float, optional
        Share of the groups (patients, scaffolds) held out for validation; default 0.1, or 0.01 from 100,000 records on.
    workers : int
        Processes that clean the records; with more than 1, one of them makes the batches while training computes.
    setup : dict, optional
        Fields of the modality's Setup; not together with ``base``.
    settings : dict, optional
        Fields of `puji.engine.settings.Settings` beside the budget and the seed.
    note : callable, optional
        Told what happens, as a message key and its details.

    Raises Invalid for data or options that cannot be used, and where another training is at work in ``out``; a run that was
    interrupted keeps its state and returns the model as it stands.
    """
    kind = registry.modality(modality) if isinstance(modality, str) else modality
    tell = note or (lambda key, details: None)
    instance = kind()
    if holdout is not None and not 0 <= holdout < 1:
        raise Invalid("fit.holdout", source="--holdout", holdout=holdout)
    if minutes is None and epochs is None:
        minutes = 30.0
    chosen = {"ahead": workers > 1, **kind.settings, **(settings or {})}
    options = _settings(minutes, epochs, seed, base is not None, chosen)
    target = Path(out) if out is not None else Path("runs") / instance.name
    if not str(out) or not target.name:
        raise Invalid("files.is_folder", source="--out")
    run = target.with_name(target.name + ".run")
    checkpoint.check_target(target)
    instance.set_up(validated(instance.Setup, setup or {}))
    source = dataset_path(instance, data)
    start = None if base is None else _base(base, instance.name, size, setup)
    with alone(run):
        if not resume and begun(run):
            raise Invalid("fit.run_exists", source=str(run))
        with heard():
            records = corpus.load(instance, source, share=holdout, cache=run, workers=workers)
        refused = sum(records.refused.values())
        tell("fit.read", {"training": len(records.training), "held_out": len(records.held_out), "refused": refused})
        for refusal_ in records.refusals[:TOLD]:
            tell("fit.refused", {"why": refusal_.message(), "rows": refusal_.details.get("rows", 1)})
        model = fresh(instance, records.training, size, seed) if start is None else start
        model.modality.prepare(records.training)
        model.name = target.name
        held_out = watched(records)
        tell(
            "fit.start",
            {"parameters": networks.parameters(model.network), "minutes": minutes or 0, "epochs": epochs or 0},
        )
        result = train_model(model, records, held_out, options, run, resume=resume, on_step=on_step)
        origin = {} if start is None else {"base": start.provenance}
        named = str(data) if str(data) in instance.datasets else source.name
        model.provenance = {**provenance(model, records, named, options, result, setup), **origin}
        calibrate(model, records)
        if int(os.environ.get("RANK", "0")) == 0:
            model.save(target, card=card(model))
            if (run / "log.jsonl").exists():  # not where it was interrupted before the first line
                atomic_write(run / "loss.svg", loss_curve(run / "log.jsonl"))
        if result.before is not None and result.validation is not None:
            better = result.validation < result.before
            key = "fit.validation" if better else "fit.not_better"
            tell(key, {"before": f"{result.before:.3f}", "after": f"{result.validation:.3f}"})
        tell("fit.done", {"folder": str(target), "minutes": round(result.minutes, 1), "why": result.stopped_because})
    return model


def watched(records: corpus.Corpus[Any]) -> list[Any]:
    """The held-out records, of many `VALIDATION` drawn at random, always the same."""
    order = np.random.default_rng(0).permutation(len(records.held_out))[:VALIDATION]
    return [records.held_out[index] for index in order]


def calibrate(model: Model[Any], records: corpus.Corpus[Any]) -> None:
    """Learn from held-out records how a trained ``model`` is to be read, and what is unlike its training data.

    `fit` ends with it; it can be done again, with the records that the model was trained on, where the rules have changed since.
    """
    held_out = watched(records)
    model.modality.calibrate(model, held_out)
    model.measure_familiarity(held_out or records.training[:VALIDATION])


def begun(run: Path) -> bool:
    """Whether the folder ``run`` holds a state from which training can go on."""
    return any(states(folder) for folder in (run, *run.glob("round-*")))


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """Hold the folder ``run`` against a second training in it; left empty it is removed again. Raises Invalid if one is there.

    The system frees the lock whatever becomes of the process. Of several ranks the first holds it for all.
    """
    if int(os.environ.get("RANK", "0")):
        yield
        return
    path = run / ".lock"
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise Invalid("fit.busy", source=str(run)) from error
    except OSError as error:
        raise refusal(error, run) from error
    try:
        yield
    finally:
        if [*run.iterdir()] == [path]:
            with suppress(OSError):  # Windows does not remove a file that is held
                path.unlink()
                run.rmdir()
        lock.release()


def _base(base: str | Path, name: str, size: str | None, setup: dict[str, Any] | None) -> Model[Any]:
    """The model that fine-tuning starts from, which decides what is then no longer open."""
    start = registry.load(base)
    if size is not None:
        raise Invalid("fit.decided", option="--size")
    if setup:
        raise Invalid("fit.decided", option=f"--{next(iter(setup))}")
    if start.modality.name != name:
        raise Invalid("checkpoint.modality", source=str(base), found=start.modality.name, asked=name)
    return start


def fresh(modality: Modality[Any], records: Sequence[Any], size: str | None, seed: int) -> Model[Any]:
    """A model that has learned its codebooks and nothing else. Raises Invalid for a size that there is not."""
    modality.learn(records)
    vocabulary = Vocabulary(modality.tokens())
    try:
        shape = networks.config(
            size or modality.size, len(vocabulary), context=modality.context, end=vocabulary.ids[END]
        )
    except ValueError as error:
        raise Invalid("fit.failed", why=str(error)) from error
    return Model(modality, vocabulary, networks.build(shape, seed=seed), {})


def train_model(
    model: Model[Any],
    records: corpus.Corpus[Any],
    held_out: Sequence[Any],
    options: Settings,
    run: Path,
    *,
    resume: bool = False,
    on_step: Callable[[dict[str, Any]], None] | None = None,
) -> Result:
    """Train the network of ``model`` in place, in as many rounds as its modality wants.

    ``held_out``: records that the loss is watched by; ``run``: folder of the run's state and log. Raises Invalid.
    """
    modality, rounds = model.modality, model.modality.rounds
    budget = {name: value for name in ("minutes", "epochs") if (value := getattr(options, name)) is not None}
    done: list[Result] = []
    try:
        for number, share in enumerate(modality.portions()):
            training, validation = _sequences(model, records, held_out, options)
            result = train.train(
                model.network,
                training,
                validation or None,
                replace(options, **{name: value * share for name, value in budget.items()}),
                run if rounds == 1 else run / f"round-{number}",
                resume=resume,
                source=records.sha256,
                on_step=on_step,
            )
            done.append(result)
            more = result.stopped_because != "interrupted" and number + 1 < rounds
            if not more or not modality.relabel(model):
                break
    except OSError as error:
        raise refusal(error, run) from error
    except FloatingPointError as error:
        raise Invalid("fit.diverged", why=str(error)) from error
    except train.OtherRun as error:
        decided = dict.fromkeys(DECIDED_BY.get(name, name) for name in error.different)
        raise Invalid("fit.other_run", source=str(run), options=", ".join(decided)) from error
    except ValueError as error:
        raise Invalid("fit.failed", why=str(error)) from error
    summed = {
        name: sum(getattr(one, name) for one in done) for name in ("steps", "epochs", "tokens", "minutes", "core_hours")
    }
    return replace(done[-1], before=done[0].before if rounds == 1 else None, **summed)


def _sequences(
    model: Model[Any], records: corpus.Corpus[Any], held_out: Sequence[Any], options: Settings
) -> tuple[corpus.Views[Any] | corpus.Pool, list[Weighted]]:
    """What the network learns, and what the loss is watched by."""
    modality, vocabulary = model.modality, model.vocabulary
    if (pool := modality.pool(records.training)) is not None:
        watched = modality.pool(held_out, training=False) if held_out else ()
        return corpus.Pool(vocabulary, pool), corpus.Pool(vocabulary, watched or ()).views
    context = model.network.config.max_position_embeddings
    views = corpus.Views(
        modality, vocabulary, records.training, context=context, seed=options.seed, ruled=options.forbidden != 1
    )
    # A network that will draw under the grammar is judged under it.
    return views, corpus.plain(modality, vocabulary, held_out, context, ruled=options.forbidden < 1)


def provenance(
    model: Model[Any],
    records: corpus.Corpus[Any],
    data: str,
    options: Settings,
    result: Result,
    setup: dict[str, Any] | None,
) -> dict[str, Any]:
    """Where ``model`` comes from: what `fit` and benchmarks write beside weights. ``data``: what the records are called."""
    return {
        "version": _version(),
        "data": {
            "name": data,
            "sha256": records.sha256,
            "training_records": len(records.training),
            "held_out_records": len(records.held_out),
            "refused": dict(records.refused),
        },
        "seed": options.seed,
        "commit": commit(),
        "machine": machine(),
        "parameters": networks.parameters(model.network),
        "settings": {name: value for name, value in asdict(options).items() if name not in NOT_TOLD},
        "setup": setup or {},
        "training": {
            "steps": result.steps,
            "epochs": round(result.epochs, 4),
            "tokens": result.tokens,
            "minutes": round(result.minutes, 2),
            "core_hours": round(result.core_hours, 3),
            "stopped_because": result.stopped_because,
            "validation_loss": result.validation,
            "nats_per_record": result.nats,
        },
    }


def dataset_path(modality: Modality[Any], data: str | Path) -> Path:
    """The file or folder meant by ``data``: a path, or the name of a public data set of the modality."""
    if str(data) in modality.datasets and not Path(data).exists():
        return modality.datasets[str(data)]()
    if not Path(data).exists():
        raise Invalid("data.missing", source=str(data))
    return Path(data)


def _settings(
    minutes: float | None, epochs: float | None, seed: int, fine_tuning: bool, more: dict[str, Any]
) -> Settings:
    # A trained network is spoiled by the step size that a fresh one needs.
    defaults: dict[str, Any] = {"learning_rate": 1e-3, "patience": 8} if fine_tuning else {}
    try:
        options = Settings(minutes=minutes, epochs=epochs, seed=seed)
        return replace(options, **{**defaults, **more})
    except (TypeError, ValueError) as error:
        raise Invalid("fit.failed", why=str(error)) from error


def machine() -> dict[str, Any]:
    """What the numbers were made on."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _version() -> str:
    from importlib.metadata import version

    return version("puji")


def commit(but: Sequence[str] = ()) -> str:
    """The commit of the code, where it runs from a checkout, with "-dirty" if files other than ``but`` (git's paths) differ."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        here = Path(__file__).parent
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10)

    try:
        told = git("describe", "--always")
        changed = git("diff", "--quiet", "HEAD", "--", ":/", *(f":(exclude,top){path}" for path in but))
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip() + ("-dirty" if changed.returncode else "") if told.returncode == 0 else ""

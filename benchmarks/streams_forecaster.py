"""The forecaster of glucose: trained on virtual patients 001-007 of each age group, judged on 009 and 010, beside simple rules.

    python -m benchmarks.streams_forecaster --minutes 6     trains, fits the spread, and writes the weights of `puji stream`
    python -m benchmarks.streams_forecaster --minutes 0     fits the spread of the weights that are there, on patients 008

Patients and their care are those of `puji.modalities.plans.diabetes.logs` (basal-bolus with people's mistakes); the network
sees what the sensor shows and nothing else, neither meals nor insulin nor the time of day.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from puji.engine import network as networks
from puji.engine import train as training
from puji.engine.batches import Weighted
from puji.engine.settings import Settings
from puji.modalities.plans.diabetes import scenario
from puji.modalities.plans.diabetes.logs import LOGGED, Habits, LoggedCare
from puji.modalities.plans.diabetes.patients import GROUPS, patients
from puji.modalities.plans.diabetes.world import live, seeds_of
from puji.streams import tokens

VALIDATION = tuple(f"{group}#008" for group in GROUPS)
"""On whom the spread is fitted."""
HELD_OUT = tuple(f"{group}#{number:03d}" for group in GROUPS for number in (9, 10))
COVERAGE = 0.8
DAYS = 2
SHARE = 0.05
"""Of the training trajectories, kept for validation."""
HORIZONS = (30, 60)
"""Minutes."""


def traces(names: Sequence[str], trajectories: int, seed: int, days: int = DAYS) -> np.ndarray:
    """What the sensors of ``names`` show, each ``trajectories`` times, (n, days * 288) mg/dl; nan after an early end."""
    habits = Habits()
    found = []
    for number in range(trajectories):
        people = patients(names)
        seeds = seeds_of(seed, people, [number] * len(people))
        minutes = days * scenario.DAY
        meals = scenario.announce(scenario.random(seeds, days), seeds, habits.estimate, habits.unannounced)
        course = live(LoggedCare(people, seeds, minutes, habits), people, seeds, meals, minutes, rescued=False)
        found.append(np.where(course.alive[:, :-1], course.reading, np.nan))
    return np.concatenate(found)


def gaps(rng: np.random.Generator, steps: int) -> np.ndarray:
    """Which of ``steps`` are missing in a training sequence: in half of them none, else single ones and one longer run."""
    missing = np.zeros(steps, np.bool_)
    if rng.random() < 0.5:
        missing |= rng.random(steps) < 0.03
        start = int(rng.integers(steps))
        missing[start : start + int(rng.integers(1, 24))] = True
    return missing


class Crops:
    """Training sequences: a random piece of each trajectory, with random gaps, anew in each epoch."""

    def __init__(self, glucose: np.ndarray, seed: int) -> None:
        self.glucose, self.seed = glucose, seed
        self.steps = tokens.HISTORY + tokens.AHEAD

    def __len__(self) -> int:
        return len(self.glucose)

    def sequences(self, index: int, epoch: int) -> Sequence[Weighted]:
        rng = np.random.default_rng([self.seed, epoch, index])
        row = self.glucose[index]
        row = row[: np.isfinite(row).sum()]
        found = []
        for _ in range(max(1, len(row) // self.steps)):
            start = int(rng.integers(max(1, len(row) - self.steps + 1)))
            piece = row[start : start + self.steps].copy()
            piece[gaps(rng, len(piece))] = np.nan
            ids = [tokens.START, *tokens.encode(piece).tolist()]
            # A gap is told, not foretold.
            found.append(Weighted(ids, [float(one >= tokens.FIRST) for one in ids]))
        return found


def train(
    glucose: np.ndarray, minutes: float, seed: int, folder: Path, size: str, batch: int, start: Any = None
) -> tuple[Any, Any]:
    """A network, and what training says of itself. ``batch``: tokens a step; ``start``: a network to go on from."""
    held = max(1, round(SHARE * len(glucose)))
    order = np.random.default_rng(seed).permutation(len(glucose))
    rest, kept = Crops(glucose[order[held:]], seed), Crops(glucose[order[:held]], seed + 1)
    validation = [one for index in range(len(kept)) for one in kept.sequences(index, 0)]
    config = networks.config(size, tokens.VOCABULARY, context=tokens.CONTEXT, pad=tokens.PAD, end=tokens.END)
    network = networks.build(config, seed=seed) if start is None else start
    settings = Settings(
        minutes=minutes, batch_tokens=batch, seed=seed, threads=1, compile=False, precision="fp32", progress=False
    )
    result = training.train(network, rest, validation[:400], settings, folder)
    return network, result


def cases(glucose: np.ndarray, every: int, least: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Where to forecast from: (row, step) of each point with ``least`` readings before it and an hour after it."""
    rows, steps = [], []
    for row, trace in enumerate(glucose):
        alive = int(np.isfinite(trace).sum())
        chosen = np.arange(least + row % every, alive - tokens.AHEAD, every)
        rows.append(np.full(len(chosen), row))
        steps.append(chosen)
    return np.concatenate(rows), np.concatenate(steps)


def linear(history: np.ndarray, ahead: int) -> np.ndarray:
    """The least-squares line through ``history`` (n, k), ``ahead`` steps on, (n,)."""
    at = np.arange(history.shape[1]) - (history.shape[1] - 1) / 2
    slope = (history * at).sum(axis=1) / (at**2).sum()
    line: np.ndarray = history.mean(axis=1) + slope * (at[-1] + ahead)
    return line


def rules(train: np.ndarray, test: np.ndarray, every: int) -> dict[str, Any]:
    """Persistence and linear extrapolation on ``test``; the line's length and the intervals' widths are those of ``train``."""
    found: dict[str, Any] = {}
    (rows, steps), (train_rows, train_steps) = cases(test, every), cases(train, every)
    for minutes in HORIZONS:
        ahead = minutes * 60 // tokens.STEP
        truth, train_truth = test[rows, steps + ahead], train[train_rows, train_steps + ahead]
        guesses = {"persistence": (test[rows, steps], train[train_rows, train_steps])}

        def past(trace: np.ndarray, at: tuple[np.ndarray, np.ndarray], length: int) -> np.ndarray:
            return np.stack([trace[at[0], at[1] - back] for back in range(length - 1, -1, -1)], axis=1)

        lengths = {
            k: float(np.sqrt(np.mean((linear(past(train, (train_rows, train_steps), k), ahead) - train_truth) ** 2)))
            for k in range(2, 13)
        }
        best = min(lengths, key=lambda k: lengths[k])
        guesses["linear"] = tuple(
            np.clip(linear(past(trace, at, best), ahead), tokens.LOWEST, tokens.HIGHEST)
            for trace, at in ((test, (rows, steps)), (train, (train_rows, train_steps)))
        )
        for name, (guess, train_guess) in guesses.items():
            low, high = np.quantile(train_truth - train_guess, [0.1, 0.9])
            found.setdefault(name, {})[minutes] = score(truth, guess, guess + low, guess + high)
        found["linear"][minutes]["readings"] = best
    return found


def score(truth: np.ndarray, guess: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, float]:
    inside = (truth >= low) & (truth <= high)
    return {
        "rmse": float(np.sqrt(np.mean((guess - truth) ** 2))),
        "mae": float(np.mean(np.abs(guess - truth))),
        "coverage": float(inside.mean()),
        "width": float(np.mean(high - low)),
        "n": len(truth),
    }


def engine(network: Any, test: np.ndarray, every: int, samples: int, spread: float = 1.0) -> dict[int, np.ndarray]:
    """The forecaster of `puji.streams` on ``test``, fed step by step as a stream feeds it.

    For each of `HORIZONS`, a row a forecast: the row of ``test``, truth, median, low, high.
    """
    from puji.streams.engine_forecaster import EngineForecaster

    forecaster = EngineForecaster(network, horizons=HORIZONS, samples=samples, spread=spread)
    rows, steps = cases(test, every)
    told: dict[int, list[tuple[float, ...]]] = {minutes: [] for minutes in HORIZONS}
    for row in np.unique(rows):
        wanted = set(steps[rows == row].tolist())
        track = forecaster.open(f"patient-{row}")
        for step, value in enumerate(test[row, : max(wanted) + 1]):
            track.feed(float(value))
            if step in wanted:
                forecast = track.forecast()
                assert forecast is not None
                for one in forecast.horizons:
                    truth = float(test[row, step + one.minutes * 60 // tokens.STEP])
                    told[one.minutes].append((row, truth, one.median, one.low, one.high))
    return {minutes: np.array(values) for minutes, values in told.items()}


def fitted(network: Any, trajectories: int = 6, every: int = 12, samples: int = 64) -> dict[str, Any]:
    """The factor on the spread with which the intervals hold `COVERAGE` on patients of `VALIDATION`, both horizons together.

    Each patient counts the same: runs of some end early.
    """
    test = traces(VALIDATION, trajectories, seed=2_000)
    told = np.concatenate(list(engine(network, test, every, samples).values()))
    row, truth, median, low, high = told.T
    above = truth > median
    # How many times the interval's own half the truth lies from the median.
    far = np.abs(truth - median) / np.maximum(np.where(above, high - median, median - low), 1e-9)
    patient = row.astype(np.int64) % len(VALIDATION)
    weight = 1 / np.bincount(patient, minlength=len(VALIDATION))[patient]
    order = np.argsort(far)
    share = np.cumsum(weight[order]) / weight.sum()
    factor = float(far[order][np.searchsorted(share, COVERAGE)])
    before = float((weight * (far <= 1)).sum() / weight.sum())
    return {
        "factor": round(factor, 4),
        "patients": list(VALIDATION),
        "forecasts": len(far),
        "held_before": round(before, 4),
    }


def judge(
    network: Any,
    train: np.ndarray,
    trajectories: int,
    every: int,
    samples: int,
    spread: float = 1.0,
    days: int = DAYS,
) -> dict[str, Any]:
    """RMSE, and coverage and mean width of the 80 % intervals, in all and by age group, on what the sensor shows."""
    test = traces(HELD_OUT, trajectories, seed=1_000, days=days)
    groups = np.tile([name.split("#")[0] for name in HELD_OUT], trajectories)
    told = engine(network, test, every, samples, spread)
    found = {}
    for name in ("all", *GROUPS):
        chosen = np.ones(len(test), np.bool_) if name == "all" else groups == name
        ours = {
            minutes: score(*values[chosen[values[:, 0].astype(np.int64)]].T[1:]) for minutes, values in told.items()
        }
        found[name] = {**rules(train, test[chosen], every), "engine": ours}
    return found


def main() -> None:
    from puji.streams import weights
    from puji.training import commit, machine

    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams_forecaster", description=__doc__)
    parser.add_argument("--minutes", type=float, default=6.0, help="of training; 0: only fit the spread")
    parser.add_argument("--trajectories", type=int, default=100, help="of two days, of each of the 21 patients")
    parser.add_argument("--size", default="nano")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=1024, help="tokens a step")
    parser.add_argument("--start", type=Path, help="folder of weights to go on from")
    parser.add_argument("--out", type=Path, default=weights.FOLDER)
    asked = parser.parse_args()
    if not asked.minutes:
        told = {**fitted(weights.load(asked.out)), "command": "python -m benchmarks.streams_forecaster --minutes 0"}
        weights.calibrate({**told, "commit": commit()}, asked.out)
        print(json.dumps(told), flush=True)
        return
    started = time.perf_counter()
    glucose = traces(LOGGED, asked.trajectories, asked.seed)
    print(f"{len(glucose)} trajectories in {time.perf_counter() - started:.0f} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        start = None if asked.start is None else weights.load(asked.start)
        network, result = train(glucose, asked.minutes, asked.seed, Path(folder), asked.size, asked.batch, start)
    print(json.dumps({"tokens": result.tokens, "epochs": result.epochs, "validation": result.validation}), flush=True)
    provenance = {
        "data": "sensors of virtual patients 001-007 of each age group, puji.modalities.plans.diabetes.logs (simulated)",
        "command": f"python -m benchmarks.streams_forecaster --minutes {asked.minutes:g} --trajectories {asked.trajectories}"
        f" --size {asked.size} --seed {asked.seed} --batch {asked.batch}",
        "tokens": result.tokens,
        "epochs": round(result.epochs, 2),
        "validation_loss": result.validation,
        "minutes": round(result.minutes, 1),
        "commit": commit(),
        "machine": machine(),
    }
    if asked.start is not None:
        provenance["start"] = json.loads((asked.start / weights.CARD).read_text("utf-8"))
    network.eval()
    provenance["spread"] = fitted(network)
    weights.save(network, asked.out, provenance)
    print(f"written to {asked.out}", flush=True)


if __name__ == "__main__":
    main()

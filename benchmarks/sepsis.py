"""Sepsis (ICU-Sepsis): a plan learned from logged clinician episodes and nothing else, scored exactly.

`python -m benchmarks sepsis`. Needs `puji data get icu-sepsis`. Ours: the modality `plans` as `puji.fit` trains it. The
return-conditioned transformer is the same network, trained in one round of what came of whole episodes (`RIVAL`), acting as
those who did well. One configuration for all numbers of episodes, chosen by fitted Q evaluation on other seeds and other logs: of
the network (`select`), and of the same rule on counts, which takes seconds (the lab notebook tells what was compared); the exact
score never chooses.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.sepsis_baselines import baselines
from puji.corpus import Corpus
from puji.engine.settings import Settings
from puji.modalities.plans import sepsis
from puji.modalities.plans.episode import Episode, Step
from puji.modalities.plans.evaluation import Logged, evaluate
from puji.modalities.plans.modality import Plans
from puji.modalities.plans.sepsis import ACTIONS, STATES, SURVIVAL, Environment, Logs, greedy
from puji.modalities.plans.value import Estimates, prompt
from puji.resampling import resampled
from puji.training import fresh, train_model

SEEDS = 10
SIZES = (1_000, 10_000, 100_000)
LAST = 100_000
"""The size that comes after all seeds of the others."""
BARS = {1_000: 0.795, 10_000: 0.82, 100_000: 0.85}
OTHERS = (101, 102, 103)
"""Seeds of the logs that the configuration is chosen on; no result is told of them."""
SETTINGS: dict[str, Any] = {
    "batch_tokens": 550,  # 183 states, good or bad: steps, not tokens, are what learning by heart lacks
    "learning_rate": 4e-3,
    **common.UNWATCHED,
}
COMMON: dict[str, Any] = {"epochs": 400, "rounds": 6, "dropout": 0.0, "described": False}
COMMON |= {"tiers": 2, "usual": 0.1, "emphasis": 3.0}
CANDIDATES: dict[str, dict[str, Any]] = {
    "no tiers": {**COMMON, "tiers": 1},
    "2 tiers": COMMON,
    "4 tiers": {**COMMON, "tiers": 4},
    "2 tiers, whatever was logged": {**COMMON, "usual": 0.0},
    "2 tiers, no emphasis": {**COMMON, "emphasis": 1.0},
}
CHOSEN = "2 tiers"
RIVAL: dict[str, Any] = {"epochs": 100, "rounds": 1, "emphasis": 1.0}
"""The return-conditioned transformer."""
SHRINKS = (30.0, 100.0, 300.0)


def episodes(logs: Logs) -> list[Episode]:
    """Logged steps as the modality has them."""
    steps: dict[tuple[int, int], Step] = {}
    found = []
    rows = list(zip(logs.subject.tolist(), logs.state.tolist(), logs.action.tolist(), logs.after.tolist(), strict=True))
    begin = 0
    for place, (subject, _, _, after) in enumerate(rows):
        if after < STATES:
            continue
        told = []
        for _, state, action, _ in rows[begin : place + 1]:
            told.append(steps.setdefault((state, action), Step(str(state), (), str(action))))
        found.append(Episode(str(subject), tuple(told), "survived" if after == SURVIVAL else "died"))
        begin = place + 1
    return found


class Told(Plans):
    """The modality, that also tells what it says of all states between two rounds."""

    def relabel(self, model: Any) -> bool:
        self.told.append(of_states(model))
        return super().relabel(model)

    told: list[Estimates]


def of_states(model: Any) -> Estimates:
    """What a network says of all states, (713, 25). Reads `model.modality.decisions`."""
    book = model.modality.book
    every = [Episode("", (Step(str(state)),)) for state in range(STATES)]
    kinds = [book.kind(one, one.steps[0]) for one in every]
    found: Estimates = model.modality.estimates(model, [prompt(book, one, 0) for one in every], kinds)
    return found


def learn(environment: Environment, logs: Logs, seed: int, wanted: dict[str, Any]) -> list[Estimates]:
    """What the network says of all states after each round."""
    modality = Told()
    modality.told = []
    told = {name: wanted[name] for name in ("tiers", "usual", "emphasis")}
    value = modality.setting.value.model_copy(update=told)
    modality.setting = modality.setting.model_copy(update={"value": value})
    modality.rounds, modality.episodes = wanted["rounds"], 0
    if wanted.get("described", True):
        modality.description = {str(state): row for state, row in enumerate(environment.description)}
    records = episodes(logs)
    modality.learn(records)
    modality.prepare(records)
    model = fresh(modality, records, None, seed)
    settings = {**SETTINGS, "dropout": wanted["dropout"], "seed": seed}
    options = Settings(epochs=wanted["epochs"], **settings)
    with tempfile.TemporaryDirectory() as folder:
        train_model(model, Corpus(records, []), [], options, Path(folder) / "run")
    return [*modality.told, of_states(model)]


def conditioned(found: Estimates) -> np.ndarray:
    """p(a | s, good), (713, 25): what a return-conditioned transformer does."""
    shares = found.taken * found.actions
    return shares / shares.sum(1, keepdims=True)


def policy(found: Estimates, shrink: float = 100.0) -> np.ndarray:
    """The plan: the best supported action in each state, (713, 25)."""
    return np.eye(ACTIONS)[found.choice(shrink)]


def logged(logs: Logs) -> Logged:
    """As off-policy evaluation has them."""
    after = np.where(logs.after < STATES, logs.after, -1)
    return Logged(logs.subject, logs.state, logs.action, (logs.after == SURVIVAL).astype(float), after)


def one(environment: Environment, size: int, seed: int, wanted: dict[str, Any]) -> dict[str, Any]:
    """All rows for one log."""
    started = time.process_time()
    logs = environment.simulate(size, seed)
    rounds = learn(environment, logs, seed, wanted)
    [rival] = learn(environment, logs, seed, {**wanted, **RIVAL, "epochs": min(wanted["epochs"], RIVAL["epochs"])})
    last = rounds[-1]
    plan = policy(last)
    # By episodes that it has not seen, of which more than this tell little more.
    fresh_logs = logged(environment.simulate(min(size, 10_000), seed + 50_000))
    estimated = evaluate(fresh_logs, plan, resamples=20)
    return {
        **baselines(environment, logs),
        "return-conditioned transformer, sampled": environment.survival(conditioned(rival)),
        "return-conditioned transformer, greedy": environment.survival(greedy(conditioned(rival))),
        "Puji": environment.survival(plan),
        "Puji, its last step without tiers": environment.survival(policy(replace(last, alike=0.0))),
        "Puji, its last step whatever was logged": environment.survival(policy(replace(last, usual=0.0))),
        "rounds": [environment.survival(policy(found)) for found in rounds],
        "shrinks": {f"{k:g}": environment.survival(policy(last, k)) for k in SHRINKS},
        "off-policy": {
            "fitted Q": [estimated.fitted.value, estimated.fitted.low, estimated.fitted.high],
            "importance sampling": [estimated.weighted.value, estimated.weighted.low, estimated.weighted.high],
            "effective sample size": estimated.effective,
            "overlap": estimated.overlap,
        },
        "seconds of processor time": time.process_time() - started,
    }


def paired(rows: Sequence[dict[str, Any]], name: str) -> dict[str, float]:
    """Ours less ``name``, log by log, with the bootstrap's 95 % interval over logs."""
    differences = np.array([row["Puji"] - row[name] for row in rows])
    low, high = resampled(lambda drawn: float(differences[drawn].mean()), len(rows), 10_000)
    return {"mean": float(differences.mean()), "low": low, "high": high}


def select(sizes: Sequence[int], seeds: Sequence[int], candidates: Sequence[str]) -> dict[str, Any]:
    """Fitted Q evaluation of candidates after each of their rounds, on 10,000 episodes that they have not seen, of seeds that no
    result is told of."""
    environment = sepsis.environment()
    found: dict[str, Any] = {}
    for size, name in product(sizes, candidates):
        for seed in seeds:
            rounds = learn(environment, environment.simulate(size, seed), seed, CANDIDATES[name])
            unseen = logged(environment.simulate(10_000, seed + 50_000))
            values = [evaluate(unseen, policy(told), resamples=2).fitted.value for told in rounds]
            found.setdefault(name, {}).setdefault(str(size), []).append(values)
            print(f"  {name}, {size} episodes, seed {seed}: {[round(value, 4) for value in values]}", flush=True)
    return found


def run(quick: bool, seeds: int = SEEDS, sizes: Sequence[int] = SIZES) -> dict[str, Any]:
    """Everything but `select`. ``quick``: one log of 1,000 episodes, few epochs.

    Results are written log by log; a run that was cut off goes on after the last one, if the configuration is the same.
    """
    environment = sepsis.environment()
    wanted = dict(CANDIDATES[CHOSEN])
    if quick:
        seeds, sizes, wanted["epochs"], wanted["rounds"] = 1, SIZES[:1], 8, 2
    configuration = {"name": CHOSEN, **wanted, **SETTINGS}
    known = None if quick else common.read("sepsis")
    rows: list[dict[str, Any]] = []
    if known is not None and known["results"]["configuration"] == configuration:
        rows = known["results"]["rows"]

    def results() -> dict[str, Any]:
        return {
            "sizes": {str(n): summary(rows, n) for n in sizes if any(row["episodes"] == n for row in rows)},
            "seeds wanted": seeds,
            "configuration": configuration,
            "optimal": best,
            "data": sepsis.ICU_SEPSIS.files,
            "rows": rows,
        }

    best = environment.survival(environment.optimal())
    before = sum(row["seconds"] for row in rows)
    started = time.perf_counter()
    for size, seed in sorted(product(sizes, range(seeds)), key=lambda log: (log[0] == LAST, log[1], log[0])):
        if any((row["episodes"], row["seed"]) == (size, seed) for row in rows):
            continue
        begun = time.perf_counter()
        found = one(environment, size, seed, wanted)
        seconds = time.perf_counter() - begun
        rows.append({"episodes": size, "seed": seed, "commit": common.COMMIT, **found, "seconds": seconds})
        told = {name: round(value, 4) for name, value in found.items() if isinstance(value, float)}
        print(f"  {size} episodes, seed {seed}: {told} {found['rounds']}", flush=True)
        if not quick:
            common.write("sepsis", results(), quick=False, seconds=before + time.perf_counter() - started)
    return results()


def summary(rows: Sequence[dict[str, Any]], size: int) -> dict[str, Any]:
    """What the logs of ``size`` episodes say together."""
    mine = [row for row in rows if row["episodes"] == size]
    names = [name for name, value in mine[0].items() if isinstance(value, float) and not name.startswith("seconds")]
    return {
        "seeds": len(mine),
        "mean": {name: mean(row[name] for row in mine) for name in names},
        "Puji less": {name: paired(mine, name) for name in names if name != "Puji"},
        "bar": BARS[size],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--select", action="store_true", help="compare the candidates by off-policy evaluation")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES))
    asked = parser.parse_args()
    if asked.select:
        print(json.dumps(select(asked.sizes, OTHERS[: asked.seeds], asked.candidates), indent=1))
    else:
        run(False, asked.seeds, asked.sizes)


if __name__ == "__main__":
    main()

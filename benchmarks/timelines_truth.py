"""The truth test: risks and cohorts of a model trained on simulated patients, against the hazards that made them.

Outcomes within five years from several ages on, for patients who are alive, observed and without the disease; the oracle knows
the hazards, the table only age and sex. Beside that the hazard ratios that a generated cohort shows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import puji
from benchmarks import simulator
from benchmarks.simulator import NAMES
from puji.modalities.timelines.assess import calibration_slope
from puji.modalities.timelines.fidelity import auroc
from puji.modalities.timelines.timeline import DEATH, Timeline

TRAINING, TEST, COHORT = 100_000, 400, 20_000
AGES, HORIZON = (45.0, 55.0, 65.0, 75.0), 5.0
FUTURES, DRAWS = 2000, 100
"""Futures of a patient: even the true probabilities, counted from 200, lose 7 % of their AUROC above chance."""
MINUTES, SIZE = 22.0, "nano"
LEAST = 20
"""Events of an outcome among the test patients, from which its figures count."""
SETTINGS: dict[str, Any] = {
    "dropout": 0.0,
    "learning_rate": 3e-3,
    "batch_tokens": 4096,
    "progress": False,
    "patience": None,
}
OUTCOMES = ";".join(f"{name}={name}" for name in NAMES)


def table(training: list[Timeline], kept: list[Timeline], age: float) -> np.ndarray:
    """The share of training patients of the same sex to whom each thing happens within the horizon, (n, 31)."""
    known, came = simulator.landmark(training, age, HORIZON)
    found = np.zeros((len(kept), len(NAMES)))
    for sex in ("female", "male"):
        mine = np.array([record.sex == sex for record in known])
        share = np.nansum(came[mine], 0) / np.maximum((~np.isnan(came[mine])).sum(0), 1)
        found[np.array([record.sex == sex for record in kept])] = share
    return found


def ours(model: Any, kept: list[Timeline], age: float, futures: int) -> np.ndarray:
    """The model's risks, (n, 31)."""
    found = np.zeros((len(kept), len(NAMES)))
    for row, record in enumerate(kept):
        asked: dict[str, Any] = {"outcomes": OUTCOMES, "horizon": f"{HORIZON:g}", "futures": futures, "now": age}
        answer = model.predict(record, seed=row, unfamiliar="answer", **asked)
        found[row] = [answer.estimates[f"{name} {HORIZON:g}y"].value for name in NAMES]
    return found


def judge(risks: dict[str, np.ndarray], came: np.ndarray) -> dict[str, Any]:
    """AUROC above chance of each row of ``risks``, as a share of the oracle's; calibration."""
    found: dict[str, Any] = {"outcomes": {}}
    for place, name in enumerate(NAMES):
        known = ~np.isnan(came[:, place])
        if np.nansum(came[:, place]) >= LEAST:
            row = {who: auroc(told[known, place], came[known, place]) for who, told in risks.items()}
            found["outcomes"][name] = {**row, "events": int(np.nansum(came[:, place]))}
    mean = {who: float(np.mean([one[who] for one in found["outcomes"].values()])) for who in risks}
    found["auroc"] = mean
    found["share"] = {who: (value - 0.5) / (mean["oracle"] - 0.5) for who, value in mean.items()}
    flat = ~np.isnan(came)
    found["slope"] = {who: calibration_slope(told[flat], came[flat]) for who, told in risks.items()}
    found["events over expected"] = {who: float(came[flat].sum() / told[flat].sum()) for who, told in risks.items()}
    return found


def ratios(cohort: list[Timeline], real: list[Timeline]) -> dict[str, Any]:
    """Hazard ratios in a generated cohort beside the same estimate from real patients and the truth."""
    rows = {}
    for (before, after), truth in simulator.LATER.items():
        told = [simulator.hazard_ratio(some, before, after) for some in (cohort, real)]
        rows[f"{before} {after}"] = {"truth": truth, "cohort": told[0], "real": told[1]}
    errors = {
        who: float(np.median([abs(np.log(row[who] / row["truth"])) for row in rows.values() if row[who] > 0]))
        for who in ("cohort", "real")
    }
    return {"rows": rows, "median absolute error of the logarithm": errors}


def run(quick: bool) -> dict[str, Any]:
    """The whole test; ``quick``: some patients and a second of training, which shows only that it runs."""
    sizes = (400, 80, 40) if quick else (TRAINING, TEST, COHORT)
    training = simulator.simulate(sizes[0], seed=0)
    # Followed to the end: of those lost to follow-up only the dead would be known.
    test = simulator.simulate(sizes[1], seed=1, followed=(simulator.OLDEST, simulator.OLDEST))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "patients.jsonl"
        source.write_text("".join(record.dump() + "\n" for record in training), "utf-8")
        minutes = 0.02 if quick else MINUTES
        out = Path(folder) / "model"
        model = puji.fit("timelines", source, minutes=minutes, size=SIZE, out=out, holdout=0.05, settings=SETTINGS)
    risks: dict[str, list[np.ndarray]] = {"oracle": [], "Puji": [], "age and sex": []}
    outcomes = []
    for age in AGES[2:3] if quick else AGES:
        kept, came = simulator.landmark(test, age, HORIZON)
        risks["oracle"].append(simulator.risks(kept, age, HORIZON, DRAWS))
        risks["Puji"].append(ours(model, kept, age, 10 if quick else FUTURES))
        risks["age and sex"].append(table(training, kept, age))
        outcomes.append(came)
    found = judge({who: np.concatenate(told) for who, told in risks.items()}, np.concatenate(outcomes))
    cohort = [one.record for one in model.generate(sizes[2], seed=0).generated]
    return {
        **found,
        "hazard ratios": ratios(cohort, training[: len(cohort)]),
        "training": model.provenance["training"],
        "parameters": model.provenance["parameters"],
        "patients": {"training": len(training), "asked": sum(map(len, outcomes))},
        "died": {"cohort": _died(cohort), "training": _died(training)},
    }


def _died(records: list[Timeline]) -> float:
    return float(np.mean([bool(one.events) and one.events[-1].code == DEATH for one in records]))

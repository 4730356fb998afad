"""The next disease on the synthetic patients published with Delphi-2M, beside what an age and sex table says; cohorts.

Trained on train.bin, 7 % of its patients held out to choose by; val.bin is scored once a seed. The model is never told when the
next event comes: a code stands before its time. A cohort as large as the training set is then generated, and compared with it
beside two dummies: the patients of val.bin (the ceiling), and training patients drawn again (who must fail in privacy).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import puji
from benchmarks import delphi
from puji.intervals import clustered
from puji.modalities.timelines import fidelity, metrics, privacy
from puji.modalities.timelines.codebook import Codebook
from puji.modalities.timelines.hits import TOPS, Ranks, ranks
from puji.modalities.timelines.modality import Timelines
from puji.modalities.timelines.timeline import YEAR, Timeline

MINUTES = 7.0
SETTINGS: dict[str, Any] = {"dropout": 0.1, "weight_decay": 0.05, "learning_rate": 3e-3, "batch_tokens": 4096}
SIZE = "nano"
BAND = 5
"""Years of an age band of the table."""
PRIOR = 20.0
"""Events of all ages that a cell of the table is mixed with."""
RESAMPLES = 1000
LARGE = 5
"""Synthetic patients for each real one in the larger of the two cohorts: there can be as many as one wants."""
PUBLISHED = {
    "Delphi-2M demo model, 2.24 M parameters (third-party report, 171,903 targets)": (0.0448, 0.1449, 0.2293),
    "the authors' demo, 1,000 of its 5,000 steps (174,149 targets), past excluded": (0.0430, 0.1467, 0.2306),
    "the same with inserted five-yearly tokens, which tell part of the waiting time": (0.0449, 0.1529, 0.2383),
}


class Exhaustive(Timelines):
    """Timelines in which a code that one patient has is worth a token: the codes of this benchmark are a closed list."""

    context = 256

    def learn(self, records: Sequence[Timeline]) -> None:
        super().learn(records)
        self.book = Codebook.learn(records, rare=1, own=self.own)


def table(training: Sequence[Timeline], patients: Sequence[Timeline]) -> dict[str, Ranks]:
    """What the frequencies of all, and those of the age at the event before and the sex, say of the same targets."""
    names = sorted({name for name in delphi.codes().values() if not name.startswith("LIFESTYLE")})
    place = {name: number for number, name in enumerate(names)}
    sexes = ("", "female", "male")
    counts = np.zeros((len(sexes), 130 // BAND, len(names)))
    for patient in training:
        for before, event in _targets(patient, place):
            counts[sexes.index(patient.sex), int(before / YEAR) // BAND, place[event]] += 1
    overall = counts.sum((0, 1)) + 0.1
    overall /= overall.sum()
    by_cell = counts + PRIOR * overall
    by_cell /= by_cell.sum(2, keepdims=True)
    found: dict[str, list[tuple[int, int, int, float]]] = {"all": [], "age and sex": []}
    for index, patient in enumerate(patients):
        past = [place[event.code] for event in patient.events[:1] if event.code in place and not patient.sex]
        for before, event in _targets(patient, place):
            cell = by_cell[sexes.index(patient.sex), int(before / YEAR) // BAND]
            for name, shares in (("all", overall), ("age and sex", cell)):
                found[name].append((index, *ranks(np.log(shares), place[event], past)))
            past.append(place[event])
    return {name: Ranks.of(rows) for name, rows in found.items()}


def _targets(patient: Timeline, place: dict[str, int]) -> list[tuple[float, str]]:
    """Each target's code and the age in days at the event before (0 where that is the birth)."""
    found = []
    before = 0.0 if patient.sex else None
    for event in patient.events:
        if event.code in place and before is not None:
            found.append((before, event.code))
        before = event.age
    return found


def difference(ours: Ranks, other: Ranks, top: int, seed: int = 0) -> tuple[float, float, float]:
    """Hit rate of ``ours`` less that of ``other``, past excluded, with its 95 % interval: patients are resampled."""
    gain = (ours.rank_excluded < top).astype(float) - (other.rank_excluded < top)
    found = clustered(gain, ours.patient, RESAMPLES, seed=seed)
    return found.value, found.low or 0.0, found.high or 0.0


def one_seed(training: Sequence[Timeline], folder: Path, seed: int, minutes: float, size: str) -> Any:
    """A model of the training patients."""
    source = folder / f"train-{seed}.jsonl"
    source.write_text("".join(patient.dump() + "\n" for patient in training), "utf-8")
    settings = {**SETTINGS, "progress": False, "patience": None}
    out = folder / f"model-{seed}"
    return puji.fit(Exhaustive, source, minutes=minutes, seed=seed, size=size, out=out, holdout=0.07, settings=settings)


def cohort(
    synthetic: Sequence[Timeline], training: Sequence[Timeline], held_out: Sequence[Timeline], times: int = 1
) -> dict[str, float]:
    """Fidelity to the training patients, privacy, and what a classifier learns from the cohort."""
    found = {name: one.value for name, one in metrics.alike(training, synthetic).items()}
    found |= {name: one.value for name, one in metrics.private(synthetic, training, held_out).items()}
    tstr, trtr, outcomes = fidelity.transfer(training, synthetic, held_out, times)
    return {**found, "TSTR AUROC": tstr, "TRTR AUROC": trtr, "outcomes": outcomes}


def cohorts(model: Any, training: Sequence[Timeline], held_out: Sequence[Timeline]) -> dict[str, Any]:
    """Ours beside the dummies."""
    began = time.perf_counter()
    batch = model.generate(LARGE * len(training), seed=0)
    seconds = time.perf_counter() - began
    drawn = [one.record for one in batch.generated]
    again = np.random.default_rng(0).integers(len(training), size=len(training))
    half = len(held_out) // 2
    found = {
        "Puji": cohort(drawn[: len(training)], training, held_out),
        f"Puji, {LARGE} for each real patient": cohort(drawn, training, held_out, LARGE),
        # Half of the held-out patients stand for a cohort, and the other half for those not trained on.
        "dummy: other real patients": cohort(held_out[:half], training, held_out[half:]),
        "dummy: training patients drawn again": cohort([training[i] for i in again], training, held_out),
    }
    copies = privacy.exact_copies(held_out, training) / len(held_out)
    return {"rows": found, "patients_per_second": len(drawn) / seconds, "copies_of_held_out": copies}


def run(quick: bool, seeds: int = 3) -> dict[str, Any]:
    """All rows; ``quick``: one seed, a second of training, 30 patients."""
    training, patients = delphi.load("train"), delphi.load("val")
    if quick:
        training, patients = training[:30], patients[:30]
    tables = table(training, patients)
    found: dict[str, Any] = {"tables": {name: one.rates() for name, one in tables.items()}, "seeds": [], "size": SIZE}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1 if quick else seeds):
            model = one_seed(training, Path(folder), seed, 0.02 if quick else MINUTES, SIZE)
            judged = delphi.judge(model, patients)
            gains = {f"top{top}": difference(judged, tables["age and sex"], top) for top in TOPS}
            found["seeds"].append({**judged.rates(), "training": model.provenance["training"], "gains": gains})
            found["parameters"] = model.provenance["parameters"]
            if seed == 0:
                found["cohorts"] = cohorts(model, training, patients)
    rates = found["tables"]["all"]
    found["mean"] = {name: float(np.mean([one[name] for one in found["seeds"]])) for name in rates}
    found["published"] = {name: list(values) for name, values in PUBLISHED.items()}
    return found

"""Type-1 diabetes: a plan learned from logged care and nothing else, in a closed loop with patients that no log knows.

`python -m benchmarks diabetes`. Logs: patients 001 to 007 of each age group (`puji.modalities.plans.diabetes.care`), trained
on as `puji.fit` trains the setting "diabetes". Test: patients 008 to 010 of each, `SEEDS` days each, none of them in the logs;
carbohydrate announced with an error, and not at all. All controllers hear the same, wear the same sensor, eat by the same rule
against low glucose, and dose through the same safety rules; ours is shown without these rules, too. The time after an early end
counts as spent where it came.

Ours has a pump that is set by what two weeks of the patient's own care before the day tell (`care.estimated`); shown beside it:
as the table has it, as on the first day, and the bolus calculator so set and no plan. The PID and the hybrid
are tuned on the patient's own simulator, which is more than any clinic has.

Every finished row is kept in results/diabetes.pieces.json, and a run that was stopped goes on from there; the trained model
stays in runs/plans-diabetes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import puji
from benchmarks import common
from puji.corpus import Corpus
from puji.engine.settings import Settings
from puji.files import atomic_write
from puji.modalities.plans.diabetes import care, control, loop, metrics, scenario, tuning, world
from puji.modalities.plans.diabetes.doses import Calculator, Therapy
from puji.modalities.plans.diabetes.patients import GROUPS, Patients, names, patients, published
from puji.modalities.plans.diabetes.planning import Planned
from puji.modalities.plans.diabetes.relatives import relatives
from puji.modalities.plans.diabetes.safeguard import Guarded
from puji.modalities.plans.modality import Plans
from puji.modalities.plans.setting import load_setting
from puji.training import fresh, provenance, train_model

TEST = tuple(name for name in names() if name not in care.LOGGED)
SEEDS = 20
FIRST = 0
"""Of the seeds of the test days."""
CHOOSING = 700_000
"""First seed of the days on which everything was chosen, with patients of the logs."""
TRIED = 4
"""Days of each of them."""
HISTORY = 800_000
"""Seed of the two weeks before the test days."""
MODEL = Path("runs") / "plans-diabetes"
PIECES = common.RESULTS / "diabetes.pieces.json"
TRAINED: dict[str, Any] = {"trajectories": 320, "epochs": 30, "rounds": 2}
SETTINGS: dict[str, Any] = {
    "batch_tokens": 2048,
    "learning_rate": 4e-3,
    **common.UNWATCHED,
}


def learn(
    wanted: dict[str, Any], seed: int = 0, tell: Callable[[Any, int], None] | None = None
) -> tuple[Any, dict[str, Any]]:
    """A model that has learned from logs, and what that took; ``tell`` gets it after each round."""
    started = time.process_time()
    modality = _Told(tell)
    modality.setting, modality.rules = load_setting("diabetes")
    modality.rounds, modality.episodes = wanted["rounds"], 0
    records = care.episodes(wanted["trajectories"], seed=seed + 1)
    modality.learn(records)
    modality.prepare(records)
    model = fresh(modality, records, None, seed)
    options = Settings(epochs=wanted["epochs"] * wanted["rounds"], seed=seed, **SETTINGS)
    corpus = Corpus(records, [])
    with tempfile.TemporaryDirectory() as folder:
        result = train_model(model, corpus, [], options, Path(folder) / "run", on_step=_step)
    told = {"setting": "diabetes", "rounds": wanted["rounds"], "episodes": 0}
    model.provenance = provenance(model, corpus, "diabetes-care", options, result, told)
    days = sum(len(one.steps) for one in records) / 96
    return model, {
        **wanted,
        "patient-days": days,
        "decisions": modality.decisions,
        "tokens": result.tokens,
        "seconds of processor time": time.process_time() - started,
    }


def _step(line: dict[str, Any]) -> None:
    if line.get("step", 1) % 100 == 0:
        print(
            f"  step {line['step']}, loss {line['loss']:.3f}, {time.process_time():.0f} s of processor time", flush=True
        )


class _Told(Plans):
    """The modality, which shows its model between two rounds."""

    def __init__(self, tell: Callable[[Any, int], None] | None = None) -> None:
        super().__init__()
        self.tell, self.number = tell, 0

    def relabel(self, model: Any) -> bool:
        self.number += 1
        if self.tell is not None:
            self.tell(model, self.number)
        return super().relabel(model)


class Calculated(control.Controller):
    """The basal rate, and for announced meals what the bolus calculator says."""

    def __init__(self, therapy: Therapy) -> None:
        self.therapy = therapy
        self.reset()

    def reset(self) -> None:
        self.calculator = Calculator(self.therapy)

    def dose(self, reading: np.ndarray, announced: np.ndarray, minute: int, interval: int) -> control.Dose:
        self.calculator.read(reading)
        bolus = np.where(announced > 0, self.calculator.bolus(announced), 0.0)
        return control.Dose(self.therapy.basal, bolus / interval)

    def gave(self, dose: control.Dose, announced: np.ndarray, interval: int) -> None:
        self.calculator.gave(dose, announced, interval)


def adjusted(people: Patients, announced: bool = True) -> Therapy:
    """The settings that two weeks of each patient's care tell, in which meals were announced as they will be."""
    return care.adjusted(people, HISTORY, announced)


def live(
    make: Callable[[Patients], control.Controller],
    people: Patients,
    seeds: np.ndarray,
    announced: bool = True,
    safe: bool = True,
) -> loop.Course:
    """One day of each row of ``people``."""
    meals = scenario.quarters(scenario.random(seeds))
    meals = scenario.announce(meals, seeds, care.ERROR, 0.0 if announced else 1.0)
    controller = make(people)
    if safe:
        rules = load_setting("diabetes")[1]
        assert rules is not None
        controller = Guarded(controller, people, rules)
    return world.live(controller, people, seeds, meals, rescued=True)


def measured(course: loop.Course) -> dict[str, np.ndarray]:
    """The measures of each run, and what was eaten against low glucose, g a day."""
    return {**metrics.scores(course), "rescue": course.rescue.sum(axis=1)}


def controllers(
    model: Any, seeds: int, announced: bool
) -> dict[str, tuple[Callable[[Patients], control.Controller], bool]]:
    """The rows: how a controller is made, and whether the safety rules stand behind it."""
    alone = patients(TEST)

    def tuned(error: float | None) -> Callable[[Patients], control.Controller]:
        return lambda people: tuning.tune(alone, error=error).repeat(seeds).controller(people)

    rows: dict[str, tuple[Callable[[Patients], control.Controller], bool]] = {
        "logged care": (lambda people: _logged(people, announced), True),
        "basal-bolus": (control.BasalBolus, True),
        "PID, tuned": (tuned(None), True),
        "hybrid, tuned": (tuned(care.ERROR), True),
        "bolus calculator, adjusted": (lambda people: Calculated(adjusted(people)), True),
        "Puji": (lambda people: Planned(adjusted(people, announced), model, announced), True),
        "Puji, safety rules off": (lambda people: Planned(adjusted(people, announced), model, announced), False),
        "Puji, the first day": (lambda people: Planned(Therapy.of(people), model, announced), True),
    }
    if not announced:  # without announcements the hybrid is the PID, and the calculator gives no bolus
        del rows["hybrid, tuned"], rows["bolus calculator, adjusted"]
    return rows


def _logged(people: Patients, announced: bool) -> control.Controller:
    """What the logs hold, for these patients."""
    return care.Varied(adjusted(people, announced), np.arange(len(people)), scenario.DAY)


def days_resampled(values: np.ndarray, people: Patients, resamples: int = 2000) -> list[float]:
    """Mean of ``values`` (n,) with the 95 % interval that resampling each patient's days gives: of these patients, whoever else
    there may be."""
    rng = np.random.default_rng(0)
    each = [values[people.rows == row] for row in np.unique(people.rows)]
    drawn = [rng.choice(one, (resamples, len(one))).sum(axis=1) for one in each]
    low, high = np.quantile(np.sum(drawn, axis=0) / len(values), [0.025, 0.975])
    return [float(values.mean()), float(low), float(high)]


def strangers(days: int = 4) -> Patients:
    """Patients for choosing whom no log knows: six relatives of each logged patient. Only those who live with basal-bolus for
    ``days``, in range for 45 % of the time or more and below 70 mg/dl for less than 15 %: not all parameters that can be drawn
    are those of somebody who could live, see relatives.py."""
    table = published() + relatives(care.LOGGED, 6, seed=77, spread=0.7)
    drawn = patients([name for name in table.names if "/" in name], table)
    seeds = np.tile(np.arange(CHOOSING + 30_000, CHOOSING + 30_000 + days), len(drawn))
    found = measured(live(control.BasalBolus, drawn.repeat(days), seeds))
    kept = found["ended"].reshape(-1, days).max(axis=1) == 0
    kept &= found["in_range"].reshape(-1, days).mean(axis=1) >= 45
    kept &= found["below_70"].reshape(-1, days).mean(axis=1) < 15
    return Patients(drawn.rows[kept], table)


def _bar(interval: list[Any]) -> list[Any]:
    """Whether an interval lies above zero."""
    return [interval, bool(interval[1] > 1e-6)]  # the sums of floats are none of its


def bars(rows: dict[str, dict[str, np.ndarray]], people: Patients) -> dict[str, Any]:
    """The bars of the issue, for meals that are announced: each with the numbers and whether it was reached."""
    ours, usual = rows["Puji"], rows["basal-bolus"]
    gain = metrics.difference({"in_range": ours["in_range"]}, {"in_range": usual["in_range"]}, people)
    found: dict[str, Any] = {}
    for group in GROUPS:
        one = gain[group]["in_range"]
        found[f"time in range less basal-bolus, {group}, patients resampled"] = _bar([one.value, one.low, one.high])
    for group in GROUPS:
        part = Patients(people.rows[people.groups == group])
        apart = (ours["in_range"] - usual["in_range"])[people.groups == group]
        found[f"time in range less basal-bolus, {group}, days resampled"] = _bar(days_resampled(apart, part))
    child = people.groups == "child"
    lows = [float(one["below_70"][child].mean()) for one in (ours, usual)]
    found["children's time below 70, ours and basal-bolus"] = [lows, lows[0] <= lows[1] / 2]
    deep = {group: float(ours["below_54"][people.groups == group].mean()) for group in GROUPS}
    found["time below 54"] = [deep, max(deep.values()) <= 1.0]
    found["lowest glucose"] = [float(ours["minimum"].min()), bool(ours["minimum"].min() >= 40)]
    return found


def run(quick: bool) -> dict[str, Any]:
    """All rows. ``quick``: three patients, one day, a model that has learned next to nothing."""
    seeds = 1 if quick else SEEDS
    pieces: dict[str, Any] = {}
    if quick:
        model, took = learn({"trajectories": 1, "epochs": 1, "rounds": 2})
    elif MODEL.is_dir():
        model = puji.load(MODEL)
        took = json.loads((MODEL / "took.json").read_text("utf-8"))
    else:
        model, took = learn(TRAINED)
        model.measure_familiarity(care.episodes(1, seed=CHOOSING))
        model.save(MODEL, card=f"# {MODEL.name}\n\nWritten by `python -m benchmarks diabetes`.\n")
        atomic_write(MODEL / "took.json", json.dumps(took))
    if not quick and PIECES.is_file():
        pieces = json.loads(PIECES.read_text("utf-8"))
    people = patients(TEST if not quick else [f"{group}#008" for group in GROUPS]).repeat(seeds)
    days = np.tile(np.arange(FIRST, FIRST + seeds), len(people) // seeds)
    found: dict[str, Any] = {"model": took, "runs": len(people), "error": care.ERROR}
    for announced in (True, False):
        kind = "announced" if announced else "not announced"
        rows: dict[str, dict[str, np.ndarray]] = {}
        for name, (make, safe) in controllers(model, seeds, announced).items():
            if quick and "tuned" in name:
                continue
            key = f"{kind}: {name}"
            if key not in pieces:
                started = time.process_time()
                values = measured(live(make, people, days, announced, safe))
                pieces[key] = {one: value.tolist() for one, value in values.items()}
                print(f"  {key}: {time.process_time() - started:.0f} s", flush=True)
                if not quick:
                    PIECES.parent.mkdir(exist_ok=True)
                    atomic_write(PIECES, json.dumps(pieces))
            rows[name] = {one: np.array(value) for one, value in pieces[key].items()}
        found[kind] = {
            "rows": {name: common.intervals(metrics.summary(one, people)) for name, one in rows.items()},
            "less basal-bolus": {
                name: common.intervals(metrics.difference(one, rows["basal-bolus"], people))
                for name, one in rows.items()
                if name != "basal-bolus"
            },
            "by patient": {
                name: {
                    one: float(values["in_range"][np.array(people.names) == one].mean())
                    for one in dict.fromkeys(people.names)
                }
                for name, values in rows.items()
            },
            "lowest": {name: float(one["minimum"].min()) for name, one in rows.items()},
        }
        if announced:
            found["bars"] = bars(rows, people)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--train",
        action="store_true",
        help="train, telling after each round what it reaches with logged patients and with relatives of them",
    )
    asked = parser.parse_args()
    if not asked.train:
        print(json.dumps(run(False), indent=1))
        return
    tried = {"logged": patients(care.LOGGED), "relatives": strangers()}

    def show(name: str, make: Callable[[Patients], control.Controller], announced: bool) -> None:
        for kind, alone in tried.items():
            people = alone.repeat(TRIED)
            values = measured(live(make, people, np.tile(np.arange(CHOOSING, CHOOSING + TRIED), len(alone)), announced))
            for group in GROUPS:
                here = people.groups == group
                told = {one: round(float(value[here].mean()), 2) for one, value in values.items()}
                told["lowest"] = round(float(values["minimum"][here].min()), 1)
                print(f"{name}, announced {announced}, {kind}, {group}: {json.dumps(told)}", flush=True)

    def tell(model: Any, number: int) -> None:
        model.save(MODEL.with_name(f"{MODEL.name}-{number}"), card=f"# {MODEL.name}, round {number}\n")
        show(f"round {number}", lambda who: Planned(adjusted(who), model, True), True)
        show(f"round {number}", lambda who: Planned(adjusted(who, False), model, False), False)

    model, took = learn(TRAINED, tell=tell)
    tell(model, TRAINED["rounds"])
    show("basal-bolus", control.BasalBolus, True)
    model.save(MODEL, card=f"# {MODEL.name}\n\nWritten by `python -m benchmarks.diabetes --train`.\n")
    atomic_write(MODEL / "took.json", json.dumps(took))
    print(json.dumps(took))


if __name__ == "__main__":
    main()

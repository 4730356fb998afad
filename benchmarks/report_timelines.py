"""Sections of RESULTS.md about patient timelines."""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.report_tables import number, table


def timelines(results: dict[str, Any]) -> str:
    tops = ("top1", "top5", "top10")
    minutes = mean(one["training"]["minutes"] for one in results["seeds"])
    ours = (
        f"**Puji**, {results['parameters']:,} parameters, {minutes:.0f} minutes (mean of {len(results['seeds'])} seeds)"
    )
    measured = {ours: results["mean"], "frequencies": results["tables"]["all"]}
    measured["frequencies by age and sex"] = results["tables"]["age and sex"]
    rows = [
        [
            name,
            *(number(one[f"{top}_excluded"]) for top in tops),
            *(number(one[top]) for top in tops),
            number(one["nats"], 3),
        ]
        for name, one in measured.items()
    ]
    rows += [
        [f"{name} (published)", *map(number, values), "", "", "", ""] for name, values in results["published"].items()
    ]
    head = ["next disease or death", *(f"{top}, past excluded" for top in tops), *tops, "nats"]
    gains = results["seeds"][0]["gains"]
    told = ", ".join(f"{top} {gain:+.4f} ({low:+.4f} to {high:+.4f})" for top, (gain, low, high) in gains.items())
    made = results["cohorts"]
    figures = list(next(iter(made["rows"].values())))
    return (
        f"{int(results['mean']['targets']):,} targets of val.bin; the next event's age is not told. Ours less the table of age"
        f" and sex, past excluded, first seed, patients resampled: {told}.\n\n{table(head, rows)}\n\n"
        "Cohorts of the first seed, as large as the training set or so many times as large"
        f" ({made['patients_per_second']:.0f} patients a second; {made['copies_of_held_out']:.4f} of the held-out patients have"
        " the codes of a training patient):\n\n"
        + table(
            ["", *made["rows"]],
            ([name, *(number(row[name], 3) for row in made["rows"].values())] for name in figures),
        )
    )


def truth(results: dict[str, Any]) -> str:
    who = list(results["auroc"])
    rows = [
        ["AUROC, mean over outcomes", *(number(results["auroc"][one]) for one in who)],
        ["share of the oracle's AUROC above chance", *(number(results["share"][one], 3) for one in who)],
        ["calibration slope", *(number(results["slope"][one], 3) for one in who)],
        ["events over expected ones", *(number(results["events over expected"][one], 3) for one in who)],
    ]
    found = results["hazard ratios"]
    errors = found["median absolute error of the logarithm"]
    ratios = (
        [name, *(number(row[key], 2) for key in ("truth", "real", "cohort"))] for name, row in found["rows"].items()
    )
    return (
        f"{results['patients']['training']:,} simulated patients to train on for {results['training']['minutes']:.0f} minutes,"
        f" {results['parameters']:,} parameters; {len(results['outcomes'])} outcomes within five years, asked"
        f" {results['patients']['asked']:,} times.\n\n{table(['', *who], rows)}\n\n"
        "Hazard ratios adjusted for age and sex (confounding by other diseases is in them), median absolute error of"
        f" the logarithm: training patients {errors['real']:.2f}, generated cohort {errors['cohort']:.2f}. Died under"
        f" observation: {results['died']['training']:.3f} of the training patients, {results['died']['cohort']:.3f} of the"
        f" cohort.\n\n{table(['before, after', 'truth', 'training patients', 'generated cohort'], ratios)}"
    )


def shift(results: dict[str, Any]) -> str:
    tops = [f"top{top}_excluded" for top in (1, 5, 10)]
    rows = [
        [name, number(row["nats"], 3), *(number(row[top]) for top in tops)] for name, row in results["rows"].items()
    ]
    lost = ", ".join(
        f"{top} {gain:+.4f} ({low:+.4f} to {high:+.4f})" for top, (gain, low, high) in results["lost"].items()
    )
    people = results["patients"]
    return (
        f"{people['test']:,} patients born from {results['born']} on, {int(next(iter(results['rows'].values()))['targets']):,}"
        f" targets; each model was trained on {people['training']:,} others. Lost by never having seen later-born patients"
        f" (patients resampled): {lost}.\n\n"
        + table(["trained on", "nats an event", *(f"{top[:-9]}, past excluded" for top in tops)], rows)
    )


def weights(results: dict[str, Any]) -> str:
    rows = [
        [name, number(one["value"], 3), f"{number(one['low'], 3)} to {number(one['high'], 3)}", f"{one['n']:,}"]
        for name, one in results["metrics"].items()
    ]
    return (
        f"{results['patients']} simulated patients (Synthea) who were held out of training, {results['events']:,} events: few,"
        f" so the intervals are wide.\n\n{table(['', 'value', '95 % interval', 'n'], rows)}"
    )


def reading(results: dict[str, Any]) -> str:
    rows = [
        [
            name,
            f"{row['events']:,}",
            f"{row['patients']:,} of {row['written_patients']:,}",
            f"{row['seconds']:.1f}",
            f"{row['megabytes']:.0f}",
            f"{row['before_megabytes']:.0f}",
        ]
        for name, row in results["rows"].items()
    ]
    head = ["format, events asked for", "events read", "patients read", "seconds", "peak MB", "MB before reading"]
    return (
        "Simulated patients, written and read again patient by patient in a process of its own; rows of the CSV are in the order"
        f" of age, so that each patient is scattered over the file.\n\n{table(head, rows)}"
    )

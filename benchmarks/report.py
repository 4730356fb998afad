"""RESULTS.md from results/*.json. A test fails when the page is not what this makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks import common, readme

PAGE = Path(__file__).parent.parent / "RESULTS.md"

PUBLISHED = {
    "Train (reference)": "1.0 | 1.0 | .008 | .4755 | .6419 | .5859 | 1.0 | .9986 | .9907 | 0 | .8567 | .8508 | 1.0 | -",
    "NGram": ".2376 | .9217 | 5.507 | 6.231 | .5209 | .4997 | .9846 | .9815 | .5302 | .0977 | .8738 | .8644 | .9582 | .9694",
    "CharRNN": ".9748 | .9994 | .0732 | .5204 | .6015 | .5649 | .9998 | .9983 | .9242 | .1101 | .8562 | .8503 | .9943 | .8419",
    "VAE": ".9767 | .9984 | .099 | .567 | .6257 | .5783 | .9994 | .9984 | .9386 | .0588 | .8558 | .8498 | .997 | .6949",
    "JTN-VAE": "1.0 | .9996 | .3954 | .9382 | .5477 | .5194 | .9965 | .9947 | .8964 | .1009 | .8551 | .8493 | .976 | .9143",
}
"""Rows of the table of the MOSES README (30,000 samples)."""

COLUMNS = (
    "valid",
    "unique@10k",
    "FCD/Test",
    "FCD/TestSF",
    "SNN/Test",
    "SNN/TestSF",
    "Frag/Test",
    "Frag/TestSF",
    "Scaf/Test",
    "Scaf/TestSF",
    "IntDiv",
    "IntDiv2",
    "Filters",
    "Novelty",
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _row(metrics: dict[str, Any]) -> list[str]:
    return [number(metrics[name]["value"]) if name in metrics else "-" for name in COLUMNS]


def quality(results: dict[str, Any]) -> str:
    raw = results["raw"]
    ours = [mean(row[name]["value"] for row in raw) if name in raw[0] else None for name in COLUMNS]
    spread = [stdev(row[name]["value"] for row in raw) if len(raw) > 1 and name in raw[0] else None for name in COLUMNS]
    rows = [
        [f"**Puji, raw draws** (mean of {len(raw)} seeds)", *map(number, ours)],
        ["standard deviation over seeds", *map(number, spread)],
        ["Puji, grammar on (`puji generate`)", *_row(results["product"])],
        *([f"dummy: {name}", *_row(metrics)] for name, metrics in results["dummies"].items()),
        *([f"{name} (published)", *row.split(" | ")] for name, row in PUBLISHED.items()),
    ]
    training = results["model"]["training"]
    wasserstein = [name for name in raw[0] if name not in COLUMNS]
    more = table(
        ["measured on the raw draws", "mean"], ([n, number(mean(r[n]["value"] for r in raw))] for n in wasserstein)
    )
    return (
        f"{results['protocol']['draws']:,} draws at temperature 1, no grammar, retry, filter or reranking; scored on MOSES Test"
        " and TestSF, which were used for nothing else. Trained on"
        f" {results['model']['data']['training_records']:,} MOSES training molecules for {training['epochs']:.2f} epochs"
        f" ({training['tokens']:,} tokens, {training['core_hours']:.1f} core-hours), {results['model']['parameters']:,}"
        f" parameters; training file {results['model']['data']['sha256'][:16]} (SHA-256), sampling seeds"
        f" {', '.join(map(str, results['protocol']['seeds']))}.\n\n{table(['', *COLUMNS], rows)}\n\n{more}"
    )


def conditions(results: dict[str, Any]) -> str:
    parts = [
        "Asked for the values of 200 molecules of MOSES Test, ten draws each; the dummy picks real molecules at random.",
        table(
            ["property", "mean absolute error", "dummy", "correlation", "dummy", "valid", "unique"],
            (
                [
                    name,
                    number(row["ours"]["mean_absolute_error"], 3),
                    number(row["dummy"]["mean_absolute_error"], 3),
                    number(row["ours"]["correlation"], 3),
                    number(row["dummy"]["correlation"], 3),
                    number(row["valid"], 3),
                    number(row["unique"], 3),
                ]
                for name, row in results["properties"].items()
            ),
        ),
        table(
            ["part to keep", "asked", "molecules", "kept", "valid", "unique"],
            (
                [
                    name,
                    str(r["asked"]),
                    str(r["n"]),
                    number(r["kept"], 3),
                    number(r["valid"], 3),
                    number(r["unique"], 3),
                ]
                for name, r in results["kept"].items()
            ),
        ),
        "Analogues: mean Tanimoto similarity {similarity:.3f} (random molecule: {dummy_similarity:.3f}), {share:.1%} at 0.4 or"
        " more, {valid:.1%} valid, n = {n}.".format(
            share=results["analogues"]["share_above_0.4"], **results["analogues"]
        ),
        table(
            ["predicted", "mean absolute error", "correlation", "80 % interval holds"],
            (
                [n, number(r["mean_absolute_error"], 3), number(r["correlation"], 3), number(r["coverage_80"], 3)]
                for n, r in results["predictions"].items()
            ),
        ),
    ]
    return "\n\n".join(parts)


def calibration(results: dict[str, Any]) -> str:
    published, measured = results["published"], results["measured"]
    limits = results["fcd_extrapolated"]
    rows = (
        [name, published.get(name, "-"), *(number(m.get(name)) for m in measured.values()), number(limits.get(name))]
        for name in next(iter(measured.values()))
    )
    sizes = (f"{int(size):,} drawn" for size in measured)
    return (
        "MOSES training molecules scored as if generated must give the published row Train, which scores all 1,584,663. FCD is"
        " biased upwards by 1/n and Scaf cannot be complete in a sample, so these two differ by the sample's size; FCD"
        f" extrapolated to infinitely many stands in the last column. ChemNet weights: {results['weights']}."
        f" {results.get('note', '')}\n\n" + table(["", "published", *sizes, "extrapolated"], rows)
    )


def sampling(results: dict[str, Any]) -> str:
    rates, shares = results["sequences_per_second"], results["sequences_per_processor_second"]
    names = [
        "puji",
        *dict.fromkeys(name.replace(" float32", "") for name in rates if name.startswith("generate float32")),
    ]

    def told(found: dict[str, float], name: str, dtype: str) -> str:
        first, _, rest = name.partition(" ")
        return f"{found[f'{first} {dtype} {rest}'.strip()]:,.0f}"

    dtypes = ("float32", "bfloat16")
    head = ["", *(f"{dtype}, molecules a {unit}" for dtype in dtypes for unit in ("second", "processor-second"))]
    rows = [
        [f"Puji, {results['weights']}" if name == "puji" else f"stock {name}"]
        + [told(found, name, dtype) for dtype in dtypes for found in (rates, shares)]
        for name in names
    ]
    rows.append(
        ["**times stock generate at its best batch**"]
        + [
            f"{results[key][dtype]:.2f}"
            for dtype in dtypes
            for key in ("times_generate", "times_generate_per_processor_second")
        ]
    )
    more = [
        ["share of the processor's matrix products per second", "share_of_gemm_limit", ".2f"],
        ["one molecule, seconds", "one_sequence_seconds", ".3f"],
        ["first call, seconds", "first_call_seconds", ".2f"],
    ]
    told_more = ([name, *(format(results[key][dtype], form) for dtype in dtypes)] for name, key, form in more)
    memory = results["memory_above_start_mb"]
    product = results.get("valid_unique_per_second")
    product = f" `Model.generate` with grammar: {product:,.0f} valid unique molecules a second." if product else ""
    return (
        f"Raw draws without grammar, {results['threads']} threads.\n\n{table(head, rows)}\n\n"
        f"{table(['Puji', *dtypes], told_more)}\n\n"
        f"Memory above that of the loaded model: Puji {memory['puji']} MB, generate {memory['generate']} MB.{product}"
    )


def startup(results: dict[str, Any]) -> str:
    rows = ([name, f"{row['median_seconds']:.2f}", str(row["runs"])] for name, row in results.items())
    return table(["`puji` from the command line", "median seconds", "runs"], rows)


def names(results: dict[str, Any]) -> str:
    found, baseline = results["mean"], results["kneser_ney"]
    rows = [
        [
            kind,
            f"{results['names'][kind]['training']:,} / {results['names'][kind]['test']:,}",
            number(baseline[kind]),
            number(found[f"{kind}, both kinds in one model"]),
            number(found[kind]),
            number(results["spread"][kind]),
            f"{results['below_kneser_ney'][kind]:.1%}",
        ]
        for kind in baseline
    ]
    drawn, shifted = results["raw_draws"], results["shifted"]
    head = [
        "bits per character",
        "training / test",
        "Kneser-Ney 7",
        "one model of both",
        "Puji",
        "sd over seeds",
        "below",
    ]
    left = ("random split", "stem families left out")
    return (
        f"Everything that the model is told is paid for; mean of seeds {', '.join(map(str, results['seeds']))}.\n\n"
        + table(head, rows)
        + f"\n\n{drawn[0]['draws']:,} raw draws (no grammar, no refusals): novelty {mean(one['novelty'] for one in drawn):.3f},"
        f" unique {mean(one['unique'] for one in drawn):.3f}. Stem kept as asked:"
        f" {', '.join(f'{stem} {share:.0%}' for stem, share in results['stem_kept'].items())}.\n\n"
        + table(
            ["generic names left out of training", "Puji", "Kneser-Ney 7"],
            ([name, number(shifted[name]), number(shifted[f"{name}, Kneser-Ney"])] for name in left),
        )
    )


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
        "A cohort as large as the training set, of the first seed"
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


def diabetes(results: dict[str, Any]) -> str:
    apart = {name: [one["rmse"] for one in found.values()] for name, found in results["parity"].items()}
    told = ", ".join(f"{name} {mean(values):.3f} (worst {max(values):.3f})" for name, values in apart.items())
    rate = results["speed"]
    columns = {
        "time in 70-180 mg/dl %": "in_range",
        "adult": "in_range adult",
        "adolescent": "in_range adolescent",
        "child": "in_range child",
        "below 70 %": "below_70",
        "child, below 70 %": "below_70 child",
        "risk index": "bgri",
        "ended early %": "ended",
    }
    fixed = (
        [name, *(number(row.get(key), 2 if key == "bgri" else 1) for key in columns.values())]
        for name, row in results["anchors"].items()
    )
    measures = {"in_range": "time in 70-180 mg/dl %", "below_70": "below 70 %", "below_54": "below 54 %"}
    measures |= {"above_250": "above 250 %", "bgri": "risk index", "ended": "ended early %"}

    def cells(found: dict[str, list[float]]) -> list[str]:
        values = (found[key] for key in measures)
        return [f"{number(value, 1)} ({number(low, 1)} to {number(high, 1)})" for value, low, high in values]

    random = results["random"]
    shown = {**random["rows"], "PID less basal-bolus, run by run": random["PID less basal-bolus"]}
    drawn = ([f"{name}, {part}", *cells(found)] for name, parts in shown.items() for part, found in parts.items())
    return (
        "Our simulator, given the insulin and meals that simglucose 0.2.11 recorded in one day of each patient: root mean square"
        f" difference of glucose in mg/dl {told}. Errors of its sensor differ by {results['noise']:.0e} mg/dl at most."
        f" Patient-days a minute of processor time: simulator alone {rate['simulator']:,.0f}, in a closed loop"
        f" {rate['closed loop']:,.0f}; simglucose, in a closed loop, {rate['simglucose']:,.0f}.\n\n"
        "One day of fixed meals (07:00 45 g, 12:00 70 g, 16:00 15 g, 18:00 80 g, 23:00 10 g), by true glucose until the run"
        f" ends:\n\n{table(['', *columns], fixed)}\n\n"
        f"Meals drawn at random, {random['runs']} patient-days a row; the time after an early end counts as spent where it came;"
        " patients resampled. Gains of the PID were searched on other days, in"
        f" {results['tuning']['seconds']:.0f} s.\n\n{table(['', *measures.values()], drawn)}"
    )


def plain(results: dict[str, Any]) -> str:
    """Any nested results as a table of dotted names."""
    rows: list[list[str]] = []

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(f"{prefix} {name}".strip(), inner)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for index, inner in enumerate(value):
                walk(f"{prefix} {index}", inner)
        else:
            rows.append([prefix, f"{value:.4g}" if isinstance(value, float) else str(value)])

    walk("", results)
    return table(["", ""], rows)


SECTIONS: tuple[tuple[str, str, Callable[[dict[str, Any]], str]], ...] = (
    ("molecules_quality", "Molecules: MOSES", quality),
    ("calibration", "Molecules: is our MOSES right?", calibration),
    ("molecules_conditions", "Molecules: what was asked and what came", conditions),
    ("sampling", "Sampling speed", sampling),
    ("training", "Training speed", plain),
    ("startup", "From the command line", startup),
    ("explanations", "Explanations", plain),
    ("names_quality", "Names", names),
    ("timelines_quality", "Timelines: the next disease, and cohorts", timelines),
    ("timelines_truth", "Timelines: the truth test", truth),
    ("timelines_weights", "Timelines: the released weights", weights),
    ("timelines_reading", "Timelines: reading a million events", reading),
    ("timelines_shift", "Timelines: patients born later", shift),
    ("diabetes_simulator", "Plans: the simulator of type-1 diabetes", diabetes),
)


def page() -> str:
    """The whole of RESULTS.md."""
    parts = [
        "# Results",
        "Generated by `make bench` from `benchmarks/results/*.json`; do not edit. Each section names its command, commit and"
        " machine. What was tried on the way stands in [docs/lab-notebook.md](docs/lab-notebook.md).",
    ]
    for suite, title, told in SECTIONS:
        content = common.read(suite)
        if content is None:
            continue
        machine, versions = content["machine"], content["versions"]
        parts.append(f"## {title}")
        parts.append(told(content["results"]))
        parts.append(
            f"`{content['command']}`, {content['date']}, commit {content['commit']}, {content['seconds']:.0f} s on"
            f" {machine['cores']} cores ({machine['processor']}), Python {machine['python']}, "
            + ", ".join(f"{name} {number}" for name, number in versions.items())
        )
    return "\n\n".join(parts) + "\n"


def write() -> None:
    """Write RESULTS.md and the measured parts of both READMEs."""
    PAGE.write_text(page(), "utf-8")
    readme.write()


if __name__ == "__main__":
    write()

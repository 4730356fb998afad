"""RESULTS.md from results/*.json. A test fails when the page is not what this makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks import common, readme
from benchmarks.report_images import images
from benchmarks.report_plans import diabetes, diabetes_plans, sepsis
from benchmarks.report_plans import weights as plans_weights
from benchmarks.report_reports import reports
from benchmarks.report_streams import streams
from benchmarks.report_tables import number, table
from benchmarks.report_timelines import reading, shift, timelines, truth, weights

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


def _row(metrics: dict[str, Any]) -> list[str]:
    return [number(metrics[name]["value"]) if name in metrics else "-" for name in COLUMNS]


def quality(results: dict[str, Any]) -> str:
    raw = results["raw"]
    dummies = common.read("molecules_dummies") or {"results": {}}
    told = f" The dummies: `{dummies['command']}`, commit {dummies['commit']}." if dummies["results"] else ""
    forbidden = results["model"].get("settings", {}).get("forbidden", 1)
    rules = f" In the loss, what SMILES forbid counted {forbidden:g} times in the last cycle." if forbidden != 1 else ""
    ours = [mean(row[name]["value"] for row in raw) if name in raw[0] else None for name in COLUMNS]
    spread = [stdev(row[name]["value"] for row in raw) if len(raw) > 1 and name in raw[0] else None for name in COLUMNS]
    rows = [
        [f"**Puji, raw draws** (mean of {len(raw)} seeds)", *map(number, ours)],
        ["standard deviation over seeds", *map(number, spread)],
        ["Puji, grammar on (`puji generate`)", *_row(results["product"])],
        *([f"dummy: {name}", *_row(metrics)] for name, metrics in dummies["results"].items()),
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
        f" {', '.join(map(str, results['protocol']['seeds']))}.{rules}{told}\n\n{table(['', *COLUMNS], rows)}\n\n{more}"
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


def explanations(results: dict[str, Any]) -> str:
    def told(found: dict[str, float], digits: int = 2) -> str:
        return f"{found['mean']:.{digits}f} ({found['low']:.{digits}f} to {found['high']:.{digits}f})"

    planted = results["planted"]
    first = [
        [
            name,
            told(row["found_first"]),
            *(told(row["faithfulness"][kind]) for kind in ("deletion_gain", "insertion_gain")),
            told(row["randomised_weights"]["signed"]),
            number(row.get("completeness", {}).get("relative_error_median")),
        ]
        for name, row in planted["methods"].items()
    ]
    second = [
        [
            "{}, `{}`".format(*name.rsplit(", ", 1)),
            told(row["agreement_with_atom_parts"]),
            *(told(row["faithfulness"][kind]) for kind in ("deletion_gain", "insertion_gain")),
            number(row.get("completeness", {}).get("relative_error_median")),
        ]
        for name, row in results["molecules"].items()
    ]
    gains = ("removing: gain over random orders", "adding: gain over random orders")
    return (
        f"Planted truth: one of {planted['tokens']} tokens decides the label, in {planted['sequences']} sequences. Gains are"
        " differences of the area under the curve of the target while tokens are taken away or put in, from the highest score"
        " on; above 0 is better than a random order. With 95 % intervals.\n\n"
        + table(
            [
                "method, what stands for no evidence",
                "found first",
                *gains,
                "correlation with randomised weights",
                "completeness error",
            ],
            first,
        )
        + "\n\nMolecules of MOSES Test, explained by the released weights; agreement is the rank correlation with what each atom"
        " adds to logP (Wildman and Crippen) or TPSA (Ertl) by definition. `puji explain` uses `<end>`.\n\n"
        + table(["property, method, token for no evidence", "agreement", *gains, "completeness error"], second)
    )


def training(results: dict[str, Any]) -> str:
    rates = results["tokens per second"]
    names = list(next(iter(rates.values())))
    rows = (
        [kind, *(f"{row[name]:,.0f}" if row[name] > 100 else number(row[name], 2) for name in names)]
        for kind, row in rates.items()
    )
    return (
        f"Non-padding tokens a second, {results['parameters']:,} parameters, {results['batch tokens']:,} tokens a step,"
        f" {results['threads']} threads; same network, data, batches, precision and compilation.\n\n"
        + table(["", *names], rows)
    )


SECTIONS: tuple[tuple[str, str, Callable[[dict[str, Any]], str]], ...] = (
    ("molecules_quality", "Molecules: MOSES", quality),
    ("calibration", "Molecules: is our MOSES right?", calibration),
    ("molecules_conditions", "Molecules: what was asked and what came", conditions),
    ("sampling", "Sampling speed", sampling),
    ("training", "Training speed", training),
    ("startup", "From the command line", startup),
    ("explanations", "Explanations", explanations),
    ("names_quality", "Names", names),
    ("timelines_quality", "Timelines: the next disease, and cohorts", timelines),
    ("timelines_truth", "Timelines: the truth test", truth),
    ("timelines_weights", "Timelines: the released weights", weights),
    ("timelines_reading", "Timelines: reading a million events", reading),
    ("timelines_shift", "Timelines: patients born later", shift),
    ("images_quality", "Images: PneumoniaMNIST", images),
    ("reports_quality", "Reports: IU X-ray", reports),
    ("sepsis", "Plans: sepsis", sepsis),
    ("plans_weights", "Plans: the released weights", plans_weights),
    ("diabetes_simulator", "Plans: the simulator of type-1 diabetes", diabetes),
    ("diabetes", "Plans: type-1 diabetes, a closed loop", diabetes_plans),
    ("streams", "Live streams", streams),
)


RELEASED = {
    **dict.fromkeys(("molecules_quality", "molecules_conditions", "sampling", "startup", "explanations"), "molecules"),
    "timelines_weights": "timelines",
    "plans_weights": "plans",
}
"""Suites that measure a released checkpoint, and which."""


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
        name = RELEASED.get(suite)
        if name and content["checkpoints"].get(name) != common.released()[name]:
            parts.append(f"**Measured with earlier weights of {name} than those released now.**")
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

"""The section of RESULTS.md on images."""

from __future__ import annotations

from statistics import mean
from typing import Any

from benchmarks.report_tables import number, table

GENERATED = ("TSTR AUC", "Frechet distance", "near copies", "distance ratio")


def _interval(one: dict[str, Any], digits: int = 3) -> str:
    if not one["n"]:  # of nothing, such as the images answered where none was
        return "-"
    told = number(one["value"], digits)
    return told if one.get("low") is None else f"{told} ({number(one['low'], digits)} to {number(one['high'], digits)})"


def _over(rows: list[dict[str, Any]], name: str, figure: str) -> str:
    """Mean over seeds of a figure of one kind of odd images."""
    values = [row["anomalies"][name].get(figure) for row in rows]
    return "-" if None in values else number(mean(values), 3)


def images(results: dict[str, Any]) -> str:
    rows, protocol = results["seeds"], results["protocol"]
    ours = [
        [
            f"**Puji** (mean of {len(rows)} seeds)",
            number(results["mean"]["AUC"], 3),
            number(results["mean"]["accuracy"], 3),
        ],
        [
            "standard deviation over seeds",
            number(results["spread"]["AUC"], 3),
            number(results["spread"]["accuracy"], 3),
        ],
        *([f"seed {row['seed']}", *(_interval(row["test"][name]) for name in ("AUC", "accuracy"))] for row in rows),
        *([name, number(auc, 3), number(accuracy, 3)] for name, (auc, accuracy) in results["rivals"].items()),
    ]
    minutes = ", ".join(f"{row['training']['minutes']:.0f}" for row in rows)
    commits = ", ".join(dict.fromkeys(row["trained at"] for row in rows))
    more_minutes = ", ".join(f"{row['minutes'] - row['training']['minutes']:.0f}" for row in rows)
    more = [
        "sensitivity",
        "specificity",
        "accuracy of the likeliest",
        "nats",
        "Brier score",
        "calibration error",
        "answered",
        "accuracy where answered",
    ]
    details = [[name, *(number(row["test"][name]["value"], 3) for row in rows)] for name in (*more, "threshold")]
    chosen = [
        ["views averaged", *(str(row["reading"]["moves"]) for row in rows)],
        ["weight of the label behind the image", *(number(row["reading"]["behind"], 2) for row in rows)],
        ["weight of Bayes", *(number(row["reading"]["before"], 3) for row in rows)],
    ]
    readings = [
        [f"validation AUC, {name}", *(number(row["validation AUC by reading"][name], 4) for row in rows)]
        for name in rows[0]["validation AUC by reading"]
    ]
    odd = [
        [name, *(_over(rows, name, one) for one in ("AUROC", "AUROC of the surprise", "unfamiliar"))]
        for name in rows[0]["anomalies"]
    ]
    figures = ("AUC", "accuracy", "sensitivity", "specificity", "answered", "accuracy where answered")
    best = next(row for row in rows if row["seed"] == results["best on validation"])
    shifted = [
        [name, *(_interval(one[figure]) for figure in figures)]
        for name, one in (("as they are", best["test"]), *results["shifted"].items())
    ]
    seconds = results["seconds"]
    first, whole = seconds["of these after loading"], seconds["puji predict images one.png"]
    times = (
        f"One image: {results['seconds an image'] * 1000:.0f} ms when the model is at work; the first one in a new process"
        f" {first:.2f} s after loading; `puji predict images one.png` {whole:.1f} s in all (median of {seconds['runs']})."
    )
    generation = results["generation"]
    sets = [
        [name, *(_interval(one[figure]) if figure in one else "-" for figure in GENERATED)]
        for name, one in generation["sets"].items()
    ]
    real = next(one for one in generation["sets"].values() if "TRTR AUC" in one)
    return (
        f"PneumoniaMNIST at 28 pixels (MedMNIST v2, CC BY 4.0): {results['data']['train']:,} training, {results['data']['val']}"
        f" validation and {results['data']['test']} test images. {results['parameters']:,} parameters,"
        f" {protocol['epochs']:g} epochs; {minutes} minutes of one thread for training, {more_minutes} for calibration, beside"
        f" other work (trained at commit {commits}; measured as released, with weights in bfloat16);"
        " weights, temperature, threshold (Youden's) and what is usual chosen on the validation part. 95 % intervals by"
        " resampling test images.\n\n"
        + table(["test", "AUC", "accuracy at the threshold"], ours)
        + "\n\n"
        + table(["on test, by seed", *(str(row["seed"]) for row in rows)], [*details, *chosen, *readings])
        + f"\n\nIn this run the test part was evaluated {len(results['test_evaluations'])} times: once per seed, and shifted with"
        f" seed {best['seed']}, the best on validation, whose figures follow. {times}\n\n"
        + table(
            [
                "images (mean over seeds)",
                "AUROC against true test images, of what `predict` goes by",
                "AUROC of the surprise alone",
                "share called unfamiliar",
            ],
            odd,
        )
        + "\n\n`predict` calls an image unfamiliar that lies farther from the middle of the validation images, in six measures"
        " jointly, than 95 % of these do (usual.py); no odd image was used to fit it.\n\n"
        + table([f"test images, shifted (seed {best['seed']})", *figures], shifted)
        + f"\n\nGeneration, {generation['samples']:,} images, seed {best['seed']}. A classifier trained on real images reaches"
        f" AUC {_interval(real['TRTR AUC'])} on the test part; Fréchet distance to the test part in"
        f" {generation['space']}; near copies: nearer to a training image than half the usual distance of a new real one. Bits"
        f" per pixel of the codes: {number(generation['bits per pixel']['value'], 3)} (test images; the codes tell them with"
        f" {number(generation['PSNR of the codes'], 1)} dB).\n\n" + table(["", *GENERATED], sets)
    )

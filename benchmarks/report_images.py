"""The section of RESULTS.md on images."""

from __future__ import annotations

from typing import Any

from benchmarks.report_tables import number, table

GENERATED = ("TSTR AUC", "Frechet distance", "near copies", "distance ratio")


def _interval(one: dict[str, Any], digits: int = 3) -> str:
    told = number(one["value"], digits)
    return told if one.get("low") is None else f"{told} ({number(one['low'], digits)} to {number(one['high'], digits)})"


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
    minutes = ", ".join(f"{row['minutes']:.0f}" for row in rows)
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
        [name, number(one.get("AUROC"), 3), number(one["unfamiliar"], 3)] for name, one in results["anomalies"].items()
    ]
    shifted = [[name, _interval(one["AUC"]), _interval(one["accuracy"])] for name, one in results["shifted"].items()]
    generation = results["generation"]
    sets = [
        [name, *(_interval(one[figure]) if figure in one else "-" for figure in GENERATED)]
        for name, one in generation["sets"].items()
    ]
    real = next(one for one in generation["sets"].values() if "TRTR AUC" in one)
    return (
        f"PneumoniaMNIST at 28 pixels (MedMNIST v2, CC BY 4.0): {results['data']['train']:,} training, {results['data']['val']}"
        f" validation and {results['data']['test']} test images. {results['parameters']:,} parameters,"
        f" {protocol['epochs']:g} epochs, {minutes} minutes; weights, temperature and threshold (Youden's) chosen"
        " on the validation part. 95 % intervals by resampling test images.\n\n"
        + table(["test", "AUC", "accuracy at the threshold"], ours)
        + "\n\n"
        + table(["on test, by seed", *(str(row["seed"]) for row in rows)], [*details, *chosen, *readings])
        + f"\n\nThe test part was evaluated {len(results['test_evaluations'])} times: once per seed, and shifted with seed"
        f" {rows[0]['seed']}. One image: {results['seconds an image'] * 1000:.0f} ms after loading.\n\n"
        + table(["test images", "AUROC of the surprise against true ones", "share called unfamiliar"], odd)
        + "\n\n"
        + table(["test images, shifted", "AUC", "accuracy"], shifted)
        + f"\n\nGeneration, {generation['samples']:,} images, seed {rows[0]['seed']}. A classifier trained on real images reaches"
        f" AUC {_interval(real['TRTR AUC'])} on the test part; Fréchet distance to the test part in"
        f" {generation['space']}; near copies: nearer to a training image than half the usual distance of a new real one. Bits"
        f" per pixel of the codes: {number(generation['bits per pixel']['value'], 3)} (test images; the codes tell them with"
        f" {number(generation['PSNR of the codes'], 1)} dB).\n\n" + table(["", *GENERATED], sets)
    )

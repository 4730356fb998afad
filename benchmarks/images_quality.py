"""PneumoniaMNIST (28 pixels): classification, what does not fit, generation; each beside dummies and the tokeniser's own ceiling.

Training, weights, temperature, threshold and what is usual see the official train and val parts only. The test part is evaluated
once per seed with what was chosen, and every evaluation stands in the results. Everything else is told of the seed that is best
on the validation part, which is the one that is released.

The trained models stay in runs/images-<seed>, as they would be released (weights in bfloat16), and a later run measures these
again: it calibrates them anew, but trains only what is not there.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

import puji
from benchmarks import common
from benchmarks.common import source, with_intervals
from puji import corpus
from puji.card import card
from puji.errors import Invalid
from puji.modalities.images import assess, calibration, metrics, phantoms, predict
from puji.modalities.images.augment import shifted
from puji.modalities.images.codebook import Codebook
from puji.modalities.images.conditions import Ask, Setup
from puji.modalities.images.draw import picture, png
from puji.modalities.images.image import Image
from puji.modalities.images.predict import Reading
from puji.modalities.images.read import read
from puji.training import calibrate, machine

FILE = "images/pneumoniamnist.npz"
SETUP: dict[str, Any] = {"size": 28, "patch": 4, "codes": 512}
SETTINGS: dict[str, Any] = {"batch_tokens": 3200, "progress": False, "compile": False}
EPOCHS = 24.0
SIZE = "micro"
KEPT = common.HERE.parent / "runs"
"""Where the trained models stay, of which one is released."""
SAMPLES = 2000
"""Generated images."""
ODD = 200
"""Test images of each kind that does not fit."""
RIVALS = {
    "logistic regression on pixels (measured)": (0.917, 0.822),
    "ResNet-18 at 28 px (arXiv 2404.15786)": (0.950, 0.831),
    "VGG16 at 28 px (same)": (0.970, 0.848),
    "DINO ViT-B/16 linear probe at 28 px (same)": (0.973, 0.866),
}
"""Test AUC and accuracy."""


def few(folder: Path, n: int) -> Path:
    """The first ``n`` images of each label and part, as a file of the same form."""
    with np.load(source(FILE)) as whole:
        arrays = dict(whole)
    for part in ("train", "val", "test"):
        labels = arrays[f"{part}_labels"][:, 0]
        chosen = np.concatenate([np.flatnonzero(labels == label)[:n] for label in (0, 1)])
        arrays |= {f"{part}_{kind}": arrays[f"{part}_{kind}"][chosen] for kind in ("images", "labels")}
    path = folder / Path(FILE).name
    np.savez(path, **arrays)
    return path


def parts(path: Path) -> dict[str, list[Image]]:
    """The official parts."""
    found: dict[str, list[Image]] = {"train": [], "val": [], "test": []}
    for raw in read(path):
        if isinstance(raw, Invalid):
            raise raw
        found[raw.content.split].append(raw.content)
    return found


def trained(path: Path, folder: Path, seed: int, epochs: float, size: str) -> tuple[Any, float]:
    """The model in ``folder``, trained if there is none, and calibrated as the code now does; the minutes of both."""
    if not folder.is_dir():
        puji.fit("images", path, epochs=epochs, seed=seed, out=folder, setup=SETUP, settings=dict(SETTINGS), size=size)
    model = puji.load(folder)
    told = model.card
    found = (told["seed"], round(told["training"]["epochs"]), model.modality.chosen)
    if found != (seed, round(epochs), Setup(**SETUP)):
        raise SystemExit(f"{folder} holds a model of other settings, {found}; remove it to train anew")
    started = time.perf_counter()
    calibrate(model, corpus.load(model.modality, path))
    model.save(folder, card=card(model))
    return puji.load(folder), told["training"]["minutes"] + (time.perf_counter() - started) / 60


def classified(model: Any, records: list[Image], name: str, log: list[dict[str, Any]]) -> dict[str, Any]:
    """One evaluation, logged where it is of test images."""
    found = with_intervals(assess.assess(model, records, Ask()).metrics)
    if records[0].split == "test":
        log.append({"what": name, "AUC": found["AUC"]["value"], "accuracy": found["accuracy"]["value"]})
    return found


def by_readings(model: Any, records: list[Image]) -> dict[str, float]:
    """Validation AUC of each reading alone."""
    behind, before, truths = calibration.readings(model, records)
    plans = {
        "label": Reading(1, 1.0, 0.0),
        "label, nine views": Reading(9, 1.0, 0.0),
        "Bayes": Reading(1, 0.0, 0.05),
        "Bayes, nine views": Reading(9, 0.0, 0.05),
        "chosen": model.modality.reading,
    }
    return {
        name: assess.auroc(plan.probabilities(behind[0], before[0])[:, 1], truths[0] == 1)
        for name, plan in plans.items()
    }


# -- what does not fit -----------------------------------------------------------------------------------------------------


def odd_ones(records: list[Image], seed: int = 0) -> dict[str, list[Image]]:
    """Images as they should not be: made of test images, or of no chest at all."""
    rng = np.random.default_rng(seed)

    def each(change: Callable[[Any], Any]) -> list[Image]:
        return [Image.of(change(record.array)) for record in records]

    def noisy(array: Any) -> Any:
        return (array + 40 * rng.standard_normal(array.shape)).clip(0, 255).astype(np.uint8)

    def foreign(place: int) -> Image:
        pixels = phantoms.lesion(rng).array.mean(2, keepdims=True).astype(np.uint8)
        return Image.of(pixels) if place % 2 else phantoms.gradient()

    return {
        "inverted": each(lambda array: 255 - array),
        "shifted by 8 pixels": each(lambda array: shifted(array, 8, 0)),
        "upside down": each(lambda array: array[::-1]),
        "noisy (standard deviation 40)": each(noisy),
        "foreign (spots on skin, ramps)": [foreign(place) for place in range(len(records))],
        "chests drawn by code": [phantoms.chest(rng, opacity=bool(place % 2)) for place in range(len(records))],
    }


def anomalies(model: Any, records: list[Image]) -> dict[str, Any]:
    """Of each kind the share that `predict` would not answer, and the AUROC against true test images: of what decides that, the
    distance from usual images, and of the surprise alone."""
    usual = _scores(model, records[:ODD])
    unfamiliar = float((_scores(model, records)["distance"] > model.modality.usual.limit).mean())
    found: dict[str, Any] = {"true test images": {"unfamiliar": unfamiliar, "n": len(records)}}
    for name, odd in odd_ones(records[:ODD]).items():
        scores = _scores(model, odd)
        positive = np.repeat([False, True], [len(usual["distance"]), len(odd)])
        areas = {one: assess.auroc(np.concatenate([usual[one], scores[one]]), positive) for one in scores}
        found[name] = {
            "AUROC": areas["distance"],
            "AUROC of the surprise": areas["surprise"],
            "unfamiliar": mean(model.familiar(record) is False for record in odd),
            "n": len(odd),
        }
    return found


def _scores(model: Any, records: list[Image]) -> dict[str, np.ndarray]:
    traits = calibration.traits_of(model, records)
    return {"distance": model.modality.usual.distances(traits), "surprise": traits[:, 0]}


def shifted_split(model: Any, records: list[Image], log: list[dict[str, Any]]) -> dict[str, Any]:
    """Test images as another machine might take them."""
    rng = np.random.default_rng(0)

    def brighter(array: Any) -> Any:
        return (array * 1.0 + 40).clip(0, 255).astype(np.uint8)

    def flatter(array: Any) -> Any:
        return ((array.astype(float) - 128) * 0.6 + 128).round().astype(np.uint8)

    def noisy(array: Any) -> Any:
        return (array + 20 * rng.standard_normal(array.shape)).clip(0, 255).astype(np.uint8)

    changes = {"40 levels brighter": brighter, "contrast 0.6": flatter, "noise of 20 levels": noisy}
    return {
        name: classified(model, [replace(one, pixels=change(one.array).tobytes()) for one in records], name, log)
        for name, change in changes.items()
    }


# -- generation ------------------------------------------------------------------------------------------------------------


def generation(model: Any, known: dict[str, list[Image]], n: int, **judged: int) -> dict[str, Any]:
    """Figures of generated images beside those of the tokeniser, of dummies, real images; ``judged``: see `metrics.compared`."""
    names = ["normal", "pneumonia"]
    train, test = (metrics.pictures(known[part], 28, 1, names) for part in ("train", "test"))
    drawn = metrics.pictures(model.generate(n, seed=0).records, 28, 1, names)
    rng = np.random.default_rng(0)
    some = rng.permutation(len(train.images))[:n]
    book: Codebook = model.modality.book
    labels = train.labels[some]
    centres = np.stack([train.images[train.labels == label].mean(0) for label in (0, 1)])
    spread = np.stack([train.images[train.labels == label].std(0) for label in (0, 1)])
    blurred = centres[labels] + spread[labels] * rng.standard_normal(train.images[some].shape)
    sets = {
        "generated": drawn,
        "real training images": metrics.Pictures(train.images[some], labels),
        "the tokeniser's ceiling (training images told in codes)": metrics.Pictures(
            book.decode(book.encode(train.images[some])), labels
        ),
        "dummy: mean of the label with noise": metrics.Pictures(blurred.clip(0, 255).astype(np.uint8), labels),
        "dummy: copies of training images with noise of 2 levels": metrics.Pictures(
            (train.images[some] + 2 * rng.standard_normal(train.images[some].shape)).clip(0, 255).astype(np.uint8),
            labels,
        ),
    }
    found = {
        name: with_intervals(metrics.compared(one, train, test, names=names, **judged)) for name, one in sets.items()
    }
    pixels = 28 * 28
    bits = -model.log_likelihood(known["test"]) / math.log(2) / pixels
    error = np.mean((book.decode(book.encode(test.images)).astype(float) - test.images) ** 2, axis=(1, 2, 3))
    return {
        "sets": found,
        "samples": n,
        "space": f"{metrics.judge.FEATURES} features of a network trained in the run on the real training images (judge.py)",
        "bits per pixel": {"value": float(bits.mean()), "n": len(bits)},
        "PSNR of the codes": float((10 * np.log10(255**2 / error)).mean()),
    }


def timed(model: Any, record: Image) -> float:
    """Seconds that one image takes, after the first."""
    model.predict(record, unfamiliar="answer")
    started = time.perf_counter()
    for _ in range(5):
        model.predict(record, unfamiliar="answer")
    return (time.perf_counter() - started) / 5


AFTER_LOAD = """
import sys, time, puji
model = puji.load(sys.argv[1])
started = time.perf_counter()
model.predict(sys.argv[2], unfamiliar="answer")
print(time.perf_counter() - started)
"""


def from_the_command_line(folder: Path, image: Image, times: int) -> dict[str, Any]:
    """Median seconds of wall time of whole processes: all of `puji predict`; and, in a process that has only loaded the model,
    reading one picture and answering."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "one.png"
        path.write_bytes(png(picture(image.array, image.size)))
        command = ["-m", "puji.cli", "predict", "images", str(path), "--model", str(folder), "--unfamiliar", "answer"]
        whole, after = [], []
        for _ in range(times):
            started = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
            whole.append(time.perf_counter() - started)
            asked = [sys.executable, "-c", AFTER_LOAD, str(folder), str(path)]
            after.append(float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout))
    return {
        "puji predict images one.png": statistics.median(whole),
        "of these after loading": statistics.median(after),
        "runs": times,
    }


def run(quick: bool, seeds: int = 3) -> dict[str, Any]:
    """Everything. Needs the benchmark inputs. ``quick``: one seed and few images."""
    chosen = [0] if quick else list(range(seeds))
    log: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path, epochs, size = (few(folder, 12), 1.0, "nano") if quick else (source(FILE), EPOCHS, SIZE)
        kept = folder if quick else KEPT
        known = parts(path)
        for seed in chosen:
            model, minutes = trained(path, kept / f"images-{seed}", seed, epochs, size)
            row = {
                "seed": seed,
                "minutes": minutes,
                "trained at": model.card["commit"],
                "training": model.card["training"],
                "reading": model.modality.reading.state(),
                "validation": classified(model, known["val"], f"seed {seed}", log),
                "validation AUC by reading": by_readings(model, known["val"]),
                "test": classified(model, known["test"], f"seed {seed}", log),
                "anomalies": anomalies(model, known["test"]),
            }
            rows.append(row)
            print(f"  seed {seed}: {minutes:.1f} min, test {log[-1]}", flush=True)
            print(f"  {json.dumps(row['anomalies'])}", flush=True)
        best = max(rows, key=lambda row: row["validation"]["AUC"]["value"])["seed"]
        model = puji.load(kept / f"images-{best}")
        more = {
            "seconds an image": timed(model, known["test"][0]),
            "seconds": from_the_command_line(kept / f"images-{best}", known["test"][0], 1 if quick else 5),
            "shifted": shifted_split(model, known["test"], log),
            "generation": generation(
                model, known, 20 if quick else SAMPLES, **({"number": 1, "steps": 2} if quick else {})
            ),
        }
    names = list(rows[0]["test"])
    return {
        "protocol": {"setup": SETUP, "settings": SETTINGS, "epochs": EPOCHS, "seeds": chosen, "size": size},
        "data": {"file": FILE, **{part: len(some) for part, some in known.items()}},
        "parameters": model.card["parameters"],
        "machine": machine(),
        "seeds": rows,
        "best on validation": best,
        "mean": {name: mean(row["test"][name]["value"] for row in rows) for name in names},
        "spread": {
            name: stdev(row["test"][name]["value"] for row in rows) if len(rows) > 1 else None for name in names
        },
        "rivals": RIVALS,
        "test_evaluations": log,
        "moves": len(predict.MOVES),
        **more,
    }

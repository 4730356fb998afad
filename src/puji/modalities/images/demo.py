"""What `puji demo` shows of images: new ones of each label; one answered, explained and drafted as a report; what does not fit;
one with a region drawn anew."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from puji import registry
from puji.files import atomic_write
from puji.findings import named
from puji.gallery import Figure, Section, sections
from puji.language import LANGUAGES, Text
from puji.modalities.images import phantoms
from puji.modalities.images.draw import WORD, answered, explained, png, sheet
from puji.modalities.images.draw import picture as enlarged
from puji.modalities.images.image import Image
from puji.modalities.images.tokens import Labels
from puji.modalities.reports.demo import DRAFTS
from puji.modalities.reports.tags import predicted
from puji.modalities.reports.write import SENTENCE_COLUMNS, Spoken, sentence_rows, spoken

PER_LABEL = 8
MOST_LABELS = 4
FILLED = 7
REGION = "0.5,0.25,1,1"
CANDIDATES = 8
TOLD = 0.9
"""Of the candidates the one whose probability is nearest to this is explained: where a model is certain, no patch matters."""
BESIDE = {"indication": "Child with fever and cough.", "findings": "pleural effusion (absent); pneumothorax (absent)"}
"""What a person would tell for the report beside the machine's finding."""


def demo(model: Any, seed: int = 0) -> list[Section]:
    """All sections; one that the model cannot do says why."""
    label, image = one(model, seed)
    makers = {
        "generated": generated,
        "answered": lambda model, seed: explanation(model, label, image),
        "reported": lambda model, seed: reported(model, image, seed),
        "unfit": lambda model, seed: unfit(model, image, seed),
        "completed": completed,
    }
    return sections("images", makers, model, seed)


def generated(model: Any, seed: int) -> Section:
    """Images of each label."""
    began = time.perf_counter()
    labels: Labels = model.modality.labels
    figures = []
    for name in labels.names[:MOST_LABELS]:
        batch = model.generate(PER_LABEL, seed=seed, label=name)
        figures.append(Figure(str(sheet(batch.records, "svg")), _name(name), wide=True))
    details = {"n": PER_LABEL * len(figures), "seconds": f"{time.perf_counter() - began:.1f}"}
    return Section(Text("images.demo.generated"), Text("images.demo.generated.note", details), figures)


def _name(label: str) -> Text:
    return Spoken(**{language: named(label, language) for language in LANGUAGES})


def one(model: Any, seed: int) -> tuple[str, Image]:
    """The last label, and a generated image of it that carries no label."""
    label = model.modality.labels.names[-1]
    records = model.generate(CANDIDATES, seed=seed + 1, label=label).records
    bare = [Image(image.pixels, image.size, image.channels) for image in records]

    def apart(image: Image) -> float:
        estimates = model.predict(image, sure=0.0, unfamiliar="answer").estimates
        return abs(float(estimates[label].value) - TOLD)

    return label, min(bare, key=apart)


def explanation(model: Any, label: str, image: Image) -> Section:
    """The probabilities, what was not expected, and what spoke for the label."""
    why = model.explain(image, target=label, method="occlusion").scores[1:-1]
    pixels, side = model.modality.standard(image), model.modality.book.side
    scores = why.reshape(side, side)
    over = {language: str(explained(pixels, scores, "svg", language, WORD)) for language in LANGUAGES}
    note = Text("images.demo.answered.note", {"label": _name(label), "n": CANDIDATES, "share": f"{TOLD:.0%}"})
    return Section(Text("images.demo.answered"), note, [_answer(model, image), Figure(over, wide=True)])


def _answer(model: Any, image: Image, caption: Text | str = "", **asked: Any) -> Figure:
    """What `predict` says of an image that is no patient's, as it is asked."""
    answer = model.predict(image, **(asked or {"sure": 0.0, "unfamiliar": "answer"}))
    pixels, surprise = model.modality.standard(image), -answer.token_log_likelihoods[1:-1]
    told = {
        language: str(answered(pixels, surprise, answer.estimates, "svg", language, WORD)) for language in LANGUAGES
    }
    return Figure(told, caption, wide=True)


def reported(model: Any, image: Image, seed: int) -> Section:
    """From the image to findings, and from these to a report, by the released model of reports."""
    began = time.perf_counter()
    found = predicted(model.predict(image, sure=0.0, unfamiliar="answer").estimates)
    reports = registry.load("reports")
    asked = {**BESIDE, "machine": found, "drafts": DRAFTS}
    report = reports.generate(1, seed=seed, conditions=asked).records[0]
    given = Spoken(**{language: "; ".join(spoken(one, language) for one in report.given) for language in LANGUAGES})
    details = {"given": given, "drafts": DRAFTS, "seconds": f"{time.perf_counter() - began:.1f}"}
    note = Text("images.demo.reported.note", details)
    return Section(Text("images.demo.reported"), note, (), sentence_rows(report), SENTENCE_COLUMNS)


def unfit(model: Any, image: Image, seed: int) -> Section:
    """What is unlike the training images gets no answer: the image upside down, and a chest drawn by code."""
    turned = Image.of(image.array[::-1])
    drawn = phantoms.chest(np.random.default_rng(seed), image.size)
    figures = [
        _answer(model, picture, Text(f"images.demo.unfit.{name}"), unfamiliar="abstain")
        for name, picture in (("turned", turned), ("drawn", Image.of(drawn.array)))
    ]
    return Section(Text("images.demo.unfit"), Text("images.demo.unfit.note"), figures)


def completed(model: Any, seed: int) -> Section:
    """One generated image of which a region is drawn anew several times."""
    image = model.generate(1, seed=seed + 2).records[0]
    with tempfile.TemporaryDirectory(prefix="puji-") as folder:
        path = Path(folder) / "image.png"
        atomic_write(path, png(enlarged(image.array, image.size)))
        batch = model.generate(FILLED, seed=seed, complete=str(path), region=REGION)
    figure = Figure(str(sheet([image, *batch.records], "svg")), wide=True)
    return Section(Text("images.demo.completed"), Text("images.demo.completed.note", {"n": FILLED}), [figure])

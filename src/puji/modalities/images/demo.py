"""What `puji demo` shows of images: new ones of each label, one answered and explained, one with a region drawn anew."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from puji.files import atomic_write
from puji.gallery import Figure, Section, sections
from puji.language import LANGUAGES, Text
from puji.modalities.images.draw import answered, explained, png, sheet
from puji.modalities.images.draw import picture as enlarged
from puji.modalities.images.image import Image
from puji.modalities.images.tokens import Labels

PER_LABEL = 8
MOST_LABELS = 4
FILLED = 8
REGION = "0.5,0.25,1,1"


def demo(model: Any, seed: int = 0) -> list[Section]:
    """All sections; one that the model cannot do says why."""
    makers = {"generated": generated, "answered": explanation, "completed": completed}
    return sections("images", makers, model, seed)


def generated(model: Any, seed: int) -> Section:
    """Images of each label."""
    began = time.perf_counter()
    labels: Labels = model.modality.labels
    asked = [{"label": name} for name in labels.names[:MOST_LABELS]] or [{}]
    figures = []
    for one in asked:
        batch = model.generate(PER_LABEL, seed=seed, **one)
        figures.append(Figure(str(sheet(batch.records, "svg")), one.get("label", ""), wide=True))
    details = {"n": PER_LABEL * len(asked), "seconds": f"{time.perf_counter() - began:.1f}"}
    return Section(Text("images.demo.generated"), Text("images.demo.generated.note", details), figures)


def explanation(model: Any, seed: int) -> Section:
    """A generated image of the last label: the probabilities, what was not expected, and what spoke for the label."""
    label = model.modality.labels.names[-1]
    image = model.generate(1, seed=seed + 1, label=label).records[0]
    bare = Image(image.pixels, image.size, image.channels)
    answer = model.predict(bare, sure=0.0, unfamiliar="answer")
    found = model.explain(bare, target=label, method="occlusion")
    pixels, book = model.modality.standard(bare), model.modality.book
    scores = found.scores[1:-1].reshape(book.side, book.side)
    surprise = -answer.token_log_likelihoods[1:-1]
    told = {language: str(answered(pixels, surprise, answer.estimates, "svg", language)) for language in LANGUAGES}
    why = {language: str(explained(pixels, scores, "svg", language)) for language in LANGUAGES}
    note = Text("images.demo.answered.note", {"label": label})
    return Section(Text("images.demo.answered"), note, [Figure(told, wide=True), Figure(why, wide=True)])


def completed(model: Any, seed: int) -> Section:
    """One generated image of which a region is drawn anew several times."""
    image = model.generate(1, seed=seed + 2).records[0]
    with tempfile.TemporaryDirectory(prefix="puji-") as folder:
        path = Path(folder) / "image.png"
        atomic_write(path, png(enlarged(image.array, image.size)))
        batch = model.generate(FILLED, seed=seed, complete=str(path), region=REGION)
    figure = Figure(str(sheet([image, *batch.records], "svg")), wide=True)
    return Section(Text("images.demo.completed"), Text("images.demo.completed.note", {"n": FILLED}), [figure])

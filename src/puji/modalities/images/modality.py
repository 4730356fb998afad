"""Medical images as sequences of patch codes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel

from puji.errors import Invalid
from puji.language import translate
from puji.modalities.images import calibration, conditions, predict, views
from puji.modalities.images.augment import Augmentation
from puji.modalities.images.codebook import Codebook, Pixels
from puji.modalities.images.grammar import ImageGrammar
from puji.modalities.images.image import Image, cleaned_label, cleaned_labels, coloured, resized, revived
from puji.modalities.images.predict import Reading
from puji.modalities.images.read import read, read_one
from puji.modalities.images.tokens import AROUND, FIXED, HOLE, IMAGE, Labels, code_of, patch_token
from puji.modalities.images.usual import ENOUGH, FEWEST, Usual, traits
from puji.modality import (
    END,
    Answer,
    Assessment,
    Candidates,
    Estimate,
    Grammar,
    Metric,
    Modality,
    Piece,
    Raw,
    View,
)

MOST_LEARNED = 5000
"""Training images from which codes are learned, each as it is and once changed."""


class Images(Modality[Image]):
    """Small pictures, grey or in colour: what they show, where it shows, what does not fit; and new ones."""

    name: ClassVar[str] = "images"
    shown_by: ClassVar[str] = "puji.modalities.images.demo"
    start: ClassVar[str] = IMAGE
    size: ClassVar[str] = "micro"
    context: ClassVar[int] = 128
    Conditions: ClassVar[type[BaseModel]] = conditions.Conditions
    Ask: ClassVar[type[BaseModel]] = conditions.Ask
    Setup: ClassVar[type[BaseModel]] = conditions.Setup
    lossless: ClassVar[bool] = False
    tolerance: ClassVar[float] = 16.0
    """Root of the mean squared error of a grey level, of 255 (24 dB)."""
    neutral: ClassVar[str] = HOLE
    formats: ClassVar[tuple[str, ...]] = (".dcm", ".npz")
    notes: ClassVar[tuple[str, ...]] = ("puji.research_use",)
    settings: ClassVar[Mapping[str, Any]] = {"dropout": 0.1}

    def __init__(self) -> None:
        self.chosen = conditions.Setup()
        self.book = Codebook.plain()
        self.labels = Labels()
        self.reading = Reading()
        self.usual: Usual | None = None
        self.learned = self.held_out = ENOUGH
        """Images that the model learned from, and by which it knows what is unlike them."""
        self._completing: tuple[conditions.Conditions, list[str | None]] | None = None

    # -- step 1: preprocess ------------------------------------------------------------------------------------------

    def read(self, source: Path) -> Iterator[Raw | Invalid]:
        """DICOM, PNG, JPEG, BMP, TIFF, NIfTI; a folder of them by class; a table of paths and labels; MedMNIST's .npz."""
        return read(source)

    def preprocess(self, raw: Raw) -> Image:
        """An image, or its JSON."""
        if isinstance(raw.content, Image):
            return raw.content
        if isinstance(raw.content, str):
            return revived(raw.content)
        raise Invalid("images.dump")

    def parse(self, text: str) -> Image:
        """A picture by its path ("scan.dcm", "scan.dcm#3" for the third frame), or its JSON."""
        return revived(text) if text.lstrip().startswith("{") else read_one(text.strip())

    def group(self, record: Image) -> str:
        """The patient; where nobody told, the picture, whatever its labels."""
        return record.subject or hashlib.sha256(record.pixels).hexdigest()

    def part(self, record: Image) -> str | None:
        """What the data say: MedMNIST's files and folders named train, val and test."""
        return {"train": "training", "val": "held_out", "test": "apart"}.get(record.split)

    # -- step 2: encode ----------------------------------------------------------------------------------------------

    def set_up(self, chosen: BaseModel) -> None:
        """Take size, patch, codes, colour and mirror."""
        if isinstance(chosen, conditions.Setup):
            self.chosen = chosen
            self._take(Codebook.plain(chosen.patch, chosen.size, 3 if chosen.colour else 1))

    def _take(self, book: Codebook) -> None:
        self.book = book
        # Filling a hole tells an image twice.
        self.context = 2 * book.length + 64  # type: ignore[misc]

    def standard(self, record: Image) -> Pixels:
        """(size, size, channels) as the codebook has them."""
        return coloured(resized(record.array, self.book.size), self.book.channels)

    def learn(self, records: Sequence[Image]) -> None:
        """The labels and the codes."""
        self.labels = Labels.learn(record.labels for record in records)
        self.learned = len(records)
        rng = np.random.default_rng(0)
        some = rng.permutation(len(records))[:MOST_LEARNED]
        images = np.stack([self.standard(records[index]) for index in some])
        changed = np.stack([self.augmentation(image, rng) for image in images])
        self._take(Codebook.learn(np.concatenate([images, changed]), self.chosen.patch, self.chosen.codes))

    @property
    def augmentation(self) -> Augmentation:
        """How training images are changed."""
        return Augmentation(mirror=self.chosen.mirror)

    def calibrate(self, model: Any, records: Sequence[Image]) -> None:
        """What usual images are like, and how likelihoods become probabilities, from held-out images; see calibration.py."""
        self.held_out = len(records)
        self.usual = Usual.learn(calibration.traits_of(model, records)) if len(records) >= FEWEST else None
        self.reading = calibration.reading_of(model, records) or self.reading

    def state(self) -> dict[str, Any]:
        """The setup, codes, labels and calibration."""
        usual = {} if self.usual is None else {"usual": self.usual.state()}
        return {
            "setup": self.chosen.model_dump(),
            "book": {name: value for name, value in self.book.state().items() if name != "centres"},
            "centres": self.book.centres,
            "labels": self.labels.state(),
            "reading": self.reading.state(),
            "learned": self.learned,
            "held_out": self.held_out,
            **usual,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        self.chosen = conditions.Setup(**state["setup"])
        self._take(Codebook.restored({**state["book"], "centres": state["centres"]}))
        self.labels = Labels.restored(state["labels"])
        self.reading = Reading(**state["reading"])
        self.usual = Usual.restored(state["usual"]) if "usual" in state else None
        # The released weights tell neither number: their `usual` counted the held-out images.
        self.held_out = int(state.get("held_out", 0 if self.usual is None else self.usual.n))
        self.learned = int(state.get("learned", self.held_out))

    def tokens(self) -> list[str]:
        """The fixed tokens, the labels, the patch codes."""
        return [*FIXED, *self.labels.tokens(), *map(patch_token, range(self.book.codes))]

    def encode(self, record: Image) -> list[str]:
        """`IMAGE`, the patches row by row, END. Labels stand before or behind, see tokens.py."""
        return views.body(self.book, self.standard(record))

    def familiar(self, record: Image, logprobs: np.ndarray) -> bool | None:
        """Whether it lies as near to held-out images as most of these do, in all that is measured of it; see usual.py."""
        if self.usual is None:
            return None
        found = traits(self.book, self.standard(record)[None], -logprobs[None, 1:-1])
        return bool(self.usual.distances(found)[0] <= self.usual.limit)

    def views(self, record: Image, rng: np.random.Generator) -> Iterator[View]:
        """One view: labels behind, labels in front, or a hole to fill."""
        told = self.labels.known(record.labels)
        yield views.view(self.book, self.labels, self.standard(record), told, self.augmentation, rng)

    # -- step 4: decode ----------------------------------------------------------------------------------------------

    def describe(self, record: Image) -> conditions.Conditions:
        """The labels as conditions."""
        return conditions.Conditions(label="; ".join(record.labels) if record.labels else None)

    def prompt(self, asked: BaseModel, rng: np.random.Generator) -> list[str]:
        """The labels asked for, else some as training images have them; what is around a hole; `IMAGE`."""
        wanted = _conditions(asked)
        front = self.labels.front(self._wanted(wanted, rng))
        if wanted.complete is None:
            return [*front, IMAGE]
        return [*front, AROUND, *(token or HOLE for token in self._kept(wanted)), IMAGE]

    def _wanted(self, wanted: conditions.Conditions, rng: np.random.Generator) -> tuple[str, ...] | None:
        if wanted.label is not None:
            labels = cleaned_labels(wanted.label)
            if unknown := [label for label in labels if label not in self.labels.names]:
                known = ", ".join(self.labels.names) or "-"
                raise Invalid("images.unknown_label", source="--label", label=unknown[0], known=known)
            if self.labels.exclusive and len(labels) > 1:
                raise Invalid("images.one_label", source="--label", n=len(labels))
            return labels
        if not self.labels.common or wanted.complete is not None:
            return None
        counts = np.array([count for _, count in self.labels.common], float)
        return self.labels.common[int(rng.choice(len(counts), p=counts / counts.sum()))][0]

    def _kept(self, wanted: conditions.Conditions) -> list[str | None]:
        """The tokens of the image to complete, None in the region."""
        if wanted.complete is None:
            if wanted.region is not None:
                raise Invalid("images.region_alone", source="--region")
            return [None] * self.book.length
        if self._completing is None or self._completing[0] != wanted:  # one file for all rows that are drawn
            hidden = views.region(self.book.side, conditions.region_of(wanted.region))
            tokens = self.encode(read_one(wanted.complete))[1:-1]
            kept = [None if gone else token for token, gone in zip(tokens, hidden.tolist(), strict=True)]
            self._completing = wanted, kept
        return self._completing[1]

    def grammar(self, asked: BaseModel) -> Grammar:
        """As many patches as an image has; kept ones where a picture is completed."""
        return ImageGrammar([patch_token(code) for code in range(self.book.codes)], self._kept(_conditions(asked)))

    def warnings(self, asked: BaseModel) -> list[Invalid]:
        """That the images are synthetic."""
        return [Invalid("images.notice")]

    def question(self, record: Image, ask: BaseModel) -> Candidates:
        """The probability of each label; see predict.py. Raises Invalid where no label was learned."""
        wanted = ask if isinstance(ask, conditions.Ask) else conditions.Ask()
        if not self.labels.questions():
            raise Invalid("images.no_labels")
        reading = self.reading
        asked, sorted_out = predict.candidates(
            self.book, self.labels, self.standard(record), reading.moves, bool(reading.before)
        )

        def answer(found: np.ndarray) -> Mapping[str, Estimate]:
            return predict.estimates(self.labels, reading, sorted_out(found), wanted.sure)

        return Candidates(asked, answer)

    def target(self, record: Image, name: str) -> tuple[list[str], dict[str, float]]:
        """The image, and the answers to the question that ``name`` is one of. Raises Invalid for an unknown label."""
        for number, tokens in enumerate(self.labels.questions()):
            for label, place in self.labels.estimates(number, tokens):
                if label == cleaned_label(name):
                    return self.encode(record), {token: float(other == place) for other, token in enumerate(tokens)}
        known = ", ".join(self.labels.names) or "-"
        raise Invalid("images.unknown_label", source="--target", label=name[:40], known=known)

    def pieces(self, record: Image, tokens: Sequence[str]) -> list[Piece]:
        """The patches, named by their row and column."""
        return [
            Piece(f"{place // self.book.side + 1}:{place % self.book.side + 1}", (place + 1,))
            for place in range(self.book.length)
        ]

    # -- step 5: postprocess -----------------------------------------------------------------------------------------

    def postprocess(self, tokens: Sequence[str], prompt: Sequence[str] = ()) -> Image:
        """The image that the patches tell, with the labels of the prompt. Raises Invalid."""
        told = list(tokens)
        if IMAGE in told:
            told = told[told.index(IMAGE) + 1 :]
        told = told[: told.index(END)] if END in told else told
        codes = [code_of(token) for token in told]
        known = [code for code in codes if code is not None and code < self.book.codes]
        if len(known) != len(codes):
            raise Invalid("images.tokens")
        if len(known) != self.book.length:
            raise Invalid("images.length", n=len(known), length=self.book.length)
        pixels = self.book.decode(np.array([known]))[0]
        return Image.of(pixels, self.labels.named(prompt))

    def accept(self, record: Image, asked: BaseModel) -> Image:
        """Refuses another label than asked."""
        label = _conditions(asked).label
        if label is not None and record.labels != cleaned_labels(label):
            raise Invalid("images.not_as_asked")
        return record

    def distance(self, record: Image, other: Image) -> float:
        """Root of the mean squared difference of their grey levels, both as the codebook has them."""
        difference = self.standard(record).astype(float) - self.standard(other)
        return float(np.sqrt((difference**2).mean()))

    def row(self, record: Image, asked: BaseModel | None = None) -> dict[str, Any]:
        """The labels, size and mean grey level; a picture is nothing for a table: .npz, .dcm and .png hold it."""
        return {
            "labels": None if record.labels is None else "; ".join(record.labels),
            "size": record.size,
            "channels": record.channels,
            "mean": round(float(record.array.mean()), 1),
        }

    def dump(self, record: Image) -> str:
        """One line of JSON."""
        return record.dump()

    def beside(self, record: Image) -> str:
        """Its size and labels: nobody reads pixels in a table."""
        told = f"{record.size} x {record.size}"
        return told if record.labels is None else f"{told}, {'; '.join(record.labels)}"

    def revive(self, line: str) -> Image:
        """Inverse of `dump`."""
        return revived(line)

    def write(self, records: Sequence[Image], rows: Sequence[Mapping[str, Any]], target: Path) -> None:
        """Write a DICOM Secondary Capture (one frame an image), or arrays, marked as synthetic."""
        from puji.modalities.images.write import write

        write(records, rows, target)

    def figure(self, records: Sequence[Image], rows: Sequence[Mapping[str, Any]], kind: str) -> str | bytes:
        """The images in a grid, marked as synthetic."""
        from puji.modalities.images.draw import sheet

        return sheet(records, kind)

    def render(self, record: Image) -> dict[str, str | bytes]:
        """The image as PNG, and its labels."""
        from puji.modalities.images.draw import one

        return {"text/plain": "; ".join(record.labels or ()) or "-", "image/png": one(record)}

    def render_answer(self, record: Image, answer: Answer) -> dict[str, str | bytes]:
        """The image, how little each patch was expected, and the probabilities."""
        from puji.modalities.images.draw import answered

        surprise = None if answer.token_log_likelihoods is None else -np.asarray(answer.token_log_likelihoods)[1:-1]
        pixels = self.standard(record)
        return {
            "image/svg+xml": answered(pixels, surprise, answer.estimates, "svg"),
            "image/png": answered(pixels, surprise, answer.estimates, "png"),
        }

    def remarks(self, record: Image, answer: Answer) -> list[str]:
        """That too few images say what is unlike them, where that is so."""
        if self.held_out >= ENOUGH:
            return []
        return [translate("images.few_learned", learned=self.learned, held_out=self.held_out, enough=ENOUGH)]

    def render_explanation(
        self, record: Image, tokens: Sequence[str], scores: np.ndarray, attention: np.ndarray | None = None
    ) -> dict[str, str | bytes]:
        """The image under a map of what spoke for the label (red) and against it (blue)."""
        from puji.modalities.images.draw import explained

        found = scores[1 : 1 + self.book.length].reshape(self.book.side, self.book.side)
        pixels = self.standard(record)
        return {"image/svg+xml": explained(pixels, found, "svg"), "image/png": explained(pixels, found, "png")}

    def metrics(
        self,
        samples: Sequence[Raw | Invalid],
        references: Mapping[str, Sequence[Raw | Invalid]],
        step: Callable[[int, int], None] = lambda done, total: None,
    ) -> dict[str, Metric]:
        """How like the reference images the samples are, what a classifier learns from them, and how near they come."""
        from puji.modalities.images.metrics import image_metrics

        return image_metrics(samples, references, step)

    def assess(
        self,
        model: Any,
        records: Sequence[Image],
        ask: BaseModel,
        step: Callable[[int, int], None] = lambda done, total: None,
    ) -> Assessment:
        """AUC, accuracy, sensitivity and specificity, calibration; of the test images where the data say which they are."""
        from puji.modalities.images.assess import assess

        return assess(model, records, ask if isinstance(ask, conditions.Ask) else conditions.Ask(), step)


def _conditions(given: BaseModel) -> conditions.Conditions:
    return given if isinstance(given, conditions.Conditions) else conditions.Conditions()

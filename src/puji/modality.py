"""The one abstraction: a kind of medical record, told as a sequence.

Every sequence has the same shape, whatever the record:

    conditions ... <record> body ... <end> answers ...

Generation is prompted with the conditions and stops at ``<end>``. Prediction shows the model a whole record and compares
what could stand after ``<end>``. The same weights learn both, because training shows both (`Modality.views`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import numpy as np
from pydantic import BaseModel

from puji.errors import Invalid
from puji.language import Text, worded
from puji.questions import (
    SPELLED,
    Answer,
    Assessment,
    Candidate,
    Candidates,
    Estimate,
    Futures,
    Grammar,
    Metric,
    Nothing,
    Piece,
    Question,
)

Record = TypeVar("Record")

END = "<end>"
"""The token that ends every record; generation stops at it."""


@dataclass(frozen=True)
class Raw:
    """What a file holds, not yet checked: one whole subject (molecule, patient, image) and where it stood."""

    content: Any
    source: str = ""
    line: int | None = None


@dataclass(frozen=True)
class View:
    """One training sequence of a record.

    ``weights[i]`` is the loss weight of predicting ``tokens[i]`` (0 for what is only read, such as conditions);
    None means 1 everywhere.
    """

    tokens: Sequence[str]
    weights: Sequence[float] | None = None


class Modality(ABC, Generic[Record]):
    """One kind of medical record, told as a sequence. Subclass it to teach Puji a new kind.

    Only `read`, `preprocess`, `tokens`, `encode` and `postprocess` must be written; the rest has defaults.
    """

    name: ClassVar[str]
    """The name on the command line and in the checkpoint, e.g. "molecules"."""
    version: ClassVar[int] = 1
    """Version of the grammar: a checkpoint made with another one is refused."""
    start: ClassVar[str]
    """The token that opens the body of a record, e.g. "<mol>"."""
    splitter: ClassVar[str] = r"<[^<>\s]+>|\s+|[^\s<]+"
    """Regular expression that cuts the text of a sequence into tokens, for the exported tokenizer.json."""
    size: ClassVar[str] = "small"
    """The engine size trained by default."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """Fields of `puji.engine.settings.Settings` that training begins with, unless it is told others."""
    context: ClassVar[int] = 256
    """The longest sequence the model sees at once, in tokens; longer records pass through a sliding window."""
    temperature: ClassVar[float] = 1.0
    """At which records are drawn unless another is asked for; 1: the model's own distribution."""
    longest: ClassVar[int | None] = None
    """The most tokens of a generated record; None: the context."""
    Conditions: ClassVar[type[BaseModel]] = Nothing
    """What a user may ask of generation: becomes command-line options."""
    Ask: ClassVar[type[BaseModel]] = Nothing
    """What a user may ask of prediction. Where its field ``unfamiliar`` is "abstain", a record that is unlike the training data
    gets no estimates."""
    Setup: ClassVar[type[BaseModel]] = Nothing
    """What a user may decide before a new model learns: becomes options of ``puji fit``."""
    lossless: ClassVar[bool] = True
    """False where encoding quantises (images, lab values); then `distance` measures the error against `tolerance`."""
    tolerance: ClassVar[float] = 0.0
    datasets: ClassVar[Mapping[str, Callable[[], Path]]] = {}
    """Public data that ``puji data get`` brings: name -> function that fetches it and gives its path."""
    neutral: ClassVar[str] = END
    """The token that stands for "nothing told here" when an explanation takes evidence away: one that training showed often."""
    formats: ClassVar[tuple[str, ...]] = ()
    """File name endings of the field's own formats that `write` knows, beside or instead of csv, jsonl and parquet."""

    rounds: int = 1
    """Times that the network is trained in one fit, see `portions` and `relabel`."""
    shown_by: ClassVar[str] = ""
    """The module whose ``demo(model, seed)`` gives the sections that ``puji demo`` shows; "": a few records are drawn."""
    notes: ClassVar[tuple[str, ...]] = ()
    """Message keys of what stands beside every answer."""
    answer_formats: ClassVar[tuple[str, ...]] = ()
    """File name endings of the field's own formats that `tell_answers` knows."""

    @classmethod
    def kind_of_record(cls) -> type:
        """``Record``, as the class line names it: ``class Names(Modality[Name])``."""
        for base in (base for one in cls.__mro__ for base in getattr(one, "__orig_bases__", ())):
            if get_origin(base) is Modality and isinstance(found := get_args(base)[0], type):
                return found
        return object

    # -- step 1: preprocess ------------------------------------------------------------------------------------------

    @abstractmethod
    def read(self, source: Path) -> Iterator[Raw | Invalid]:
        """Yield what the file or folder ``source`` holds, one whole subject at a time; what cannot be read as Invalid."""

    @abstractmethod
    def preprocess(self, raw: Raw) -> Record:
        """Clean and standardise. Idempotent on its own results. Raises Invalid."""

    def group(self, record: Record) -> str:
        """What a split must keep together (patient, scaffold): records of one group are all trained on or all held out."""
        return repr(record)

    def part(self, record: Record) -> str | None:
        """What the data say a record is for: "training", "held_out" or "apart" (neither: a test set); None: they do not."""
        return None

    # -- step 2: encode ----------------------------------------------------------------------------------------------

    def set_up(self, chosen: BaseModel) -> None:
        """Take what the user decided (`Setup`), before anything is learned. Raises Invalid."""

    def learn(self, records: Sequence[Record]) -> None:
        """Learn what belongs in the checkpoint (codebooks, quantile edges) from training records; see `state`."""

    def prepare(self, records: Sequence[Record]) -> None:
        """Index the training records, to pair similar ones or to tell how near a new one is; also when fine-tuning."""

    def calibrate(self, model: Any, records: Sequence[Record]) -> None:
        """Learn from held-out records how ``model`` (a `puji.Model` that was just trained) is to be read; see `state`."""

    def state(self) -> dict[str, Any]:
        """What `learn` and `calibrate` learned, as JSON values and numpy arrays."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""

    @abstractmethod
    def tokens(self) -> list[str]:
        """All tokens, in a fixed order, without padding and bytes, which the vocabulary adds. Includes END and `start`."""

    @abstractmethod
    def encode(self, record: Record) -> list[str]:
        """The body of the record as tokens, from `start` to END."""

    def telling(self, record: Record) -> list[str]:
        """The tokens whose likelihood says how familiar the record is. Default: all of `encode`."""
        return self.encode(record)

    def familiar(self, record: Record, logprobs: np.ndarray) -> bool | None:
        """Whether a record is like the training data by what is known of it and by the natural-log probabilities ``logprobs`` of
        the tokens of `telling`, (n_tokens,), 0 for the first. None: their mean decides, see `Model.measure_familiarity`."""
        return None

    def excerpt(self, record: Record, rng: np.random.Generator) -> Record:
        """A record of the kind that people ask about, from a whole one: what is familiar is learned from these."""
        return record

    def views(self, record: Record, rng: np.random.Generator) -> Iterator[View]:
        """The training sequences of a record: directions, augmentation, relabelling. Default: `encode` alone."""
        yield View(self.encode(record))

    def pool(self, records: Sequence[Record], training: bool = True) -> Sequence[View] | None:
        """All training sequences at once, where records repeat each other so much that equal sequences are learned as one, with
        the sum of their weights. ``training``: False for those that the loss is watched by. Default: None, that is `views`."""
        return None

    def portions(self) -> list[float]:
        """Of the budget of training that each of the `rounds` gets. Default: equal ones."""
        return [1 / self.rounds] * self.rounds

    def relabel(self, model: Any) -> bool:
        """Called between two of the `rounds` of training with the ``model`` (a `puji.Model`) as it then is, whose word may change
        what `pool` and `views` tell from then on. False ends training."""
        return True

    # -- step 4: decode ----------------------------------------------------------------------------------------------

    def describe(self, record: Record) -> BaseModel:
        """The conditions that this record fulfils: the inverse of `prompt`."""
        return self.Conditions()

    def prompt(self, conditions: BaseModel, rng: np.random.Generator) -> list[str]:
        """The tokens that generation starts from, up to and including `start`.

        ``rng`` is the row's own: a range may be answered by drawing from it. Raises Invalid if no record can fulfil the
        conditions.
        """
        return [self.start]

    def header(self, tokens: Sequence[str]) -> int:
        """How many leading tokens of a prompt or a whole sequence stay in view when the window slides.

        Default: up to and including `start`.
        """
        return tokens.index(self.start) + 1 if self.start in tokens else 0

    def grammar(self, conditions: BaseModel) -> Grammar | None:
        """What may follow what; None: anything."""
        return None

    def target(self, record: Record, name: str) -> tuple[list[str], dict[str, float]]:
        """What `Model.explain` explains under ``name``: a sequence, and the tokens that may follow it with their values.

        Raises Invalid for a name that this modality does not predict.
        """
        raise Invalid("explain.none", modality=self.name, name=name)

    def pieces(self, record: Record, tokens: Sequence[str]) -> list[Piece]:
        """What an explanation of ``tokens`` (those of `target`) tells as one thing. Default: each token."""
        return [Piece(token, (place,)) for place, token in enumerate(tokens)]

    def question(self, record: Record, ask: BaseModel) -> Question:
        """What to compare or sample in order to answer ``ask`` about ``record``. Raises Invalid if it cannot be asked."""
        raise Invalid("predict.none", modality=self.name)

    def evidence(self, record: Record, ask: BaseModel) -> Record:
        """The part of ``record`` that a model sees when it is asked ``ask``. Default: all of it."""
        return record

    # -- step 5: postprocess -----------------------------------------------------------------------------------------

    @abstractmethod
    def postprocess(self, tokens: Sequence[str], prompt: Sequence[str] = ()) -> Record:
        """The record that the body ``tokens`` (with or without `start` and END) tell. Raises Invalid.

        ``prompt`` is what generation started from; kept parts of the record may stand there.
        """

    def accept(self, record: Record, conditions: BaseModel) -> Record:
        """A generated record as it was asked for: itself, by default, or cut to what was asked.

        Raises Invalid if it does not keep a condition that must be kept.
        """
        return record

    def drafts(self, conditions: BaseModel) -> int:
        """How many records are drawn for each that `choose` makes of them."""
        return 1

    def choose(self, drafts: Sequence[Record], conditions: BaseModel) -> tuple[int | None, Record]:
        """The record made of accepted ``drafts`` (at least one), and before it the place of the one it is (None: of none)."""
        return 0, drafts[0]

    def distance(self, record: Record, other: Record) -> float:
        """Error of ``other`` as an encoding of ``record``, compared with `tolerance` where not `lossless`."""
        return 0.0 if record == other else float("inf")

    def row(self, record: Record, conditions: BaseModel | None = None) -> dict[str, Any]:
        """The record as one row of a table, with what people want to know about it.

        ``conditions``: what was asked for where it was generated, so that the row can say how well that was met.
        """
        return {self.name: str(record)}

    @classmethod
    def wording(cls, column: str, value: str) -> Text:
        """What people read in a table where ``column`` holds the text ``value``, which files keep.

        In the column "column" stand the names of columns themselves, in "predicted" those of estimates, in "metric" those of
        figures of merit. Default: the message ``<name>.<column>.<value>`` where there is one.
        """
        condition = [f"{cls.name}.conditions.{value}.label"] if column in ("column", "predicted") else []
        return worded(value, f"{cls.name}.{column}.{value}", *condition)

    def dump(self, record: Record) -> str:
        """The record as one line of text, for the cache of cleaned records. See `revive`."""
        return str(record)

    def beside(self, record: Record) -> str:
        """The record as it stands beside its answer in a table. Default: `dump`."""
        return self.dump(record)

    def revive(self, line: str) -> Record:
        """Inverse of `dump`; trusts its input, so it may skip what `preprocess` checks."""
        return self.preprocess(Raw(line))

    def parse(self, text: str) -> Record:
        """A record from what a person types. Raises Invalid."""
        return self.preprocess(Raw(text.strip()))

    def write(self, records: Sequence[Record], rows: Sequence[Mapping[str, Any]], target: Path) -> None:
        """Write ``records`` in the field's own format, by the ending of ``target``.

        ``rows``: of each record what `row` says, and its origin, which the format is to carry along.
        """
        raise Invalid("write.format", source=str(target), formats=", ".join(self.formats))

    def figure(self, records: Sequence[Record], rows: Sequence[Mapping[str, Any]], kind: str) -> str | bytes:
        """One picture of many records, with their `row` and origin: SVG text (``kind`` "svg") or PNG bytes ("png")."""
        raise Invalid("write.figure", modality=self.name)

    def warnings(self, conditions: BaseModel) -> list[Invalid]:
        """What a user should know about the conditions before reading the result; not a reason to refuse them."""
        return []

    def render(self, record: Record) -> dict[str, str | bytes]:
        """MIME type -> picture or text of the record."""
        return {"text/plain": str(record)}

    def render_answer(self, record: Record, answer: Answer) -> dict[str, str | bytes]:
        """MIME type -> picture of what `Model.predict` said about a record."""
        return {}

    def remarks(self, record: Record, answer: Answer) -> list[str]:
        """What people should read below the estimates of one record, in the current language."""
        return []

    def tell_answers(self, pairs: Iterable[tuple[Record, Answer]], target: Path) -> Iterator[str]:
        """Answers in the field's own format, by the ending of ``target``, as pieces of text."""
        raise Invalid("write.format", source=str(target), formats=", ".join(self.answer_formats))

    def render_explanation(
        self, record: Record, tokens: Sequence[str], scores: np.ndarray, attention: np.ndarray | None = None
    ) -> dict[str, str | bytes]:
        """MIME type -> picture of what drove an answer.

        ``scores``: one number per token, shape (len(tokens),); ``attention``: from row to column, shape
        (len(tokens), len(tokens)).
        """
        return {}

    def metrics(
        self,
        samples: Sequence[Raw | Invalid],
        references: Mapping[str, Sequence[Raw | Invalid]],
        step: Callable[[int, int], None] = lambda done, total: None,
    ) -> dict[str, Metric]:
        """The field's benchmark; scores samples from anywhere, not only ours, as `read` gives them.

        ``step``: called with how many are done, of how many, in each part of work that takes long.
        """
        return {}

    def compare(
        self, samples: Sequence[Raw | Invalid], references: Mapping[str, Sequence[Raw | Invalid]]
    ) -> Sequence[Any]:
        """Pictures (`puji.gallery.Figure`) that go with `metrics` in a report."""
        return ()

    def verdict(self, metrics: Mapping[str, Metric]) -> Sequence[Any]:
        """What ``metrics`` mean in plain words: sections (`puji.gallery.Section`) that stand at the top of a report."""
        return ()

    def assess(
        self,
        model: Any,
        records: Sequence[Record],
        ask: BaseModel,
        step: Callable[[int, int], None] = lambda done, total: None,
    ) -> Assessment:
        """What ``model`` (a `puji.Model`) predicts of ``records``, which it was not trained on, against what is true.

        ``step``: called with how many records are done, of how many. Raises Invalid where nothing is predicted.
        """
        raise Invalid("predict.none", modality=self.name)


__all__ = [
    "END",
    "SPELLED",
    "Answer",
    "Assessment",
    "Candidate",
    "Candidates",
    "Estimate",
    "Futures",
    "Grammar",
    "Metric",
    "Modality",
    "Nothing",
    "Piece",
    "Question",
    "Raw",
    "Record",
    "View",
]

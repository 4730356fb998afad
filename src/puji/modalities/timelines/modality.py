"""Patient timelines as sequences of codes, values and times."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel

from puji.errors import Invalid
from puji.language import Text, current, translate
from puji.modalities.timelines import clock, conditions, future, views
from puji.modalities.timelines.codebook import NONE, Codebook
from puji.modalities.timelines.codes import load_mapping
from puji.modalities.timelines.cohort import Cohort
from puji.modalities.timelines.grammar import TimelineGrammar
from puji.modalities.timelines.parse import already_born, checked, typed
from puji.modalities.timelines.risk import risk_assessments
from puji.modalities.timelines.sources import read
from puji.modalities.timelines.timeline import DEATH, YEAR, Timeline, revived
from puji.modalities.timelines.tokens import (
    HEADER,
    SEEN,
    SEXES,
    START,
    body,
    born_token,
    fixed_tokens,
    history,
    parsed,
)
from puji.modalities.timelines.write import FORMATS, write
from puji.modality import Answer, Assessment, Futures, Grammar, Metric, Modality, Piece, Question, Raw, View
from puji.options import Range


class Timelines(Modality[Timeline]):
    """Patients: what happened to them at which age, and what may happen next."""

    name: ClassVar[str] = "timelines"
    shown_by: ClassVar[str] = "puji.modalities.timelines.demo"
    start: ClassVar[str] = START
    size: ClassVar[str] = "micro"
    context: ClassVar[int] = 512
    longest: ClassVar[int | None] = 8192
    Conditions: ClassVar[type[BaseModel]] = conditions.Conditions
    Ask: ClassVar[type[BaseModel]] = conditions.Ask
    Setup: ClassVar[type[BaseModel]] = conditions.Setup
    lossless: ClassVar[bool] = False
    tolerance: ClassVar[float] = clock.TOLERANCE
    formats: ClassVar[tuple[str, ...]] = FORMATS
    notes: ClassVar[tuple[str, ...]] = ("puji.research_use",)
    settings: ClassVar[Mapping[str, Any]] = {"dropout": 0.1, "forbidden": 0.25}
    answer_formats: ClassVar[tuple[str, ...]] = (".ndjson",)

    def __init__(self) -> None:
        self.book = Codebook()
        self.own = NONE
        self.followed: dict[str, np.ndarray] = {}
        self.people: dict[tuple[str, str], int] = {}

    # -- step 1: preprocess ------------------------------------------------------------------------------------------

    def read(self, source: Path) -> Iterator[Raw | Invalid]:
        """Patients of MEDS, FHIR, OMOP or CSV, one at a time; what is dropped comes out as Invalid, counted."""
        return read(source)

    def preprocess(self, raw: Raw) -> Timeline:
        """A timeline, or its JSON; events in order. Raises Invalid."""
        return checked(raw.content)

    def group(self, record: Timeline) -> str:
        """The subject; without an identifier the record itself."""
        return record.subject or record.dump()

    # -- step 2: encode ----------------------------------------------------------------------------------------------

    def set_up(self, chosen: BaseModel) -> None:
        """Read the user's own mapping of codes. Raises Invalid."""
        if isinstance(chosen, conditions.Setup) and chosen.mapping is not None:
            self.own = load_mapping(Path(chosen.mapping))

    def learn(self, records: Sequence[Timeline]) -> None:
        """The codes and quantiles; who the patients are; how long they were followed."""
        self.book = Codebook.learn(records, own=self.own)
        self.people = dict(Counter((SEXES[record.sex], born_token(record.born)) for record in records))
        self.followed = views.follow_up(records)

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        people = [[*key, count] for key, count in sorted(self.people.items())]
        return {
            "book": self.book.state(),
            "people": people,
            "followed": {born: one.tolist() for born, one in self.followed.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        self.book = Codebook.restored(state["book"])
        self.people = {(sex, born): count for sex, born, count in state["people"]}
        self.followed = {born: np.asarray(one, dtype=float) for born, one in state["followed"].items()}

    def tokens(self) -> list[str]:
        """The fixed tokens, then the codes that were learned."""
        return [*fixed_tokens(), *self.book.codes]

    def encode(self, record: Timeline) -> list[str]:
        """From `START` to END."""
        return body(self.book, record)

    def telling(self, record: Timeline) -> list[str]:
        """What happened, without until when the patient was followed."""
        return history(self.book, record)[0]

    def excerpt(self, record: Timeline, rng: np.random.Generator) -> Timeline:
        """The record as it was after one of its events, before death."""
        events = record.events[:-1] if record.died else record.events
        known = events[: int(rng.integers(1, len(events) + 1))] if events else ()
        return replace(record, events=known, end=known[-1].age if known else record.end)

    def views(self, record: Timeline, rng: np.random.Generator) -> Iterator[View]:
        """One view: as it is, told until when it goes, or told at some age that nothing has happened."""
        yield views.view(self.book, record, rng, self.followed)

    # -- step 4: decode ----------------------------------------------------------------------------------------------

    def describe(self, record: Timeline) -> conditions.Conditions:
        """The sex and the decade of birth; which of a life's conditions was asked for, it does not tell."""
        decade = None if record.born is None else record.born // 10 * 10
        born = None if decade is None else Range[int](low=decade, high=decade + 9)
        return conditions.Conditions(sex=record.sex or None, born=born)

    def prompt(self, asked: BaseModel, rng: np.random.Generator) -> list[str]:
        """Until when the patient is followed, `START`, the sex and decade of birth; see cohort.py."""
        return self._cohort(asked).prompt(rng)

    def _cohort(self, asked: BaseModel) -> Cohort:
        wanted = asked if isinstance(asked, conditions.Conditions) else conditions.Conditions()
        return Cohort(wanted, self.book, self.people, self.followed)

    def warnings(self, asked: BaseModel) -> list[Invalid]:
        """That the patients are synthetic; that there were none such in training; a code told by the one above it."""
        return self._cohort(asked).warnings()

    def header(self, tokens: Sequence[str]) -> int:
        """What stands before `START`, `START`, the sex and the birth."""
        return min(len(tokens), tokens.index(START) + HEADER) if START in tokens else 0

    def grammar(self, asked: BaseModel) -> Grammar:
        """Codes, quantiles and times in their order; ages that only rise."""
        return TimelineGrammar(self.book)

    def question(self, record: Timeline, ask: BaseModel) -> Question:
        """The share of sampled futures in which an outcome comes within a horizon, or the next event's probability."""
        wanted = ask if isinstance(ask, conditions.Ask) else conditions.Ask()
        if wanted.by == "next":
            return future.next_event(self.book, record, wanted)
        found: Futures = future.futures(self.book, record, wanted, self.followed)
        return found

    def target(self, record: Timeline, name: str) -> tuple[list[str], dict[str, float]]:
        """The record, and all codes as what may come next: 1 for those of the outcome ``name``, 0 for others. Raises Invalid."""
        outcomes = future.asked_of(self.book, conditions.Ask(outcomes=name)) or []
        codes = {code: float(any(one.holds(code) for one in outcomes)) for code in self.book.codes}
        if not any(codes.values()):
            raise Invalid("timelines.unknown_code", source="--target", code=name[:40], hint=self.book.hint(name))
        return future.prompt_of(self.book, future.until_now(record, None))[0], codes

    def evidence(self, record: Timeline, ask: BaseModel) -> Timeline:
        """What was known at the age from which on the future is asked."""
        return future.until_now(record, ask.now if isinstance(ask, conditions.Ask) else None)

    def pieces(self, record: Timeline, tokens: Sequence[str]) -> list[Piece]:
        """The events, each with the tokens of its value and time, and the record in which it did not happen."""
        places: list[list[int]] = []
        for place, token in enumerate(tokens):
            if token == SEEN:
                break  # what follows tells the age now
            if not token.startswith("<"):
                places.append([])
            if places:
                places[-1].append(place)
        return [
            Piece(
                " ".join(filter(None, (event.code, self.book.name(event.code, current()), f"{event.age / YEAR:.1f}"))),
                told,
                replace(record, events=record.events[:number] + record.events[number + 1 :]),
            )
            for number, (event, told) in enumerate(zip(record.events, places, strict=True))
        ]

    # -- step 5: postprocess -----------------------------------------------------------------------------------------

    def postprocess(self, tokens: Sequence[str], prompt: Sequence[str] = ()) -> Timeline:
        """The timeline that the tokens tell after what the prompt told. Raises Invalid."""
        told = list(tokens)
        return parsed(self.book, told if START in told else [*prompt, *told])

    def accept(self, record: Timeline, asked: BaseModel) -> Timeline:
        """The life as it was asked for, cut where follow-up is to end. Raises Invalid if it is not as asked."""
        return self._cohort(asked).accept(record)

    def distance(self, record: Timeline, other: Timeline) -> float:
        """The most days by which an event, or the end, moved; infinite where a code, the sex or the decade differs."""
        mine, its = ([self.book.token(event.code) for event in one.events] for one in (record, other))
        if mine != its or record.sex != other.sex or born_token(record.born) != born_token(other.born):
            return float("inf")
        moved = [abs(one.age - two.age) for one, two in zip(record.events, other.events, strict=True)]
        return max([*moved, abs(record.end - other.end)])

    def row(self, record: Timeline, asked: BaseModel | None = None) -> dict[str, Any]:
        """Who the patient is, and the events in short: a code and the age in years."""
        told = [f"{event.code.partition('/')[2] or event.code}@{event.age / YEAR:.1f}" for event in record.events]
        return {
            "sex": record.sex,
            "born": None if record.born is None else f"{record.born // 10 * 10}s",
            "events": len(record.events),
            "first_age": round(record.events[0].age / YEAR, 1) if record.events else None,
            "end_age": round(record.end / YEAR, 1),
            "died": record.died,
            "timeline": " ".join(told),
            "record": record.dump(),
        }

    @classmethod
    def wording(cls, column: str, value: str) -> Text:
        """An outcome within some years; a decade; death in the short text of a timeline."""
        if column == "timeline":
            return Text(re.sub(rf"(?<!\S){DEATH}@", f"{translate('timelines.death')}@", value))
        if column == "born":
            return Text("timelines.decade", {"decade": value.removesuffix("s")})
        told = conditions.outcome_within(value) if column in ("column", "predicted", "metric") else None
        if told is None:
            return super().wording(column, value)
        return Text("timelines.within", {"outcome": super().wording("predicted", told[0]), "years": f"{told[1]:g}"})

    def dump(self, record: Timeline) -> str:
        """One line of JSON."""
        return record.dump()

    def revive(self, line: str) -> Timeline:
        """Inverse of `dump`."""
        return revived(line)

    def parse(self, text: str) -> Timeline:
        """A timeline as a person types it, e.g. "female 1956; E11 51.2; I10 55; LOINC/4548-4 55.1 7.9 %", or its JSON."""
        return already_born(typed(text, self._local), {born for _, born in self.people})

    def _local(self, code: str) -> None:
        if self.people and code not in self.book.codes:
            name = code.partition("/")[2]
            raise Invalid("timelines.typed_code", code=name[:40], hint=self.book.hint(name))

    def write(self, records: Sequence[Timeline], rows: Sequence[Mapping[str, Any]], target: Path) -> None:
        """Write a cohort as MEDS, FHIR, OMOP or CSV, marked as synthetic."""
        write(records, rows, target)

    def tell_answers(self, pairs: Iterable[tuple[Timeline, Answer]], target: Path) -> Iterator[str]:
        """FHIR R4 RiskAssessments, one a line."""
        return risk_assessments(pairs)

    def figure(self, records: Sequence[Timeline], rows: Sequence[Mapping[str, Any]], kind: str) -> str | bytes:
        """The first patients, one below the other."""
        from puji.modalities.timelines.draw import many

        return many(records, kind, self.book.name)

    def render(self, record: Timeline) -> dict[str, str | bytes]:
        """The timeline as text and as SVG."""
        from puji.modalities.timelines.draw import picture

        return {"text/plain": self.row(record)["timeline"], "image/svg+xml": picture(record, naming=self.book.name)}

    def render_answer(self, record: Timeline, answer: Answer) -> dict[str, str | bytes]:
        """The past on a line, and the futures as a fan of cumulative incidence."""
        from puji.modalities.timelines.draw import picture

        return {
            "image/svg+xml": picture(record, answer.estimates, naming=self.book.name),
            "image/png": picture(record, answer.estimates, kind="png", naming=self.book.name),
        }

    def render_explanation(
        self, record: Timeline, tokens: Sequence[str], scores: np.ndarray, attention: np.ndarray | None = None
    ) -> dict[str, str | bytes]:
        """The record with a bar for each event."""
        from puji.modalities.timelines.draw import picture

        found = [piece.score(scores) for piece in self.pieces(record, tokens)]
        return {
            "image/svg+xml": picture(record, scores=found, naming=self.book.name),
            "image/png": picture(record, scores=found, kind="png", naming=self.book.name),
        }

    def metrics(
        self,
        samples: Sequence[Raw | Invalid],
        references: Mapping[str, Sequence[Raw | Invalid]],
        step: Callable[[int, int], None] = lambda done, total: None,
    ) -> dict[str, Metric]:
        """How like the reference cohort the samples are, and how near to it."""
        from puji.modalities.timelines.metrics import cohort_metrics

        return cohort_metrics(samples, references)

    def compare(
        self, samples: Sequence[Raw | Invalid], references: Mapping[str, Sequence[Raw | Invalid]]
    ) -> Sequence[Any]:
        """How often each code stands in the cohort and in the reference; ages and numbers of events."""
        from puji.modalities.timelines.compare import pictures

        return pictures(samples, references)

    def verdict(self, metrics: Mapping[str, Metric]) -> Sequence[Any]:
        """Whether a cohort gives away the patients it was learned from."""
        from puji.modalities.timelines.verdict import privacy

        return privacy(metrics)

    def assess(
        self,
        model: Any,
        records: Sequence[Timeline],
        ask: BaseModel,
        step: Callable[[int, int], None] = lambda done, total: None,
    ) -> Assessment:
        """The next event's hit rates, and risks within horizons: AUROC, AUPRC, Brier score, calibration."""
        from puji.modalities.timelines.assess import assess

        return assess(model, records, ask if isinstance(ask, conditions.Ask) else conditions.Ask(), step=step)

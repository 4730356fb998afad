"""Names of medicines as sequences of letters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel

from puji.arrays import pack_strings, unpack_strings
from puji.errors import Invalid
from puji.language import Text, current, translate
from puji.modalities.names import conditions as wanted
from puji.modalities.names import views
from puji.modalities.names.data import get_drug_names, load_lists
from puji.modalities.names.draw import picture
from puji.modalities.names.grammar import NameGrammar
from puji.modalities.names.metrics import name_metrics
from puji.modalities.names.read import read
from puji.modalities.names.screen import KnownNames, Screening, bands_of, published
from puji.modalities.names.stems import TELLING, by_token, find, forbidden, main_stem
from puji.modalities.names.suffix import suffix_faults
from puji.modalities.names.tokens import (
    KINDS,
    LETTERS,
    LONGEST,
    MOST_SYLLABLES,
    NAME,
    SHORTEST,
    SPLITTER,
    Kind,
    Name,
    body,
    clean,
    first_token,
    kind_token,
    length_token,
    spelled,
    syllables,
    syllables_token,
)
from puji.modality import END, Candidate, Candidates, Estimate, Grammar, Metric, Modality, Raw, View
from puji.options import Range

USUAL = 0.9
"""Share of the names that are no longer than a name for a stem gets where no length is asked for."""
LISTS = ("generic", "brand", "other", "suffix")


class Names(Modality[Name]):
    """Generic names with the stem of their class, brand names, biologic suffixes; and what they could be confused with."""

    name: ClassVar[str] = "names"
    shown_by: ClassVar[str] = "puji.modalities.names.demo"
    start: ClassVar[str] = NAME
    splitter: ClassVar[str] = SPLITTER
    size: ClassVar[str] = "micro"
    context: ClassVar[int] = 48
    Conditions: ClassVar[type[BaseModel]] = wanted.Conditions
    Ask: ClassVar[type[BaseModel]] = wanted.Ask
    datasets: ClassVar[Mapping[str, Callable[[], Path]]] = {"drug-names": get_drug_names}
    settings: ClassVar[Mapping[str, Any]] = {"dropout": 0.2}
    notes: ClassVar[tuple[str, ...]] = ("names.notice",)
    """Keys of what every answer says."""
    asked: ClassVar[float] = views.ASKED
    """Share of the training views that tell conditions."""

    def __init__(self) -> None:
        self.known = KnownNames({})
        self.lengths: np.ndarray = np.ones(LONGEST + 1)

    # -- step 1: preprocess ------------------------------------------------------------------------------------------

    def read(self, source: Path) -> Iterator[Raw | Invalid]:
        """Names of .txt, .csv, .tsv (also as .gz) and .parquet files, or of a folder of them."""
        return read(source)

    def preprocess(self, raw: Raw) -> Name:
        """Lower case without accents and trademark signs. "generic:", "brand:" or "suffix:" in front tells the kind.

        Without it, a hyphen in front tells a biologic suffix, a stem of three letters or more at the end a generic name, and
        all others are brands.
        """
        if not isinstance(raw.content, str):
            raise Invalid("names.characters", characters="?")
        told, colon, rest = raw.content.strip().partition(":")
        if colon and told.strip().lower() in KINDS:
            kind: Kind = told.strip().lower()  # type: ignore[assignment]
            return Name(kind, clean(rest, kind))
        if raw.content.strip().startswith("-"):
            return Name("suffix", clean(raw.content, "suffix"))
        return _guessed(clean(raw.content))

    def group(self, record: Name) -> str:
        """The letters: a name that is a generic one and a brand stays on one side."""
        return record.text

    # -- step 2: encode ----------------------------------------------------------------------------------------------

    def learn(self, records: Sequence[Name]) -> None:
        """How long names are."""
        counts = np.bincount([len(record.text) for record in records if record.kind != "suffix"], minlength=LONGEST + 1)
        self.lengths = counts[: LONGEST + 1] + 0.1

    def prepare(self, records: Sequence[Name]) -> None:
        """Add the training names to those that are known, and the lists of `drug-names` where they have been fetched."""
        found: dict[str, list[str]] = {kind: list(self.known.names.get(kind, ())) for kind in LISTS}
        for record in records:
            found[record.kind].append(record.text)
        try:
            for kind, names in load_lists().items():
                found[kind] += names
        except Invalid:
            pass  # never fetched: the training names alone are known
        self.known = KnownNames(found)

    def state(self) -> dict[str, Any]:
        """All known names (public facts), packed, and how long names are."""
        packed = {f"known_{kind}": pack_strings(self.known.names.get(kind, [])) for kind in LISTS}
        return {"lengths": self.lengths.tolist(), **packed}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        self.lengths = np.asarray(state.get("lengths", np.ones(LONGEST + 1)), dtype=np.float64)
        self.known = KnownNames(
            {kind: unpack_strings(state[f"known_{kind}"]) for kind in LISTS if f"known_{kind}" in state}
        )

    def tokens(self) -> list[str]:
        """All tokens in their fixed order, END first."""
        return [
            *(END, NAME, *map(kind_token, KINDS), *LETTERS, *by_token()),
            *(length_token(length) for length in range(SHORTEST, LONGEST + 1)),
            *(first_token(letter) for letter in LETTERS),
            *(syllables_token(count) for count in range(1, MOST_SYLLABLES + 1)),
        ]

    def encode(self, record: Name) -> list[str]:
        """`NAME`, the kind, the letters, END."""
        return body(record)

    def views(self, record: Name, rng: np.random.Generator) -> Iterator[View]:
        """One view: plain, or with conditions in front."""
        yield views.view(record, rng, self.asked)

    # -- step 4: decode ----------------------------------------------------------------------------------------------

    def describe(self, record: Name) -> wanted.Conditions:
        """The kind, stem, length, first letter and syllables of a name as conditions."""
        if record.kind == "suffix":
            return wanted.Conditions(kind="suffix", first=record.text[0])
        stem = main_stem(record.text) if record.kind == "generic" else None
        count = syllables(record.text)
        return wanted.Conditions(
            kind=record.kind,
            stem=stem.stem if stem else None,
            length=Range[int].of(len(record.text)),
            first=record.text[0] if record.kind == "generic" or not forbidden(record.text[0] + "a") else None,
            syllables=Range[int].of(count),
        )

    def prompt(self, conditions: BaseModel, rng: np.random.Generator) -> list[str]:
        """Condition tokens, `NAME`.

        Of several stems that mean what is asked, one is drawn as often as names carry it; of a span of lengths, one as often
        as names are so long, with room for the stem; of syllables, any.
        """
        asked = _asked(conditions)
        tokens: list[str] = []
        shortest = SHORTEST
        if stems := asked.stems():
            weights = np.array([stem.names for stem in stems], dtype=float)
            stem = stems[int(rng.choice(len(stems), p=weights / weights.sum()))]
            tokens.append(stem.token)
            shortest = len(stem.letters) + max(1, len(asked.first or "")) + (stem.place == "infix")
            if stem.place == "prefix":
                shortest = max(len(stem.letters) + 1, len(asked.first or ""))
        length = self._length(asked)
        if length is not None and asked.kind != "suffix":
            low, high = max(length.low, min(shortest, length.high)), length.high
            shares = self.lengths[low : high + 1]
            tokens.append(length_token(low + int(rng.choice(len(shares), p=shares / shares.sum()))))
        if asked.first is not None:
            tokens.append(first_token(asked.first[0]))
        if asked.syllables is not None:
            tokens.append(syllables_token(int(rng.integers(asked.syllables.low, asked.syllables.high + 1))))
        return [*tokens, NAME]

    def _length(self, asked: wanted.Conditions) -> Range[int] | None:
        """The length asked for; where only a stem is, up to a usual one with room for it.

        Without an end in sight, a name that does not come to its stem by itself would run on to the longest there is.
        """
        if asked.length is not None or not (stems := asked.stems()):
            return asked.length
        usual = int(np.searchsorted(np.cumsum(self.lengths) / self.lengths.sum(), USUAL))
        room = max(len(stem.letters) for stem in stems) + SHORTEST
        return Range[int](low=SHORTEST, high=min(LONGEST, max(usual, room)))

    def grammar(self, conditions: BaseModel) -> Grammar:
        """Letters; the kind, the stem, the length and the first letters are as asked."""
        asked = _asked(conditions)
        length = self._length(asked)
        low, high = (length.low, length.high) if length else (SHORTEST, LONGEST)
        kinds: tuple[Kind, ...] = KINDS
        if asked.kind is not None:
            kinds = (asked.kind,)
        elif asked.length is not None or asked.syllables is not None:
            kinds = ("generic", "brand")  # a suffix has its own length
        return NameGrammar(kinds, asked.first or "", low, high)

    def warnings(self, conditions: BaseModel) -> list[Invalid]:
        """That no output is a regulatory clearance."""
        return [Invalid("names.notice")]

    def question(self, record: Name, ask: BaseModel) -> Candidates:
        """Whether the name reads as a generic one, by the model; its nearest known names; what speaks against it.

        "nearest_1" and so on: combined score, from the lower to the higher of looks and sounds; ``about`` names the known one.
        "flags": how many there are; ``about`` tells them.
        """
        told = ask if isinstance(ask, wanted.Ask) else wanted.Ask()
        kinds: list[Kind] = ["generic", "brand"]
        name = Name(told.kind, clean(record.text, told.kind)) if told.kind else record
        candidates = [Candidate([NAME], body(Name(kind, record.text))[1:]) for kind in kinds]
        bands = published() if told.pairs is None else bands_of(told.pairs)

        def answer(log_likelihoods: np.ndarray) -> Mapping[str, Estimate]:
            shares = np.exp(log_likelihoods - np.max(log_likelihoods))
            generic = float(shares[0] / shares.sum())
            screened = screening(self.known.screen(name, told.nearest, bands), told.nearest)
            return {"generic": Estimate(generic, generic, generic, coverage=1.0), **screened}

        return Candidates(candidates, answer)

    # -- step 5: postprocess -----------------------------------------------------------------------------------------

    def postprocess(self, tokens: Sequence[str], prompt: Sequence[str] = ()) -> Name:
        """The name that the tokens spell. Raises Invalid."""
        kind, text = spelled(tokens)
        if kind is None:
            return _guessed(clean(text))
        return Name(kind, clean(text, kind))  # type: ignore[arg-type]

    def accept(self, record: Name, conditions: BaseModel) -> Name:
        """Refuses a name that is known, a brand that carries a stem, a faulty suffix, and what is not as asked."""
        asked = _asked(conditions)
        if asked.kind is not None and record.kind != asked.kind:
            raise Invalid("names.other_kind")
        if asked.stem is not None and not find(asked.stem).fits(record.text):
            raise Invalid("names.not_kept", stem=asked.stem)
        if asked.meaning is not None and not any(stem.fits(record.text) for stem in asked.stems()):
            raise Invalid("names.not_kept", stem=asked.meaning)
        if asked.first is not None and not record.text.startswith(asked.first):
            raise Invalid("names.not_as_asked", option="first")
        if record.kind != "suffix" and asked.length is not None and len(record.text) not in asked.length:
            raise Invalid("names.not_as_asked", option="length")
        if asked.syllables is not None and syllables(record.text) not in asked.syllables:
            raise Invalid("names.not_as_asked", option="syllables")
        if record.kind == "suffix":
            if faults := suffix_faults(record.text):
                raise Invalid(faults[0])
            if record.text in self.known.suffixes:
                raise Invalid("names.known")
            return record
        if record.text in self.known.set:
            raise Invalid("names.known")
        if record.kind == "brand" and (stems := forbidden(record.text)):
            raise Invalid("names.carries", stem=stems[0].stem)
        return record

    def row(self, record: Name, conditions: BaseModel | None = None) -> dict[str, Any]:
        """The name, its kind, stem and what it means, length, syllables, the nearest known names, flags and a notice."""
        found = self.known.screen(record)
        stem = main_stem(record.text) if record.kind == "generic" else None
        first = found.neighbours[0] if found.neighbours else None
        return {
            "name": record.text if record.kind != "suffix" else f"-{record.text}",
            "kind": record.kind,
            "stem": stem.stem if stem else "",
            "stem_zh": stem.zh if stem else "",
            "meaning": stem.meaning(current()) if stem else "",
            "length": len(record.text),
            "syllables": syllables(record.text),
            "band": found.band,
            "similarity": round(first.score, 3) if first else None,
            "looks": round(first.looks, 3) if first else None,
            "sounds": round(first.sounds, 3) if first else None,
            "nearest": "; ".join(f"{near.name} {near.score:.2f}" for near in found.neighbours),
            "flags": " ".join(flags(found)),
            "notice": translate("names.notice"),
        }

    @classmethod
    def wording(cls, column: str, value: str) -> Text:
        """The known names of a screening, and how similar each is, by rank; a record by its name and kind."""
        kind, colon, name = value.partition(":")
        if column == "record" and colon:
            return Text("names.told", {"kind": Text(f"names.kind.{kind}"), "name": name})
        found = re.fullmatch(r"nearest_(\d+)(_about)?", value) if column in ("column", "predicted") else None
        if found is None:
            return super().wording(column, value)
        scored = column == "column" and not found[2]
        return Text("names.similarity" if scored else "names.similar", {"rank": found[1]})

    def revive(self, line: str) -> Name:
        """The name that `dump` gave."""
        kind, _, text = line.partition(":")
        return Name(kind, text)  # type: ignore[arg-type]

    def figure(self, records: Sequence[Name], rows: Sequence[Mapping[str, Any]], kind: str) -> str | bytes:
        """The names beside their nearest known ones, as SVG text or PNG bytes."""
        return picture(rows, kind)

    def render(self, record: Name) -> dict[str, str | bytes]:
        """The name, and beside it its nearest known ones as SVG."""
        return {"text/plain": record.text, "image/svg+xml": picture([self.row(record)])}

    def metrics(
        self,
        samples: Sequence[Raw | Invalid],
        references: Mapping[str, Sequence[Raw | Invalid]],
        step: Callable[[int, int], None] = lambda done, total: None,
    ) -> dict[str, Metric]:
        """Valid, unique, new, stems and dose abbreviations. ``references``: known names; none: the lists of `drug-names`."""
        if not samples:
            raise Invalid("names.no_rows")
        drawn = [self._name(sample) for sample in samples]
        if references:
            known = {name.text for found in references.values() for raw in found if (name := self._name(raw))}
        else:
            known = {name for kind, names in load_lists().items() if kind != "suffix" for name in names}
        return name_metrics(drawn, known)

    def _name(self, raw: Raw | Invalid) -> Name | None:
        """What was read as a name; None if it is none."""
        try:
            return None if isinstance(raw, Invalid) else self.preprocess(raw)
        except Invalid:
            return None


def flags(found: Screening) -> list[str]:
    """What speaks against a name, in the current language."""
    result = []
    if found.known:
        result.append(translate("names.known"))
    result += [translate("names.flag.dose", word=word) for word in found.doses]
    result += [translate("names.carries", stem=stem.stem) for stem in found.stems]
    return result + [translate(fault) for fault in found.suffix_faults]


def screening(found: Screening, n: int) -> dict[str, Estimate]:
    """What was found about a name as estimates: always ``n`` nearest names, of score 0 where there are fewer."""
    told = {}
    for rank in range(1, n + 1):
        if rank > len(found.neighbours):
            told[f"nearest_{rank}"] = Estimate(0.0, 0.0, 0.0, coverage=1.0, about="")
            continue
        near = found.neighbours[rank - 1]
        words = {"kind": translate(f"names.kind.{near.kind}"), "band": translate(f"names.band.{near.band}")}
        told[f"nearest_{rank}"] = Estimate(
            round(near.score, 3),
            round(min(near.looks, near.sounds), 3),
            round(max(near.looks, near.sounds), 3),
            coverage=1.0,
            about=translate("names.predict.part" if near.part else "names.predict.near", name=near.name, **words),
        )
    # Short, so that a terminal has room for it.
    raised = [
        *([translate("names.predict.known")] if found.known else []),
        *(f'"{word}"' for word in found.doses),
        *(stem.stem for stem in found.stems),
        *map(translate, found.suffix_faults),
    ]
    count = float(len(raised))
    flags = Estimate(count, count, count, coverage=1.0, about="; ".join(raised))
    return {**told, "flags": flags}


def _guessed(text: str) -> Name:
    stem = main_stem(text)
    generic = stem is not None and stem.place == "suffix" and len(stem.letters) >= TELLING
    return Name("generic" if generic else "brand", text)


def _asked(given: BaseModel) -> wanted.Conditions:
    return given if isinstance(given, wanted.Conditions) else wanted.Conditions()

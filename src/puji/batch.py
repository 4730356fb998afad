"""What generation gives back: records with their origin, and what was refused on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import polars as pl
from pydantic import BaseModel

from puji.errors import Invalid
from puji.files import atomic_write
from puji.modality import Modality, Record
from puji.tables import TABLES, write_table

KEPT = 1000
"""Refusals that a batch keeps."""


@dataclass(frozen=True)
class Generated(Generic[Record]):
    """One generated record.

    ``log_likelihood``: natural log of the model's own probability of the body, given the prompt; None where the record was cut
    to what was asked. ``attempt``: number of the draw it came from; with the batch's seed it determines the record.
    """

    record: Record
    log_likelihood: float | None
    attempt: int
    prompt: tuple[str, ...]


@dataclass
class Batch(Generic[Record]):
    """Generated records in the order of their draws, the refusals, and how they came about.

    ``rejected`` holds the first `KEPT` refusals; `refusals` counts all of them.
    """

    modality: Modality[Record]
    conditions: BaseModel
    seed: int
    origin: Mapping[str, Any]
    generated: list[Generated[Record]] = field(default_factory=list)
    rejected: list[Invalid] = field(default_factory=list)
    notes: list[Invalid] = field(default_factory=list)
    attempts: int = 0
    _refused: Counter[str] = field(default_factory=Counter, init=False, repr=False, compare=False)
    _rows: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def records(self) -> list[Record]:
        """The records alone."""
        return [one.record for one in self.generated]

    def __len__(self) -> int:
        return len(self.generated)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def refusals(self) -> dict[str, int]:
        """How many draws were refused, by reason."""
        return dict(self._refused)

    def refuse(self, refusal: Invalid) -> None:
        """Count a refusal; a new reason is always kept, so that each has an example."""
        if len(self.rejected) < KEPT or not self._refused[refusal.reason]:
            # A traceback would keep alive all that was at work when it was raised, threads included.
            refusal.__traceback__ = refusal.__context__ = refusal.__cause__ = None
            self.rejected.append(refusal)
        self._refused[refusal.reason] += 1

    def nothing(self) -> Invalid:
        """The refusal of a call that gave no record: how many draws there were, and why most of them were refused."""
        reason = max(self.refusals().items(), key=lambda item: item[1], default=("", 0))[0]
        why = next((refusal.message() for refusal in self.rejected if refusal.reason == reason), "")
        return Invalid("generate.nothing", attempts=self.attempts, why=why)

    def row(self, one: Generated[Record]) -> dict[str, Any]:
        """One table row: what the modality says of a record, its log-likelihood and its origin."""
        return {
            **self.modality.row(one.record, self.conditions),
            "log_likelihood": None if one.log_likelihood is None else round(one.log_likelihood, 4),
            **self.origin,
            "seed": self.seed,
            "draw": one.attempt,
        }

    def rows(self) -> list[dict[str, Any]]:
        """One table row per record; see `row`."""
        if len(self._rows) != len(self.generated):
            self._rows = [self.row(one) for one in self.generated]
        return self._rows

    def frame(self) -> pl.DataFrame:
        """The rows as a polars table."""
        return pl.DataFrame(self.rows(), infer_schema_length=None)

    def save(self, path: str | Path) -> None:
        """Write csv, jsonl, parquet, a picture (svg, png) or one of the modality's own formats, by the ending of ``path``.

        The file appears whole or not at all. Raises Invalid for an unknown ending, a full disk or a folder that cannot be
        written.
        """
        target = Path(path)
        ending = target.suffix.lower()
        if ending in (".svg", ".png"):
            atomic_write(target, self.figure(ending[1:]))
        elif ending in self.modality.formats:
            self.modality.write(self.records, self.rows(), target)
        elif ending in TABLES:
            write_table(self.rows(), target)
        else:
            raise Invalid("write.format", source=str(target), formats=", ".join(endings(self.modality)))

    def figure(self, kind: str = "svg") -> str | bytes:
        """A picture of all records: SVG text or PNG bytes."""
        return self.modality.figure(self.records, self.rows(), kind)


def endings(modality: Modality[Any] | type[Modality[Any]]) -> list[str]:
    """File name endings that `Batch.save` knows for ``modality``."""
    return list(dict.fromkeys([*TABLES, *modality.formats, ".svg", ".png"]))

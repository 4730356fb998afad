"""What generation gives back: records with their origin, and what was refused on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic

import polars as pl
from pydantic import BaseModel

from puji.errors import Invalid
from puji.files import atomic_write, whole
from puji.modality import Modality, Record

TABLES = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Generated(Generic[Record]):
    """One generated record.

    ``log_likelihood``: natural log of the model's own probability of the body, given the prompt. ``attempt``: number of the
    draw it came from; with the batch's seed it determines the record.
    """

    record: Record
    log_likelihood: float
    attempt: int
    prompt: tuple[str, ...]


@dataclass
class Batch(Generic[Record]):
    """Generated records in the order of their draws, the refusals, and how they came about."""

    modality: Modality[Record]
    conditions: BaseModel
    seed: int
    origin: Mapping[str, Any]
    generated: list[Generated[Record]] = field(default_factory=list)
    rejected: list[Invalid] = field(default_factory=list)
    notes: list[Invalid] = field(default_factory=list)
    attempts: int = 0

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
        return dict(Counter(refusal.reason for refusal in self.rejected))

    def rows(self) -> list[dict[str, Any]]:
        """One table row per record: what the modality says of it, its log-likelihood and its origin."""
        return self._rows

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                **self.modality.row(one.record),
                "log_likelihood": round(one.log_likelihood, 4),
                **self.origin,
                "seed": self.seed,
                "draw": one.attempt,
            }
            for one in self.generated
        ]

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
            self.modality.write(self.rows(), target)
        elif ending in TABLES:
            write_table(self.rows(), target)
        else:
            raise Invalid("write.format", source=str(target), formats=", ".join(endings(self.modality)))

    def figure(self, kind: str = "svg") -> str | bytes:
        """A picture of all records: SVG text or PNG bytes."""
        return self.modality.figure(self.rows(), kind)


def endings(modality: Modality[Any] | type[Modality[Any]]) -> list[str]:
    """File name endings that `Batch.save` knows for ``modality``."""
    return [*TABLES, *modality.formats, ".svg", ".png"]


def write_table(rows: list[dict[str, Any]], target: Path) -> None:
    """Write ``rows`` as csv, jsonl or parquet, by the ending of ``target``; whole or not at all."""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    with whole(target) as temporary:
        if target.suffix.lower() == ".csv":
            frame.write_csv(temporary)
        elif target.suffix.lower() == ".parquet":
            frame.write_parquet(temporary)
        elif target.suffix.lower() == ".jsonl":
            lines = (json.dumps(row, ensure_ascii=False, default=str) for row in rows)
            temporary.write_text("".join(line + "\n" for line in lines), "utf-8")
        else:
            raise Invalid("write.format", source=str(target), formats=", ".join(TABLES))

"""The 30 virtual patients of the UVA/Padova simulator of 2008, as simglucose 0.2.11 publishes them (MIT, see README.md).

Ten adults, ten adolescents, ten children: "adult#001" ... "child#010". Parameters of the model keep the names that its papers
give them, `simulator` says what they mean.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

TABLE = Path(__file__).parent / "patients.csv"
GROUPS = ("adult", "adolescent", "child")
PMOL = 6000.0
"""pmol of insulin in one unit (U), as simglucose counts."""
CLINICAL = ("age", "carbohydrate_ratio", "correction_factor", "daily_insulin")
"""Years, g per U, mg/dl per U, U a day."""
PARAMETERS = (
    *("BW", "Gb", "Ib", "u2ss"),  # kg, mg/dl, pmol/l, pmol/kg/min
    *("Gpb", "Gtb", "Ipb", "Ilb", "isc1ss", "isc2ss"),  # the basal state: mg/kg, then pmol/kg
    *("kabs", "kmax", "kmin", "b", "d", "f"),
    *("Vg", "Vi", "kp1", "kp2", "kp3", "ki", "Fsnc", "ke1", "ke2", "k1", "k2", "Vm0", "Vmx", "Km0", "p2u"),
    *("m1", "m2", "m4", "m30", "ka1", "ka2", "kd", "ksc"),
)


@dataclass(frozen=True, eq=False)
class Table:
    """Patients to choose from: their ``names``, and each of `CLINICAL` and `PARAMETERS` as a column, (patients,)."""

    names: tuple[str, ...]
    columns: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Table:
        """From one row of numbers a patient."""
        columns = {name: np.array([float(row[name]) for row in rows]) for name in (*CLINICAL, *PARAMETERS)}
        return cls(tuple(str(row["name"]) for row in rows), columns)

    def __add__(self, other: Table) -> Table:
        columns = {name: np.concatenate([one, other.columns[name]]) for name, one in self.columns.items()}
        return Table(self.names + other.names, columns)


@cache
def published() -> Table:
    """The 30 patients of simglucose."""
    with TABLE.open(encoding="ascii", newline="") as handle:
        return Table.of(list(csv.DictReader(handle)))


def names(group: str | None = None) -> tuple[str, ...]:
    """The names of all patients, or of those of one of `GROUPS`."""
    if group is not None and group not in GROUPS:
        raise ValueError(f"group {group!r}: choose one of {', '.join(GROUPS)}")
    return tuple(name for name in published().names if group is None or name.startswith(f"{group}#"))


@dataclass(frozen=True)
class Patients:
    """The patients of a batch, one a row; a patient may stand in many rows.

    ``rows``: (n,) places in the ``table``.
    """

    rows: np.ndarray
    table: Table = field(default_factory=published)

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> np.ndarray:
        """A clinical number or a parameter of the model, of each row, (n,)."""
        columns = self.table.columns
        if name not in columns:
            raise ValueError(f"column {name!r}: choose one of {', '.join(columns)}")
        found: np.ndarray = columns[name][self.rows]
        return found

    def parameters(self) -> np.ndarray:
        """All of `PARAMETERS` as the named fields of a structured array, (n,)."""
        found = np.empty(len(self), dtype=[(name, np.float64) for name in PARAMETERS])
        for name in PARAMETERS:
            found[name] = self.column(name)
        return found

    @property
    def names(self) -> list[str]:
        """Of each row, the name of its patient."""
        return [self.table.names[row] for row in self.rows]

    @property
    def groups(self) -> np.ndarray:
        """Of each row, its age group, (n,) str."""
        return np.array([name.split("#")[0] for name in self.names])

    @property
    def basal(self) -> np.ndarray:
        """The rate of insulin that keeps glucose where it is without meals, U/min, (n,)."""
        rate: np.ndarray = self.column("u2ss") * self.column("BW") / PMOL
        return rate

    def repeat(self, times: int) -> Patients:
        """Each row ``times`` times, one after the other."""
        return Patients(np.repeat(self.rows, times), self.table)


def patients(chosen: Sequence[str] | None = None, table: Table | None = None) -> Patients:
    """The patients of the given names, in that order; None: all of the ``table``, which is the published one by default. Raises
    ValueError for an unknown name."""
    table = table or published()
    place = {name: at for at, name in enumerate(table.names)}
    if unknown := [name for name in chosen or () if name not in place]:
        raise ValueError(
            f"patient {unknown[0]!r} is unknown: the table has {', '.join(table.names[:3])} ... ({len(place)})"
        )
    return Patients(np.array([place[name] for name in (place if chosen is None else chosen)], dtype=np.int64), table)


__all__ = ["CLINICAL", "GROUPS", "PARAMETERS", "PMOL", "Patients", "Table", "names", "patients", "published"]

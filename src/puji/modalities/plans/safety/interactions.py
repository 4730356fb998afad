"""Interactions of medicines: a table that the setting brings, and a small one that comes with Puji as an example.

A CSV file with a heading and these columns:

first, second   codes of medicines, several with spaces; ATC where no system is told ("B01AA03", "RXNORM/11289"); a group stands
                for all below it. Each of one side interacts with each of the other.
severity        contraindicated, major, moderate or minor
days            how long after its last dose a medicine still interacts; empty: 1
effect_en, effect_zh   what may happen, in English and in Chinese
source          where that is written
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError

from puji.errors import Invalid
from puji.modalities.plans.plan import Finding
from puji.modalities.plans.safety.case import Case
from puji.modalities.plans.safety.rule import Codes, Declared, Positive, Rule
from puji.sources import cells
from puji.text import told_lines

Severity = Literal["contraindicated", "major", "moderate", "minor"]
SEVERITIES = get_args(Severity)
"""The worst first."""
COLUMNS = ("first", "second", "severity", "days", "effect_en", "effect_zh", "source")
EXAMPLE = Path(__file__).with_name("interactions.csv")
DAY = 1440
"""Minutes."""


class Pair(Declared):
    """Medicines of which each of ``first`` interacts with each of ``second``, until ``days`` after the last dose."""

    first: Codes
    second: Codes
    severity: Severity
    days: Positive = 1.0
    effect_en: Annotated[str, Field(min_length=1)]
    effect_zh: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]


class Interaction(Rule):
    """No two medicines that interact as severely as ``veto`` says; of the others a caution.

    What the patient takes counts, what was given within the pair's days, and what is proposed together.
    """

    kind: Literal["interaction"]
    pairs: Annotated[tuple[Pair, ...], Field(min_length=1)]
    veto_from: Severity = "major"

    def named(self) -> Iterator[str]:
        """The medicines of the pairs, too."""
        yield from super().named()
        for pair in self.pairs:
            yield from (*pair.first, *pair.second)

    def judge(self, case: Case) -> Iterator[Finding]:
        """A finding for each order and each other medicine that interact."""
        orders = self.orders(case)
        if not orders:
            return
        aboard = [(one.code, 0.0) for one in case.need("current")]
        aboard += [(one.code, one.ago / DAY) for one in case.need("given")]
        chosen = {place for place, _ in orders}
        for place, order in orders:
            # Of two orders that the rule is about, the later one is told about.
            others = [one for where, one in enumerate(case.orders) if where < place or where not in chosen]
            met = sorted({*aboard, *((other.code, 0.0) for other in others)})
            for pair, (code, days) in product(self.pairs, met):
                if days <= pair.days and _meet(case, pair, order.code, code):
                    severe = SEVERITIES.index(pair.severity) <= SEVERITIES.index(self.veto_from)
                    yield self.finding(
                        "veto" if severe else "caution",
                        "interaction",
                        place,
                        medicine=order.code,
                        other=code,
                        severity=f"plans.severity.{pair.severity}",
                        harm={"en": pair.effect_en, "zh": pair.effect_zh},
                        source=pair.source,
                    )


def _meet(case: Case, pair: Pair, one: str, other: str) -> bool:
    sides = ((pair.first, pair.second), (pair.second, pair.first))
    return any(case.may_be(one, ours) and case.may_be(other, theirs) for ours, theirs in sides)


def load_interactions(path: Path) -> tuple[dict[str, Any], ...]:
    """The rows of a table, as fields of `Pair`. Raises Invalid, with its line, for one that has other columns or no codes."""
    rows: list[dict[str, Any]] = []
    heading = False
    for line in told_lines(path):
        if isinstance(line, Invalid):
            raise line.at(str(path), line.line)
        number, text = line
        row = [cell.strip() for cell in cells(text, ",")]
        if not heading:
            if row != list(COLUMNS):
                raise Invalid("plans.rules.columns", source=str(path), line=number, columns=", ".join(COLUMNS))
            heading = True
            continue
        if len(row) != len(COLUMNS):
            raise Invalid("plans.rules.cells", source=str(path), line=number, count=len(COLUMNS))
        rows.append(_row(dict(zip(COLUMNS, row, strict=True)), str(path), number))
    if not rows:
        raise Invalid("plans.rules.no_pairs", source=str(path))
    return tuple(rows)


def _row(row: dict[str, Any], source: str, line: int) -> dict[str, Any]:
    for side in ("first", "second"):
        row[side] = [code if "/" in code else f"ATC/{code}" for code in row[side].split()]
    try:
        row["days"] = float(row["days"] or 1)
        Pair.model_validate_json(json.dumps(row))
    except ValueError as error:  # pydantic's errors are among them
        wrong = error.errors()[0]["loc"][0] if isinstance(error, ValidationError) else "days"
        raise Invalid(
            "plans.rules.cell", source=source, line=line, column=str(wrong), value=str(row[str(wrong)])[:80]
        ) from error
    return row

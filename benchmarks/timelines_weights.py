"""The released weights of timelines on the simulated patients that come with the package, who were held out of training."""

from __future__ import annotations

from typing import Any

import puji
from benchmarks.common import with_intervals
from puji.modalities.timelines.assess import assess
from puji.modalities.timelines.conditions import Ask
from puji.modalities.timelines.demo import sample

FUTURES = 200


def run(quick: bool) -> dict[str, Any]:
    """Hit rates of the next event, risks within five years; ``quick``: a few patients."""
    patients = sample()[: 4 if quick else None]
    model = puji.load("timelines")
    found = assess(model, patients, Ask(horizon="5", futures=10 if quick else FUTURES)).metrics
    return {
        "metrics": with_intervals(found),
        "patients": len(patients),
        "events": sum(len(one.events) for one in patients),
    }

"""What the figures of privacy mean, in plain words: whether a synthetic cohort may be shared or asks for a closer look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from puji.gallery import Section
from puji.language import Text
from puji.modality import Metric

COIN_TOSS = 0.55
"""AUROC of membership inference up to which an attacker does no better than guessing, in practice."""
NEARER = 0.95
"""Distance to training over held-out patients below which a cohort is nearer to those trained on; a limit of ours: 1500 real
patients who were not trained on lie between it and 1.05."""

Finding = Literal["pass", "unclear", "closer"]
CHECKS = ("copies", "membership", "nearest")
COLUMNS = {name: Text(f"timelines.privacy.{name}") for name in ("check", "finding", "meaning")}


def privacy(metrics: Mapping[str, Metric]) -> list[Section]:
    """The section on privacy of a report on a cohort; none where ``metrics`` are not of a cohort.

    A figure whose interval lies across its limit is "unclear": more patients would tell.
    """
    if "prevalence R2" not in metrics:
        return []
    if "membership AUROC" not in metrics:
        return [Section(Text("timelines.privacy.unjudged"), Text("timelines.privacy.unjudged.note"))]
    found = [_copies(metrics), _membership(metrics), _nearest(metrics)]
    worst: Finding = max(found, key=("pass", "unclear", "closer").index)
    rows = [_row(check, finding, metrics) for check, finding in zip(CHECKS, found, strict=True)]
    title, note = Text(f"timelines.privacy.title.{worst}"), Text("timelines.privacy.note")
    return [Section(title, note, table=rows, columns=COLUMNS)]


def _copies(metrics: Mapping[str, Metric]) -> Finding:
    found, real = metrics["exact copies"], metrics["exact copies, real"]
    # Short records are alike by chance: only what the interval leaves above those of real patients is too many.
    least = found.low or 0.0
    if least <= real.value:
        return "pass"
    return "closer" if least > (real.high or 0.0) else "unclear"


def _membership(metrics: Mapping[str, Metric]) -> Finding:
    found = metrics["membership AUROC"]
    if found.value > COIN_TOSS:
        return "closer"
    return "pass" if found.high is not None and found.high <= COIN_TOSS else "unclear"


def _nearest(metrics: Mapping[str, Metric]) -> Finding:
    found = metrics["distance ratio"]
    if found.value < NEARER:
        return "closer"
    return "pass" if found.low is not None and found.low >= NEARER else "unclear"


def _row(check: str, finding: Finding, metrics: Mapping[str, Metric]) -> dict[str, Text]:
    copies, real = metrics["exact copies"], metrics["exact copies, real"]
    attack, ratio = metrics["membership AUROC"], metrics["distance ratio"]
    told: Mapping[str, Mapping[str, object]] = {
        "copies": {"share": _percent(copies.value), "real": _percent(real.value), "n": copies.n},
        "membership": {**_numbers(attack), "limit": f"{COIN_TOSS:.2f}"},
        "nearest": {**_numbers(ratio), "limit": f"{NEARER:.2f}"},
    }
    values = told[check]
    what = Text(f"timelines.privacy.{check}.what", values)
    then = Text(f"timelines.privacy.{check}.{finding}", values)
    return {
        "check": Text(f"timelines.privacy.{check}"),
        "finding": Text(f"timelines.privacy.{finding}"),
        "meaning": Text("timelines.privacy.both", {"what": what, "then": then}),
    }


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _numbers(one: Metric) -> dict[str, str]:
    bounds: Sequence[tuple[str, float | None]] = (("value", one.value), ("low", one.low), ("high", one.high))
    return {name: "–" if value is None else f"{value:.2f}" for name, value in bounds}

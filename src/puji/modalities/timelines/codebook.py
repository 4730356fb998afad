"""What is learned from the training patients before the network: which codes have a token, and the quantiles of values."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from puji.modalities.timelines.codes import ancestors
from puji.modalities.timelines.timeline import DEATH, Timeline

RARE = 5
"""A code that fewer patients have is told by the one above it in its hierarchy, or spelled where there is none."""
BINS = 10
"""Quantiles of a measurement."""
ENOUGH = 50
"""Values of a code in its unit from which quantiles are learned."""


class Codebook:
    """Codes with a token of their own, and quantiles.

    ``codes``: in a fixed order, `DEATH` first. ``edges``: for each measured code its unit, the inner bounds of the bins, and
    the median of each bin. ``spelled``: whether there are codes that no token tells.
    """

    def __init__(
        self,
        codes: Sequence[str] = (DEATH,),
        edges: Mapping[str, tuple[str, list[float], list[float]]] | None = None,
        spelled: bool = True,
    ) -> None:
        self.codes = tuple(codes)
        self.spelled = spelled
        self.edges = dict(edges or {})
        self._known = frozenset(self.codes)
        self._told: dict[str, str] = {}

    @classmethod
    def learn(cls, records: Sequence[Timeline], rare: int = RARE) -> Codebook:
        """From training patients."""
        patients: Counter[str] = Counter()
        values: dict[tuple[str, str], list[float]] = defaultdict(list)
        for record in records:
            patients.update({event.code for event in record.events})
            for event in record.events:
                if event.value is not None:
                    values[event.code, event.unit].append(event.value)
        kept = {code for code, count in patients.items() if count >= rare or code == DEATH}
        above: Counter[str] = Counter()
        for code, count in patients.items():
            if code not in kept:
                above.update(dict.fromkeys(ancestors(code), count))
        # The chapter, the last ancestor, always has a token, so that any code of the system has one that tells it.
        last = {found[-1] for code in patients if (found := ancestors(code))}
        kept |= {code for code, count in above.items() if count >= rare} | last
        ordered = sorted(kept - {DEATH}, key=lambda code: (-patients[code], code))
        spelled = any(code not in kept and not ancestors(code) for code in patients)
        return cls((DEATH, *ordered), _edges(values), spelled)

    def token(self, code: str) -> str:
        """The code that tells ``code``: itself, the nearest above it that has a token, or itself to be spelled."""
        told = self._told.get(code)
        if told is None:
            told = next((one for one in (code, *ancestors(code)) if one in self._known), code)
            self._told[code] = told
        return told

    def bin(self, code: str, value: float, unit: str) -> int | None:
        """The quantile, from 0, of a value; None where the code has none in this unit."""
        if code not in self.edges or self.edges[code][0] != unit:
            return None
        return bisect_right(self.edges[code][1], value)

    def value(self, code: str, number: int) -> tuple[float, str] | None:
        """The value and unit that a quantile of ``code`` stands for; None where it has none."""
        if code not in self.edges:
            return None
        unit, _, medians = self.edges[code]
        return medians[min(number, len(medians) - 1)], unit

    def state(self) -> dict[str, Any]:
        """As JSON."""
        edges = {code: list(found) for code, found in self.edges.items()}
        return {"codes": list(self.codes), "edges": edges, "spelled": self.spelled}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Codebook:
        """Inverse of `state`."""
        edges = {code: (unit, list(bounds), list(medians)) for code, (unit, bounds, medians) in state["edges"].items()}
        return cls(state["codes"], edges, bool(state["spelled"]))


def _edges(values: Mapping[tuple[str, str], list[float]]) -> dict[str, tuple[str, list[float], list[float]]]:
    """Quantiles of each code in the unit that most of its values have."""
    most: dict[str, str] = {}
    for code, unit in sorted(values, key=lambda key: (len(values[key]), key)):
        most[code] = unit
    found = {}
    for code, unit in most.items():
        numbers = np.sort(np.array(values[code, unit]))
        if len(numbers) < ENOUGH:
            continue
        # Few different values have fewer bins: equal bounds would make bins that nothing falls into.
        bounds = np.unique(np.quantile(numbers, np.arange(1, BINS) / BINS, method="higher"))
        bounds = bounds[bounds > numbers[0]]
        which = np.searchsorted(bounds, numbers, side="right")
        medians = [float(np.median(numbers[which == number])) for number in range(len(bounds) + 1)]
        found[code] = (unit, [float(bound) for bound in bounds], medians)
    return found

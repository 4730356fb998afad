"""What is learned from the training patients before the network: which codes have a token, and the quantiles of values."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from puji.language import current, translate
from puji.modalities.timelines.codes import LOCAL, Codes, ancestors
from puji.modalities.timelines.timeline import DEATH, Sex, Timeline

RARE = 5
"""A code that fewer patients have is told by the one above it in its hierarchy, or spelled where there is none."""
MANY = 30
"""Patients with a code, of whom none has it twice, from which it is taken for one that comes once in a life."""
ONE_SEX = 1e-6
"""Probability, were a code as common in men as in women, of finding it by chance in one sex alone; below it, the code is taken
for one that only this sex can have. Of a few thousand codes not one is then expected to be taken so by chance; 20 patients are
enough where men and women are equally many."""
BINS = 10
"""Quantiles of a measurement."""
SUGGESTED = 5
"""Codes that a question names at most."""
ENOUGH = 50
"""Values of a code in its unit from which quantiles are learned."""


NONE = Codes({}, {})


class Codebook:
    """Codes with a token of their own, and quantiles.

    ``codes``: in a fixed order, `DEATH` first. ``edges``: for each measured code its unit, the inner bounds of the bins, and
    the median of each bin. ``spelled``: whether there are codes that no token tells. ``own``: a user's mapping of
    codes to others, and names of codes. ``once``: codes that come once in a life; ``one_sex``: codes that only one sex can have.
    """

    def __init__(
        self,
        codes: Sequence[str] = (DEATH,),
        edges: Mapping[str, tuple[str, list[float], list[float]]] | None = None,
        spelled: bool = True,
        own: Codes = NONE,
        once: Collection[str] = (),
        one_sex: Mapping[str, Sex] | None = None,
    ) -> None:
        self.codes = tuple(codes)
        self.once = frozenset(once)
        self.one_sex = dict(one_sex or {})
        self.own = own
        self.spelled = spelled
        self.edges = dict(edges or {})
        self._known = frozenset(self.codes)
        self._covered = self._known.union(*map(ancestors, self.codes))
        self._told: dict[str, str] = {}

    @classmethod
    def learn(cls, records: Sequence[Timeline], rare: int = RARE, own: Codes = NONE) -> Codebook:
        """From training patients; ``rare``: see `RARE`."""
        told = own.mapping.get
        patients: Counter[str] = Counter()
        values: dict[tuple[str, str], list[float]] = defaultdict(list)
        for record in records:
            patients.update({told(event.code, event.code) for event in record.events})
            for event in record.events:
                if event.value is not None:
                    values[told(event.code, event.code), event.unit].append(event.value)
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
        book = cls((DEATH, *ordered), _edges(values), spelled, own)
        book.once = book.told_once(records)
        book.one_sex = book.told_of_one_sex(records)
        return book

    def told_once(self, records: Sequence[Timeline]) -> frozenset[str]:
        """The tokens that many of the patients ``records`` have, and nobody twice."""
        patients: Counter[str] = Counter()
        repeated: set[str] = set()
        for record in records:
            counts = Counter(self.token(event.code) for event in record.events)
            patients.update(counts.keys())
            repeated.update(code for code, count in counts.items() if count > 1)
        return frozenset(code for code, count in patients.items() if count >= MANY and code in self._known) - repeated

    def told_of_one_sex(self, records: Sequence[Timeline]) -> dict[str, Sex]:
        """The tokens that patients of one sex alone have, too many for chance (`ONE_SEX`); of unknown sex, they do not count."""
        people: Counter[Sex] = Counter(record.sex for record in records if record.sex)
        patients: dict[str, Counter[Sex]] = defaultdict(Counter)
        for record in records:
            if record.sex:
                for code in {self.token(event.code) for event in record.events} & self._known:
                    patients[code][record.sex] += 1
        found: dict[str, Sex] = {}
        for code in self.codes:
            (sex, count), *others = patients[code].most_common() or [("", 0)]
            if sex and not others and (people[sex] / people.total()) ** count < ONE_SEX:
                found[code] = sex
        return found

    def barred(self, sex: Sex) -> frozenset[str]:
        """The codes that a patient of this sex cannot have; none where the sex is unknown."""
        return frozenset(code for code, other in self.one_sex.items() if sex and other != sex)

    def mapped(self, code: str) -> str:
        """What the user's mapping makes of ``code``."""
        return self.own.mapping.get(code, code)

    def token(self, code: str) -> str:
        """The code that tells ``code`` (as `mapped`): itself, the nearest above it that has a token, or itself to be spelled."""
        told = self._told.get(code)
        if told is None:
            own = self.mapped(code)
            told = next((one for one in (own, *ancestors(own)) if one in self._known), own)
            self._told[code] = told
        return told

    def answerable(self, code: str) -> str:
        """``code`` (as `mapped`) where it or one below it has a token, else the one above that tells it; '' for a chapter."""
        own = self.mapped(code)
        if own in self._covered:
            return own
        told = self.token(own)
        return told if told in self._known and "-" not in told.partition("/")[2] else ""

    def name(self, code: str, language: str) -> str:
        """What people call ``code``; '' where no name is known for it or what stands above it."""
        own = self.mapped(code)
        for one in (own, *(above for above in ancestors(own) if "-" not in above)):
            if told := self.own.names.get(one, {}).get(language):
                return told
        return ""

    def hint(self, word: str) -> str:
        """A question whether one of the codes was meant whose name holds ``word`` or whose system was left out; '' for none."""
        wanted = word.removeprefix(f"{LOCAL}/").replace("_", " ").lower()
        known = [*self.codes, *self.own.names]
        named = [one for one in known if any(wanted in name.lower() for name in self.own.names.get(one, {}).values())]
        bare = [one for one in known if one.partition("/")[2].lower() == wanted]
        language = current()
        told = [
            translate("timelines.code_named", code=one, name=name) if (name := self.name(one, language)) else one
            for one in [*dict.fromkeys([*bare, *named])][:SUGGESTED]
        ]
        return translate("timelines.did_you_mean", codes=translate("cli.comma").join(told)) if told and wanted else ""

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
        own = {"mapping": dict(self.own.mapping), "names": {code: dict(told) for code, told in self.own.names.items()}}
        return {
            "codes": list(self.codes),
            "edges": edges,
            "spelled": self.spelled,
            "once": sorted(self.once),
            "one_sex": self.one_sex,
            **own,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Codebook:
        """Inverse of `state`."""
        edges = {code: (unit, list(bounds), list(medians)) for code, (unit, bounds, medians) in state["edges"].items()}
        own = Codes(state["mapping"], state["names"])
        return cls(state["codes"], edges, bool(state["spelled"]), own, state["once"], state.get("one_sex"))


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

"""Which known names a name could be mistaken for: how alike they look and sound, and what else is wrong with it.

Looks: BI-SIM (Kondrak & Dorr, COLING 2004), also weighted towards the first letters. Sounds: ALINE over `phonetic.phones`.
The combined score is the mean of the weighted BI-SIM and ALINE; weights and mean are ours. So are its bands, from published
pairs of names that were confused (`confused.csv`) or from a user's own list. Nothing here is a regulatory clearance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numba
import numpy as np

from puji.errors import Invalid
from puji.modalities.names import phonetic
from puji.modalities.names.stems import TELLING, Stem, before_stem, carried, forbidden
from puji.modalities.names.suffix import doses, suffix_faults
from puji.modalities.names.tokens import LONGEST, Name, clean
from puji.sources import cells, each_file, ending
from puji.text import told_lines

HEAVY, HEAVY_LETTERS = 2.0, 3
"""Weight of each of the first letters in the weighted BI-SIM, and how many they are; the others weigh 1."""
NEAREST = 10
PAIR_ENDINGS = (".csv", ".tsv", ".txt")
MOST_PHONES = 3 * LONGEST


# -- looks -----------------------------------------------------------------------------------------------------------


@numba.njit(cache=True)
def _bisim(a, m, b, n, weights, row):  # type: ignore[no-untyped-def]
    """BI-SIM of the first m letters of a and n of b; ``row`` is scratch of n + 1 floats or more."""
    for j in range(n + 1):
        row[j] = 0.0
    for i in range(m):
        diagonal = row[0]
        for j in range(n):
            # What stands before the first letter equals only what stands before another, equal first letter (section 4.2).
            before = (a[i - 1] if i else a[0]) == (b[j - 1] if j else b[0]) and (i > 0) == (j > 0)
            same = 0.5 if before else 0.0
            if a[i] == b[j]:
                same += 0.5
            found = diagonal + same * 0.5 * (weights[i] + weights[j])
            diagonal = row[j + 1]
            row[j + 1] = max(found, row[j], diagonal)
    total = 0.0
    for i in range(max(m, n)):
        total += weights[i]
    return row[n] / total if total > 0 else 0.0


@numba.njit(cache=True)
def _scan(text, said, texts, lengths, sounds, sound_lengths, selves, weights, scores, differences, vowel):  # type: ignore[no-untyped-def]
    """Weighted BI-SIM and ALINE of one name against all: two (n,) float32."""
    n = len(texts)
    looks, heard = np.zeros(n, np.float32), np.zeros(n, np.float32)
    row = np.zeros(texts.shape[1] + 1, np.float32)
    own = phonetic_score(said, said, scores, differences, vowel)
    for k in range(n):
        looks[k] = _bisim(text, len(text), texts[k], lengths[k], weights, row)
        if len(said) and sound_lengths[k]:
            score = phonetic_score(said, sounds[k, : sound_lengths[k]], scores, differences, vowel)
            heard[k] = min(np.float32(1), 2 * score / (own + selves[k]))
    return looks, heard


phonetic_score = phonetic.local_score


def _letters(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("ascii"), dtype=np.int8)


@cache
def _weights(heavy: float) -> np.ndarray:
    return np.where(np.arange(64) < HEAVY_LETTERS, heavy, 1.0)


def bisim(first: str, second: str, *, weighted: bool = False) -> float:
    """BI-SIM of two words, 0 to 1. ``weighted``: the first letters weigh more.

    Section 4.3 of Kondrak & Dorr (2004), checked on all values that its tables 2 and 4 print. There, Zantac/Contac is .583
    and Zantac/Xanax .417 (the columns of table 2 are Zantac/Xanax, Zantac/Contac, Xanax/Contac).

    >>> round(bisim("zantac", "xanax"), 3), round(bisim("zantac", "contac"), 3)
    (0.417, 0.583)
    """
    row = np.zeros(len(second) + 1, np.float32)
    weights = _weights(HEAVY if weighted else 1.0)
    return float(_bisim(_letters(first), len(first), _letters(second), len(second), weights, row))


def combined(first: str, second: str) -> float:
    """The mean of the weighted BI-SIM and of ALINE, 0 to 1."""
    heard = phonetic.aline(phonetic.phones(first), phonetic.phones(second))
    return (bisim(first, second, weighted=True) + heard) / 2


# -- bands -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bands:
    """Thresholds of the combined score: half of the confused pairs lie above ``high``, nine of ten above ``moderate``."""

    moderate: float
    high: float

    def band(self, score: float) -> str:
        """ "high", "moderate" or "low"."""
        return "high" if score >= self.high else "moderate" if score >= self.moderate else "low"


def calibrate(pairs: Sequence[tuple[str, str]]) -> Bands:
    """Bands from confused ``pairs``. Raises Invalid for fewer than ten."""
    known = {frozenset(pair) for pair in pairs}
    if len(known) < 10:
        raise Invalid("names.few_pairs", n=len(known))
    moderate, high = np.quantile([combined(*sorted(pair)) for pair in sorted(known, key=sorted)], [0.1, 0.5])
    return Bands(float(moderate), float(high))


def load_pairs(path: Path) -> list[tuple[str, str]]:
    """The pairs of a CSV or TSV file, also packed: two names in the first columns; comments begin with "#".

    A heading "first", "second" is passed over. Raises Invalid, with file and line, for a file that cannot be read or a cell
    that is no name.
    """
    pairs: list[tuple[str, str]] = []
    for found in each_file(path, PAIR_ENDINGS, _pairs):
        if isinstance(found, Invalid):
            raise found
        pairs.append(found)
    return pairs


def _pairs(path: Path) -> Iterator[tuple[str, str] | Invalid]:
    first = True
    for line in told_lines(path):
        if isinstance(line, Invalid):
            yield line
            continue
        number, text = line
        row = cells(text, "\t" if ending(path) == ".tsv" else ",")
        if first and [cell.strip().lower() for cell in row[:2]] == ["first", "second"]:
            first = False
            continue
        first = False
        if len(row) < 2:
            raise Invalid("names.pair", line=number)
        try:
            yield clean(row[0]), clean(row[1])
        except Invalid as refusal:
            raise refusal.at(str(path), number) from refusal


def bands_of(path: Path) -> Bands:
    """The bands of the pairs in ``path``, computed once. Raises as `load_pairs` and `calibrate`."""
    return _calibrated(tuple(load_pairs(path)))


@lru_cache(maxsize=8)
def _calibrated(pairs: tuple[tuple[str, str], ...]) -> Bands:
    return calibrate(pairs)


@cache
def published() -> Bands:
    """The bands of the published pairs that come with Puji."""
    return bands_of(Path(__file__).parent / "confused.csv")


# -- screening -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Neighbour:
    """A known name near to a candidate. ``part``: only the parts before their common stem were compared."""

    name: str
    kind: str
    looks: float
    sounds: float
    score: float
    band: str
    part: bool = False


@dataclass(frozen=True)
class Screening:
    """What was found about a name. ``known``: it is a name already; ``stems``: those that a brand must not carry."""

    name: Name
    neighbours: tuple[Neighbour, ...]
    known: bool
    doses: tuple[str, ...]
    stems: tuple[Stem, ...]
    suffix_faults: tuple[str, ...] = ()

    @property
    def band(self) -> str:
        """The band of the nearest name; "high" for a name that is known."""
        return "high" if self.known else self.neighbours[0].band if self.neighbours else "low"


class KnownNames:
    """Names to compare with. Their letters and phones are laid out on the first comparison (about a second for 20,000).

    ``names``: kind ("generic", "brand", "other", "suffix") -> names.
    """

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = {kind: sorted(set(found)) for kind, found in names.items()}
        self.suffixes = frozenset(self.names.get("suffix", ()))
        self.all: list[tuple[str, str]] = []
        seen: set[str] = set()
        for kind in ("generic", "brand", "other"):
            for name in self.names.get(kind, ()):
                if name not in seen:
                    seen.add(name)
                    self.all.append((name, kind))
        self.set = frozenset(seen)

    def __len__(self) -> int:
        return len(self.all)

    @cached_property
    def _whole(self) -> tuple[np.ndarray, ...]:
        return _laid_out([name for name, _ in self.all])

    @cached_property
    def _families(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for index, (name, kind) in enumerate(self.all):
            if kind == "generic" and (family := _family(name)):
                found.setdefault(family, []).append(index)
        return found

    def nearest(self, name: Name, n: int = NEAREST, bands: Bands | None = None) -> tuple[Neighbour, ...]:
        """The ``n`` known names with the highest combined score, itself left out."""
        if not self.all or name.kind == "suffix":
            return ()
        bands = bands or published()
        looks, sounds = _compare(name.text, self._whole)
        parts: frozenset[int] = frozenset()
        family = _family(name.text) if name.kind == "generic" else ""
        if same := self._families.get(family, []):
            # Names of a class end alike by rule; what tells them apart stands before the stem.
            laid = _laid_out_parts(tuple(before_stem(self.all[index][0]) for index in same))
            looks[same], sounds[same] = _compare(before_stem(name.text), laid)
            parts = frozenset(same)
        score = (looks + sounds) / 2
        order = np.lexsort((np.arange(len(score)), -score))[: n + 1]
        found = [
            Neighbour(
                self.all[index][0],
                self.all[index][1],
                float(looks[index]),
                float(sounds[index]),
                float(score[index]),
                bands.band(float(score[index])),
                int(index) in parts,
            )
            for index in order
            if self.all[index][0] != name.text
        ]
        return tuple(found[:n])

    def screen(self, name: Name, n: int = NEAREST, bands: Bands | None = None) -> Screening:
        """All that is known against ``name``."""
        if name.kind == "suffix":
            known = name.text in self.suffixes
            return Screening(name, (), known, doses(name.text), (), suffix_faults(name.text))
        stems = tuple(forbidden(name.text)) if name.kind == "brand" else ()
        return Screening(name, self.nearest(name, n, bands), name.text in self.set, doses(name.text), stems)


def _family(text: str) -> str:
    """The shortest telling suffix stem of a generic name with a part before it, as -tinib of -citinib; else ""."""
    if before_stem(text) == text:
        return ""
    return min(
        (stem.letters for stem in carried(text) if stem.place == "suffix" and len(stem.letters) >= TELLING),
        key=len,
        default="",
    )


def _laid_out(names: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Letters, lengths, phones, lengths, ALINE scores with themselves."""
    texts = np.zeros((len(names), LONGEST), np.int8)
    sounds = np.zeros((len(names), MOST_PHONES), np.int8)
    lengths, heard = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    selves = np.zeros(len(names), np.float32)
    tables = phonetic.tables()
    for index, name in enumerate(names):
        said = phonetic.numbers(phonetic.phones(name))[:MOST_PHONES]
        texts[index, : len(name)] = _letters(name)
        sounds[index, : len(said)] = said
        lengths[index], heard[index] = len(name), len(said)
        selves[index] = phonetic.local_score(said, said, *tables)
    return texts, lengths, sounds, heard, selves


@cache
def _laid_out_parts(parts: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    return _laid_out(parts)


def _compare(text: str, laid: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    said = phonetic.numbers(phonetic.phones(text))[:MOST_PHONES]
    scan: Any = _scan
    looks, sounds = scan(_letters(text), said, *laid, _weights(HEAVY), *phonetic.tables())
    return looks, sounds

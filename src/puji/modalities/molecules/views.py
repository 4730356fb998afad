"""The training sequences of a molecule: one view per record and epoch, drawn from five directions.

    de novo      <mol> S <end>                                 and   <mol> S <end> answers
    properties   <logp:3> <qed:9> <mol> S <end>
    keep         <keep> kept parts <mol> missing parts <end>
    like         <like> <similarity:2> A <mol> B <end>

The last two also with properties in front. Only the body, END and the answers are learned; the rest is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from puji.modalities.molecules import fragments
from puji.modalities.molecules.bins import Bins
from puji.modalities.molecules.molecule import Molecule, parse, scaffold
from puji.modalities.molecules.properties import PROPERTIES
from puji.modalities.molecules.tokens import BAND_TOKENS, BANDS, KEEP, LIKE, body, respelled, tokenize
from puji.modality import View
from puji.options import Range

SHARES = {"de novo": 0.60, "properties": 0.18, "keep": 0.12, "like": 0.10}
"""How often each direction is drawn. One that a molecule does not allow becomes de novo."""

ANSWERED = 0.25
"""Share of the de novo views that go on with answers."""
COMBINED = 1 / 3
"""Share of the keep and like views that have properties in front."""
RESPELLED = 0.5
"""Share of the keep and like views whose prompt is a randomly chosen SMILES instead of the canonical one."""
BY_CHARACTERS = 0.1
"""Share of the prompts' bracket atoms written by their characters."""

MOST_INDEXED = 200_000


class Analogues:
    """Training molecules by scaffold, to find one that is like another.

    Indexes at most `MOST_INDEXED` molecules, drawn at random but always the same; about 0.4 ms each.
    """

    def __init__(self, records: Sequence[Molecule] = (), seed: int = 0) -> None:
        self._members: dict[str, list[str]] = defaultdict(list)
        order = np.random.default_rng(seed).permutation(len(records))[:MOST_INDEXED]
        for index in order:
            smiles = records[index].smiles
            if core := scaffold(parse(smiles)):
                self._members[core].append(smiles)

    def draw(self, smiles: str, rng: np.random.Generator, tries: int = 3) -> tuple[str, int] | None:
        """A molecule with the scaffold of ``smiles`` and the band of their similarity; None if none was found."""
        if not self._members:
            return None
        mol = parse(smiles)
        members = self._members.get(scaffold(mol), [])
        for _ in range(tries if members else 0):
            other = members[int(rng.integers(len(members)))]
            if other != smiles and (band := similarity_band(fragments.similarity(parse(other), mol))) is not None:
                return other, band
        return None


def similarity_band(similarity: float) -> int | None:
    """The band of a Tanimoto similarity; None below the lowest band and for fingerprints that do not differ."""
    if not BANDS[0] <= similarity < 1:
        return None
    return int(np.searchsorted(BANDS, similarity, side="right")) - 1


def drawn_properties(
    smiles: str, bins: Mapping[str, Bins], rng: np.random.Generator, least: int, most: int, *, shuffled: bool
) -> list[str]:
    """The bin tokens of ``least`` to ``most`` properties of the molecule, in fixed or ``shuffled`` order."""
    names = list(bins)
    chosen = [names[index] for index in rng.permutation(len(names))[: int(rng.integers(least, most + 1))]]
    if not shuffled:
        chosen.sort(key=names.index)
    mol = parse(smiles)
    return [f"<{name}:{bins[name].index(PROPERTIES[name].compute(mol))}>" for name in chosen]


def view(
    record: Molecule,
    rng: np.random.Generator,
    bins: Mapping[str, Bins],
    analogues: Analogues,
    shares: Mapping[str, float] = SHARES,
    context: int = 512,
) -> View:
    """One view of ``record``; before `learn` and `prepare` only those that need neither bins nor analogues."""
    smiles = record.smiles
    limits = np.cumsum(list(shares.values()))
    direction = list(shares)[int(np.searchsorted(limits[:-1], rng.random() * limits[-1], side="right"))]
    prompt: list[str] = []
    told = body(smiles)
    if direction == "keep" and (pair := fragments.cuts(parse(smiles), rng)):
        kept, missing = pair
        prompt = [KEEP, *_read(kept, rng)]
        told = body(missing)
    elif direction == "like" and (found := analogues.draw(smiles, rng)):
        other, band = found
        prompt = [LIKE, BAND_TOKENS[band], *_read(other, rng)]
    if bins and (direction == "properties" or (prompt and rng.random() < COMBINED)):
        prompt = [*drawn_properties(smiles, bins, rng, 1, 3, shuffled=False), *prompt]
    answers: list[str] = []
    if bins and not prompt and rng.random() < ANSWERED:
        answers = drawn_properties(smiles, bins, rng, 2, 3, shuffled=True)
    if len(prompt) + len(told) + len(answers) > context:
        prompt, told, answers = [], body(smiles), []
    tokens = [*prompt, *told, *answers]
    read = len(prompt) + 1  # the prompt and <mol>
    return View(tokens, [0.0] * read + [1.0] * (len(tokens) - read))


def _read(smiles: str, rng: np.random.Generator) -> list[str]:
    if rng.random() < RESPELLED:
        smiles = fragments.respell(smiles, rng)
    return respelled(tokenize(smiles), rng, BY_CHARACTERS)


ALIKE = 0.5
"""Least similarity, one of `BANDS`, of what is asked for when no similarity is."""
BAND_SHARES = (0.33, 0.24, 0.19, 0.14, 0.10)
"""Shares of the bands among MOSES molecules with a scaffold in common."""


def drawn_band(asked: Range[float] | None, rng: np.random.Generator) -> int:
    """A band of similarity that overlaps with ``asked``, as often as in training; the nearest one if there is none.

    Where nothing is asked, one of those from `ALIKE` on, each as often as the others.
    """
    if asked is None:
        return int(rng.integers(BANDS.index(ALIKE), len(BAND_SHARES)))
    weights = np.array(BAND_SHARES)
    low, high = np.array(BANDS[:-1]), np.array(BANDS[1:])
    weights = weights * np.clip(np.minimum(high, asked.high) - np.maximum(low, asked.low), 0, None) / (high - low)
    if not weights.any():
        return similarity_band(min(max(asked.low, BANDS[0]), 0.99)) or 0
    return int(rng.choice(len(weights), p=weights / weights.sum()))

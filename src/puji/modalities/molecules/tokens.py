"""Molecules <-> tokens. An atom, a bond, a ring closure or a branch is one token; a rare atom is its characters.

The tokens of a SMILES joined give that SMILES, whatever it holds.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

import numpy as np

from puji.modalities.molecules.properties import PROPERTIES
from puji.modality import END

MOL = "<mol>"
KEEP = "<keep>"
LIKE = "<like>"

BINS = 32
"""Each property is told by one of this many tokens, its quantile among the training molecules."""

BANDS = (0.3, 0.4, 0.5, 0.6, 0.7, 1.0)
"""Edges of the bands of Tanimoto similarity that `LIKE` is trained on."""

POINTS = tuple(f"[*:{label}]" for label in range(1, 10))
"""Attachment points."""

SPLITTER = r"->|<-|<[^<>\s]+>|\[[^\]]*\]|Br|Cl|%\d\d|."

OUTSIDE = ("B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I", "b", "c", "n", "o", "s", "p", "*")
"""Atoms that SMILES writes without brackets."""

BONDS = ("-", "=", "#", "$", ":", "/", "\\", "~", "->", "<-")

BRACKETS = (
    *("[nH]", "[C@H]", "[C@@H]", "[C@]", "[C@@]", "[N+]", "[O-]", "[n+]", "[NH+]", "[NH2+]", "[NH3+]", "[N-]", "[NH-]"),
    *("[nH+]", "[n-]", "[o+]", "[s+]", "[S+]", "[S-]", "[S@]", "[S@@]", "[S@+]", "[S@@+]", "[O+]", "[OH+]", "[OH2+]"),
    *(
        "[CH-]",
        "[CH2-]",
        "[C-]",
        "[c-]",
        "[cH-]",
        "[CH]",
        "[CH2]",
        "[C+]",
        "[CH+]",
        "[CH2+]",
        "[B-]",
        "[BH-]",
        "[BH2-]",
    ),
    *("[BH3-]", "[P@]", "[P@@]", "[P+]", "[PH+]", "[P-]", "[Si]", "[SiH]", "[SiH2]", "[SiH3]", "[Se]", "[SeH]", "[se]"),
    *("[N@]", "[N@@]", "[N@+]", "[N@@+]", "[N@H+]", "[N@@H+]", "[Si@]", "[Si@@]", "[As]", "[Te]", "[I+]", "[I-]"),
    *("[H]", "[2H]", "[3H]", "[H+]", "[11CH3]", "[13C]", "[13CH]", "[13CH2]", "[13CH3]", "[14C]", "[15N]", "[18F]"),
    *("[123I]", "[124I]", "[125I]", "[131I]", "[Na+]", "[K+]", "[Li+]", "[Cl-]", "[Br-]", "[F-]", "[OH-]", "[NH4+]"),
)

CLOSURES = tuple(f"%{label}" for label in range(10, 30))

CHARACTERS = (*string.digits, *string.ascii_letters, *"[]@+-%()*=#$:/\\~.")

_SPLIT = re.compile(SPLITTER).findall


def bin_tokens(name: str) -> list[str]:
    """The tokens of the bins of property ``name``, lowest first."""
    return [f"<{name}:{index}>" for index in range(BINS)]


BAND_TOKENS = [f"<similarity:{index}>" for index in range(len(BANDS) - 1)]


def vocabulary_tokens() -> list[str]:
    """All tokens in their fixed order. END stands first."""
    words = [END, MOL, KEEP, LIKE, *BAND_TOKENS]
    for name in PROPERTIES:
        words += bin_tokens(name)
    return list(dict.fromkeys([*words, *OUTSIDE, *BONDS, *"()", ".", *CLOSURES, *BRACKETS, *POINTS, *CHARACTERS]))


_KNOWN = frozenset(vocabulary_tokens())


def tokenize(smiles: str) -> list[str]:
    """The tokens of a SMILES. ``"".join(tokenize(smiles)) == smiles``."""
    result: list[str] = []
    for word in _SPLIT(smiles):
        if word in _KNOWN:
            result.append(word)
        else:
            result.extend(word)
    return result


def respelled(tokens: Sequence[str], rng: np.random.Generator, share: float) -> list[str]:
    """``tokens`` with a ``share`` of the bracket atoms written by their characters, so that these are known too."""
    result: list[str] = []
    for token in tokens:
        if len(token) > 1 and token[0] == "[" and rng.random() < share:
            result.extend(token)
        else:
            result.append(token)
    return result


def body(smiles: str) -> list[str]:
    """`MOL`, the tokens of a SMILES, END."""
    return [MOL, *tokenize(smiles), END]


def text(tokens: Sequence[str]) -> str:
    """The SMILES that the body ``tokens``, with or without `MOL` and END, spell; what follows END is left out."""
    words: list[str] = []
    for token in tokens:
        if token == END:
            break
        if token != MOL:
            words.append(token)
    return "".join(words)

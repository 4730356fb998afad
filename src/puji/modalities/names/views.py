"""The training sequences of a name: one view per record and epoch.

    plain        <name> <generic> i m a t i n i b <end>
    asked        <stem:tinib> <length:8> <first:i> <syllables:4> <name> <generic> i m a t i n i b <end>

An asked view tells one or more of the four, each as often as `TOLD` says. What stands before `<name>` is read, not
learned; the kind is learned, so that a likelihood without conditions pays for everything that it is told.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from puji.modalities.names.stems import carried
from puji.modalities.names.tokens import Name, body, first_token, length_token, syllables, syllables_token
from puji.modality import View

ASKED = 0.35
"""Share of the views that tell conditions."""
TOLD: Mapping[str, float] = {"stem": 0.7, "length": 0.35, "first": 0.35, "syllables": 0.25}
"""How often an asked view tells each condition that the name has."""


def conditions_of(name: Name, rng: np.random.Generator) -> dict[str, str]:
    """The condition tokens of a name; of several stems, one drawn."""
    found: dict[str, str] = {}
    if name.kind == "generic" and (stems := carried(name.text)):
        found["stem"] = stems[int(rng.integers(len(stems)))].token
    if name.kind != "suffix":
        found["length"] = length_token(len(name.text))
        found["syllables"] = syllables_token(syllables(name.text))
    found["first"] = first_token(name.text[0])
    return {key: found[key] for key in TOLD if key in found}


def view(name: Name, rng: np.random.Generator, asked: float = ASKED) -> View:
    """A plain view, or with the share ``asked`` one that tells conditions."""
    prompt: list[str] = []
    if rng.random() < asked:
        found = conditions_of(name, rng)
        prompt = [token for key, token in found.items() if rng.random() < TOLD[key]]
    tokens = [*prompt, *body(name)]
    read = len(prompt) + 1
    return View(tokens, [0.0] * read + [1.0] * (len(tokens) - read))

"""How an image is told.

    <is:pneumonia> <image> <p017> <p203> ... <end>                to generate, and for Bayes
    <image> <p017> <p203> ... <end> <is:pneumonia>                to classify
    <around> <p017> <hole> ... <image> <p017> <p203> ... <end>    to fill a hole

Patches come row by row. Where an image may have several labels, or none, each is answered apart: <is:A> or <not:A>.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from puji.modality import END

IMAGE = "<image>"
AROUND = "<around>"
HOLE = "<hole>"
NOTHING = "<nothing>"
"""Told in front of an image of which is known that it shows none of the labels."""
FIXED = (END, IMAGE, AROUND, HOLE, NOTHING)


def patch_token(code: int) -> str:
    """The token of a patch code."""
    return f"<p{code:03d}>"


def code_of(token: str) -> int | None:
    """Inverse of `patch_token`; None for another token."""
    return int(token[2:-1]) if token[:2] == "<p" and token[2:-1].isdigit() else None


def is_token(label: str) -> str:
    """The token that an image shows ``label``."""
    return f"<is:{label.replace(' ', '_')}>"


def not_token(label: str) -> str:
    """The token that it does not."""
    return f"<not:{label.replace(' ', '_')}>"


@dataclass(frozen=True)
class Labels:
    """What images are said to show.

    ``exclusive``: each image has exactly one of ``names``. ``common``: sets of labels, and how many training images have each.
    """

    names: tuple[str, ...] = ()
    exclusive: bool = True
    common: tuple[tuple[tuple[str, ...], int], ...] = ()

    @classmethod
    def learn(cls, told: Iterable[tuple[str, ...] | None]) -> Labels:
        """From the labels of training images; those of which nothing is known do not count."""
        counts = Counter(labels for labels in told if labels is not None)
        names = tuple(sorted({name for labels in counts for name in labels}))
        common = tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
        return cls(names, all(len(labels) == 1 for labels in counts), common)

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "names": list(self.names),
            "exclusive": self.exclusive,
            "common": [[list(labels), count] for labels, count in self.common],
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Labels:
        """Inverse of `state`."""
        common = tuple((tuple(labels), int(count)) for labels, count in state["common"])
        return cls(tuple(state["names"]), bool(state["exclusive"]), common)

    def known(self, labels: Sequence[str] | None) -> tuple[str, ...] | None:
        """``labels`` if all of them were learned, and there is one where there can be only one; else None."""
        if labels is None or not set(labels) <= set(self.names) or (self.exclusive and len(labels) != 1):
            return None
        return tuple(labels)

    def tokens(self) -> list[str]:
        """All label tokens, in a fixed order."""
        negative = [] if self.exclusive else [not_token(name) for name in self.names]
        return [*(is_token(name) for name in self.names), *negative]

    def questions(self) -> list[tuple[str, ...]]:
        """Sets of tokens of which exactly one is true of an image; the positive one of a yes or no comes last."""
        if self.exclusive:
            return [tuple(is_token(name) for name in self.names)] if len(self.names) > 1 else []
        return [(not_token(name), is_token(name)) for name in self.names]

    def answers(self, labels: Sequence[str]) -> list[str]:
        """The true token of each of `questions`."""
        if self.exclusive:
            return [is_token(name) for name in labels]
        return [is_token(name) if name in labels else not_token(name) for name in self.names]

    def front(self, labels: Sequence[str] | None) -> list[str]:
        """What stands before an image that shows ``labels``; nothing where that is not known."""
        if labels is None:
            return []
        return [is_token(name) for name in self.names if name in labels] or [NOTHING]

    def named(self, tokens: Iterable[str]) -> tuple[str, ...] | None:
        """The labels that ``tokens`` tell; None if they tell nothing of them."""
        told = set(tokens)
        found = tuple(name for name in self.names if is_token(name) in told)
        return found if found or NOTHING in told else None

    def estimates(self, question: int, tokens: Sequence[str]) -> list[tuple[str, int]]:
        """The names that question number ``question`` estimates, each with the place of its token among ``tokens``."""
        if self.exclusive:
            return [(name, place) for place, name in enumerate(self.names)]
        return [(self.names[question], len(tokens) - 1)]

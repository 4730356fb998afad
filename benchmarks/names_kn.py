"""Interpolated Kneser-Ney over characters: the baseline that a model of names must beat, of our own.

Kneser & Ney, ICASSP 1995; the interpolated form of Chen & Goodman, Computer Speech & Language 13:359 (1999), one absolute
discount an order, D = n1 / (n1 + 2 n2). The highest order counts n-grams; each lower one counts in how many contexts an
n-gram was seen; below the unigram stands the uniform distribution over the alphabet.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

BEGIN, END = "^", "$"
Counts = dict[str, Counter[str]]


class KneserNey:
    """``order``: characters of an n-gram, the predicted one included. ``alphabet``: all characters that may follow.

    ``fitted`` names are padded with order - 1 BEGIN in front and one END, which is predicted like a letter.
    """

    def __init__(self, fitted: Iterable[str], order: int, alphabet: str = "abcdefghijklmnopqrstuvwxyz" + END) -> None:
        self.order, self.alphabet = order, alphabet
        highest: Counter[str] = Counter()
        for name in fitted:
            text = BEGIN * (order - 1) + name + END
            highest.update(text[at : at + order] for at in range(len(name) + 1))
        self.counts: list[Counter[str]] = [highest]
        while len(self.counts) < order:
            # Each distinct n-gram counts once for the shorter one that it ends in.
            self.counts.append(Counter(gram[1:] for gram in self.counts[-1]))
        self.discounts = [_discount(counts) for counts in self.counts]
        self.after: list[Counts] = []
        for counts in self.counts:
            after: Counts = defaultdict(Counter)
            for gram, count in counts.items():
                after[gram[:-1]][gram[-1]] += count
            self.after.append(dict(after))
        self.totals = [{context: sum(next_.values()) for context, next_ in after.items()} for after in self.after]

    def probability(self, context: str, letter: str) -> float:
        """P(letter | the last order - 1 characters of ``context``)."""
        found = 1 / len(self.alphabet)
        for level in range(self.order - 1, -1, -1):
            length = self.order - 1 - level
            tail = context[len(context) - length :]
            followers = self.after[level].get(tail)
            if followers is None:
                break
            total, discount = self.totals[level][tail], self.discounts[level]
            found = (max(followers[letter] - discount, 0) + discount * len(followers) * found) / total
        return found

    def bits(self, name: str) -> float:
        """-log2 of the probability of ``name`` and its end."""
        text = BEGIN * (self.order - 1) + name + END
        places = range(self.order - 1, len(text))
        return -sum(math.log2(self.probability(text[at - self.order + 1 : at], text[at])) for at in places)


def _discount(counts: Counter[str]) -> float:
    once, twice = (sum(1 for count in counts.values() if count == number) for number in (1, 2))
    return once / (once + 2 * twice) if once and twice else 0.5


def bits_per_character(model: KneserNey, names: Sequence[str]) -> float:
    """Bits per character of ``names``, the end of each counted as one character."""
    return sum(model.bits(name) for name in names) / sum(len(name) + 1 for name in names)

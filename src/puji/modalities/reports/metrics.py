"""BLEU, ROUGE and consensus of reports.

BLEU-1..4 over the corpus and ROUGE-L per report are those of `pycocoevalcap`, which the field scores reports with (Papineni et
al. 2002; Lin 2004, beta 1.2); ROUGE-1 and -2 are F1 of n-grams without stemming.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

BETA = 1.2
TINY, SMALL = 1e-15, 1e-9
"""`pycocoevalcap` adds these to numbers of n-grams, so that no logarithm of 0 is taken."""
_SIGNS = re.compile(r"[.,?;*!%^&_+():-\[\]{}]")


def r2gen(text: str) -> str:
    """A findings section as R2Gen cleans those of IU X-ray (its tokenizers.py, clean_report_iu_xray)."""
    for _ in range(3):
        text = text.replace("..", ".")
    text = text.replace("1. ", "")
    for number in "2345":
        text = text.replace(f". {number}. ", ". ")
    for number in "2345":
        text = text.replace(f" {number}. ", ". ")
    told = [_sentence(part) for part in text.strip().lower().split(". ")]
    return " . ".join(told) + " ."


def _sentence(text: str) -> str:
    plain = text.replace('"', "").replace("/", "").replace("\\", "").replace("'", "").strip().lower()
    return _SIGNS.sub("", plain)


def ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each n-gram stands in ``words``."""
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))


def bleu(drafts: Sequence[str], references: Sequence[str], orders: int = 4) -> list[float]:
    """BLEU-1 to BLEU-``orders`` of a corpus, one reference a draft."""
    correct, guessed = [0] * orders, [0] * orders
    length = reference_length = 0
    for draft, reference in zip(drafts, references, strict=True):
        told, wanted = draft.split(), reference.split()
        length += len(told)
        reference_length += len(wanted)
        for n in range(1, orders + 1):
            found = ngrams(told, n)
            correct[n - 1] += sum((found & ngrams(wanted, n)).values())
            guessed[n - 1] += max(0, len(told) - n + 1)
    ratio = (length + TINY) / (reference_length + SMALL)
    penalty = 1.0 if ratio >= 1 else math.exp(1 - 1 / ratio)
    scores, product = [], 1.0
    for n in range(orders):
        product *= (correct[n] + TINY) / (guessed[n] + SMALL)
        scores.append(product ** (1 / (n + 1)) * penalty)
    return scores


def common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, by bits of one number (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    ones = (1 << len(first)) - 1
    row = ones
    for word in second:
        match = row & places.get(word, 0)
        row = (row + match | row - match) & ones
    return len(first) - row.bit_count()


def rouge_l(draft: Sequence[str], reference: Sequence[str], beta: float = BETA) -> float:
    """F of the longest common subsequence; 0 where nothing is common."""
    shared = common(draft, reference)
    if not shared:
        return 0.0
    precision, recall = shared / len(draft), shared / len(reference)
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def rouge_n(draft: Sequence[str], reference: Sequence[str], n: int) -> float:
    """F1 of n-grams."""
    told, wanted = ngrams(draft, n), ngrams(reference, n)
    shared = sum((told & wanted).values())
    return 2 * shared / (sum(told.values()) + sum(wanted.values())) if shared else 0.0


def mean_rouge_l(drafts: Sequence[str], references: Sequence[str]) -> float:
    """Mean of `rouge_l` over reports."""
    scores = [rouge_l(one.split(" "), other.split(" ")) for one, other in zip(drafts, references, strict=True)]
    return sum(scores) / len(scores)


def consensus(drafts: Sequence[str]) -> list[float]:
    """Of each draft its mean `rouge_l` to the others: the expected score, where drafts are drawn from what the truth may be
    (minimum Bayes risk; Kumar & Byrne 2004)."""
    told = [draft.split() for draft in drafts]
    if len(told) == 1:
        return [1.0]
    scores = []
    for place, one in enumerate(told):
        others = [rouge_l(one, other) for number, other in enumerate(told) if number != place]
        scores.append(sum(others) / len(others))
    return scores

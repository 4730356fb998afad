"""The rule layer: which findings a text states, and whether it says that they are present, absent or uncertain.

A mention is a match of the lexicon (`lexicon.tsv`, ours). What it means is decided within its clause by cues of negation and
doubt before and behind it, after NegEx (Chapman et al., J Biomed Inform 2001, 34:301-310); cues and lexicon are our own.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

State = Literal["present", "absent", "uncertain"]
STATES: tuple[State, ...] = ("present", "absent", "uncertain")
LEXICON = Path(__file__).parent / "lexicon.tsv"


@dataclass(frozen=True)
class Mention:
    """A finding stated in a text: its name, its state, and where (characters) in the text."""

    finding: str
    state: State
    start: int
    end: int


SENTENCE = re.compile(r"(?<=[.!?;])\s+(?!\d+\s*(?:mm|cm))|\n+|(?<=[。；！？])")
# What ends the reach of a cue before a mention.
BREAK = re.compile(
    r"\b(?:but|however|although|though|otherwise|except|apart from|aside from|other than|besides|which|(?<!to )suggest\w*|"
    r"consistent with|compatible with|representing|secondary to|due to|related to|because of|there (?:is|are)|"
    r"(?:is|are) (?:seen|present|noted|stable|unchanged|again)"
    r"|with(?! (?:no|out)\b)(?=[^.]*\b(?:stable|mild|chronic)))\b|[:]|但|而|，另"
)
BEFORE = re.compile(
    r"\b(?:no|not|without|negative for|free (?:of|from)|clear of|den(?:y|ies)|absen(?:t|ce of)|rule out|r/o|"
    r"(?:has|have) (?:resolved|cleared)|resol(?:ved|ution of)|never|nor|neither|removal of|removed|exclude|lack of|"
    r"fails? to|unlikely|nonspecific for|interval resolution of|clearing of"
    r"|sensitivity (?:to|for))\b|未见|未发现|未示|无|没有|否认|不伴|排除"
)
AFTER = re.compile(
    r"^[^.,;]{0,60}?\b(?:(?:is|are|was|were|has|have)(?: been)?(?: not|n't)\b(?! (?:well|clearly)[ -]\w+ on (?:the )?"
    r"(?:lateral|frontal|pa|ap)\b)|(?:is|are|was|were) (?:absent|negative|"
    r"unlikely|excluded|(?:\w+ ){0,2}normal|unremarkable|"
    r"(?:\w+ ){0,2}within (?:normal )?limits)|appears? within|"
    r"not (?:seen|identified|visualized|present|evident|enlarged|appreciated|significantly)|"
    r"(?:has|have|is|are)(?: \w+)? (?:resolved|cleared|removed)|resolved|no longer)\b"
    r"|^[^。，；]{0,12}?(?:未见|不明显|消失|已吸收|阴性|不大|正常)"
)
PSEUDO = re.compile(
    r"\bno (?:significant |interval |appreciable |definite )*(?:change|increase|difference)\w*(?: in| of| from)?\b"
    r"|\bnot only\b|无明显变化|无变化"
)
DOUBT = re.compile(
    r"\b(?:possib\w+|may|might|could|question\w*|suspicious|suspect\w*|suspicion|can(?:not|'t| not)(?: \w+){0,2} exclude\w*|"
    r"differential|equivocal|concern\w*|potential\w*|perhaps|suggest\w*|(?:further )?evaluat\w+ (?:for|of)|(?<!no )history of|"
    r"recommend\w*|correlate)\b|可能|疑似|待排|考虑|倾向|？"
)
DOUBTED = re.compile(
    r"^[^.,;]{0,40}?\b(?:(?:is|are) (?:possible|suspected|questioned|not excluded)"
    r"|(?:cannot|can not|can't|difficult to)(?: \w+){0,2} exclude\w*"
    r"|(?:may|might|could) (?:not )?be (?:present|demonstrated)|(?:is|are) in the differential)"
    r"|^[^。，；]{0,8}?(?:可能|待排|不除外|待查)"
)


@cache
def lexicon() -> Mapping[str, re.Pattern[str]]:
    """Finding -> what names it in a text."""
    found: dict[str, list[str]] = {}
    with LEXICON.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
            pattern = row["pattern"] if row["language"] == "zh" else rf"\b(?:{row['pattern']})\b"
            found.setdefault(row["finding"], []).append(pattern)
    return {name: re.compile("|".join(patterns)) for name, patterns in found.items()}


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """The sentences of a text, each with the place of its first character."""
    start = 0
    for cut in SENTENCE.finditer(text):
        if text[start : cut.start()].strip():
            yield start, text[start : cut.start()]
        start = cut.end()
    if text[start:].strip():
        yield start, text[start:]


def mentions(text: str) -> list[Mention]:
    """All findings that a text states, in the order of their places."""
    found = [
        Mention(name, state, start + first, start + last)
        for start, sentence in sentences(text)
        for name, state, first, last in _read(sentence.lower())
    ]
    return sorted(found, key=lambda one: (one.start, one.finding))


@lru_cache(maxsize=100_000)
def _read(sentence: str) -> tuple[tuple[str, State, int, int], ...]:
    """The findings of one lower-case sentence. Cached: reports repeat sentences."""
    return tuple(
        (name, state_of(sentence, match), match.start(), match.end())
        for name, pattern in lexicon().items()
        for match in pattern.finditer(sentence)
    )


def state_of(sentence: str, match: re.Match[str]) -> State:
    """What a lower-case sentence says of a mention in it."""
    before = sentence[: match.start()]
    behind = sentence[match.end() :]
    within = match.group()
    ends = [one.end() for one in BREAK.finditer(before)]
    reach = PSEUDO.sub(" ", before[ends[-1] if ends else 0 :])
    if BEFORE.search(reach) or re.search(r"\b(?:no|not|without)\b", within):
        return "absent"
    if AFTER.search(behind):
        return "absent"
    return "uncertain" if DOUBT.search(before) or DOUBTED.search(behind) else "present"


def findings_of(text: str) -> dict[str, State]:
    """Each stated finding and its state: present outweighs uncertain, which outweighs absent."""
    rank = {"absent": 0, "uncertain": 1, "present": 2}
    told: dict[str, State] = {}
    for one in mentions(text):
        if one.finding not in told or rank[one.state] > rank[told[one.finding]]:
            told[one.finding] = one.state
    return told


CLAUSE = re.compile(r"[,;:，；：、.。]|\b(?:and|with|but|or|versus)\b")


def within(text: str, mention: Mention) -> str:
    """The clause of its sentence in which a mention stands."""
    for start, sentence in sentences(text):
        if start <= mention.start < start + len(sentence):
            first, last = mention.start - start, mention.end - start
            cuts = [one.end() for one in CLAUSE.finditer(sentence, 0, first)]
            after = CLAUSE.search(sentence, last)
            return sentence[cuts[-1] if cuts else 0 : after.start() if after else len(sentence)]
    return text[mention.start : mention.end]

"""What a sentence of a draft says beyond the findings, which the input has to tell: kinds of statements, declared in one list.

The rule layer reads findings. A network that learned from reports also says from habit what no finding tells: that something is
unchanged, though nobody named an earlier image (Ramesh et al., Improving radiology report generation systems by removing
hallucinated references to non-existent priors, ML4H 2022), that somebody was operated on, that a certain finding is likely.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from puji.modalities.reports.check import Expected
from puji.modalities.reports.labeller import Mention, mentions, within
from puji.modalities.reports.report import Given
from puji.modalities.reports.tags import BROADER, qualifiers_near, sides_of
from puji.modalities.reports.words import CHINESE, sentences

SURGERY = re.compile(
    r"\b(?:status post|s/p|sternotom\w*|CABG|bypass|valve replacement|\w{4,}ectom(?:y|ies)|postoperative|post[- ]surgical)\b"
    r"|术后|切除|搭桥|换瓣",
    re.IGNORECASE,
)
"""Operations in the past."""
COMPARISON = re.compile(
    r"\b(?:(?:un|not )changed|(?:no|without)(?: (?:significant|interval|acute|appreciable|definite))* change"
    r"|change[ds]? (?:from|since)|stable|stability|again|redemonstrat\w+"
    r"|interval|(?:re)?compar(?:ed|ison)|previously|since|persist\w+|worsen\w*|improv\w+|no longer"
    r"|(?<!high[- ])resol(?:ved|ving|ution)"
    r"|(?:prior|previous|earlier|last) (?:\w+ )?(?:exam\w*|stud\w+|films?|radiograph\w*|x-?rays?|imag\w+|cts?|chest|scans?)"
    r"|new(?:ly)?)\b|较前|较旧|前片|旧片|同前|复查|(?:无|未见)(?:明显|显著)?变化|好转|进展",
    re.IGNORECASE,
)
"""Earlier images, or a course that only they show; not a high-resolution CT."""
DOUBT = re.compile(
    r"\b(?:likely|probabl[ey]|possib(?:le|ly)|perhaps|may|might|could|(?<!to )suggest\w*|suspicious|suspected|suspicion"
    r"|question(?:able|ed)?|presumabl[ey])\b|可能|疑似|疑为|考虑|待排|倾向|不除外|不排除",
    re.IGNORECASE,
)
"""Not "to suggest": "nothing to suggest pneumonia" denies."""
AGAIN = re.compile(
    r"\b(?!x+\b|\d)(\w{3,}(?:[ -]\w+){0,3}?)"
    r"(?:[ ,/-]+(?:(?:or|and|and/or|versus|vs|to|of|(?:consistent |compatible )?with|in|representing) )?(?:an? |the )?\1\b)+"
    rf"|([{CHINESE}]{{2,8}}?)[、，或和及与]?\2",
    re.IGNORECASE,
)
"""One to four words, or two to eight characters, and at once the same again; not what is blacked out (XXXX), nor numbers."""
LARGE = re.compile(r"\b(?:large|size?able|significant|gross|massive|substantial|definite|obvious|overt)\b|大量")
"""What leaves a small one possible where it is denied."""


def said(pattern: re.Pattern[str]) -> Callable[[str, Expected], bool]:
    """Whether a sentence holds words of a kind that are nowhere in the input."""
    return lambda sentence, expected: bool(pattern.search(sentence)) and not pattern.search(expected.words)


def given_in(sentence: str, expected: Expected) -> Iterator[tuple[Mention, list[Given]]]:
    """The mentions of findings of the input, each with what the input says of it."""
    for one in mentions(sentence):
        told = [
            other
            for name, some in expected.given.items()
            if one.finding in (name, BROADER.get(name)) or BROADER.get(one.finding) == name
            for other in some
        ]
        if told:
            yield one, told


def _softened(sentence: str, expected: Expected) -> bool:
    found = [told for one, told in given_in(sentence, expected) if one.state != "absent"]
    doubted = any(one.state == "uncertain" for told in found for one in told)
    return bool(found) and not doubted and bool(DOUBT.search(sentence))


def _placed(sentence: str, expected: Expected) -> bool:
    for one, told in given_in(sentence, expected):
        sides = {side for other in told for side in sides_of(other.qualifiers)}
        near = sides_of(qualifiers_near(sentence, one))
        if one.state != "absent" and len(near) == 1 and not near <= sides:
            return True
    return False


def _weakened(sentence: str, expected: Expected) -> bool:
    return any(
        one.state == "absent" and all(other.state == "absent" for other in told) and LARGE.search(within(sentence, one))
        for one, told in given_in(sentence, expected)
    )


KINDS: Mapping[str, Callable[[str, Expected], bool]] = {
    "surgery": said(SURGERY),
    "comparison": said(COMPARISON),
    "doubt": _softened,
    "side": _placed,
    "weakened": _weakened,
    "repeated": lambda sentence, _: bool(AGAIN.search(sentence)),
}
"""An operation in the past; images of before; a certain finding told as likely; a side that nobody named; "no large effusion"
where there is none at all; words that stand there twice. Each has a message of its own, reports.flag.<kind>."""


def beyond(text: str, expected: Expected) -> tuple[str, ...]:
    """The kinds of statements in a text that its input does not tell."""
    told = list(sentences(text))
    return tuple(kind for kind, says in KINDS.items() if any(says(one, expected) for one in told))

"""What stands beside a sentence of a finished draft for the one who signs it: details that nobody told, and what reads wrongly.

Beside `beyond`, whose statements are taken out of a draft, these are only pointed at: a network has seen them in most reports,
and without them there would often be no sentence left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from puji.modalities.reports.beyond import given_in, said
from puji.modalities.reports.check import Expected
from puji.modalities.reports.labeller import mentions, within
from puji.modalities.reports.tags import RANKS, qualifiers_near, sides_of

MEASURE = re.compile(r"\b\d+(?:\.\d+)?[ -]*(?:mm|cm)\b|\b(?:centi|milli)met\w+|\d\s*(?:毫米|厘米)", re.IGNORECASE)
PLACEMENT = re.compile(
    r"\b(?:tips?|terminat\w+|(?:standard|satisfactory|appropriate|good|proper|correct|unchanged) (?:placements?|positions?)"
    r"|(?:well|appropriately|properly|satisfactorily) (?:placed|positioned)|malposition\w*)\b"
    r"|位置(?:良好|正常|满意|适中)|尖端|末端",
    re.IGNORECASE,
)
PROCEDURE = re.compile(r"\b(?:intubat|extubat|ventilat(?:ed|or))\w*|插管后|拔管", re.IGNORECASE)
DISEASE = re.compile(
    r"\b(?:ha?emorrhag\w+|aspirat\w+|malignan\w+|metasta\w+|neoplas\w+|lymphoma|carcinoma|cancer|tumou?r|embol\w+|infarct\w*"
    r"|abscess|contusion|ards|sarcoid\w*|aneurysm\w*)\b|出血|误吸|恶性|转移|肿瘤|癌|栓塞|梗死|脓肿|挫伤",
    re.IGNORECASE,
)
"""Diseases that the rule layer does not know, so that `Check` cannot say that they were added."""
COURSE = re.compile(
    r"\b(?:persist|remains?|(?:has|have) (?:\w+ )?(?:in|de)creased|smaller|developing|developed|(?:is|are) now|still|known"
    r"|similar (?:to|in))\b|已知|仍",
    re.IGNORECASE,
)
UNEQUAL = re.compile(
    r"\b(?:left|right)\b[^.;]{0,25}\b(?:greater|larger|more|worse|less) than\b[^.;]{0,20}\b(?:left|right)\b"
    r"|\b(?:larger|greater|more|worse)\b[^.;]{0,20}\b(?:on|in) the (?:left|right)\b|[左右](?:侧|肺)?(?:为著|较[重多显])",
    re.IGNORECASE,
)
DOUBT = re.compile(
    r"\b(?:presumed|exclude[ds]?|ruled out|concern\w*|differential|appropriate clinical setting)\b|除外|待查",
    re.IGNORECASE,
)
AGE = {
    "healed": re.compile(r"\b(?:old|remote|healed)\b|陈旧", re.IGNORECASE),
    "acute": re.compile(r"\b(?:sub)?acute\b|急性", re.IGNORECASE),
    "chronic": re.compile(r"\bchronic\w*|慢性", re.IGNORECASE),
}
LEVELS = {
    "upper": re.compile(
        r"\b(?:upper[ -](?:lobe|lung|zone)s?|(?:bi)?apical|apex|apices)\b|上叶|上肺|肺尖", re.IGNORECASE
    ),
    "middle": re.compile(r"\b(?:mid(?:dle)?[ -](?:lobe|lung|zone)s?|lingula\w*)\b|中叶|中肺|舌[叶段]", re.IGNORECASE),
    "lower": re.compile(
        r"\b(?:lower[ -](?:lobe|lung|zone)s?|(?:bi)?bas(?:al|ilar|es?)|bibas\w+)\b|下叶|下肺|肺底", re.IGNORECASE
    ),
}
"""Where in a lung: a lobe and the part of the lung in which most of it lies are not told apart."""
GRAVITY = frozenset(("pleural effusion", "elevated diaphragm", "blunted costophrenic angle"))
"""Findings that lie at the base without anybody's saying so."""
DEGREE = re.compile(r"\b(mild|moderate|severe|small|large|tiny)\b", re.IGNORECASE)


def _stated(sentence: str, expected: Expected) -> Iterator[tuple[str, str, str]]:
    """The findings of the input that a sentence does not deny: each with its clause, and the input's words on it."""
    for one, told in given_in(sentence, expected):
        if one.state != "absent":
            yield one.finding, within(sentence, one), " ".join(word for other in told for word in other.qualifiers)


def _aged(sentence: str, expected: Expected) -> bool:
    return any(
        found.search(clause) and not found.search(words) and age not in words
        for _, clause, words in _stated(sentence, expected)
        for age, found in AGE.items()
    )


def _elsewhere(sentence: str, expected: Expected) -> bool:
    return any(
        place.search(clause) and not place.search(words)
        for finding, clause, words in _stated(sentence, expected)
        if finding not in GRAVITY
        for place in LEVELS.values()
    )


def _graded(sentence: str, expected: Expected) -> bool:
    """A degree or size where none was given, or one that is not the given one."""
    for one, told in given_in(sentence, expected):
        given = {RANKS[word] for other in told for word in other.qualifiers if word in RANKS}
        near = {RANKS[word] for word in qualifiers_near(sentence, one) if word in RANKS}
        if one.state != "absent" and near and not near & given:
            return True
    return False


def _doubted(sentence: str, expected: Expected) -> bool:
    uncertain = any(one.state == "uncertain" for some in expected.given.values() for one in some)
    return not uncertain and bool(DOUBT.search(sentence))


def _again(sentence: str, _: Expected) -> bool:
    """The same finding in the same words with no other side, site or degree; or a degree twice in one clause."""
    if re.search(r"\d", sentence):
        return False
    seen: dict[tuple[str, str], list[set[str]]] = {}
    for one in mentions(sentence):
        near = set(qualifiers_near(sentence, one))
        before = seen.setdefault((sentence[one.start : one.end].lower(), one.state), [])
        told = [word.lower() for word in DEGREE.findall(within(sentence, one))]
        if any(near <= other for other in before) or len(told) > len(set(told)):
            return True
        before.append(near)
    return False


def _denied_on_one_side(sentence: str, expected: Expected) -> bool:
    for one, told in given_in(sentence, expected):
        if one.state == "absent" and all(other.state == "absent" for other in told):
            sides = {side for other in told for side in sides_of(other.qualifiers)} or {"left", "right"}
            near = sides_of(qualifiers_near(sentence, one))
            if near and sides - near and not re.search(rf"\b(?:{'|'.join(sides - near)})\b", sentence):
                return True
    return False


KINDS: Mapping[str, Callable[[str, Expected], bool]] = {
    "measure": said(MEASURE),
    "placement": said(PLACEMENT),
    "procedure": said(PROCEDURE),
    "disease": said(DISEASE),
    "course": said(COURSE),
    "unequal": said(UNEQUAL),
    "doubt": _doubted,
    "age": _aged,
    "site": _elsewhere,
    "degree": _graded,
    "again": _again,
    "one_side_denied": _denied_on_one_side,
}
"""A size in figures; where the tip of a device lies; a procedure; a disease; how a finding went on; which side is worse; doubt;
old or acute; another part of the lung; another degree; the same thing twice; "no left effusion" where there is none at all. Each
has a message, reports.note.<kind>."""
HALF = "half"
"""Kind of a sentence that tells on one side what was given on both, and no other sentence tells the other side."""


def notes(sentences: Sequence[str], expected: Expected) -> list[tuple[str, ...]]:
    """The kinds of what each sentence of a draft says beyond the input or wrongly."""
    found = [[kind for kind, says in KINDS.items() if says(one, expected)] for one in sentences]
    for name, sides in expected.sides.items():
        if len(sides) < 2:
            continue
        told = [
            [sides_of(qualifiers_near(one, other)) for other in mentions(one) if other.finding == name]
            for one in sentences
        ]
        near = [side for some in told for side in some]
        if near and all(near) and len(frozenset[str]().union(*near)) == 1:
            for kinds, some in zip(found, told, strict=True):
                kinds += [HALF] if some else []
    return [tuple(kinds) for kinds in found]


__all__ = ["HALF", "KINDS", "notes"]

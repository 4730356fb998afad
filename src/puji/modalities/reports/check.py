"""Whether a draft says what was found, all of it, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from puji.modalities.reports.labeller import Mention, State, findings_of, mentions, sentences, within
from puji.modalities.reports.report import Given
from puji.modalities.reports.tags import BROADER, named_by, qualifiers_near, sides_of

HEART = r"(?:heart|cardiac|cardiomediastinal)(?: size| silhouette| shadow| contours?)?"
EXPANDED = r"(?:well[ -])?(?:expanded|inflated|aerated)"
NORMAL: Mapping[str, tuple[re.Pattern[str], frozenset[str]]] = {
    "heart": (
        re.compile(
            rf"(?!.*\b(?:not|upper|top|borderline)\b)(?:.*\b{HEART}\b(?! (?:failure|pace\w*|valve|device|monitor\w*)).*"
            rf"\b(?:normal|unremarkable)\b.*|.*\bnormal {HEART}\b.*)",
            re.IGNORECASE,
        ),
        frozenset(("cardiomegaly",)),
    ),
    "lungs": (
        re.compile(
            rf"(?:the |both )?lungs (?:are |appear |remain )?(?:grossly )?(?:{EXPANDED} and )?(?:clear|normal)(?: bilaterally)?"
            rf"(?: and {EXPANDED})?(?: bilaterally)?\.?|clear lungs\.?"
            r"|(?:双|两)(?:侧)?肺(?:野)?清晰[。，]?|心肺膈?未见(?:明显|确切)?异常[。，]?",
            re.IGNORECASE,
        ),
        frozenset(
            ("lung opacity", "consolidation", "pneumonia", "atelectasis", "edema", "mass", "cavity", "pneumothorax"),
        ),
    ),
    "acute": (
        re.compile(
            r"(?:there (?:is|are) )?(?:no|without)(?: evidence (?:of|for))?(?: an?y?)?(?: \w+)? acute"
            r"(?: (?:cardio-?pulmonary|intrathoracic|pulmonary|chest|cardiac|thoracic|cardiothoracic|lung))?"
            r" (?:disease|abnormalit\w+|process\w*|findings?|pathology)(?: process)?(?: (?:is|are))?(?: \w+)?\.?"
            r"|(?:心肺|胸部|双肺|两肺)?未见(?:明显|明确)?(?:急性|活动性)(?:心肺|肺部|胸部)?(?:病变|疾病|异常|改变)[。，]?",
            re.IGNORECASE,
        ),
        frozenset(
            (
                *("pneumonia", "consolidation", "edema", "heart failure", "pneumothorax", "pleural effusion"),
                *("pneumomediastinum", "pneumoperitoneum", "tuberculosis"),
            )
        ),
    ),
}
"""What a whole sentence may say to be normal, and the findings of which one then cannot say that they are present. That
nothing is acute people say in 16 % of the reports with an opacity, in 2 % of those with an effusion, and in none with pneumonia,
consolidation or oedema (training and validation part of R2Gen's split of IU X-ray)."""
DENIED = frozenset(("pneumothorax", "pneumomediastinum", "pneumoperitoneum"))
"""What a text cannot deny in one place and state in another, unless a side tells the two apart."""
PARTLY = re.compile(r"\b(?:large|significant|tension|other|additional|new|right|left)\b|其他|张力性|[左右]")
DEGREES = frozenset(("mild", "moderate", "severe"))


def normal_of(text: str) -> list[str]:
    """What the sentences of a text say to be normal, keys of `NORMAL`: unless they state what is not."""
    return list(dict.fromkeys(what for _, sentence in sentences(text) for what in _normal(sentence.strip())))


@lru_cache(maxsize=100_000)
def _normal(sentence: str) -> tuple[str, ...]:
    some = [what for what, (pattern, _) in NORMAL.items() if pattern.fullmatch(sentence)]
    stated = {name for name, state in findings_of(sentence).items() if state != "absent"} if some else set()
    return tuple(what for what in some if not NORMAL[what][1] & stated)


@dataclass(frozen=True)
class Check:
    """Findings by name. ``missing``: given and not stated; ``added``: stated (if only as possible) and not given;
    ``contradicted``: given, and the text says the opposite, be it in one place only (`DENIED`), another side or degree, or that
    what it lies in is normal (`NORMAL`)."""

    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    contradicted: tuple[str, ...] = ()

    @property
    def faults(self) -> int:
        """How many findings do not agree."""
        return len(self.missing) + len(self.added) + len(self.contradicted)


class Expected:
    """What a text has to say: each finding that the rules know, its state and sides; ``unknown``: those they do not know;
    ``words``: all that the input tells, as text."""

    def __init__(self, given: Iterable[Given], indication: str = "") -> None:
        given = tuple(given)
        self.words = "; ".join((indication, *(word for one in given for word in (one.name, *one.qualifiers))))
        self.states: dict[str, State] = {}
        self.sides: dict[str, frozenset[str]] = {}
        self.given: dict[str, list[Given]] = {}
        self.unknown: list[str] = []
        self.degrees: dict[str, frozenset[str]] = {}
        unsided: set[str] = set()
        ungraded: set[str] = set()
        for one in given:
            names = named_by(one)
            if not names:
                self.unknown.append(one.name)
            for name in sorted(names):
                # What is present somewhere is present, whatever else is said of it.
                if self.states.get(name) != "present":
                    self.states[name] = one.state
                self.given.setdefault(name, []).append(one)
                if one.state != "absent":
                    degrees = DEGREES & set(one.qualifiers)
                    ungraded |= set() if degrees else {name}
                    self.degrees[name] = self.degrees.get(name, frozenset()) | degrees
                    found = sides_of(one.qualifiers)
                    unsided |= set() if found else {name}
                    self.sides[name] = self.sides.get(name, frozenset()) | found
        for name in unsided:
            self.sides[name] = frozenset()
        for name in ungraded:
            self.degrees[name] = frozenset()
        narrower = {BROADER[name]: state for name, state in self.states.items() if name in BROADER}
        self.implied = {name: state for name, state in narrower.items() if name not in self.states}

    def check(self, text: str) -> Check:
        """What of ``text`` does not agree."""
        found = mentions(text)
        told = findings_of(text)
        stated = dict(told)
        for name, state in told.items():
            broader = BROADER.get(name)
            if broader in self.states and state == self.states[broader] and stated.get(broader) != state:
                stated[broader] = state
        missing, contradicted = [], []
        for name, state in self.states.items():
            says = stated.get(name)
            if says == state:
                if state != "absent" and (self._otherwise(text, name, found) or self._denied(text, name, found)):
                    contradicted.append(name)
            elif says is None or (says == "uncertain" and state == "present"):
                missing.append(name)
            else:
                contradicted.append(name)
        for what in normal_of(text):
            wrong = (name for name in NORMAL[what][1] if self.states.get(name) == "present")
            contradicted += [name for name in sorted(wrong) if name not in contradicted]
        added = [name for name, state in told.items() if state != "absent" and not self._asked(name)]
        return Check(tuple(missing), tuple(added), tuple(contradicted))

    def _asked(self, name: str) -> bool:
        return name in self.states or name in self.implied or BROADER.get(name) in self.states

    def _otherwise(self, text: str, name: str, found: Iterable[Mention]) -> bool:
        """Whether the text names a side that was not given, or another degree, where one was."""
        sides, degrees = self.sides.get(name, frozenset()), self.degrees.get(name, frozenset())
        near = [qualifiers_near(text, one) for one in found if one.finding == name and one.state == "present"]
        beside = bool(sides) and any(not sides_of(told) <= sides for told in near)
        return beside or (bool(degrees) and any(DEGREES & set(told) and not degrees & set(told) for told in near))

    def _denied(self, text: str, name: str, found: Iterable[Mention]) -> bool:
        """Whether the text also says that there is none at all."""
        absent = (one for one in found if one.finding == name and one.state == "absent")
        return name in DENIED and any(not PARTLY.search(within(text, one).lower()) for one in absent)

    def causes(self, sentence: str) -> tuple[str, ...]:
        """The given findings that a sentence states, by their names."""
        told = {one.finding for one in mentions(sentence)}
        told |= {BROADER[name] for name in told if name in BROADER}
        return tuple(name for name in self.states if name in told)

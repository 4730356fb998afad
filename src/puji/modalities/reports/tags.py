"""Findings as people and indexers write them: "cardiomegaly/mild; pleural effusion/left (uncertain)", MeSH headings, Chinese."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import NoReturn

from puji.errors import Invalid
from puji.findings import canonical, findings, named
from puji.language import Text, current
from puji.modalities.reports.labeller import STATES, Mention, State, findings_of, lexicon, mentions, within
from puji.modalities.reports.report import Given
from puji.modality import Estimate

MESH = Path(__file__).parent / "mesh.csv"
ANY = "*"
DEVICES = (
    "endotracheal tube",
    "tracheostomy tube",
    "enteric tube",
    "chest tube",
    "central venous catheter",
    "pacemaker",
    "device",
)
BROADER: Mapping[str, str] = {
    **dict.fromkeys(DEVICES, "support devices"),
    **dict.fromkeys(("consolidation", "pneumonia"), "lung opacity"),
    **dict.fromkeys(("nodule", "mass"), "lung lesion"),
}
"""Finding -> the broader one that it is a kind of: who says the narrower one has said the broader one, and who was given the
narrower one may say the broader one."""
NORMAL = {"normal", "no indexing", "no finding", "no findings", "正常", "未见异常"}
QUALIFIERS_ZH = {
    "左": "left",
    "右": "right",
    "双": "bilateral",
    "双侧": "bilateral",
    "左侧": "left",
    "右侧": "right",
    "轻度": "mild",
    "中度": "moderate",
    "重度": "severe",
    "少量": "small",
    "大量": "large",
    "慢性": "chronic",
    "上叶": "upper lobe",
    "中叶": "middle lobe",
    "下叶": "lower lobe",
    "肺底": "base",
    "肺尖": "apex",
    "多发": "multiple",
    "弥漫": "diffuse",
    "散在": "scattered",
    "陈旧性": "healed",
    "微量": "small",
    "中量": "moderate",
    "左肺": "left",
    "右肺": "right",
    "双肺": "bilateral",
    "两肺": "bilateral",
    "两侧": "bilateral",
}
"""Sides, sites and degrees as Chinese reports have them. Of several with one meaning people are shown the first."""
STATES_ZH: dict[str, State] = {
    "有": "present",
    "无": "absent",
    "未见": "absent",
    "疑似": "uncertain",
    "可疑": "uncertain",
    "可能": "uncertain",
}
STATE_WORDS: dict[str, State] = {
    **STATES_ZH,
    **dict.fromkeys(("no", "without"), "absent"),
    **dict.fromkeys(("possible", "suspected"), "uncertain"),
}
"""What tells a state before the name of a finding, or behind it."""
SIDES = {"left": {"left"}, "right": {"right"}, "bilateral": {"left", "right"}, "lingula": {"left"}}
"""What tells a side: the lingula is a part of the left lung."""
SIDE = re.compile(
    r"\b(?:left|right)\b(?! atri| ventric| heart)|\b(?:bilateral(?:ly)?|bibasilar|bibasal|biapical|both)\b|[左右双]"
    r"|两(?:侧|肺)"
)
DEGREE = re.compile(
    r"\b(?:mild(?:ly)?|moderate(?:ly)?|severe(?:ly)?|small|large|minimal|trace|tiny|borderline|chronic|multiple|scattered"
    r"|patchy|streaky|focal|diffuse|old|healed|base|basilar|bibasilar|basal|apex|apical|biapical|upper lobe|middle lobe"
    r"|lower lobe|lingula|interstitial|perihilar|retrocardiac)\b|轻度|中度|重度|少量|中量|大量|上叶|中叶|下叶|多发|慢性|陈旧性?"
)
SAME = {
    "mildly": "mild",
    "moderately": "moderate",
    "severely": "severe",
    "bilaterally": "bilateral",
    "both": "bilateral",
    "basilar": "base",
    "basal": "base",
    "apical": "apex",
    "minimal": "mild",
    "trace": "small",
    "tiny": "small",
    "old": "healed",
    "陈旧": "healed",
    "陈旧性": "healed",
    "中量": "moderate",
    "两侧": "bilateral",
    "两肺": "bilateral",
}
"""Words of a text -> the qualifier of an input that they mean."""
TWO = {"bibasilar": ("base", "bilateral"), "bibasal": ("base", "bilateral"), "biapical": ("apex", "bilateral")}
"""Words that mean two of them."""
RANKS = {"mild": 0, "small": 0, "moderate": 1, "severe": 2, "large": 2}
"""Degrees and sizes from the least to the most. Two that lie side by side are one ("mild to moderate")."""
LIKELY = 0.5
"""Probability from which a finding of the machine stands in the draft."""
_CHINESE = {**QUALIFIERS_ZH, **STATES_ZH}
_BEFORE = sorted(
    (*_CHINESE, *(f"{one} " for one in (*QUALIFIERS_ZH.values(), *SAME, *STATE_WORDS) if one.isascii())),
    key=len,
    reverse=True,
)
"""What may stand before a name, the longest first; an English word ends with its space."""


@cache
def _mesh() -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    with MESH.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found.setdefault(row["heading"].strip().lower(), []).append((row["qualifier"], row["finding"]))
    return found


def named_by(given: Given) -> frozenset[str]:
    """The findings of the rule layer that one of the input names; none where the rules know nothing of it."""
    table = _mesh()
    told = {
        finding
        for qualifier, finding in (*table.get(given.name, ()), *table[ANY])
        if not qualifier or qualifier in given.qualifiers
    }
    if not told and (given.name in lexicon() or given.name in BROADER.values()):
        told = {given.name}
    return frozenset(told)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[;；\n]", text) if part.strip()]


def says_normal(text: str) -> bool:
    """Whether one of the findings, as a person writes them, is that nothing was found."""
    return any(part.lower() in NORMAL for part in _parts(text))


def parsed(text: str) -> tuple[Given, ...]:
    """Findings as a person writes them, separated by semicolons or line breaks.

    "normal" is none; state, side, site and degree may stand before a name ("左侧少量胸腔积液", "no pleural effusion"). Raises
    Invalid for one that is not understood at all, and for one that is told in ways that exclude each other.
    """
    found: list[Given] = []
    for part in _parts(text):
        body, state = _state(part)
        name, *qualifiers = (piece.strip() for piece in re.split(r"[/／]", body))
        if name.lower() in NORMAL:
            continue
        known, before = _named(name)
        if known not in findings() and known not in _mesh() and not known.replace(" ", "").isalnum():
            raise Invalid("reports.tag", source="--findings", tag=name[:40])
        # "pneumothorax/absent" tells a state, as "pneumothorax (absent)" does.
        said = [STATE_WORDS.get(one.lower(), one.lower()) for one in (*before, *qualifiers)]
        state = next((one for one in said if one in STATES), state)
        found.append(Given(known, tuple(_qualifier(one) for one in said if one and one not in STATES), state))
    check_given(found)
    return tuple(dict.fromkeys(found))


def _named(text: str) -> tuple[str, list[str]]:
    """The finding that a text names, and what stands before its name; the text itself where none is known by it."""
    rest, before = text.lower(), list[str]()
    while canonical(rest) == rest and rest not in findings() and rest not in _mesh():
        first = next((one for one in _BEFORE if rest.startswith(one) and rest != one), None)
        if first is None:
            return text.lower(), []
        rest = rest.removeprefix(first).lstrip()
        before.append(first.strip())
    return canonical(rest).lower(), before


def from_machine(text: str) -> tuple[Given, ...]:
    """Findings that a classifier predicted, "pneumonia=0.93; nodule=0.12": those from `LIKELY` on, marked as the machine's.

    Raises Invalid for one without a probability from 0 to 1, and for one with two of them.
    """
    found = []
    shares: dict[str, float] = {}
    for part in _parts(text):
        name, _, number = part.rpartition("=")
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if not name.strip() or not 0 <= share <= 1:
            raise Invalid("reports.machine", source="--machine", value=part[:40])
        for one in parsed(name):
            if shares.setdefault(str(one), share) != share:
                _refuse(one.name, "--machine", f"{shares[str(one)]:g}", f"{share:g}")
            if share >= LIKELY:
                found.append(replace(one, source="machine", probability=share))
    return tuple(found)


def predicted(estimates: Mapping[str, Estimate]) -> str:
    """What `Model.predict` of the modality images says of a picture, as `from_machine` reads it."""
    return "; ".join(f"{name}={one.value:.4f}" for name, one in estimates.items() if 0 <= one.value <= 1)


def _state(part: str) -> tuple[str, State]:
    told = re.fullmatch(r"(.*?)\s*[(（=:：]\s*([\w\u4e00-\u9fff]+)\s*[)）]?", part)
    if not told:
        return part, "present"
    word = told[2].lower()
    if word in STATES:
        return told[1], word
    if word in STATES_ZH:
        return told[1], STATES_ZH[word]
    raise Invalid("reports.state", source="--findings", value=told[2][:40], known=", ".join(STATES))


def _qualifier(text: str) -> str:
    low = text.lower()
    return QUALIFIERS_ZH.get(low, SAME.get(low, low))


def qualifier_in(qualifier: str, language: str) -> str:
    """A qualifier for people; as it is where there is no Chinese one."""
    return (
        next((zh for zh, en in QUALIFIERS_ZH.items() if en == qualifier), qualifier) if language == "zh" else qualifier
    )


def check_given(given: Iterable[Given]) -> None:
    """Raises Invalid for a finding that is told in ways that exclude each other: as present and as absent, unless a side tells
    the two apart; with two states or two degrees at one and the same place; as mild and severe."""
    given = tuple(given)
    places: dict[tuple[str, frozenset[str]], Given] = {}
    for one in given:
        ranks = _ranks(one)
        if ranks and max(ranks) - min(ranks) > 1 and 1 not in ranks:
            _refuse(one.name, "--findings", *_degrees(one))
        other = places.setdefault((one.name, frozenset(one.qualifiers).difference(RANKS)), one)
        if one.source == other.source and other.state != one.state:
            _refuse(one.name, "--findings", other.state, one.state)
        if ranks and _ranks(other) and not ranks & _ranks(other):
            _refuse(one.name, "--findings", _degrees(other)[0], _degrees(one)[0])
    _check_absent(given)


def _degrees(given: Given) -> list[str]:
    return sorted((one for one in given.qualifiers if one in RANKS), key=RANKS.__getitem__)


def _ranks(given: Given) -> set[int]:
    return {RANKS[one] for one in _degrees(given)}


def _refuse(name: str, source: str, *ways: str) -> NoReturn:
    """Raises Invalid for a finding told in two ways: states, qualifiers or probabilities."""
    told = [Text(f"reports.state.{one}") if one in STATES else qualifier_in(one, current()) for one in ways]
    raise Invalid("reports.contradictory", source=source, finding=named(name), first=told[0], second=told[-1])


def _check_absent(given: Iterable[Given]) -> None:
    """Raises Invalid for a finding that is present and absent, unless a side tells the two apart."""
    places = dict.fromkeys(
        (name, sides_of(one.qualifiers), one.state == "absent") for one in given for name in named_by(one) or {one.name}
    )
    for name, sides, absent in places:
        for other, elsewhere, denied in places:
            apart = sides and elsewhere and not sides & elsewhere
            if other == name and denied and not absent and not apart:
                _refuse(name, "--findings", "present", "absent")


def sides_of(qualifiers: Iterable[str]) -> frozenset[str]:
    """ "left", "right", both or none."""
    return frozenset(side for one in qualifiers for side in SIDES.get(one, ()))


def qualifiers_near(text: str, mention: Mention) -> tuple[str, ...]:
    """Side, site and degree that stand in the same clause as a mention."""
    clause = within(text, mention).lower()
    found: list[str] = []
    for match in (*DEGREE.finditer(clause), *SIDE.finditer(clause)):
        word = match.group()
        found += TWO.get(word) or (_qualifier(SAME.get(word, word)),)
    return tuple(dict.fromkeys(found))


def derived(text: str) -> tuple[Given, ...]:
    """The findings that the rule layer reads in a text, each once per state, with what stands near them."""
    told = findings_of(text)
    found: dict[tuple[str, State], tuple[str, ...]] = {}
    for one in mentions(text):
        if told[one.finding] == one.state and (one.finding, one.state) not in found:
            near = () if one.state == "absent" else qualifiers_near(text, one)
            found[(one.finding, one.state)] = near
    return tuple(Given(name, near, state) for (name, state), near in found.items())


@lru_cache(maxsize=20_000)
def consistent(given: tuple[Given, ...], text: str) -> tuple[Given, ...]:
    """``given`` as far as ``text`` says the same, and what it says beyond; what the rules do not know stays.

    A network that learns from these has no reason to leave out what it is told, or to add to it.

    Cached: it is asked once an epoch.
    """
    told = findings_of(text)
    kept = [one for one in given if not (names := named_by(one)) or any(told.get(name) == one.state for name in names)]
    named = {name for one in kept for name in named_by(one)}
    return (*kept, *(one for one in derived(text) if one.name not in named))

"""Codes of diseases, medicines and measurements as "SYSTEM/code": spelled in one way, checked, and what stands above them.

Systems: ICD10 (WHO, or a national edition that the source does not name), ICD10CM (USA), ICD10CN (Chinese clinical edition,
I10.x00x002), ICD9CM, SNOMED, LOINC, RXNORM, CVX, ATC, CPT, HCPCS, LOCAL, and any vocabulary that a source names
("LAB/50912//mg/dL"). An answer to a question in LOINC or SNOMED stands after "=": "LOINC/72166-2=LOINC/LA18978-9".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from puji.errors import Invalid
from puji.modalities.timelines.timeline import DEATH
from puji.sources import cells
from puji.text import told_lines

LOCAL = "LOCAL"
DEATHS = (DEATH, "MEDS_DEATH", "死亡")
"""How sources call it, in whatever system."""
LONGEST = 200
"""Characters of a code."""
ANSWERED = ("LOINC", "SNOMED")
"""Systems in which "=" divides a question from its answer."""

_EDITIONS = ("ICD10", "ICD10CM", "ICD10CN")
_ANSWERED = re.compile(rf"(.+?)(=)((?:{LOCAL}|LOINC|SNOMED)/.+)", re.DOTALL)
"""A question of any system with an answer that names its own."""

URIS: dict[str, str] = {
    "http://hl7.org/fhir/sid/icd-10": "ICD10",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD10CM",
    "urn:oid:2.16.156.10011.2.3.3.11": "ICD10CN",  # the diagnosis table of the Chinese standard for shared documents
    "http://hl7.org/fhir/sid/icd-9-cm": "ICD9CM",
    "http://snomed.info/sct": "SNOMED",
    "http://loinc.org": "LOINC",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RXNORM",
    "http://hl7.org/fhir/sid/cvx": "CVX",
    "http://www.whocc.no/atc": "ATC",
    "http://www.ama-assn.org/go/cpt": "CPT",
    "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets": "HCPCS",
}
"""FHIR's URI of each system -> our name."""
_MORE_URIS = {
    "urn:oid:2.16.840.1.113883.6.3": "ICD10",
    "urn:oid:2.16.840.1.113883.6.90": "ICD10CM",
    "urn:oid:2.16.840.1.113883.6.96": "SNOMED",
    "urn:oid:2.16.840.1.113883.6.1": "LOINC",
    "http://fhir.de/CodeSystem/bfarm/icd-10-gm": "ICD10",
    "http://fhir.de/CodeSystem/dimdi/icd-10-gm": "ICD10",
    "http://terminology.hl7.org/CodeSystem/icd9cm": "ICD9CM",
    "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets": "HCPCS",
}
_OURS = "urn:puji:system:"
"""Begins the URI of a vocabulary that has none of its own."""
_ALIASES = {
    "ICD10": ("ICD10", "ICD10WHO", "WHOICD10", "ICD10GM", "国际疾病分类"),
    "ICD10CM": ("ICD10CM",),
    "ICD10CN": (
        "ICD10CN",
        "ICD10国家临床版",
        "国家临床版",
        "ICD10国临版",
        "国临版",
        "ICD10医保版",
        "医保版",
        "GBT14396",
    ),
    "ICD9CM": ("ICD9CM", "ICD9"),
    "SNOMED": ("SNOMED", "SNOMEDCT", "SCT"),
    "LOINC": ("LOINC", "LNC"),
    "RXNORM": ("RXNORM", "RXCUI"),
    "CVX": ("CVX",),
    "ATC": ("ATC",),
    "CPT": ("CPT", "CPT4"),
    "HCPCS": ("HCPCS",),
    LOCAL: (LOCAL, "本地", "院内", "自定义", "院内编码"),
}
_NAMES = {alias: system for system, aliases in _ALIASES.items() for alias in aliases}
_VOCABULARIES = {"RXNORM": "RxNorm", "CPT": "CPT4"}

# First and last category of each chapter. The letters of the American edition go a little further; the chapters are the same.
_CHAPTERS = [
    *("A00-B99", "C00-D48", "D50-D89", "E00-E90", "F00-F99", "G00-G99", "H00-H59", "H60-H95", "I00-I99", "J00-J99"),
    *("K00-K93", "L00-L99", "M00-M99", "N00-N99", "O00-O99", "P00-P96", "Q00-Q99", "R00-R99", "S00-T98", "V01-Y98"),
    *("Z00-Z99", "U00-U99"),
]
_BY_LETTER = {letter: chapter for chapter in _CHAPTERS for letter in (chapter[0], chapter[4])} | {
    letter: chapter for chapter in ("V01-Y98",) for letter in "WX"
}
_CHAPTERS_9 = [
    *("001-139", "140-239", "240-279", "280-289", "290-319", "320-389", "390-459", "460-519", "520-579", "580-629"),
    *("630-679", "680-709", "710-739", "740-759", "760-779", "780-799", "800-999"),
]

_ICD10 = re.compile(r"[A-Z][0-9][0-9AB](\.[0-9A-Z]{1,4})?")
_ICD10CN = re.compile(r"([A-Z][0-9]{2})\.(X[0-9]{2}|[0-9]{3})(X[0-9]{3})?")
_WHO = re.compile(r"[A-Z][0-9]{2}(\.[0-9]{1,2})?")
_BARE = re.compile(r"([A-Za-z][0-9]{2}([0-9]{1,2})?|[A-Za-z][0-9][0-9ABab]\.[0-9A-Za-z]{0,7}-?)([+*†].*)?")
"""What counts as ICD-10 where no system is told."""
_ICD9 = re.compile(r"([0-9]{3}|V[0-9]{2})(\.[0-9]{1,2})?|E[0-9]{3}(\.[0-9])?")
_SHAPES = {
    "LOINC": re.compile(r"[0-9]{1,6}-[0-9]|L[AGLP][0-9]{1,7}-[0-9]"),
    "SNOMED": re.compile(r"[1-9][0-9]{5,17}"),
    "RXNORM": re.compile(r"[1-9][0-9]{0,7}"),
    "CVX": re.compile(r"[0-9]{1,3}"),
    "ATC": re.compile(r"[A-Z]([0-9]{2}([A-Z]([A-Z]([0-9]{2})?)?)?)?"),
    "CPT": re.compile(r"[0-9]{4}[0-9A-Z]"),
    "HCPCS": re.compile(r"[A-Z][0-9]{4}|[0-9]{4}[0-9A-Z]"),
}
_MORPHOLOGY = re.compile(r"M[0-9]{4,5}/[0-9]")
_MIMIC = re.compile(r"DIAGNOSIS//ICD//(9|10)//(.+)")
_URI = re.compile(r"((?:https?://|urn:)[^|]+)\|(.+)")
_PREFIXED = re.compile(r"([A-Za-z][A-Za-z0-9_]*)/+(.+)", re.DOTALL)


def system_of(text: str) -> str:
    """Our name of a system that a source names by FHIR's URI, OMOP's vocabulary_id or a word; "" for an empty text."""
    text = unicodedata.normalize("NFKC", text).strip()
    if not text:
        return ""
    if text.startswith(_OURS):
        text = text.removeprefix(_OURS)
    elif ":" in text:
        return URIS.get(text) or _MORE_URIS.get(text) or LOCAL
    known = _NAMES.get(re.sub(r"[\W_]+", "", text).upper())
    word = re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")
    return known or (word if re.match("[A-Z]", word) and text.isascii() else LOCAL)


def uri_of(system: str) -> str:
    """FHIR's URI of our ``system``; a URN of ours for one that has none."""
    return next((uri for uri, name in URIS.items() if name == system), _OURS + system)


def vocabulary_of(system: str) -> str:
    """OMOP's vocabulary_id of our ``system``."""
    return _VOCABULARIES.get(system, system)


def normalised(code: str, system: str = "") -> str:
    """``code`` as "SYSTEM/code", or `DEATH`.

    ``system``: as for `system_of`; where it is empty, the code may name it ("LOINC/4548-4", "LAB//50912", "uri|code"), else a
    code that looks like ICD-10 is of ICD10 (ICD10CN where only that has such codes), and any other is LOCAL. Idempotent.
    Raises Invalid for an empty code and one that its system cannot have.
    """
    text = _clean(code)
    if not text:
        raise Invalid("timelines.codes.empty")
    if len(text) > LONGEST:
        raise Invalid("timelines.codes.long", longest=LONGEST)
    if is_death(text):
        return DEATH
    name = system_of(system)
    if not name:
        name, text = _told(text)
    text = text.lstrip("/_")
    if not text:
        raise Invalid("timelines.codes.empty")
    question, sign, answer = text.partition("=") if name in ANSWERED else (text, "", "")
    if answered := _ANSWERED.fullmatch(text):
        question, sign, answer = answered.groups()
    name, found = _checked(name, question)
    return f"{name}/{found}{sign}{answer}" if answer else f"{name}/{found}"


def pair(code: str) -> list[str]:
    """The codes that a cell tells: of a dagger and an asterisk code of ICD-10 in one ("E11.9+I79.2*") each, the disease and its
    manifestation; else ``code`` itself."""
    name, text = _told(_clean(code))
    parts = [part.strip("_") for part in re.split(r"[+*†!#]+", text)] if name in _EDITIONS else []
    parts = [part for part in parts if part]
    return [f"{name}/{part}" for part in parts] if len(parts) > 1 else [code]


def is_death(code: str) -> bool:
    """Whether a code as a source tells it, with its system or without, is that of death."""
    return code.strip().rpartition("/")[2].upper() in DEATHS


def _clean(code: str) -> str:
    """Half-width; no white space, control characters or angle brackets, which tokens are made with."""
    text = unicodedata.normalize("NFKC", "".join(c for c in code if c.isspace() or unicodedata.category(c)[0] != "C"))
    text = re.sub(r"\s+", "_", text.strip())
    return text.replace("<", "‹").replace(">", "›")


def _told(text: str) -> tuple[str, str]:
    """The system that a code itself tells, and the rest of it."""
    if found := _URI.fullmatch(text):
        return system_of(found[1]), found[2]
    if _MORPHOLOGY.fullmatch(text):
        return "ICDO", text
    if found := _MIMIC.fullmatch(text):
        return ("ICD9CM" if found[1] == "9" else "ICD10CM"), found[2]
    if found := _PREFIXED.fullmatch(text):
        name = found[1].upper()
        if name in _NAMES:
            return _NAMES[name], found[2]
        # "A/G" is a measurement, "blood/urine" a word; "Visit/IP" names a vocabulary.
        if found[1][0].isupper() and len(name) > 2:
            return name, found[2]
    if text.upper() in _CHAPTERS or (_BARE.fullmatch(text) and _icd10("ICD10", text)[1] is not None):
        return "ICD10", text
    return LOCAL, text


def _checked(system: str, text: str) -> tuple[str, str]:
    """The system and the code in its usual spelling. Raises Invalid for a malformed one."""
    found: str | None = text
    if system in _EDITIONS:
        system, found = _icd10(system, text)
    elif system == "ICD9CM":
        found = _icd9(text)
    elif system in _SHAPES:
        told = text.upper()
        found = told if _SHAPES[system].fullmatch(told) else None
        if found and (
            (system == "LOINC" and found[0].isdigit() and not _luhn(found))
            or (system == "SNOMED" and not _verhoeff(found))
        ):
            found = None
    if found is None:
        raise Invalid("timelines.codes.malformed", system=system)
    return system, found


def _icd10(system: str, text: str) -> tuple[str, str | None]:
    told = text.upper().replace("_", "").lstrip("+*†")
    if told in _CHAPTERS:
        return "ICD10", told
    # Of a dagger and an asterisk code in one, the first is kept: the disease before its manifestation.
    told = re.sub(r"[.-]+$", "", re.split(r"[+*†!#]", told)[0])
    if "." not in told and len(told) > 3:
        told = f"{told[:3]}.{told[3:]}"
    told = told.removesuffix(".X")
    found = _ICD10CN.fullmatch(told)
    if found and system != "ICD10CM":
        chinese = system == "ICD10CN" or "X" in told[4:]
        return ("ICD10CN" if chinese else system), told[:4] + told[4:].replace("X", "x")
    allowed = _WHO if system == "ICD10CN" else _ICD10
    return system, told if allowed.fullmatch(told) else None


def _icd9(text: str) -> str | None:
    told = text.upper().replace("_", "")
    if told in _CHAPTERS_9 or told in ("E000-E999", "V01-V91"):
        return told
    place = 4 if told.startswith("E") else 3
    if "." not in told and len(told) > place:
        told = f"{told[:place]}.{told[place:]}"
    return told if _ICD9.fullmatch(told) else None


def _luhn(loinc: str) -> bool:
    """Whether the last digit of a LOINC code is its check digit (modulus 10, LOINC Users' Guide, appendix C)."""
    digits, _, check = loinc.partition("-")
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if place % 2 == 0 else 1)
        total += number // 10 + number % 10
    return (10 - total % 10) % 10 == int(check)


_SHIFT = (
    "0123456789",
    "1576283094",
    "5803796142",
    "8916043527",
    "9453126870",
    "4286573901",
    "2793806415",
    "7046913258",
)


def _verhoeff(identifier: str) -> bool:
    """Whether the last digit of a SNOMED CT identifier is its check digit (Verhoeff's dihedral scheme)."""
    state = 0
    for place, digit in enumerate(reversed(identifier)):
        other = int(_SHIFT[place % 8][int(digit)])
        if state < 5:
            state = (state + other) % 5 if other < 5 else (state + other - 5) % 5 + 5
        else:
            state = (state - other) % 5 + 5 if other < 5 else (state - other) % 5
    return state == 0


@lru_cache(maxsize=200_000)
def ancestors(code: str) -> tuple[str, ...]:
    """What stands above ``code``, the nearest first: shorter codes, the category of three characters, the chapter.

    The American and Chinese editions meet in the categories of ICD10 ("ICD10CM/I21.4" -> "ICD10CM/I21", "ICD10/I21",
    "ICD10/I00-I99"). A question stands above its answer; above a medicine of ATC its groups ("ATC/C09AA03" -> "ATC/C09AA", ...,
    "ATC/C"). Empty for systems without a hierarchy here.
    """
    system, _, rest = code.partition("/")
    answered = _ANSWERED.fullmatch(rest)
    if answered or (system in ANSWERED and "=" in rest):
        question = f"{system}/{answered[1] if answered else rest.partition('=')[0]}"
        return (question, *ancestors(question))
    if system == "ICD9CM":
        return _above_9(rest)
    if system == "ATC":
        return tuple(f"ATC/{rest[:length]}" for length in (5, 4, 3, 1) if length < len(rest))
    if system not in ("ICD10", "ICD10CM", "ICD10CN") or rest in _CHAPTERS or rest[:1] not in _BY_LETTER:
        return ()
    category, found = rest[:3], []
    if system == "ICD10CN":
        # Its codes of four characters are those of the WHO.
        if len(rest) > 7 and rest[-4] == "x":
            found.append(f"{system}/{rest[:-4]}")
        if rest[4:5].isdigit():
            found.append(f"ICD10/{rest[:5]}")
    else:
        # A placeholder at the end of a shorter code would make it none.
        shorter = (rest[:length] for length in range(len(rest) - 1, 4, -1))
        found += [f"{system}/{one}" for one in shorter if one[-1] != "X"]
        if len(rest) > 3:
            found.append(f"{system}/{category}")
    found.append(f"ICD10/{category}")
    return (*(one for one in dict.fromkeys(found) if one != code), f"ICD10/{_chapter(category)}")


def _chapter(category: str) -> str:
    if category[0] == "D":
        return "C00-D48" if category[1:2] < "5" else "D50-D89"
    if category[0] == "H":
        return "H00-H59" if category[1:2] < "6" else "H60-H95"
    return _BY_LETTER[category[0]]


def _above_9(rest: str) -> tuple[str, ...]:
    if rest in _CHAPTERS_9 or "-" in rest:
        return ()
    place = 4 if rest.startswith("E") else 3
    found = [rest[:length] for length in range(len(rest) - 1, place + 1, -1)]
    if len(rest) > place:
        found.append(rest[:place])
    if rest[0] in "EV":
        found.append("E000-E999" if rest[0] == "E" else "V01-V91")
    else:
        found += [chapter for chapter in _CHAPTERS_9 if chapter[:3] <= rest[:3] <= chapter[4:]]
    return tuple(f"ICD9CM/{one}" for one in found)


@dataclass(frozen=True)
class Codes:
    """A user's own codes. ``mapping``: source code -> the code that stands for it; ``names``: code -> language -> its name."""

    mapping: Mapping[str, str]
    names: Mapping[str, Mapping[str, str]]


def load_mapping(path: Path) -> Codes:
    """A CSV or TSV of two to four columns: from, to, an English name and a Chinese name of the latter; a heading may stand above.

    Codes are normalised; one mapped to itself only gets a name. Raises Invalid, with its line, for a row that has not two codes,
    a malformed code, and a code that is mapped to two others.
    """
    found: dict[str, str] = {}
    names: dict[str, dict[str, str]] = {}
    for line in told_lines(path):
        if isinstance(line, Invalid):
            raise line.at(str(path), line.line)
        number, text = line
        row = [cell.strip() for cell in cells(text, "\t" if "\t" in text else ",")]
        if not found and [cell.lower() for cell in row[:2]] in (
            ["from", "to"],
            ["源编码", "目标编码"],
            ["原编码", "目标编码"],
        ):
            continue
        if len(row) < 2 or not row[0] or not row[1]:
            raise Invalid("timelines.codes.mapping", source=str(path), line=number)
        try:
            source, target = normalised(row[0]), normalised(row[1])
        except Invalid as refusal:
            raise refusal.at(str(path), number) from refusal
        if found.setdefault(source, target) != target:
            raise Invalid("timelines.codes.mapped_twice", source=str(path), line=number)
        if DEATH in (source, target):
            raise Invalid("timelines.codes.mapped_death", source=str(path), line=number)
        told = {language: name for language, name in zip(("en", "zh"), row[2:4], strict=False) if name}
        names.setdefault(target, {}).update(told)
    mapping = {source: target for source, target in found.items() if source != target}
    if chained := sorted(mapping.keys() & mapping.values()):
        raise Invalid("timelines.codes.mapped_on", source=str(path), code=chained[0])
    return Codes(mapping, {code: told for code, told in names.items() if told})

"""How names sound: an English grapheme-to-phoneme step of ours, and ALINE, the similarity of two strings of phones.

ALINE: Kondrak, "A new algorithm for the alignment of phonetic sequences", NAACL 2000. Constants, saliences and values of the
features are those that the paper prints (its section 4, tables 3 and 4), and so are the alignments that come out (tables 5
and 6). It prints no features of single phones. Ours: consonants as in the IPA, with a retroflex r; front vowels count as
palatal and the others as velar; glides are high vowels that are not syllabic, without which its alignments do not come out.
Phones are IPA characters, one each.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numba
import numpy as np

# -- grapheme to phoneme ---------------------------------------------------------------------------------------------

VOWELS = frozenset("aeiouy")
_FRONT = frozenset("eiy")

_ANYWHERE = {
    "sch": "sk",
    "tch": "ʧ",
    "chl": "kl",
    "chr": "kr",
    "ch": "ʧ",
    "ph": "f",
    "th": "θ",
    "sh": "ʃ",
    "gh": "g",
    "rh": "r",
    "ck": "k",
    "qu": "kw",
    "q": "k",
    "dg": "ʤ",
    "ng": "ŋ",
    "nk": "ŋk",
    "wh": "w",
    "eau": "o",
    "eu": "ju",
    "ew": "ju",
    "ee": "i",
    "ea": "i",
    "oo": "u",
    "ou": "u",
    "ow": "aw",
    "oy": "oj",
    "oi": "oj",
    "ai": "e",
    "ay": "e",
    "au": "ɔ",
    "aw": "ɔ",
    "ei": "aj",
    "ey": "i",
    "oa": "o",
    "ae": "i",
    "oe": "i",
    "ui": "ui",
    "b": "b",
    "d": "d",
    "f": "f",
    "h": "h",
    "j": "ʤ",
    "k": "k",
    "l": "l",
    "m": "m",
    "n": "n",
    "p": "p",
    "r": "r",
    "t": "t",
    "v": "v",
    "w": "w",
    "z": "z",
}
_AT_START = {"x": "z", "ps": "s", "pn": "n", "pt": "t", "kn": "n", "gn": "n", "wr": "r", "mn": "n", "y": "j", "cz": "z"}
_AT_END = {
    "ine": "in",
    "ide": "ajd",
    "ate": "et",
    "ole": "ol",
    "one": "on",
    "ane": "en",
    "ene": "in",
    "ose": "os",
    "ase": "es",
    "ile": "ajl",
    "ite": "ajt",
    "ime": "im",
    "ome": "om",
    "ame": "em",
    "ure": "jur",
    "tion": "ʃən",
    "cin": "sɪn",
    "ia": "iə",
    "ies": "iz",
    "y": "i",
    "le": "əl",
    "mb": "m",
    "es": "iz",
    "e": "",
    "a": "ə",
}
_SHORT = {"a": "æ", "e": "ɛ", "i": "ɪ", "o": "ɑ", "u": "ʌ", "y": "ɪ"}
_LONG = {"a": "e", "e": "i", "i": "aj", "o": "o", "u": "ju", "y": "aj"}


@lru_cache(maxsize=65536)
def phones(text: str) -> str:
    """About how an English reader says the name ``text`` (lower-case letters), in IPA, without stress.

    >>> phones("xanax")
    'zænæks'
    """
    result: list[str] = []
    at = 0
    while at < len(text):
        size, sound = _next(text, at)
        result.append(sound)
        at += size
    said = "".join(result)
    # Doubled letters are said once.
    return "".join(phone for at, phone in enumerate(said) if at == 0 or said[at - 1] != phone)


def _next(text: str, at: int) -> tuple[int, str]:
    """How many letters at ``at`` are read together, and their phones."""
    rest = len(text) - at
    if at == 0:
        for size in (2, 1):
            if text[:size] in _AT_START and (size < len(text)) and not (text[0] == "y" and text[1] not in VOWELS):
                return size, _AT_START[text[:size]]
    if at > 0 and rest <= 4 and text[at:] in _AT_END and not _lonely(text, at):
        return rest, _AT_END[text[at:]]
    for size in (3, 2):
        if rest >= size and text[at : at + size] in _ANYWHERE:
            return size, _ANYWHERE[text[at : at + size]]
    letter, after = text[at], text[at + 1 : at + 2]
    if letter == "c":
        return 1, "s" if after in _FRONT and after else "k"
    if letter == "g":
        return 1, "ʤ" if after in _FRONT and after else "g"
    if letter == "s":
        between = at > 0 and text[at - 1] in VOWELS and bool(after) and after in VOWELS
        return 1, "z" if between else "s"
    if letter == "x":
        return 1, "ks"
    if letter in VOWELS:
        return 1, _vowel(text, at)
    return 1, _ANYWHERE.get(letter, letter)


def _lonely(text: str, at: int) -> bool:
    """Whether an ending would take the only vowel of the name."""
    return not any(letter in VOWELS for letter in text[:at])


def _vowel(text: str, at: int) -> str:
    letter = text[at]
    later = text[at + 1 :]
    if later and later[0] in VOWELS:
        return {"i": "i", "e": "i", "u": "u", "o": "o", "a": "e", "y": "i"}[letter]
    # Long before one consonant and a vowel in the first syllable, or at the end; short in closed syllables.
    opened = len(later) >= 2 and later[0] not in VOWELS and later[0] != "x" and later[1] in VOWELS
    first = not any(other in VOWELS for other in text[:at])
    if not later:
        return {"a": "ə", "e": "i", "i": "i", "o": "o", "u": "u", "y": "i"}[letter]
    if opened and letter in "ou":
        return _LONG[letter] if letter == "o" or first else "u"
    if opened and first and letter in "ei":
        return _LONG[letter]
    return _SHORT[letter]


# -- ALINE -----------------------------------------------------------------------------------------------------------

SKIP, SUBSTITUTION, EXPANSION, VOWEL = -10.0, 35.0, 45.0, 10.0
"""C_skip, C_sub, C_exp and C_vwl: the paper's default values."""

# Table 3.
_PLACES = {
    "bilabial": 1.0,
    "labiodental": 0.95,
    "dental": 0.9,
    "alveolar": 0.85,
    "retroflex": 0.8,
    "palato-alveolar": 0.75,
    "palatal": 0.7,
    "velar": 0.6,
    "uvular": 0.5,
    "pharyngeal": 0.3,
    "glottal": 0.1,
}
_MANNERS = {"stop": 1.0, "affricate": 0.9, "fricative": 0.8, "approximant": 0.6}
_HEIGHTS = {"high": 1.0, "mid": 0.5, "low": 0.0}
_BACKNESS = {"front": 1.0, "central": 0.5, "back": 0.0}
# Table 4.
_SALIENCE = {
    "syllabic": 5,
    "voice": 10,
    "lateral": 10,
    "high": 5,
    "manner": 50,
    "long": 1,
    "place": 40,
    "nasal": 10,
    "aspirated": 5,
    "back": 5,
    "retroflex": 10,
    "round": 5,
}
# R_V and R_C; the place is compared apart.
_FOR_VOWELS = ("syllabic", "nasal", "retroflex", "high", "back", "round", "long")
_FOR_OTHERS = ("syllabic", "manner", "voice", "nasal", "retroflex", "lateral", "aspirated")

_CONSONANTS = {
    # phone: place, manner, voiced, and what else it is
    "p": "bilabial stop",
    "b": "bilabial stop voice",
    "t": "alveolar stop",
    "d": "alveolar stop voice",
    "k": "velar stop",
    "g": "velar stop voice",
    "f": "labiodental fricative",
    "v": "labiodental fricative voice",
    "θ": "dental fricative",
    "ð": "dental fricative voice",
    "s": "alveolar fricative",
    "z": "alveolar fricative voice",
    "ʃ": "palato-alveolar fricative",
    "ʒ": "palato-alveolar fricative voice",
    "ʧ": "palato-alveolar affricate",
    "ʤ": "palato-alveolar affricate voice",
    "h": "glottal fricative",
    "m": "bilabial stop voice nasal",
    "n": "alveolar stop voice nasal",
    "ŋ": "velar stop voice nasal",
    "l": "alveolar approximant voice lateral",
    "r": "retroflex approximant voice",
}
_VOWELS = {
    "i": "high front",
    "ɪ": "high front",
    "e": "mid front",
    "ɛ": "mid front",
    "æ": "low front",
    "a": "low central",
    "ə": "mid central",
    "ʌ": "mid central",
    "ɑ": "low back",
    "ɔ": "mid back round",
    "o": "mid back round",
    "u": "high back round",
    "y": "high front round",
    "j": "high front glide",
    "w": "high back round glide",
}
PHONES = "".join([*_CONSONANTS, *_VOWELS])
"""All phones, in the order of their numbers."""


def _features(phone: str) -> dict[str, float]:
    """Values of all features but the place, see `_places`."""
    words = (_CONSONANTS.get(phone) or _VOWELS[phone]).split()
    found = {name: float(name in words) for name in ("nasal", "retroflex", "lateral", "round")}
    found |= {"long": 0.0, "aspirated": 0.0}
    if phone in _VOWELS:
        manner = {"high": 0.4, "mid": 0.2, "low": 0.0}[words[0]]
        shape = {"high": _HEIGHTS[words[0]], "back": _BACKNESS[words[1]]}
        return found | shape | {"syllabic": float("glide" not in words), "manner": manner, "voice": 1.0}
    return found | {"syllabic": 0.0, "manner": _MANNERS[words[1]], "voice": float("voice" in words)}


def _places(phone: str) -> list[float]:
    """Where a phone is made; two places for w."""
    if phone in _VOWELS:
        places = ["palatal" if "front" in _VOWELS[phone] else "velar", *(["bilabial"] if phone == "w" else [])]
    else:
        places = _CONSONANTS[phone].split()[:1]
    return [_PLACES[place] for place in places]


@cache
def _difference(first: str, second: str) -> float:
    """delta of the paper: the salient differences of two phones. Of two places of one phone, the nearer one counts."""
    a, b = _features(first), _features(second)
    if first in _VOWELS and second in _VOWELS:
        return sum(_SALIENCE[name] * abs(a[name] - b[name]) for name in _FOR_VOWELS)
    apart = min(abs(one - other) for one in _places(first) for other in _places(second))
    return _SALIENCE["place"] * apart + sum(_SALIENCE[name] * abs(a[name] - b[name]) for name in _FOR_OTHERS)


@cache
def tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Between all phones, as int-indexed tables: scores of a substitution, differences, and V, float32."""
    n = len(PHONES)
    differences = np.array([[_difference(a, b) for b in PHONES] for a in PHONES], dtype=np.float32)
    vowel = np.array([VOWEL if phone in _VOWELS else 0.0 for phone in PHONES], dtype=np.float32)
    scores = SUBSTITUTION - differences - vowel.reshape(n, 1) - vowel.reshape(1, n)
    return scores.astype(np.float32), differences, vowel


def numbers(said: str) -> np.ndarray:
    """Phones -> their numbers, int8. Raises ValueError for a character that is no phone of ours."""
    return np.array([PHONES.index(phone) for phone in said], dtype=np.int8)


@numba.njit(cache=True)
def local_score(a, b, scores, differences, vowel):  # type: ignore[no-untyped-def]
    """The score of the best local alignment of two arrays of phones: substitution, skip, expansion, compression."""
    rows, columns = len(a), len(b)
    before = np.zeros(columns + 1, np.float32)
    last = np.zeros(columns + 1, np.float32)
    this = np.zeros(columns + 1, np.float32)
    best = np.float32(0)
    for i in range(1, rows + 1):
        p = a[i - 1]
        this[0] = 0
        for j in range(1, columns + 1):
            q = b[j - 1]
            found = max(last[j] + SKIP, this[j - 1] + SKIP, last[j - 1] + scores[p, q], np.float32(0))
            if j > 1:
                other = b[j - 2]
                two = EXPANSION - differences[p, q] - differences[p, other] - vowel[p] - max(vowel[q], vowel[other])
                found = max(found, last[j - 2] + two)
            if i > 1:
                other = a[i - 2]
                two = EXPANSION - differences[q, p] - differences[q, other] - vowel[q] - max(vowel[p], vowel[other])
                found = max(found, before[j - 1] + two)
            this[j] = found
            best = max(best, found)
        before, last, this = last, this, before
    return best


def aline(first: str, second: str) -> float:
    """ALINE similarity of two strings of phones, 0 to 1: the score over the mean of the scores with themselves.

    After Downey et al., J. Quant. Linguist. 15:340 (2008). Cut at 1, which an expansion of a vowel into two like it would
    exceed. Kondrak & Dorr (2004) divide by the length of the longer word and print no constants for drug names, so that the
    values in their table 2 cannot be had again.
    """
    a, b = numbers(first), numbers(second)
    if not len(a) or not len(b):
        return 0.0
    both = local_score(a, a, *tables()) + local_score(b, b, *tables())
    return min(1.0, float(2 * local_score(a, b, *tables()) / both))

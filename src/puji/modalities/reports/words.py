"""Text <-> words: lower case at the beginning of a sentence, and one Chinese character a word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

CHINESE = r"\u3400-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{CHINESE}]|\d+(?:\.\d+)?|[^\W\d_{CHINESE}]+(?:['’][^\W\d_{CHINESE}]+)?|_+|\S")
FULL = "，。；：、！？（）《》“”％"
"""Chinese punctuation, which needs no space beside it."""
CLOSING = set(".,;:!?)]}%/-'\"") | set(FULL)
"""No space stands before these."""
OPENING = set("([{/-'\"#") | set(FULL)
"""No space stands behind these."""
ENDS = {".", "!", "?", "。", "！", "？"}
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
TWICE = re.compile(r"([.,;:。，；：])(?:\s*\1)+")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,20}>")
_SPACE = re.compile(r"\s+")


def words(text: str) -> list[str]:
    """The words and signs of a text; the first one of a sentence in lower case, unless it is an abbreviation in capitals."""
    found: list[str] = []
    first = True
    for word in WORD.findall(text):
        found.append(word.lower() if first and (len(word) == 1 or word[1:].islower()) else word)
        first = word in ENDS if not word.isalnum() else False
    return found


def text_of(found: Sequence[str]) -> str:
    """The text that `words` cut: spaces, and capitals at the beginning of sentences."""
    parts: list[str] = []
    first, glue = True, True
    for word in found:
        chinese = bool(re.match(rf"[{CHINESE}]", word))
        if not (glue or word in CLOSING or chinese):
            parts.append(" ")
        parts.append(word[0].upper() + word[1:] if first and word[:1].islower() else word)
        first = word in ENDS if not word.isalnum() else False
        glue = word in OPENING or chinese
    return "".join(parts)


def cleaned(text: str) -> str:
    """``text`` as `words` and `text_of` have it, which leave it as it is from then on; no stop or comma twice."""
    text = _TAG.sub(" ", unicodedata.normalize("NFC", text))
    text = _SPACE.sub(" ", "".join(sign for sign in text if sign.isprintable() or sign.isspace())).strip()
    for _ in range(3):  # spelling out a sign can make another word of its neighbours
        again = TWICE.sub(r"\1", text_of(words(text)))
        if again == text:
            break
        text = again
    return text


def sentences(text: str) -> Iterator[str]:
    """The sentences of a cleaned text."""
    yield from (part.strip() for part in SENTENCE_END.split(text) if part.strip())


def joined(found: Sequence[str]) -> str:
    """Sentences one behind the other, as a cleaned text."""
    return cleaned(" ".join(found))


def chinese(text: str) -> bool:
    """Whether most letters of a text are Chinese."""
    count = len(re.findall(rf"[{CHINESE}]", text))
    return count > 0 and count * 2 > len(re.findall(r"[A-Za-z]", text))

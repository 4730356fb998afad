"""The plan of a text: before each sentence the findings that it states, so that a sentence hangs on what stands just before it.

    no:pneumothorax <says> no pneumothorax . <rest> finding:blister /left is:emphysema <says> emphysema on the left .

A finding of the input is told by its own tokens, and behind them by what the rules call it: of many headings few names, each of
them seen often, stand just before the sentence. One that the sentence denies is told by its name. The rule layer makes the plans
of training texts; of a draft the network draws them, under a grammar that lets it tell the findings of the input, all of them,
and nothing that denies them (grammar.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from puji.modalities.reports.check import normal_of
from puji.modalities.reports.labeller import findings_of, mentions
from puji.modalities.reports.report import Given
from puji.modalities.reports.tags import BROADER, named_by, qualifiers_near, sides_of
from puji.modalities.reports.words import CLOSING, ENDS, text_of

FINDING, ABSENT, NORMAL, QUALIFIER, CALLED = "finding:", "no:", "normal:", "/", "is:"
UNCERTAIN = "<uncertain>"
SAYS = "<says>"
"""Between a plan and its sentence."""
REST = "<rest>"
"""Before the sentences at the end of the findings section whose plans each begin with a finding not told before, be there any: by
then the network has said all else that it would."""
Unit = tuple[str, ...]
"""The tokens of one finding."""


def unit(given: Given) -> Unit:
    """The tokens of a finding."""
    told = (
        (ABSENT if given.state == "absent" else FINDING) + given.name,
        *(QUALIFIER + one for one in given.qualifiers),
    )
    return (*told, UNCERTAIN) if given.state == "uncertain" else told


def stated(given: Given) -> Unit:
    """The tokens of a finding in a plan: its own, and the names that the rules have for it."""
    if given.state == "absent":  # by its name already
        return unit(given)
    return (*unit(given), *(CALLED + one for one in sorted(named_by(given))))


def opens(token: str) -> bool:
    """Whether a token is the first one of a finding."""
    return token.startswith((FINDING, ABSENT)) and not token.endswith(":")


def planned(token: str) -> bool:
    """Whether a token belongs to a plan, and is no word of a text."""
    return opens(token) or token in (UNCERTAIN, SAYS, REST) or token.startswith((NORMAL, CALLED)) or is_qualifier(token)


def is_qualifier(token: str) -> bool:
    """Whether a token is a qualifier; a stroke alone is a word."""
    return token.startswith(QUALIFIER) and token != QUALIFIER


def split(words: Sequence[str]) -> Iterator[list[str]]:
    """The sentences of a text's words, each with the signs that close it. The number of a list ("1.") is no sentence."""
    now: list[str] = []
    done = False
    for word in words:
        if done and word not in CLOSING:
            yield now
            now, done = [], False
        now.append(word)
        done = done or ends(now)
    if now:
        yield now


def ends(sentence: Sequence[str]) -> bool:
    """Whether the words of a sentence come to its end."""
    return sentence[-1] in ENDS and not (len(sentence) == 2 and sentence[0].isdigit())


def section(given: Sequence[Given], words: Sequence[str]) -> list[str]:
    """The words of a text, each sentence behind its plan."""
    return [token for one in _told(given, words) for token in one]


def findings_section(given: Sequence[Given], words: Sequence[str]) -> list[str]:
    """As `section`, with `REST`."""
    told = _told(given, words)
    left = {stated(one) for one in given}
    place = 0
    for number, sentence in enumerate(split(words), 1):
        units_told = plan(given, text_of(sentence))
        if not units_told or units_told[0] not in left:
            place = number
        left -= set(units_told)
    return [token for one in (*told[:place], [REST], *told[place:]) for token in one]


def _told(given: Sequence[Given], words: Sequence[str]) -> list[list[str]]:
    """The sentences of a text, each behind its plan."""
    told = []
    for sentence in split(words):
        before = [token for one in plan(given, text_of(sentence)) for token in one]
        told.append([*before, SAYS, *sentence])
    return told


def plan(given: Sequence[Given], sentence: str) -> list[Unit]:
    """The plan of a sentence: what it states of ``given``, what it states beyond, what it denies, in the order of the words."""
    told: list[Unit] = []
    near: dict[str, frozenset[str]] = {}
    for one in mentions(sentence):
        near[one.finding] = near.get(one.finding, frozenset()) | sides_of(qualifiers_near(sentence, one))
    for name, state in findings_of(sentence).items():
        some = [one for one in given if one.state == state and {name, BROADER.get(name)} & named_by(one)]
        told += map(stated, _beside(some, near[name])) if some else [stated(Given(name, (), state))]
    told += ((NORMAL + what,) for what in normal_of(sentence))
    return list(dict.fromkeys(told))


def _beside(some: Sequence[Given], sides: frozenset[str]) -> Sequence[Given]:
    """Those of several findings with the same name that are on the side that the sentence tells; all where none is."""
    found = [one for one in some if sides & sides_of(one.qualifiers)]
    return found if len(some) > 1 and found else some


def units(tokens: Iterable[str]) -> Iterator[Given]:
    """The findings that tokens tell. Raises ValueError for a token in the wrong place."""
    now: Given | None = None
    for token in tokens:
        if opens(token):
            if now is not None:
                yield now
            kind, _, name = token.partition(":")
            now = Given(name, (), "absent" if f"{kind}:" == ABSENT else "present")
        elif now is None or now.state == "uncertain":
            raise ValueError(token)
        elif is_qualifier(token):
            now = Given(now.name, (*now.qualifiers, token.removeprefix(QUALIFIER)), now.state)
        elif token == UNCERTAIN and now.state == "present":
            now = Given(now.name, now.qualifiers, "uncertain")
        else:
            raise ValueError(token)
    if now is not None:
        yield now

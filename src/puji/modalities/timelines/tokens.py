"""A timeline as tokens and back.

    <timeline> <female> <born:1950s> ICD10/E11 <age:51> <month:3> LOINC/4548-4 <q:7> <+0> ... <followed> <age:63> <month:1> <end>

Each event is named before its time is told, so that the probability of what comes next can be read off directly. The last
one is death, or ``<followed>``: until when the patient was under observation.
"""

from __future__ import annotations

from collections.abc import Sequence

from puji.errors import Invalid
from puji.modalities.timelines import clock
from puji.modalities.timelines.codebook import BINS, Codebook
from puji.modalities.timelines.timeline import DEATH, Event, Sex, Timeline
from puji.modality import END

START = "<timeline>"
FOLLOWED = "<followed>"
"""Stands like a code: the patient was followed until then."""
SEEN = "<seen>"
"""Stands like a code: nothing happened until then. Shown in training and before futures, never generated."""
SEXES: dict[Sex, str] = {"female": "<female>", "male": "<male>", "": "<sex:?>"}
UNKNOWN_BIRTH = "<born:?>"
DECADES = range(1850, 2110, 10)
HEADER = 3
"""`START`, the sex and the birth."""
QUANTILES = tuple(f"<q:{number}>" for number in range(BINS))
UNTIL = {year: f"<until:{year}>" for year in range(clock.OLDEST + 1)}
"""Condition: followed to this age in years, if death does not come before."""


def born_token(year: int | None) -> str:
    """The decade of birth; years before 1850 and from 2110 on count as the nearest decade."""
    if year is None:
        return UNKNOWN_BIRTH
    return f"<born:{min(max(year // 10 * 10, DECADES[0]), DECADES[-1])}s>"


def fixed_tokens() -> list[str]:
    """All tokens but the codes."""
    return [
        *(END, START, *SEXES.values(), UNKNOWN_BIRTH, *(f"<born:{decade}s>" for decade in DECADES)),
        *(FOLLOWED, SEEN, *QUANTILES, *clock.tokens(), *UNTIL.values()),
    ]


def event_tokens(book: Codebook, event: Event, now: float) -> tuple[list[str], float]:
    """The tokens of an event at the age ``now`` of the clock, and the clock after it."""
    code = book.token(event.code)
    time, after = clock.advance(now, event.age)
    own = code == book.mapped(event.code)  # a value of a code that another tells is of another scale
    number = book.bin(code, event.value, event.unit) if own and event.value is not None else None
    return [code, *([] if number is None else [QUANTILES[number]]), *time], after


def history(book: Codebook, record: Timeline) -> tuple[list[str], float]:
    """`START`, the header and all events, and the age of the clock after them."""
    found = [START, SEXES[record.sex], born_token(record.born)]
    now = 0.0
    for event in record.events:
        told, now = event_tokens(book, event, now)
        found += told
    return found, now


def body(book: Codebook, record: Timeline) -> list[str]:
    """The whole record, from `START` to END."""
    found, now = history(book, record)
    if not record.died:
        found += [FOLLOWED, *clock.advance(now, record.end)[0]]
    return [*found, END]


def seen(now: float, age: float) -> list[str]:
    """That nothing happened until ``age``; nothing where that is what the clock says already."""
    return [SEEN, *clock.advance(now, age)[0]] if age > now else []


def parsed(book: Codebook, tokens: Sequence[str]) -> Timeline:
    """The timeline that a body tells, with or without `START` and END. Raises Invalid for what is no timeline."""
    told = list(tokens)
    if START in told:
        told = told[told.index(START) + 1 :]
    if END in told:
        told = told[: told.index(END)]
    sex = next((sex for sex, token in SEXES.items() if told[:1] == [token]), None)
    if sex is None or len(told) < 2 or not told[1].startswith("<born:"):
        raise Invalid("timelines.no_header")
    decade = told[1][6:-1]
    born = None if decade == "?" else int(decade[:-1]) + 5
    events: list[Event] = []
    now, at, end = 0.0, 2, None
    while at < len(told):
        code = told[at]
        if end is not None:
            raise Invalid("timelines.after_end")
        if (code.startswith("<") and code not in (FOLLOWED, SEEN)) or code.endswith("/"):
            raise Invalid("timelines.no_code", place=at)
        at += 1
        number = QUANTILES.index(told[at]) if at < len(told) and told[at] in QUANTILES else None
        at += number is not None
        found = clock.read(now, told[at : at + 2])
        if found is None:
            raise Invalid("timelines.no_time", place=at)
        now, at = found[0], at + found[1]
        if code in (FOLLOWED, DEATH):
            end = now
        if code not in (FOLLOWED, SEEN):
            value = None if number is None else book.value(code, number)
            events.append(Event(now, code, *(value or ())))
    if not events:
        raise Invalid("timelines.no_events")
    return Timeline(sex, born, tuple(events), now if end is None else end)

"""A report: why the examination was made, what was found, and the text that says so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from puji.errors import Invalid
from puji.modalities.reports.labeller import STATES, State
from puji.modalities.reports.words import chinese, cleaned

Source = Literal["person", "machine"]
LONGEST = 20_000
"""Characters of a text; a longer one is no report."""


@dataclass(frozen=True)
class Given:
    """One finding of the input.

    ``name``: in English lower case (a name of `puji.findings`, or a MeSH heading); ``qualifiers``: site, side, degree;
    ``source``: who found it; ``probability``: what the machine gave it.
    """

    name: str
    qualifiers: tuple[str, ...] = ()
    state: State = "present"
    source: Source = "person"
    probability: float | None = None

    def __str__(self) -> str:
        told = "/".join((self.name, *self.qualifiers))
        return told if self.state == "present" else f"{told} ({self.state})"


@dataclass(frozen=True)
class Line:
    """What is known of one sentence of a draft: the findings (their names) that caused it, and what is wrong with it."""

    causes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """``given``: the findings, in any order; ``lines``: of each sentence of both texts, where it is a draft that was checked;
    ``flags``: findings that the draft could not be made to state; ``repaired``: whether its sentences were changed."""

    indication: str = ""
    given: tuple[Given, ...] = ()
    findings: str = ""
    impression: str = ""
    subject: str = ""
    lines: tuple[Line, ...] = ()
    flags: tuple[str, ...] = ()
    repaired: bool = False

    @property
    def text(self) -> str:
        """Both sections."""
        return "\n".join(part for part in (self.findings, self.impression) if part)

    @property
    def language(self) -> str:
        """ "zh" or "en"."""
        return "zh" if chinese(self.findings or self.impression or self.indication) else "en"

    def dump(self) -> str:
        """One line of JSON, without what is empty; no finding is told as such."""
        told = {name: value for name, value in asdict(self).items() if value}
        told["given"] = [{name: value for name, value in asdict(one).items() if value} for one in self.given]
        return json.dumps(told, ensure_ascii=False)


def revived(line: str) -> Report:
    """Inverse of `Report.dump`. Raises Invalid."""
    try:
        told = json.loads(line)
    except ValueError as error:
        raise Invalid("reports.json") from error
    if not isinstance(told, Mapping):
        raise Invalid("reports.json")
    return checked(told)


def checked(told: Mapping[str, Any]) -> Report:
    """A cleaned report out of the fields of one. Raises Invalid for fields of another kind and for one without any text."""
    texts = {}
    for name in ("indication", "findings", "impression", "subject"):
        value = told.get(name) or ""
        if not isinstance(value, str):
            raise Invalid("reports.field", field=name)
        if len(value) > LONGEST:
            raise Invalid("reports.long", n=len(value), most=LONGEST)
        texts[name] = value.strip() if name == "subject" else cleaned(value)
    if not texts["findings"] and not texts["impression"]:
        raise Invalid("reports.empty")
    if not texts["findings"]:  # one text alone is told as the findings
        texts["findings"], texts["impression"] = texts["impression"], ""
    report = Report(
        indication=texts["indication"],
        findings=texts["findings"],
        impression=texts["impression"],
        subject=texts["subject"],
        lines=tuple(_line(one) for one in _list(told.get("lines"), "lines")),
        flags=_strings(told.get("flags"), "flags"),
        repaired=bool(told.get("repaired", False)),
    )
    given = told.get("given")
    if given is None:
        from puji.modalities.reports.tags import derived

        return replace(report, given=derived(report.text))
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise Invalid("reports.field", field="given")
    return replace(report, given=tuple(_given(one) for one in given))


def _list(told: Any, field: str) -> Sequence[Any]:
    if told and (isinstance(told, str) or not isinstance(told, Sequence)):
        raise Invalid("reports.field", field=field)
    return told or ()


def _strings(told: Any, field: str) -> tuple[str, ...]:
    return tuple(str(one) for one in _list(told, field))


def _given(told: Any) -> Given:
    if isinstance(told, Given):
        return told
    if not isinstance(told, Mapping) or not isinstance(told.get("name"), str) or not told["name"].strip():
        raise Invalid("reports.field", field="given")
    if told.get("state", "present") not in STATES:
        raise Invalid("reports.state", value=str(told["state"])[:40], known=", ".join(STATES))
    share = told.get("probability")
    if share is not None and not (isinstance(share, int | float) and 0 <= share <= 1):
        raise Invalid("reports.probability", value=str(share)[:40])
    return Given(
        told["name"],
        _strings(told.get("qualifiers"), "given"),
        told.get("state", "present"),
        "machine" if told.get("source") == "machine" else "person",
        share,
    )


def _line(told: Any) -> Line:
    if isinstance(told, Mapping):
        return Line(_strings(told.get("causes"), "lines"), _strings(told.get("flags"), "lines"))
    raise Invalid("reports.field", field="lines")

"""Medical reports as sequences of words behind their findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel

from puji.errors import Invalid
from puji.findings import findings
from puji.modalities.reports import conditions, views
from puji.modalities.reports.beyond import beyond
from puji.modalities.reports.check import Expected
from puji.modalities.reports.compose import Statement, statements
from puji.modalities.reports.data import get_iu_xray, get_synthetic_cxr
from puji.modalities.reports.drafting import OURS, agreement, critical, drafted
from puji.modalities.reports.grammar import ReportGrammar
from puji.modalities.reports.read import by_headings, read
from puji.modalities.reports.report import Given, Report, checked, revived
from puji.modalities.reports.tags import BROADER, named_by
from puji.modalities.reports.tokens import FINDINGS, REPORT, Lexis, body, header, learned, parsed
from puji.modality import Grammar, Metric, Modality, Raw, View


class Reports(Modality[Report]):
    """Radiology reports: a draft of findings and impression that says what was found, and nothing else."""

    name: ClassVar[str] = "reports"
    version: ClassVar[int] = 3
    shown_by: ClassVar[str] = "puji.modalities.reports.demo"
    start: ClassVar[str] = REPORT
    size: ClassVar[str] = "micro"
    context: ClassVar[int] = 384
    temperature: ClassVar[float] = 0.4
    Conditions: ClassVar[type[BaseModel]] = conditions.Conditions
    Ask: ClassVar[type[BaseModel]] = conditions.Ask
    datasets: ClassVar[Mapping[str, Callable[[], Path]]] = {
        "iu-xray": get_iu_xray,
        "synthetic-cxr": get_synthetic_cxr,
    }
    # The words of other reports get less likely long before drafts stop getting better at their findings.
    settings: ClassVar[Mapping[str, Any]] = {"dropout": 0.15, "batch_tokens": 2048, "keep": "last"}
    lossless: ClassVar[bool] = False
    formats: ClassVar[tuple[str, ...]] = (".txt", ".ndjson", ".html")
    notes: ClassVar[tuple[str, ...]] = ("puji.research_use",)

    def __init__(self) -> None:
        self.lexis = Lexis([], [], [], [])
        self.statements: dict[str, list[Statement]] = {}

    def read(self, source: Path) -> Iterator[Raw | Invalid]:
        """CSV, JSON lines, FHIR DiagnosticReport, Open-i XML, or a folder of them."""
        return read(source)

    def preprocess(self, raw: Raw) -> Report:
        """A report of a table's fields or its JSON; findings that nobody told are read from its text by the rules."""
        if isinstance(raw.content, Report):
            return raw.content
        return revived(raw.content) if isinstance(raw.content, str) else checked(raw.content)

    def group(self, record: Report) -> str:
        """The subject; without an identifier the text."""
        return record.subject or record.text

    def learn(self, records: Sequence[Report]) -> None:
        """The words, and the names of findings."""
        self.lexis = learned(records)

    def prepare(self, records: Sequence[Report]) -> None:
        """Statements that training puts into other reports."""
        self.statements = statements(records)

    def state(self) -> dict[str, Any]:
        """The words, and the names of findings."""
        return asdict(self.lexis)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        self.lexis = Lexis(**{one.name: state[one.name] for one in fields(Lexis)})

    def tokens(self) -> list[str]:
        """The fixed tokens, findings, qualifiers, words."""
        return self.lexis.tokens()

    def encode(self, record: Report) -> list[str]:
        """All sections."""
        return body(record)

    def views(self, record: Report, rng: np.random.Generator) -> Iterator[View]:
        """One view; see views.py."""
        yield views.view(record, rng, self.statements)

    def header(self, tokens: Sequence[str]) -> int:
        """What is told of the report before its text."""
        return tokens.index(FINDINGS) + 1 if FINDINGS in tokens else super().header(tokens)

    # -- step 4: decode ----------------------------------------------------------------------------------------------

    def describe(self, record: Report) -> conditions.Conditions:
        """The findings and the indication."""
        person = "; ".join(str(one) for one in record.given if one.source == "person")
        machine = "; ".join(f"{one}={one.probability}" for one in record.given if one.source == "machine")
        return conditions.Conditions(
            findings=person or (None if machine else "normal"),
            machine=machine or None,
            indication=record.indication or None,
        )

    def prompt(self, asked: BaseModel, rng: np.random.Generator) -> list[str]:
        """The header; `REPORT` alone where nothing is asked. Raises Invalid for a finding that nothing here knows."""
        wanted = _conditions(asked)
        given = wanted.given()
        for one in given or ():
            if one.name not in (*self.lexis.of(one.state), *findings()) and not named_by(one):
                option = "--machine" if one.source == "machine" else "--findings"
                raise Invalid("reports.tag", source=option, tag=one.name[:40])
        return [REPORT] if given is None else header(wanted.indication or "", map(self.known, given))

    def known(self, given: Given) -> Given:
        """A finding by a name, and with those qualifiers, that training showed: its own, the rules', or a narrower one."""
        names, known = self.lexis.of(given.state), named_by(given)
        narrower = (one for one in reversed([*BROADER]) if BROADER[one] in known)  # of the devices, "device"
        name = next((one for one in (given.name, *sorted(known), *narrower) if one in names), given.name)
        return replace(
            given, name=name, qualifiers=tuple(one for one in given.qualifiers if one in self.lexis.qualifiers)
        )

    def grammar(self, asked: BaseModel) -> Grammar:
        """The sections in their order; what the findings are, all of it, and nothing that denies it."""
        return ReportGrammar(self.lexis)

    def postprocess(self, tokens: Sequence[str], prompt: Sequence[str] = ()) -> Report:
        """The report that the tokens tell. Raises Invalid."""
        return parsed(list(tokens) if REPORT in tokens else [*prompt, *tokens])

    def drafts(self, asked: BaseModel) -> int:
        """As many as were asked for; 1 where no finding is."""
        wanted = _conditions(asked)
        return 1 if wanted.given() is None else wanted.drafts or conditions.DRAFTS

    def choose(self, drafts: Sequence[Report], asked: BaseModel) -> tuple[int | None, Report]:
        """The draft that agrees, repaired where none does; see drafting.py."""
        wanted = _conditions(asked)
        place, report = drafted(drafts, wanted.given() or (), wanted.indication or "", self.lexis.language)
        return place if report.text == drafts[place].text else None, report

    def accept(self, record: Report, asked: BaseModel) -> Report:
        """Refuses a draft that does not agree with its findings, where the first that does is asked for."""
        wanted = _conditions(asked)
        given = wanted.given()
        if given is not None and wanted.drafts == 1:
            expected = Expected(given, wanted.indication or "")
            found = expected.check(record.text)
            if found.faults:
                raise Invalid("reports.disagrees", finding=(found.missing + found.added + found.contradicted)[0])
            for kind in beyond(record.text, expected):
                raise Invalid(f"reports.flag.{kind}")
        return record

    def distance(self, record: Report, other: Report) -> float:
        """0 where the texts and the findings are the same; the subject, probabilities and flags are no part of the sequence."""
        return 0.0 if self.encode(record) == self.encode(other) else float("inf")

    def row(self, record: Report, asked: BaseModel | None = None) -> dict[str, Any]:
        """The texts, what they were made of, and what is wrong with them."""
        return {
            "findings": record.findings,
            "impression": record.impression,
            "critical": "; ".join(critical(record)),
            "given": "; ".join(map(str, record.given)),
            "machine": "; ".join(f"{one} {one.probability:.2f}" for one in record.given if one.source == "machine"),
            "indication": record.indication,
            "agreement": agreement(record),
            "flags": "; ".join(record.flags),
            "notes": "; ".join(dict.fromkeys(kind for line in record.lines for kind in line.flags if kind != OURS)),
            "record": record.dump(),
        }

    def dump(self, record: Report) -> str:
        """One line of JSON."""
        return record.dump()

    def revive(self, line: str) -> Report:
        """Inverse of `dump`."""
        return revived(line)

    def parse(self, text: str) -> Report:
        """A report's JSON, or its text, with headings or without."""
        return revived(text) if text.lstrip().startswith("{") else checked(by_headings(text))

    def write(self, records: Sequence[Report], rows: Sequence[Mapping[str, Any]], target: Path) -> None:
        """Write text, FHIR R4 DiagnosticReports, or a page."""
        from puji.modalities.reports.write import write

        write(records, rows, target)

    def render(self, record: Report) -> dict[str, str | bytes]:
        """The text of a report."""
        from puji.modalities.reports.write import told

        return {"text/plain": told(record)}

    def metrics(
        self,
        samples: Sequence[Raw | Invalid],
        references: Mapping[str, Sequence[Raw | Invalid]],
        step: Callable[[int, int], None] = lambda done, total: None,
    ) -> dict[str, Metric]:
        """How drafts agree with their findings, and with reference reports of the same subjects."""
        from puji.modalities.reports.judge import report_metrics

        return report_metrics(
            list(map(self._report, samples)), {k: list(map(self._report, v)) for k, v in references.items()}
        )

    def _report(self, raw: Raw | Invalid) -> Report | None:
        try:
            return None if isinstance(raw, Invalid) else self.preprocess(raw)
        except Invalid:
            return None


def _conditions(given: BaseModel) -> conditions.Conditions:
    return given if isinstance(given, conditions.Conditions) else conditions.Conditions()

"""Drafts as text, as FHIR R4 DiagnosticReports of status preliminary, and as a page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from puji import gallery
from puji.errors import Invalid
from puji.files import atomic_write
from puji.findings import findings, named
from puji.gallery import Chapter, Section
from puji.language import LANGUAGES, Text, current, translate
from puji.modalities.reports.drafting import OURS, critical
from puji.modalities.reports.notes import HALF, KINDS
from puji.modalities.reports.plain import plain
from puji.modalities.reports.report import Given, Line, Report
from puji.modalities.reports.tags import named_by, qualifier_in
from puji.modalities.reports.words import sentences

FORMATS = (".txt", ".ndjson", ".html")
SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
STUDY = {"system": LOINC, "code": "18748-4", "display": "Diagnostic imaging study"}
STATES = {"present": ("52101004", "Present"), "absent": ("2667000", "Absent"), "uncertain": ("42425007", "Equivocal")}
"""SNOMED CT qualifiers."""
TAG = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST", "display": "test health data"}
"""FHIR's security label of what is no real patient's."""


def write(records: Sequence[Report], rows: Sequence[Mapping[str, Any]], target: Path) -> None:
    """Write ``records`` by the ending of ``target``. ``rows``: the origin of each. Raises Invalid for another ending."""
    ending = target.suffix.lower()
    if ending == ".txt":
        atomic_write(target, "\n\n\n".join(map(told, records)) + "\n")
    elif ending == ".ndjson":
        lines = (json.dumps(resource(one, row), ensure_ascii=False) for one, row in zip(records, rows, strict=True))
        atomic_write(target, "".join(f"{line}\n" for line in lines))
    elif ending == ".html":
        atomic_write(target, page(records, rows))
    else:
        raise Invalid("write.format", source=str(target), formats=", ".join(FORMATS))


def spoken(given: Given, language: str) -> str:
    """A finding of the input for people: its name, qualifiers and state; of the machine's, the probability."""
    text = named(given.name, language)
    if given.qualifiers:
        told = translate("cli.comma", language).join(qualifier_in(one, language) for one in given.qualifiers)
        text = translate("reports.qualified", language, name=text, qualifiers=told)
    if given.state != "present":
        text += f"{translate('reports.colon', language)}{translate(f'reports.state.{given.state}', language)}"
    if given.source == "machine":
        text += f" [{translate('reports.machine.mark', language, probability=f'{given.probability or 0:.0%}')}]"
    return text


def flag_text(flag: str, language: str) -> str:
    """What a flag says."""
    kind, _, name = flag.partition(":")
    return translate(f"reports.flag.{kind}", language, finding=named(name, language))


def noted(line: Line, language: str) -> list[str]:
    """The notes of a sentence, see notes.py."""
    return [translate(f"reports.note.{kind}", language) for kind in (*KINDS, HALF) if kind in line.flags]


def _remark(line: Line, language: str) -> str:
    ours = [translate("reports.page.ours", language)] if OURS in line.flags else []
    return translate("cli.comma", language).join([*ours, *noted(line, language)])


def told(report: Report, language: str | None = None) -> str:
    """The draft as text: what is critical first, both sections, what was given, what does not agree; headings in ``language``."""
    speak = language or report.language

    def say(key: str, **details: Any) -> str:
        return translate(f"reports.text.{key}", speak, **details)

    parts = [say("draft")]
    if urgent := critical(report):
        parts.append(say("critical", findings=", ".join(named(name, speak) for name in urgent)))
    if report.indication:
        parts.append(f"{say('indication')}\n{report.indication}")
    parts.append(f"{say('findings')}\n{report.findings}")
    if report.impression:
        parts.append(f"{say('impression')}\n{report.impression}")
    if report.lines:
        shown = "; ".join(spoken(one, speak) for one in report.given) or say("none")
        parts.append(f"{say('given')}\n{shown}")
    if any(one.source == "machine" for one in report.given):
        parts.append(say("machine"))
    notes = [flag_text(flag, speak) for flag in report.flags]
    notes += [say("ours", sentence=sentence) for sentence, line in numbered(report) if OURS in line.flags]
    notes += [say("note", note=note, sentence=one) for one, line in numbered(report) for note in noted(line, speak)]
    if notes:
        parts.append("\n".join([say("flags"), *(f"- {note}" for note in notes)]))
    return "\n\n".join([*parts, translate("puji.research_use", speak)])


def numbered(report: Report) -> list[tuple[str, Line]]:
    """Each sentence with what is known of it; nothing where the report is no draft."""
    return list(zip((*sentences(report.findings), *sentences(report.impression)), report.lines, strict=False))


def _concept(name: str) -> dict[str, Any]:
    known = findings().get(name)
    coding = {"coding": [{"system": SNOMED, "code": known.snomed}]} if known and known.snomed else {}
    return {**coding, "text": name}


def _observations(report: Report) -> list[dict[str, Any]]:
    found = []
    for number, one in enumerate(report.given, 1):
        code, display = STATES[one.state]
        observation: dict[str, Any] = {
            "resourceType": "Observation",
            "id": f"finding-{number}",
            "status": "preliminary",
            "code": _concept(min(named_by(one), default=one.name)),
            "valueCodeableConcept": {"coding": [{"system": SNOMED, "code": code, "display": display}]},
            "note": [{"text": str(one)}],
        }
        if one.source == "machine":
            observation["method"] = {"text": "predicted by a machine from the image"}
            observation["component"] = [
                {"code": {"text": "probability"}, "valueQuantity": {"value": one.probability or 0.0}}
            ]
        found.append(observation)
    return found


def resource(report: Report, row: Mapping[str, Any]) -> dict[str, Any]:
    """A DiagnosticReport (R4) of status preliminary; each finding of the input is a contained, coded Observation."""
    text = told(report)
    observations = _observations(report)
    codes = {min(named_by(one), default=one.name) for one in report.given if one.state == "present"}
    body: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "meta": {
            "security": [TAG],
            "tag": [
                {
                    "system": "urn:puji",
                    "code": "synthetic",
                    "display": f"{row.get('model', '')}, seed {row.get('seed', '')}",
                }
            ],
        },
        "language": report.language,
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><pre>{escape(text)}</pre></div>',
        },
        "status": "preliminary",
        "category": [
            {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD", "display": "Radiology"}
                ]
            }
        ],
        "code": {"coding": [STUDY]},
        "presentedForm": [
            {
                "contentType": "text/plain; charset=utf-8",
                "data": base64.b64encode(_form(report).encode()).decode("ascii"),
            }
        ],
    }
    if observations:
        body["contained"] = observations
        body["result"] = [{"reference": f"#{one['id']}"} for one in observations]
    if codes:
        body["conclusionCode"] = [_concept(name) for name in sorted(codes)]
    if report.impression:
        body["conclusion"] = report.impression
    if report.subject:
        body["subject"] = {"display": report.subject}
    return body


def _form(report: Report) -> str:
    """The texts under headings that `puji.modalities.reports.read` knows."""
    headed = {"INDICATION": report.indication, "FINDINGS": report.findings, "IMPRESSION": report.impression}
    return "\n\n".join(f"{name}: {text}" for name, text in headed.items() if text)


def _columns(*names: str) -> dict[str, Text]:
    return {name: Text(f"reports.page.{name}") for name in names}


SENTENCE_COLUMNS = _columns("sentence", "because", "remark")


class Spoken(Text):
    """A text that is not one message, in each language."""

    def __init__(self, **texts: str) -> None:
        super().__init__("", texts)

    def text(self, language: str) -> str:
        """The one in ``language``."""
        return str(self.details[language])


def spoken_in_all(given: Given) -> Spoken:
    """`spoken` in each language."""
    return Spoken(**{language: spoken(given, language) for language in LANGUAGES})


def sections_of(report: Report) -> list[Section]:
    """A draft as sections of a page: what is critical, the sentences with what caused them, the input, and plain language."""
    parts = []
    if urgent := critical(report):
        names = {language: ", ".join(named(name, language) for name in urgent) for language in LANGUAGES}
        parts.append(
            Section(Text("reports.page.critical"), Text("reports.page.critical.note", {"findings": Spoken(**names)}))
        )
    parts.append(
        Section(
            Text("reports.page.draft"),
            _state(report),
            (),
            sentence_rows(report),
            SENTENCE_COLUMNS,
        )
    )
    rows = [
        {"finding": spoken_in_all(one), "by": Text(f"reports.source.{one.source}"), "rules": bool(named_by(one))}
        for one in report.given
    ]
    note = dict.fromkeys(LANGUAGES, "")
    if any(one.source == "machine" for one in report.given):
        note = {language: translate("reports.text.machine", language) for language in LANGUAGES}
    if rows:
        parts.append(Section(Text("reports.page.given"), Spoken(**note), (), rows, _columns("finding", "by", "rules")))
    simple = {language: ("" if language == "zh" else " ").join(plain(report, language)) for language in LANGUAGES}
    parts.append(Section(Text("reports.page.plain"), Spoken(**simple)))
    return parts


def _state(report: Report) -> Text:
    if not report.flags:
        return Text("reports.page.repaired" if report.repaired else "reports.page.agrees")
    texts = {language: " ".join(flag_text(flag, language) for flag in report.flags) for language in LANGUAGES}
    return Text("reports.page.flagged", {"flags": Spoken(**texts)})


def sentence_rows(report: Report) -> list[dict[str, Any]]:
    """Each sentence of a draft, and the findings that caused it; its columns are `SENTENCE_COLUMNS`."""
    rows = []
    for sentence, line in numbered(report):
        causes = {language: ", ".join(named(one, language) for one in line.causes) for language in LANGUAGES}
        nothing = Text("reports.page.background")
        rows.append(
            {
                "sentence": sentence,
                "because": Spoken(**causes) if line.causes else nothing,
                "remark": Spoken(**{language: _remark(line, language) for language in LANGUAGES}),
            }
        )
    return rows


def page(records: Sequence[Report], rows: Sequence[Mapping[str, Any]], language: str | None = None) -> str:
    """The whole HTML page in English and Chinese, opening in ``language``."""
    chapters = []
    for report, row in zip(records, rows, strict=True):
        origin = {name: row[name] for name in ("model", "seed", "draw", "log_likelihood") if name in row}
        chapters.append(Chapter("reports", origin, sections_of(report)))
    return gallery.page(chapters, language or current(), kind="reports.page")

"""Reports from tables, JSON lines, FHIR and Open-i's XML, one at a time; what cannot be read is refused with its place."""

from __future__ import annotations

import base64
import binascii
import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from puji.errors import Invalid
from puji.modalities.reports.data import open_i
from puji.modalities.reports.tags import parsed
from puji.modality import Raw
from puji.sources import each_file, ending
from puji.text import lines, opened, told_lines

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".xml")
"""File name endings that `read` knows, each also with ``.gz``."""
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "findings": ("findings", "finding", "report", "text", "影像所见", "检查所见", "影像表现", "所见", "描述", "报告"),
    "impression": ("impression", "conclusion", "诊断意见", "影像诊断", "诊断印象", "印象", "结论", "诊断"),
    "indication": ("indication", "history", "clinical_history", "reason", "检查目的", "临床诊断", "病史", "主诉"),
    "given": ("given", "tags", "labels", "mesh", "标签", "阳性所见"),
    "subject": ("subject", "patient", "patient_id", "subject_id", "患者编号", "病人编号", "患者id", "病历号"),
}
"""Names of columns, whatever their case."""
LARGEST = 50_000_000
"""Bytes of a file that is read whole."""
LONGEST_LINE = 1_000_000
HEADINGS = re.compile(
    r"(?:^|\n)\s*(findings|impression|conclusion|indication|影像所见|检查所见|影像表现|诊断意见|影像诊断|印象|结论|检查目的|病史)\s*[:：]",
    re.IGNORECASE,
)


def read(source: Path) -> Iterator[Raw | Invalid]:
    """The reports of a file, or of all files in a folder that have a known ending, as fields of a `Report`."""
    yield from each_file(source, ENDINGS, _file)


def _file(path: Path) -> Iterator[Raw | Invalid]:
    kind = ending(path)
    if kind in (".csv", ".tsv"):
        return _table(path, "\t" if kind == ".tsv" else None)
    if kind in (".jsonl", ".ndjson"):
        return _json_lines(path)
    return _whole(path, kind)


def _table(path: Path, separator: str | None) -> Iterator[Raw | Invalid]:
    """One report a row; a quoted cell may hold line breaks. The line is that on which a row ends."""
    refused: list[Invalid] = []
    numbers: list[int] = [0]

    def text() -> Iterator[str]:
        for line in lines(path, LONGEST_LINE):
            if isinstance(line, Invalid):
                refused.append(line)
            else:
                numbers.append(line[0])
                yield line[1] + "\n"

    told = text()
    head = next(told, "")
    separator = separator or max(",;\t", key=head.count)
    names = [name.strip().lower() for name in next(csv.reader([head], delimiter=separator), [])]
    places = _places(names)
    if names and not {"findings", "impression"} & places.keys():
        yield from refused
        raise Invalid("reports.read.no_column", line=1, columns=", ".join(names[:20])[:200])
    try:
        for row in csv.reader(told, delimiter=separator):
            yield from refused
            refused.clear()
            if any(cell.strip() for cell in row):
                fields = {name: row[place] if place < len(row) else "" for name, place in places.items()}
                yield _raw(fields, path, numbers[-1])
    except csv.Error as error:
        raise Invalid("reports.read.row", line=numbers[-1]) from error
    yield from refused


def _places(names: Sequence[str]) -> dict[str, int]:
    found = {}
    for field, known in COLUMNS.items():
        place = next((names.index(name) for name in known if name in names), None)
        if place is not None:
            found[field] = place
    return found


def _raw(fields: dict[str, Any], path: Path, line: int | None) -> Raw | Invalid:
    """The fields, findings that stand in them as text parsed; none told means that the rules read them in the text."""
    given = fields.pop("given", None)
    if isinstance(given, str) and given.strip():
        try:
            fields["given"] = list(parsed(given))
        except Invalid as refusal:
            return Invalid(refusal.reason, source=str(path), line=line, **refusal.details)
    elif isinstance(given, list):
        fields["given"] = given
    return Raw(fields, str(path), line)


def _json_lines(path: Path) -> Iterator[Raw | Invalid]:
    for line in told_lines(path, LONGEST_LINE):
        if isinstance(line, Invalid):
            yield line
            continue
        try:
            yield from _told(json.loads(line[1]), path, line[0])
        except (ValueError, RecursionError):
            yield Invalid("reports.json", line=line[0])


def _whole(path: Path, kind: str) -> Iterator[Raw | Invalid]:
    with opened(path) as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise Invalid("reports.read.large", most=LARGEST // 10**6)
    if not content.strip():
        return
    if kind == ".xml":
        try:
            yield _raw(open_i(content), path, None)
        except (ElementTree.ParseError, ValueError) as error:
            raise Invalid("reports.read.xml") from error
        return
    try:
        told = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Invalid("reports.json") from error
    for one in told if isinstance(told, list) else [told]:
        yield from _told(one, path, None)


def _told(one: Any, path: Path, line: int | None) -> Iterator[Raw | Invalid]:
    """A report's own fields, a FHIR DiagnosticReport, or a bundle of them; other resources are passed over."""
    if not isinstance(one, Mapping):
        yield Invalid("reports.json", source=str(path), line=line)
        return
    kind = one.get("resourceType")
    if kind == "Bundle":
        for entry in one.get("entry") or []:
            resource = entry.get("resource") if isinstance(entry, Mapping) else None
            if isinstance(resource, Mapping) and resource.get("resourceType") == "DiagnosticReport":
                yield from _told(resource, path, line)
    elif kind == "DiagnosticReport":
        yield _raw(fhir_fields(one), path, line)
    elif kind:
        yield Invalid("reports.read.resource", source=str(path), line=line, kind=str(kind)[:40])
    elif isinstance(one.get("record"), str):  # a row that `puji generate` wrote
        yield Raw(one["record"], str(path), line)
    else:
        yield _raw(dict(one), path, line)


def fhir_fields(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a DiagnosticReport: its attached plain text by headings, else its narrative; ``conclusion`` as impression."""
    fields = by_headings(_attached(resource) or _narrative(resource))
    conclusion = resource.get("conclusion")
    if isinstance(conclusion, str) and not fields["impression"]:
        fields["impression"] = conclusion
    subject = resource.get("subject")
    reference = subject.get("reference", "") if isinstance(subject, Mapping) else ""
    return {**fields, "subject": str(reference)}


def by_headings(text: str) -> dict[str, str]:
    """Indication, findings and impression of a text with headings; without any, all of it as findings."""
    heads = list(HEADINGS.finditer(text))
    fields = {"indication": "", "findings": "" if heads else text, "impression": ""}
    ends = [*(head.start() for head in heads[1:]), len(text)]
    for head, end in zip(heads, ends, strict=False):
        name = next(field for field, known in COLUMNS.items() if head[1].lower() in known)
        fields[name] = f"{fields[name]} {text[head.end() : end]}".strip()
    return fields


def _attached(resource: Mapping[str, Any]) -> str:
    for form in resource.get("presentedForm") or []:
        if isinstance(form, Mapping) and str(form.get("contentType", "")).startswith("text/plain"):
            try:
                return base64.b64decode(str(form.get("data", "")), validate=True).decode("utf-8")
            except (binascii.Error, ValueError):
                return ""
    return ""


def _narrative(resource: Mapping[str, Any]) -> str:
    text = resource.get("text")
    div = text.get("div", "") if isinstance(text, Mapping) else ""
    plain = re.sub(r"<(?:br|p|div)\b[^>]*>", "\n", str(div))
    return re.sub(r"<[^>]*>", "", plain)

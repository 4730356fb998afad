"""What `puji demo` shows of timelines: synthetic patients, the future of one, and what drove a risk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from puji.gallery import Figure, Section, sections
from puji.language import LANGUAGES, Text
from puji.modalities.timelines.draw import picture
from puji.modalities.timelines.timeline import YEAR, Timeline, revived

SAMPLE = Path(__file__).with_name("synthea.jsonl")
USUAL = 60
"""Events of the patient who is shown, about."""
PATIENTS = 4
COHORT = 50
FUTURES = 200
STRONGEST = 8
"""Events in the table of what drove a risk."""
HORIZON = "1,2,3,4,5,6,7,8,9,10"
AGES = (50.0, 70.0)
"""Years between which the patient is whose future is shown."""
COLUMNS = {
    name: Text(f"timelines.column.{name}")
    for name in ("sex", "born", "events", "first_age", "end_age", "died", "timeline")
}


def demo(model: Any, seed: int = 0) -> list[Section]:
    """All sections; one that the model cannot do says why."""
    return sections("timelines", {"cohort": cohort, "future": future, "why": why}, model, seed)


def cohort(model: Any, seed: int) -> Section:
    """New patients."""
    began = time.perf_counter()
    batch = model.generate(COHORT, seed=seed)
    seconds = f"{time.perf_counter() - began:.1f}"
    records = [one.record for one in batch.generated]
    shown = sorted(records[: 3 * PATIENTS], key=lambda record: -len(record.events))[:PATIENTS]
    figures = [Figure(_pictures(model, record), wide=True) for record in shown]
    rows = []
    for record in records[:12]:
        row = model.modality.row(record)
        told = row["timeline"]
        kept = {name: row[name] for name in COLUMNS}
        sex = Text(f"timelines.sex.{record.sex or 'unknown'}")
        rows.append({**kept, "sex": sex, "timeline": told if len(told) < 160 else told[:160].rsplit(" ", 1)[0] + " …"})
    note = Text("timelines.demo.cohort.note", {"n": len(records), "attempts": batch.attempts, "seconds": seconds})
    return Section(Text("timelines.demo.cohort"), note, figures, rows, COLUMNS)


def future(model: Any, seed: int) -> Section:
    """What may happen to one of them within ten years."""
    began = time.perf_counter()
    record = _patient(seed)
    answer = model.predict(record, horizon=HORIZON, futures=FUTURES, seed=seed, unfamiliar="answer")
    seconds = f"{time.perf_counter() - began:.1f}"
    drawn = _pictures(model, record, estimates=answer.estimates)
    note = Text("timelines.demo.future.note", {"n": FUTURES, "seconds": seconds})
    return Section(Text("timelines.demo.future"), note, [Figure(drawn, wide=True)])


def why(model: Any, seed: int) -> Section:
    """Which events of the record drove the probability that the likeliest new disease comes next."""
    record = _patient(seed)
    book = model.modality.book
    had = {book.token(event.code) for event in record.events}
    fresh = [code for code in book.codes if code.startswith("ICD10/") and "-" not in code and code not in had]
    chances = model.predict(record, by="next", outcomes=";".join(fresh or book.codes), unfamiliar="answer").estimates
    code = max(chances, key=lambda one: chances[one].value)
    found = model.explain(record, target=code)
    drawn = _pictures(model, record, scores=[piece.score(found.scores) for piece in found.pieces])
    details = {"code": code, "value": f"{100 * found.value:.1f}"}
    left_out = model.explain(record, target=code, method="leave_one_out")
    rows = [
        {"rank": row["rank"], "event": row["piece"], "points": 100 * row["score"]}
        for row in left_out.rows()[:STRONGEST]
    ]
    heads = {name: Text(f"timelines.column.{name}") for name in ("rank", "event", "points")}
    note = Text("timelines.demo.why.note", details)
    return Section(Text("timelines.demo.why"), note, [Figure(drawn, wide=True)], rows, heads)


def sample() -> list[Timeline]:
    """Simulated patients (Synthea) that come with the package; the released weights were not trained on them."""
    return [revived(line) for line in SAMPLE.read_text("utf-8").splitlines()]


def _patient(seed: int) -> Timeline:
    """A living patient of the sample, of the age asked for and with a history that fits into a picture."""
    alive = [one for one in sample() if not one.died]
    usual = [one for one in alive if AGES[0] * YEAR <= one.end <= AGES[1] * YEAR] or alive
    ordered = sorted(usual, key=lambda one: (abs(len(one.events) - USUAL), one.subject))
    return ordered[seed % min(len(ordered), 5)]


def _pictures(model: Any, record: Timeline, **more: Any) -> dict[str, str]:
    """The patient by language; ``more``: estimates or scores, see `picture`."""
    name = model.modality.book.name
    return {language: str(picture(record, language=language, naming=name, **more)) for language in LANGUAGES}

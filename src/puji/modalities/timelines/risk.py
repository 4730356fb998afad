"""Answers about patients as FHIR R4 RiskAssessment resources."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from puji.modalities.timelines.codes import uri_of
from puji.modalities.timelines.conditions import outcome_within
from puji.modalities.timelines.timeline import DEATH, YEAR, Timeline
from puji.modality import Answer, Estimate

METHOD = (
    "Share of futures sampled from a sequence model of patient timelines (Puji); research use, no clinical decision"
)


def risk_assessments(pairs: Iterable[tuple[Timeline, Answer]]) -> Iterator[str]:
    """One resource a patient and line, status preliminary; one without predictions where the model abstained.

    https://hl7.org/fhir/R4/riskassessment.html
    """
    for number, (record, answer) in enumerate(pairs, 1):
        yield json.dumps(resource(record, answer, number), ensure_ascii=False, separators=(",", ":")) + "\n"


def resource(record: Timeline, answer: Answer, number: int) -> dict[str, Any]:
    """A RiskAssessment; ``number`` names it where the patient has no identifier."""
    # FHIR ids hold up to 64 of these characters.
    identifier = re.sub("[^A-Za-z0-9.-]", "-", record.subject)[:58] or str(number)
    found: dict[str, Any] = {"resourceType": "RiskAssessment", "id": f"risk-{identifier}", "status": "preliminary"}
    found["method"] = {"text": METHOD}
    patient = {"reference": f"Patient/{record.subject}"} if record.subject else {"display": "unnamed patient"}
    found["subject"] = patient
    predictions = [prediction(name, one, record.end / YEAR) for name, one in answer.estimates.items()]
    if predictions:
        found["prediction"] = predictions
    if answer.familiar is False:
        told = "do not rely on the predictions" if predictions else "no prediction"
        found["note"] = [{"text": f"This history is unlike the training data: {told}."}]
    return found


def prediction(name: str, estimate: Estimate, age: float) -> dict[str, Any]:
    """One element of ``prediction``; an estimate of what comes within some years holds from ``age`` on."""
    told = outcome_within(name)
    outcome = told[0] if told else name
    found: dict[str, Any] = {"outcome": concept(outcome), "probabilityDecimal": round(estimate.value, 6)}
    if told:
        found["whenRange"] = {"low": _years(age), "high": _years(age + told[1])}
    if estimate.coverage < 1:
        interval = (
            f"{100 * estimate.coverage:.0f} % interval of the sampling: {estimate.low:.4f} to {estimate.high:.4f}"
        )
        found["rationale"] = interval
    return found


def concept(outcome: str) -> Mapping[str, Any]:
    """A CodeableConcept: codes joined by "+" are alternatives and stand as text, a single one is coded."""
    system, _, code = outcome.partition("/")
    if outcome == DEATH:
        return {
            "coding": [{"system": "http://snomed.info/sct", "code": "419620001", "display": "Death"}],
            "text": "death",
        }
    if code and "+" not in outcome:
        return {"coding": [{"system": uri_of(system), "code": code}], "text": outcome}
    return {"text": outcome}


def _years(age: float) -> dict[str, Any]:
    return {"value": round(age, 2), "unit": "years", "system": "http://unitsofmeasure.org", "code": "a"}

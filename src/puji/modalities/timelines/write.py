"""Synthetic cohorts in the field's formats, marked as synthetic: MEDS, FHIR ndjson, OMOP CSV, CSV.

Calendar dates of a patient are made from the year of birth (the middle of it; 1970 where it is unknown) and the ages.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from puji.errors import Invalid
from puji.files import check_writable, refusal, whole
from puji.modalities.timelines.codes import uri_of, vocabulary_of
from puji.modalities.timelines.read_fhir import HTEST
from puji.modalities.timelines.read_tables import ENDED
from puji.modalities.timelines.timeline import DEATH, YEAR, Event, Timeline

FORMATS = (".meds", ".ndjson", ".omop", ".csv")
UNKNOWN_BIRTH = 1970
TAG = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": HTEST, "display": "test health data"}
"""FHIR's security label of what is no real patient's."""
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VERIFIED = "http://terminology.hl7.org/CodeSystem/condition-ver-status"


def write(records: Sequence[Timeline], rows: Sequence[Mapping[str, Any]], target: Path) -> None:
    """Write ``records`` by the ending of ``target``: a file, or a folder for .meds and .omop; whole or not at all.

    ``rows``: the origin of each record. Raises Invalid for another ending, and where the target cannot be written.
    """
    ending = target.suffix.lower()
    origin = {name: rows[0][name] for name in ("synthetic", "model", "seed") if rows and name in rows[0]}
    if ending in (".meds", ".omop"):
        _folder(target, lambda folder: (_meds if ending == ".meds" else _omop)(records, origin, folder))
    elif ending in (".ndjson", ".csv"):
        lines = _ndjson(records, origin) if ending == ".ndjson" else _csv(records, origin)
        with (
            whole(target) as path,
            path.open("w", encoding="utf-8-sig" if ending == ".csv" else "utf-8", newline="") as out,
        ):
            out.writelines(lines)
    else:
        raise Invalid("write.format", source=str(target), formats=", ".join(FORMATS))


def _folder(target: Path, fill: Callable[[Path], None]) -> None:
    if target.exists():
        raise Invalid("timelines.write.exists", source=str(target))
    check_writable(target)
    draft = Path(tempfile.mkdtemp(prefix=".puji-", dir=target.parent))
    try:
        fill(draft)
        draft.chmod(0o755)
        draft.rename(target)
    except OSError as error:
        raise refusal(error, target) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def moment(record: Timeline, age: float) -> datetime:
    """The calendar time, UTC, at an age in days."""
    born = datetime(record.born or UNKNOWN_BIRTH, 7, 1, tzinfo=UTC)
    return born + timedelta(days=age)


def _day(record: Timeline, age: float) -> str:
    return moment(record, age).date().isoformat()


def _told(record: Timeline, age: float) -> str:
    return moment(record, age).isoformat(timespec="seconds")


# -- CSV --------------------------------------------------------------------------------------------------------------


def _csv(records: Sequence[Timeline], origin: Mapping[str, Any]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["subject", "sex", "birth", "time", "age", "code", "value", "unit", "end", "end_age", *origin])
    for number, record in enumerate(records, 1):
        birth = "" if record.born is None else _day(record, 0.0)
        end = _told(record, record.end) if birth else ""
        for event in record.events:
            when = _told(record, event.age) if birth else ""
            value = "" if event.value is None else event.value
            # Without a birth the ages are what tells the time.
            age, until = (round(days / YEAR, 6) for days in (event.age, record.end))
            writer.writerow(
                [f"synthetic-{number}", record.sex, birth, when, age, event.code, value, event.unit, end, until]
                + [str(one).lower() if isinstance(one, bool) else one for one in origin.values()]
            )
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


# -- MEDS -------------------------------------------------------------------------------------------------------------


def _meds(records: Sequence[Timeline], origin: Mapping[str, Any], folder: Path) -> None:
    """Data, code names and splits as MEDS 0.4 lays them out."""
    found: list[tuple[int, datetime | None, str, float | None, str | None]] = []
    for number, record in enumerate(records, 1):
        if record.sex:
            found.append((number, None, f"GENDER//{record.sex[0].upper()}", None, None))
        if record.born is not None:
            found.append((number, _naive(record, 0.0), "MEDS_BIRTH", None, None))
        for event in record.events:
            code = "MEDS_DEATH" if event.code == DEATH else event.code.replace("/", "//", 1)
            found.append((number, _naive(record, event.age), code, event.value, event.unit or None))
        if not record.died:
            found.append((number, _naive(record, record.end), ENDED, None, None))
    schema: dict[str, Any] = {
        "subject_id": pl.Int64,
        "time": pl.Datetime("us"),
        "code": pl.String,
        "numeric_value": pl.Float32,
        "unit": pl.String,
    }
    table = pl.DataFrame(found, schema=schema, orient="row").with_columns(synthetic=pl.lit(True))
    (folder / "data" / "train").mkdir(parents=True)
    (folder / "metadata").mkdir()
    table.write_parquet(folder / "data" / "train" / "0.parquet")
    codes = pl.DataFrame({"code": table["code"].unique().sort()})
    empty = pl.lit(None, dtype=pl.String), pl.lit(None, dtype=pl.List(pl.String))
    codes.with_columns(description=empty[0], parent_codes=empty[1]).write_parquet(folder / "metadata" / "codes.parquet")
    splits = pl.DataFrame({"subject_id": pl.Series(range(1, len(records) + 1), dtype=pl.Int64)})
    splits.with_columns(split=pl.lit("train")).write_parquet(folder / "metadata" / "subject_splits.parquet")
    told = {
        "dataset_name": "puji synthetic cohort",
        "etl_name": "puji",
        "etl_version": version("puji"),
        "meds_version": "0.4.1",
        "other_extension_columns": ["unit", "synthetic"],
        "raw_source_id_columns": [],
        **{f"puji_{name}": value for name, value in origin.items()},
    }
    (folder / "metadata" / "dataset.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")


def _naive(record: Timeline, age: float) -> datetime:
    return moment(record, age).replace(tzinfo=None)


# -- FHIR -------------------------------------------------------------------------------------------------------------


def _ndjson(records: Sequence[Timeline], origin: Mapping[str, Any]) -> Iterator[str]:
    text = " ".join(f"{name}={value}" for name, value in origin.items())
    meta = {"security": [TAG], "tag": [{"system": "urn:puji", "code": "synthetic", "display": text}]}
    for number, record in enumerate(records, 1):
        identifier = f"synthetic-{number}"
        patient: dict[str, Any] = {"resourceType": "Patient", "id": identifier, "meta": meta}
        patient["gender"] = record.sex or "unknown"
        if record.born is not None:
            patient["birthDate"] = _day(record, 0.0)
        if record.died:
            patient["deceasedDateTime"] = _told(record, record.end)
        yield _line(patient)
        follow = {"start": _told(record, 0.0), "end": _told(record, record.end)}
        encounter = {"resourceType": "Encounter", "id": f"{identifier}-e", "meta": meta, "status": "finished"}
        encounter["class"] = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
        yield _line({**encounter, "subject": {"reference": f"Patient/{identifier}"}, "period": follow})
        for place, event in enumerate(record.events):
            if event.code != DEATH:
                yield _line({**_resource(record, event, identifier), "id": f"{identifier}-{place}", "meta": meta})


def _resource(record: Timeline, event: Event, identifier: str) -> dict[str, Any]:
    """Of the kind that the code's system is used for: a value or LOINC is observed, a medicine requested."""
    system, _, code = event.code.partition("/")
    concept = {"coding": [{"system": uri_of(system), "code": code}]}
    subject = {"reference": f"Patient/{identifier}"}
    when = _told(record, event.age)
    if event.value is not None or system == "LOINC":
        found: dict[str, Any] = {"resourceType": "Observation", "status": "final", "code": concept, "subject": subject}
        found["effectiveDateTime"] = when
        if event.value is not None:
            quantity = {
                "value": event.value,
                "unit": event.unit,
                "system": "http://unitsofmeasure.org",
                "code": event.unit,
            }
            found["valueQuantity"] = quantity if event.unit else {"value": event.value}
        return found
    if system in ("RXNORM", "ATC"):
        asked = {"status": "completed", "intent": "order", "medicationCodeableConcept": concept}
        return {"resourceType": "MedicationRequest", **asked, "subject": subject, "authoredOn": when}
    if system == "CVX":
        given = {"status": "completed", "vaccineCode": concept, "patient": subject, "occurrenceDateTime": when}
        return {"resourceType": "Immunization", **given}
    if system in ("CPT", "HCPCS"):
        done = {"status": "completed", "code": concept, "subject": subject, "performedDateTime": when}
        return {"resourceType": "Procedure", **done}
    return {
        "resourceType": "Condition",
        "clinicalStatus": {"coding": [{"system": CLINICAL, "code": "active"}]},
        "verificationStatus": {"coding": [{"system": VERIFIED, "code": "confirmed"}]},
        "code": concept,
        "subject": subject,
        "onsetDateTime": when,
    }


def _line(resource: Mapping[str, Any]) -> str:
    return json.dumps(resource, ensure_ascii=False, separators=(",", ":")) + "\n"


# -- OMOP -------------------------------------------------------------------------------------------------------------

_TABLES = {
    "condition_occurrence": ("condition", "condition_start"),
    "drug_exposure": ("drug", "drug_exposure_start"),
    "measurement": ("measurement", "measurement"),
}
FIRST_CONCEPT = 2_000_000_000
"""Concepts from here on are a site's own: ours stand in the concept table beside the data."""


def _omop(records: Sequence[Timeline], origin: Mapping[str, Any], folder: Path) -> None:
    """The tables person, observation_period, condition_occurrence, drug_exposure, measurement, death, concept, cdm_source."""
    codes = sorted({event.code for record in records for event in record.events} - {DEATH})
    concepts = {code: FIRST_CONCEPT + number for number, code in enumerate(codes, 1)}
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in ("person", "observation_period", *_TABLES, "death")}
    for number, record in enumerate(records, 1):
        gender = {"female": 8532, "male": 8507}.get(record.sex, 0)
        # The year is one that must be there: 1970 stands for an unknown one, as in the dates.
        person: dict[str, Any] = {
            "person_id": number,
            "gender_concept_id": gender,
            "year_of_birth": record.born or UNKNOWN_BIRTH,
        }
        person |= {"birth_datetime": _told(record, 0.0), "race_concept_id": 0, "ethnicity_concept_id": 0}
        tables["person"].append({**person, "person_source_value": "synthetic"})
        period: dict[str, Any] = {"observation_period_id": number, "person_id": number, "period_type_concept_id": 0}
        period["observation_period_start_date"] = _day(record, record.events[0].age)
        tables["observation_period"].append({**period, "observation_period_end_date": _day(record, record.end)})
        for event in record.events:
            if event.code == DEATH:
                tables["death"].append({"person_id": number, "death_datetime": _told(record, event.age)})
                tables["death"][-1]["death_date"] = _day(record, event.age)
                continue
            system = event.code.partition("/")[0]
            name = "drug_exposure" if system in ("RXNORM", "ATC", "CVX") else "condition_occurrence"
            name = "measurement" if event.value is not None or system == "LOINC" else name
            short, start = _TABLES[name]
            row: dict[str, Any] = {
                f"{name}_id": len(tables[name]) + 1,
                "person_id": number,
            }
            row |= {f"{short}_concept_id": concepts[event.code], f"{start}_date": _day(record, event.age)}
            row |= {f"{start}_datetime": _told(record, event.age), f"{short}_type_concept_id": 0}
            if name == "measurement":
                row |= {"value_as_number": event.value, "unit_source_value": event.unit}
            tables[name].append({**row, f"{short}_source_value": event.code})
    told = [code.partition("/") for code in codes]
    tables["concept"] = [
        {
            "concept_id": concepts["".join(parts)],
            "concept_name": "".join(parts),
            "vocabulary_id": vocabulary_of(parts[0]),
            "concept_code": parts[2],
        }
        for parts in told
    ]
    source = {"cdm_source_name": "puji synthetic cohort", "cdm_version": "5.4"}
    tables["cdm_source"] = [{**source, "source_description": json.dumps(dict(origin))}]
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]) if rows else ["person_id"])
            writer.writeheader()
            writer.writerows(rows)

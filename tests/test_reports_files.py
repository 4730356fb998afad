"""Reports from and to files: tables as hospitals have them, FHIR, Open-i's XML; drafts of a small model trained on them."""

from __future__ import annotations

import base64
import json

import pytest

import puji
from puji import flow
from puji.errors import Invalid
from puji.language import LANGUAGES
from puji.modalities.reports.data import given_by_mesh, sections
from puji.modalities.reports.modality import Reports
from puji.modalities.reports.report import Given, Report
from puji.modalities.reports.tags import parsed
from puji.modalities.reports.write import page, resource, told

EFFUSION = "左侧胸腔积液。心影不大。未见气胸。"


def records(path):
    return list(flow.preprocess(Reports(), path))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_a_chinese_table_in_any_encoding(tmp_path, encoding):
    path = tmp_path / "reports.csv"
    rows = [
        "病人编号,检查目的,影像所见,诊断意见",
        f'1,咳嗽,"{EFFUSION}\n双肺清晰。",左侧胸腔积液。',
        "2,,心影增大。,",
        "3,,,",
    ]
    path.write_bytes("\r\n".join(rows).encode(encoding))
    first, second, third = records(path)
    assert first.subject == "1" and first.indication == "咳嗽" and first.language == "zh"
    assert Given("pleural effusion", ("left",)) in first.given and first.impression == "左侧胸腔积液。"
    assert "双肺清晰。" in first.findings
    assert second.given == (Given("cardiomegaly"),)
    assert isinstance(third, Invalid) and third.reason == "reports.empty" and third.line == 5


def test_findings_in_a_column_are_taken_and_wrong_ones_refused(tmp_path):
    path = tmp_path / "reports.tsv"
    lines = ["cardiomegaly/mild; deformity", "???", "normal", "心脏增大/轻度; cardiomegaly/severe"]
    path.write_text("text\ttags\n" + "".join(f"Clear.\t{one}\n" for one in lines), "utf-8")
    first, second, third, fourth = records(path)
    assert first.given == parsed("cardiomegaly/mild; deformity")
    assert isinstance(second, Invalid) and (second.reason, second.line) == ("reports.tag", 3)
    assert isinstance(third, Report)
    assert isinstance(fourth, Invalid) and (fourth.reason, fourth.line) == ("reports.contradictory", 5)


def test_a_table_without_a_text_says_what_columns_it_has(tmp_path):
    path = tmp_path / "reports.csv"
    path.write_text("a,b\n1,2\n", "utf-8")
    (refused,) = records(path)
    assert refused.reason == "reports.read.no_column" and "a, b" in refused.message("en")


def test_fhir_reports_are_read_from_attachment_narrative_and_bundle(tmp_path):
    text = "INDICATION: Cough.\nFINDINGS: Small left pleural effusion.\nIMPRESSION: Effusion."
    attached = {
        "resourceType": "DiagnosticReport",
        "subject": {"reference": "Patient/7"},
        "presentedForm": [{"contentType": "text/plain", "data": base64.b64encode(text.encode()).decode()}],
    }
    narrative = {
        "resourceType": "DiagnosticReport",
        "text": {"div": "<div><p>影像所见：心影增大。</p></div>"},
        "conclusion": "心影增大。",
    }
    bundle = {"resourceType": "Bundle", "entry": [{"resource": attached}, {"resource": {"resourceType": "Patient"}}]}
    path = tmp_path / "reports.ndjson"
    lines = [attached, narrative, bundle, {"resourceType": "Patient"}, {"findings": "Clear."}, 3]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + "{broken\n", "utf-8")
    one, two, three, patient, plain, number, broken = records(path)
    assert (one.indication, one.findings, one.impression) == ("Cough.", "Small left pleural effusion.", "Effusion.")
    assert one == three and one.subject == "Patient/7"
    assert two.findings == "心影增大。" and two.impression == "心影增大。"
    assert patient.reason == "reports.read.resource" and plain.findings == "Clear."
    assert number.reason == broken.reason == "reports.json" and broken.line == 7


def test_open_i_xml_and_mesh(tmp_path):
    path = tmp_path / "1.xml"
    path.write_text(
        '<e><uId id="CXR1"/><AbstractText Label="INDICATION">Cough</AbstractText>'
        '<AbstractText Label="FINDINGS">Big heart.</AbstractText>'
        "<MeSH><major>Cardiomegaly/mild</major><automatic>x</automatic></MeSH></e>",
        "utf-8",
    )
    (report,) = records(path)
    assert report.given == (Given("cardiomegaly", ("mild",)),) and report.subject == "CXR1"
    assert given_by_mesh(["normal"]) == () and given_by_mesh(["No Indexing"]) is None
    path.write_text("<e><broken", "utf-8")
    (refused,) = records(path)
    assert refused.reason == "reports.read.xml"


def test_a_report_in_one_piece_is_cut_by_its_headings():
    told = sections(
        "FINAL REPORT\n INDICATION: ___-year-old man with cough.\n\n FINDINGS: \n Mild cardiomegaly. Compared to ___, no change."
        " No effusion. The tip of the\n IMPRESSION:\n 1. Cardiomegaly.\n 2. No effusion.\n"
    )
    assert told == {
        "indication": "Man with cough.",
        "findings": "Mild cardiomegaly. No effusion.",
        "impression": "Cardiomegaly. No effusion.",
    }


# -- a small model ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A nano model of a few Chinese sentences."""
    folder = tmp_path_factory.mktemp("reports")
    source = folder / "reports.csv"
    lines = ["影像所见,诊断意见"]
    for side in ("左", "右", "双"):
        lines += [f"{side}侧胸腔积液。心影不大。未见气胸。,{side}侧胸腔积液。"] * 20
    lines += ["心影增大。双肺清晰。未见气胸。,心影增大。"] * 20 + ["双肺清晰。心影不大。未见气胸。,未见异常。"] * 20
    source.write_bytes("\n".join(lines).encode("gb18030"))
    options = {"progress": False, "precision": "fp32", "batch_tokens": 512, "compile": False, "dropout": 0.0}
    return puji.fit("reports", source, epochs=30, size="nano", out=folder / "nano", settings=options)


def test_a_model_of_chinese_reports_drafts_what_was_found(model):
    batch = model.generate(2, findings="胸腔积液/左", drafts=4, seed=1)
    for report in batch:
        assert report.language == "zh" and not report.flags
        assert report.given == (Given("pleural effusion", ("left",)),)
        assert "pleural effusion" in report.lines[0].causes or any(line.causes for line in report.lines)
    assert batch.attempts == 8
    again = model.generate(1, findings="胸腔积液/左", drafts=4, seed=1)
    assert again.records == batch.records[:1]


def test_the_first_draft_that_agrees_is_taken_where_one_is_asked_for(model):
    batch = model.generate(3, findings="cardiomegaly", drafts=1)
    assert len(batch) == 3 and set(batch.refusals()) <= {"reports.disagrees", "generate.length"}


def test_reports_are_drawn_without_any_input(model):
    assert len(model.generate(3, seed=2)) == 3


def test_drafts_are_written_and_read_again(model, tmp_path):
    batch = model.generate(2, findings="胸腔积液/左", machine="气胸=0.8", drafts=4)
    batch.save(tmp_path / "drafts.ndjson")
    again = records(tmp_path / "drafts.ndjson")
    assert [(one.findings, one.impression) for one in again] == [(one.findings, one.impression) for one in batch]
    one = json.loads((tmp_path / "drafts.ndjson").read_text("utf-8").splitlines()[0])
    assert one["status"] == "preliminary" and one["meta"]["tag"][0]["code"] == "synthetic"
    assert {"system": "http://snomed.info/sct", "code": "36118008"} in one["conclusionCode"][1]["coding"]
    assert "predicted by a machine" in json.dumps(one["contained"])
    batch.save(tmp_path / "drafts.jsonl")
    assert records(tmp_path / "drafts.jsonl") == batch.records
    batch.save(tmp_path / "drafts.txt")
    text = (tmp_path / "drafts.txt").read_text("utf-8")
    assert text.startswith("草稿") and "危急：气胸" in text and "来自机器，80%" in text
    batch.save(tmp_path / "drafts.html")
    html = (tmp_path / "drafts.html").read_text("utf-8")
    assert "Critical" in html and "危急" in html and "<script" not in html


def test_fhir_is_what_the_standard_says():
    fhir = pytest.importorskip("fhir.resources.R4B.diagnosticreport")
    report = Report(given=parsed("pneumonia; pneumothorax (absent)"), findings="Pneumonia.", impression="Pneumonia.")
    fhir.DiagnosticReport.model_validate(resource(report, {"model": "puji reports", "seed": 0}))


def test_a_flag_and_a_sentence_of_ours_are_told():
    report = Report(
        findings="Clear.", flags=("missing:hernia", "added:pneumonia", "contradicted:mass"), given=parsed("hernia")
    )
    for language in LANGUAGES:
        text = told(report, language)
        assert "reports." not in text
        assert page([report], [{"seed": 0}], language)


def test_figures_of_merit(model):
    batch = model.generate(4, findings="胸腔积液/左", drafts=4)
    from puji.modality import Raw

    found = model.modality.metrics([Raw(one.dump()) for one in batch] + [Raw("{}")], {})
    assert found["valid"].value == pytest.approx(4 / 5) and found["finding recall"].value == 1.0
    with pytest.raises(Invalid):
        model.modality.metrics([], {})


def test_a_sentence_hangs_on_the_finding_that_it_states():
    from puji.modalities.reports.explain import attributed

    given = parsed("cardiomegaly/mild; pleural effusion/left/small; pneumothorax/right/small")
    text = "A small right pneumothorax. Mild cardiomegaly. Small left pleural effusion."
    found = attributed(puji.load("reports"), Report(given=given, findings=text, impression="No change."))
    assert found.shape == (4, 3)
    assert found[:3].argmax(axis=1).tolist() == [2, 0, 1]
    assert found[:3].max(axis=1).min() > 1


def test_a_finding_that_nothing_here_knows_is_refused(model):
    with pytest.raises(Invalid) as caught:
        model.generate(1, findings="blah")
    assert caught.value.reason == "reports.tag"

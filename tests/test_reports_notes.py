"""What a finished draft says that nobody told, and nothing takes out, is pointed at beside its sentence."""

from __future__ import annotations

import pytest

from puji.language import catalogue
from puji.modalities.reports.check import Expected
from puji.modalities.reports.drafting import drafted
from puji.modalities.reports.notes import HALF, KINDS, notes
from puji.modalities.reports.report import Report
from puji.modalities.reports.tags import parsed
from puji.modalities.reports.write import page, resource, told

# The English ones were drawn by the released model, and neither the check nor `beyond` said anything of them.
SEEN = [
    ("pneumothorax/right/small", "Small right pneumothorax is small.", {"again"}),
    ("heart failure; edema", "CHF, early confluent CHF.", {"again"}),
    ("lung opacity/right", "Right opacity is compatible with a right opacity.", {"again"}),
    ("nodule/right/upper lobe", "A 1 cm calcified nodule projects over the right heart border.", {"measure"}),
    ("nodule/right", "右肺见结节，约8毫米。", {"measure"}),
    ("endotracheal tube", "ET tube in standard placement.", {"placement"}),
    ("central venous catheter/right", "Right PICC tip is in the cavoatrial junction.", {"placement"}),
    ("enlarged mediastinum", "The patient is intubated.", {"procedure"}),
    ("pneumonia", "It is pneumonia or pulmonary hemorrhage.", {"disease"}),
    ("mass/left", "左肺肿块，考虑恶性。", {"disease"}),
    ("pleural effusion/right/moderate", "Moderate right pleural effusion is slightly smaller.", {"course"}),
    ("pneumothorax/large", "Known large pneumothorax is also present.", {"course"}),
    ("lung opacity/bilateral", "The opacities are larger on the right than left.", {"unequal"}),
    ("pleural effusion/bilateral", "There are bilateral pleural effusions, left greater than right.", {"unequal"}),
    ("pneumonia (absent)", "Pneumonia is not excluded.", {"doubt"}),
    ("fracture/rib/left", "Remote left-sided rib fractures are noted.", {"age"}),
    ("fracture/rib/left", "左侧肋骨陈旧骨折。", {"age"}),
    ("pneumonia/right/middle lobe", "Right lower lobe pneumonia.", {"site"}),
    ("consolidation/left", "Consolidation in the left upper lobe.", {"site"}),
    ("pleural effusion/left", "There is a small left pleural effusion.", {"degree"}),
    ("pleural effusion/left/small", "There is a large left pleural effusion.", {"degree"}),
    ("pleural effusion (absent)", "No left pleural effusion.", {"one_side_denied"}),
    ("pneumonia/bilateral", "There is pneumonia in the left lung.", {HALF}),
]
TRUE = [
    ("pneumothorax/right/small", "Small right pneumothorax."),
    (
        "pleural effusion/left/small; pleural effusion/right/large",
        "Small left pleural effusion and large right pleural effusion.",
    ),
    ("pneumonia/right/lower lobe", "Right basilar pneumonia."),
    ("fracture/rib/right/healed", "Old right rib fractures."),
    ("nodule/left (uncertain)", "Left nodule cannot be excluded."),
    ("pleural effusion (absent)", "No pleural effusion on the left or the right."),
    ("pleural effusion/left (absent)", "No left pleural effusion."),
    ("pleural effusion/bilateral", "Pleural effusions are present."),
    ("pleural effusion/left", "Left basal pleural effusion."),
    ("atelectasis/bilateral/base", "双肺下叶膨胀不全。"),
    ("nodule/right/5 mm", "A 5 mm right nodule."),
    ("", ""),
]


@pytest.mark.parametrize(("given", "text", "kinds"), SEEN)
def test_what_nobody_told_is_noted(given, text, kinds):
    assert set(notes([text], Expected(parsed(given)))[0]) == kinds


@pytest.mark.parametrize(("given", "text"), TRUE)
def test_what_was_told_is_not(given, text):
    assert notes([text], Expected(parsed(given))) == [()]


def test_the_other_side_may_stand_in_another_sentence():
    expected = Expected(parsed("pleural effusion/bilateral"))
    assert notes(["Left pleural effusion.", "Right pleural effusion."], expected) == [(), ()]
    assert notes(["Left pleural effusion.", "The effusion is left."], expected) == [(HALF,), (HALF,)]


def test_notes_stand_in_the_text_the_resource_and_the_page_and_change_no_draft():
    given = parsed("nodule/right")
    _, draft = drafted([Report(findings="A 1 cm right nodule is seen.")], given, "")
    assert draft.findings == "A 1 cm right nodule is seen." and not draft.flags and not draft.repaired
    assert draft.lines[0].flags == ("measure",)
    assert "Check, a size in figures that was not given: A 1 cm right nodule is seen." in told(draft, "en")
    assert "请核对（数值大小未在输入中提供）：A 1 cm right nodule is seen." in told(draft, "zh")
    assert "a size in figures" in resource(draft, {})["text"]["div"]
    shown = page([draft], [{}])
    assert "a size in figures" in shown and "数值大小" in shown


def test_each_kind_has_words():
    for kind in (*KINDS, HALF):
        assert all(catalogue(language)[f"reports.note.{kind}"] for language in ("en", "zh"))

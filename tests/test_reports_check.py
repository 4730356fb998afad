"""Reports: what does not agree with its findings, or says more, is found, and drafts are mended."""

from __future__ import annotations

import pytest

from puji.errors import Invalid
from puji.language import LANGUAGES
from puji.modalities.reports import tags
from puji.modalities.reports.beyond import KINDS, beyond
from puji.modalities.reports.check import Expected
from puji.modalities.reports.conditions import Conditions
from puji.modalities.reports.drafting import OURS, drafted
from puji.modalities.reports.labeller import findings_of
from puji.modalities.reports.modality import Reports
from puji.modalities.reports.plan import REST
from puji.modalities.reports.report import Given, Report
from puji.modalities.reports.tokens import IMPRESSION, header, parsed
from puji.modalities.reports.words import cleaned
from puji.modalities.reports.write import flag_text
from puji.modality import END

# -- the check -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked, text, missing, added, contradicted",
    [
        ("cardiomegaly", "Mild cardiomegaly.", (), (), ()),
        ("cardiomegaly", "The lungs are clear.", ("cardiomegaly",), (), ()),
        ("cardiomegaly", "The heart is not enlarged.", (), (), ("cardiomegaly",)),
        ("cardiomegaly", "Cardiomegaly. Right pneumothorax.", (), ("pneumothorax",), ()),
        ("cardiomegaly", "Cardiomegaly. Possible pneumonia.", (), ("pneumonia",), ()),
        ("pleural effusion/left", "Small right pleural effusion.", (), (), ("pleural effusion",)),
        ("pleural effusion/left", "Bilateral pleural effusions.", (), (), ("pleural effusion",)),
        ("cardiomegaly/mild", "Severe cardiomegaly.", (), (), ("cardiomegaly",)),
        ("cardiomegaly/mild", "Minimal cardiomegaly, stable.", (), (), ()),
        ("pleural effusion/left; pleural effusion/right", "Bilateral pleural effusions.", (), (), ()),
        ("pneumonia (uncertain)", "There is pneumonia.", (), (), ("pneumonia",)),
        ("pneumothorax (absent)", "The lungs are clear.", ("pneumothorax",), (), ()),
        ("support devices", "A PICC line ends in the SVC.", (), (), ()),
        ("pneumonia", "Right lower lobe opacity, consistent with pneumonia.", (), (), ()),
        ("normal", "No pneumothorax.", (), (), ()),
        ("pneumonia", "The lungs are clear. There is pneumonia.", (), (), ("pneumonia",)),
        ("pneumonia", "The lungs are otherwise clear. There is pneumonia.", (), (), ()),
        ("cardiomegaly", "Mild cardiomegaly. Heart size is within normal limits.", (), (), ("cardiomegaly",)),
        ("cardiomegaly", "Mild cardiomegaly. Normal cardiomediastinal silhouette.", (), (), ("cardiomegaly",)),
        ("cardiomegaly", "Heart size at the upper limits of normal. Cardiomegaly.", (), (), ()),
        ("cardiomegaly", "The heart is enlarged with normal mediastinal contours.", (), (), ()),
        ("cardiomegaly", "Cardiomegaly. Cardiac pacemaker leads in normal position.", (), ("pacemaker",), ()),
        ("pneumothorax", "Both lungs are clear and expanded. Pneumothorax.", (), (), ("pneumothorax",)),
        ("pneumothorax", "Pneumothorax. No acute cardiopulmonary disease.", (), (), ("pneumothorax",)),
        ("pleural effusion", "Effusion. No evidence of acute disease.", (), (), ("pleural effusion",)),
        ("edema", "Edema. There are no acute pulmonary findings.", (), (), ("edema",)),
        ("edema", "Edema. No acute bony abnormality. No acute fracture.", (), (), ()),
        ("granuloma", "Granuloma. No acute cardiopulmonary abnormality.", (), (), ()),
        ("肺炎", "右肺肺炎。心肺未见明显异常。", (), (), ("pneumonia",)),
        ("气胸", "右侧气胸。未见明显急性病变。", (), (), ("pneumothorax",)),
        ("pneumothorax", "No pneumothorax is seen. Small pneumothorax.", (), (), ("pneumothorax",)),
        ("pneumothorax/left", "No right pneumothorax. Small left pneumothorax.", (), (), ()),
        ("pneumothorax", "Small pneumothorax. No tension pneumothorax.", (), (), ()),
        ("气胸/左", "左侧气胸。右侧未见气胸。", (), (), ()),
    ],
)
def test_what_does_not_agree_is_found(asked, text, missing, added, contradicted):
    found = Expected(tags.parsed(asked)).check(text)
    assert (found.missing, found.added, found.contradicted) == (missing, added, contradicted)


def test_a_draft_is_chosen_for_agreement_then_for_likeness():
    usual = Report(findings="Mild cardiomegaly. The lungs are clear.")
    drafts = [Report(findings="Right pneumothorax."), usual, usual, Report(findings="Cardiomegaly, it seems to me.")]
    place, chosen = drafted(drafts, tags.parsed("cardiomegaly/mild"), "Cough.")
    assert place == 1 and chosen.findings == usual.findings
    assert not chosen.flags and not chosen.repaired and chosen.indication == "Cough."
    assert chosen.lines[0].causes == ("cardiomegaly",) and chosen.lines[1].causes == ()


def test_nothing_is_said_twice():
    draft = Report(findings="No effusion or pneumothorax. Hernia. Hernia. No pneumothorax. Small hernia. No edema.")
    _, chosen = drafted([draft], tags.parsed("hernia"), "")
    assert chosen.findings == "No effusion or pneumothorax. Hernia. Small hernia. No edema."


@pytest.mark.parametrize(
    "asked, text, once",
    [
        ("pleural effusion/left", "Small left effusion. There is a small left effusion.", "Small left effusion."),
        ("pleural effusion/left", "There is an effusion. Small left effusion.", None),  # the second says more
        ("nodule", "A nodule. There is a 7 mm nodule.", None),
        ("hernia", "1. Hernia. 2. Hernia. 3. No edema.", "1. Hernia. 2. No edema."),
        ("hernia", "1. Hernia. 2. Hernia.", "Hernia."),
        ("胸腔积液/左", "少量左侧胸腔积液。左侧胸腔积液。", "少量左侧胸腔积液。"),
    ],
)
def test_what_was_said_is_not_said_in_other_words_and_lists_are_numbered(asked, text, once):
    _, chosen = drafted([Report(findings=cleaned(text))], tags.parsed(asked), "")
    assert chosen.findings == (once or text)


def test_a_draft_is_repaired_with_sentences_of_the_others():
    drafts = [
        Report(findings="Mild cardiomegaly. There is a right pneumothorax."),
        Report(findings="The lungs are clear. Small left pleural effusion. There is pneumonia."),
    ]
    _, chosen = drafted(drafts, tags.parsed("cardiomegaly; pleural effusion/left"), "")
    assert not Expected(chosen.given).check(chosen.text).faults
    assert chosen.repaired and not chosen.flags
    assert "pneumothorax" not in chosen.findings and not any(OURS in line.flags for line in chosen.lines)


def test_what_no_draft_says_is_said_by_rule_and_marked():
    _, chosen = drafted([Report(findings="The lungs are clear.")], tags.parsed("pneumothorax/right/small"), "")
    assert findings_of(chosen.findings)["pneumothorax"] == "present"
    assert [line.flags for line in chosen.lines if line.causes] == [(OURS,)]


@pytest.mark.parametrize("junk", ["Aorta aorta.", "23 45."])
def test_a_sentence_of_ours_speaks_the_language_of_the_model(junk):
    for language, said in (("en", "There is a"), ("zh", "可见")):
        _, chosen = drafted([Report(findings=junk)], tags.parsed("pneumothorax"), "", language)
        assert said in chosen.findings and chosen.lines[0].flags == (OURS,)


def test_what_cannot_be_made_to_agree_is_flagged(monkeypatch):
    monkeypatch.setattr("puji.modalities.reports.drafting.phrase", lambda *_: None)
    _, chosen = drafted([Report(findings="The lungs are clear.")], tags.parsed("hernia"), "")
    assert chosen.flags == ("missing:hernia",)


# -- beyond the input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked, indication, sentence, kinds",
    [
        ("cardiomegaly", "", "Stable cardiomegaly.", ("comparison",)),
        ("cardiomegaly", "", "Cardiomegaly, unchanged from the prior exam.", ("comparison",)),
        ("cardiomegaly", "Compare with the prior study.", "Stable cardiomegaly.", ()),
        ("granuloma", "", "Calcified granuloma of prior granulomatous disease.", ()),
        ("degenerative change", "", "Degenerative changes of the spine.", ()),
        ("normal", "", "No acute change from the previous film.", ("comparison",)),
        ("心影增大", "", "心影增大，较前好转。", ("comparison",)),
        ("pneumonia", "", "Right base opacity, likely pneumonia.", ("doubt", "side")),
        ("pneumonia (uncertain)", "", "Possible pneumonia.", ()),
        ("normal", "", "No opacity to suggest pneumonia.", ()),
        ("肺炎", "", "考虑肺炎。", ("doubt",)),
        ("pleural effusion", "", "Small left pleural effusion.", ("side",)),
        ("pleural effusion/left", "", "Small left pleural effusion.", ()),
        ("nodule/lingula", "", "Nodule of the left lung.", ()),
        ("pleural effusion (absent)", "", "No large pleural effusion.", ("weakened",)),
        ("normal", "", "No large pleural effusion.", ()),
        ("气胸 (无)", "", "未见明显气胸。", ()),  # so Chinese reports deny
        ("nodule", "", "Nodule; high-resolution CT is recommended.", ()),
        ("pneumonia", "", "Pneumonia or pneumonia.", ("repeated",)),
        ("low lung volumes", "", "There are moderate to moderate low lung volumes.", ("repeated",)),
        ("pleural thickening", "", "Pleural thickening/pleural thickening.", ("repeated",)),
        ("nodule", "", "Nodules consistent with nodules.", ("repeated",)),
        ("lung opacity", "", "There is a diffuse, a diffuse opacity.", ("repeated",)),
        ("lung opacity/bilateral", "", "Opacity of the right lung, more than of the left lung.", ()),
        ("胸腔积液", "", "可见胸腔积液胸腔积液。", ("repeated",)),
        ("normal", "", "The patient is status post CABG.", ("surgery",)),
        ("normal", "Status post CABG.", "The patient is status post CABG.", ()),
    ],
)
def test_what_a_sentence_says_beyond_its_input_has_a_name(asked, indication, sentence, kinds):
    assert beyond(sentence, Expected(tags.parsed(asked), indication)) == kinds


def test_every_kind_of_statement_beyond_the_input_has_a_message():
    for language in LANGUAGES:
        assert all(flag_text(kind, language) != f"reports.flag.{kind}" for kind in KINDS)


def test_a_comparison_that_nobody_told_of_gives_way_to_a_sentence_of_another_draft():
    stable = Report(findings="Stable cardiomegaly. The lungs are clear.")
    drafts = [stable, stable, Report(findings="Cardiomegaly is present. There is nothing else.")]
    _, draft = drafted(drafts, tags.parsed("cardiomegaly"), "")
    assert "Stable" not in draft.findings and "Cardiomegaly is present." in draft.findings
    assert draft.repaired and not draft.flags and not any(OURS in one.flags for one in draft.lines)
    followed = drafted(drafts, tags.parsed("cardiomegaly"), "Stable chest pain.")[1]
    assert "Stable" in followed.findings and not followed.repaired


def test_a_sign_that_is_drawn_twice_stands_once():
    tokens = [*header("", ()), REST, "<says>", "no", "mass", ".", ".", IMPRESSION, END]
    assert parsed(tokens).findings == "No mass."


def test_a_first_draft_alone_is_refused_for_what_it_says_beyond_its_input():
    asked = Conditions(findings="cardiomegaly", drafts=1)
    assert Reports().accept(Report(findings="Cardiomegaly."), asked)
    with pytest.raises(Invalid) as refused:
        Reports().accept(Report(findings="Stable cardiomegaly."), asked)
    assert refused.value.reason == "reports.flag.comparison"


def test_an_operation_that_nobody_told_of_is_taken_out():
    drafts = [
        Report(findings="The patient is status post median sternotomy and CABG."),
        Report(findings="The patient is status post median sternotomy and CABG."),
        Report(findings="The patient is status post CABG. The hilar contours are normal."),
    ]
    place, draft = drafted(drafts, (), "")
    assert place == 2 and draft.findings == "The hilar contours are normal." and not draft.flags
    assert drafted(drafts[:2], (), "")[1].flags == ("surgery",)  # nothing else is left to tell
    assert "CABG" in drafted(drafts, (), "After CABG.")[1].findings
    once_told = drafted(drafts, (Given("sternotomy", (), "present"),), "")[1]
    assert "sternotomy" in once_told.findings

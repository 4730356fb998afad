"""Reports: words, the rule layer, and findings as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puji import registry
from puji.errors import Invalid
from puji.findings import findings
from puji.language import LANGUAGES
from puji.modalities.reports import tags
from puji.modalities.reports.check import Expected
from puji.modalities.reports.conditions import Conditions
from puji.modalities.reports.labeller import findings_of, lexicon
from puji.modalities.reports.phrases import phrase
from puji.modalities.reports.plain import glossary
from puji.modalities.reports.report import Given
from puji.modalities.reports.words import cleaned, sentences, text_of, words
from puji.modality import Estimate

# -- words -----------------------------------------------------------------------------------------------------------------


@given(st.text(max_size=120))
def test_a_cleaned_text_stays_as_it_is(text):
    once = cleaned(text)
    assert cleaned(once) == once
    assert text_of(words(once)) == once


@given(
    st.lists(
        st.sampled_from(["heart", "PICC", "3.5", "cm", ".", ",", "(", ")", "肺", "。", "x", "-", "<", "/"]), max_size=30
    )
)
@settings(max_examples=200)
def test_a_text_of_words_comes_back(some):
    text = cleaned(" ".join(some))
    assert text_of(words(text)) == text


def test_sentences_begin_with_capitals_and_abbreviations_stay():
    assert words("The heart is big. PICC line; x-ray.")[0] == "the"
    assert "PICC" in words("The heart is big. PICC line.")
    assert cleaned("the heart is big. no change .") == "The heart is big. No change."
    assert cleaned("双肺清晰 。 心影不大") == "双肺清晰。心影不大"
    assert list(sentences("A 3.5 cm mass. No change.")) == ["A 3.5 cm mass.", "No change."]
    assert list(sentences("心影增大。未见气胸。")) == ["心影增大。", "未见气胸。"]


# -- the rule layer --------------------------------------------------------------------------------------------------------

READ = [
    ("Mild cardiomegaly.", "cardiomegaly", "present"),
    ("The heart is not enlarged.", "cardiomegaly", "absent"),
    ("Heart size is normal.", "cardiomegaly", None),
    ("No pleural effusion or pneumothorax is seen.", "pneumothorax", "absent"),
    ("No focal consolidation, pneumothorax, or large pleural effusion.", "pleural effusion", "absent"),
    ("No pneumothorax, but there is a small left pleural effusion.", "pleural effusion", "present"),
    ("No change in the right pleural effusion.", "pleural effusion", "present"),
    ("The pneumothorax has resolved.", "pneumothorax", "absent"),
    ("Opacity which may represent pneumonia.", "pneumonia", "uncertain"),
    ("Opacity which may represent pneumonia.", "lung opacity", "present"),
    ("Pneumonia cannot be excluded.", "pneumonia", "uncertain"),
    ("No opacity to suggest pneumonia.", "pneumonia", "absent"),
    ("Subcutaneous emphysema of the neck.", "emphysema", None),
    ("Subcutaneous emphysema of the neck.", "subcutaneous emphysema", "present"),
    ("Hyperexpanded lungs, suggestive of emphysema.", "emphysema", "uncertain"),
    ("Increased kyphotic curvature of the thoracic spine.", "scoliosis", None),
    ("A nodule that is not well-seen on the lateral view.", "nodule", "present"),
    ("Calcified granulomas in the right hilum.", "hilar or mediastinal calcification", None),
    ("Calcified granuloma and lymph nodes in the right hilum.", "hilar or mediastinal calcification", "present"),
    ("Right perihilar prominence.", "interstitial markings", None),
    ("No pneumothorax, although the sensitivity to detect a pneumothorax is diminished.", "pneumothorax", "absent"),
    ("未见胸腔积液及气胸。", "气胸", None),
    ("未见胸腔积液及气胸。", "pneumothorax", "absent"),
    ("右下肺炎症可能。", "pneumonia", "uncertain"),
    ("心影增大，左侧胸腔积液。", "cardiomegaly", "present"),
    ("心影增大，左侧胸腔积液。", "pleural effusion", "present"),
    ("双侧肋膈角锐利，心影不大。", "cardiomegaly", "absent"),
]


@pytest.mark.parametrize("text, finding, state", READ)
def test_the_rules_read_states(text, finding, state):
    assert findings_of(text).get(finding) == state


def test_every_finding_has_a_name_in_both_languages_and_a_sentence():
    for name in lexicon():
        assert findings()[name].zh, name
        assert set(glossary()[name]) == set(LANGUAGES) and all(glossary()[name].values()), name
    assert set(glossary()) == set(lexicon()) | {"lung lesion", "support devices"} & set(glossary())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", ["present", "absent", "uncertain"])
def test_our_own_sentences_say_what_they_should(language, state):
    told = {name: phrase(name, state, ("left",) if state == "present" else (), language) for name in lexicon()}
    silent = [name for name, sentence in told.items() if sentence is None]
    assert len(silent) <= len(told) // 5, silent
    for name, sentence in told.items():
        assert sentence is None or findings_of(sentence)[name] == state


# -- findings as people write them -----------------------------------------------------------------------------------------


def test_findings_are_understood_in_both_languages_and_as_mesh():
    english = tags.parsed("Pleural effusion/left/small; pneumonia (uncertain)")
    assert english == (
        Given("pleural effusion", ("left", "small")),
        Given("pneumonia", (), "uncertain"),
    )
    assert tags.parsed("胸腔积液／左/少量；肺炎（疑似）") == english
    assert tags.named_by(tags.parsed("Thoracic Vertebrae/degenerative")[0]) == {"degenerative change"}
    assert tags.parsed("normal") == tags.parsed("正常") == ()
    assert tags.parsed("; ".join(map(str, english))) == english


def test_what_side_site_or_degree_tells_apart_is_no_contradiction():
    for text in (
        "pleural effusion/left/small; pleural effusion/right/large",
        "opacity/base/left; opacity/upper lobe/left (uncertain)",
        "cardiomegaly/mild/moderate",
        "cardiomegaly; cardiomegaly/mild",
    ):
        assert len(tags.parsed(text)) == text.count(";") + 1


@pytest.mark.parametrize("name", [name for name, one in findings().items() if one.also])
def test_other_names_of_a_finding_are_understood_and_read_by_the_rules(name):
    known = tags.named_by(Given(name))
    for word in findings()[name].also.split("|"):
        assert tags.parsed(word) == (Given(name),), word
        if word not in ("picc", "copd") and not word.isascii():
            told = findings_of(f"可见{word}。")
            assert any({one, tags.BROADER.get(one)} & known and told[one] == "present" for one in told), (word, told)


def test_side_and_degree_may_stand_before_a_chinese_name():
    assert tags.parsed("左侧少量胸水") == (Given("pleural effusion", ("left", "small")),)
    assert tags.parsed("双肺纹理增多") == (Given("interstitial markings", ("bilateral",)),)
    assert tags.parsed("左手")[0].name == "左手"  # no finding that is known


def test_state_side_and_degree_may_stand_before_a_name_in_either_language():
    assert tags.parsed("small left pleural effusion") == (Given("pleural effusion", ("small", "left")),)
    for text in ("No pneumothorax", "未见气胸", "无气胸", "pneumothorax (未见)"):
        assert tags.parsed(text) == (Given("pneumothorax", (), "absent"),), text
    assert tags.parsed("疑似肺炎; possible mass") == (
        Given("pneumonia", (), "uncertain"),
        Given("mass", (), "uncertain"),
    )
    with pytest.raises(Invalid) as refused:
        tags.parsed("pneumothorax; no pneumothorax")
    assert refused.value.reason == "reports.contradictory"


def test_a_machine_with_two_probabilities_of_one_finding_is_refused():
    with pytest.raises(Invalid) as refused:
        tags.from_machine("pneumonia=0.9; 肺炎=0.3")
    assert refused.value.reason == "reports.contradictory" and "0.3" in refused.value.message()
    assert len(tags.from_machine("pneumonia=0.9; 肺炎=0.9; nodule/left=0.8; nodule/right=0.6")) >= 3


def test_an_unknown_finding_is_kept_and_not_checked():
    (one,) = tags.parsed("Deformity/ribs")
    assert not tags.named_by(one)
    assert Expected([one]).unknown == ["deformity"]
    assert Expected([one]).check("Old deformity.").faults == 0


@pytest.mark.parametrize(
    "text, reason",
    [
        ("???", "reports.tag"),
        ("pneumonia (perhaps)", "reports.state"),
        ("pneumothorax; pneumothorax (absent)", "reports.contradictory"),
        ("气胸/左; 气胸 (无)", "reports.contradictory"),
        ("cardiomegaly/mild; cardiomegaly/severe", "reports.contradictory"),
        ("心脏增大/轻度/重度", "reports.contradictory"),
        ("pleural effusion/left; pleural effusion/left (uncertain)", "reports.contradictory"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, reason):
    with pytest.raises(Invalid) as refused:
        tags.parsed(text)
    assert refused.value.reason == reason
    assert all(reason not in refused.value.message(language) for language in LANGUAGES)


@pytest.mark.parametrize(
    "asked, reason",
    [
        ({"findings": ";; ；"}, "reports.no_findings"),
        ({"findings": "normal; pneumonia"}, "reports.normal"),
        ({"findings": "正常", "machine": "pneumonia=0.93"}, "reports.normal"),
    ],
)
def test_normal_is_told_and_stands_alone(asked, reason):
    with pytest.raises(Invalid) as refused:
        Conditions(**asked)
    assert refused.value.reason == reason
    assert all(reason not in refused.value.message(language) for language in LANGUAGES)
    assert Conditions(findings="normal", machine="pneumonia=0.2").given() == ()
    assert Conditions(findings="normal; pneumothorax (absent)").given()[0].state == "absent"


def test_an_indication_longer_than_the_context_is_refused():
    model = registry.load("reports")
    with pytest.raises(Invalid) as refused:
        model.generate(1, seed=1, findings="normal", indication="cough " * 1000)
    assert refused.value.reason == "model.header" and "1,00" in refused.value.message("en")


def test_one_side_may_have_what_the_other_has_not():
    assert len(tags.parsed("pneumothorax/left; pneumothorax/right (absent)")) == 2


def test_a_machine_is_believed_from_one_half_on_and_named():
    answer = {"pneumonia": Estimate(0.93, 0.9, 0.95), "nodule": Estimate(0.12, 0.1, 0.2)}
    asked = Conditions(machine=tags.predicted(answer), findings="cardiomegaly")
    given = asked.given()
    assert [(one.name, one.source, one.probability) for one in given] == [
        ("cardiomegaly", "person", None),
        ("pneumonia", "machine", 0.93),
    ]
    for wrong in ("pneumonia", "pneumonia=1.5", "pneumonia=high"):
        with pytest.raises(Invalid):
            Conditions(machine=wrong)
    with pytest.raises(Invalid):
        Conditions(findings=" ")


def test_a_state_behind_a_stroke_is_one_and_may_contradict():
    assert tags.parsed("pneumothorax/absent") == tags.parsed("pneumothorax (absent)")
    with pytest.raises(Invalid):
        tags.parsed("pneumothorax; pneumothorax/absent")

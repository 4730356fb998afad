"""Reports: records, figures of merit, and sequences whose plans say what was found and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puji.errors import Invalid
from puji.language import LANGUAGES
from puji.modalities.reports import compose, metrics, tags, views
from puji.modalities.reports.check import Expected
from puji.modalities.reports.conditions import Conditions
from puji.modalities.reports.grammar import ReportGrammar
from puji.modalities.reports.modality import Reports
from puji.modalities.reports.plain import glossary, plain
from puji.modalities.reports.plan import REST, UNCERTAIN, findings_section, is_qualifier, opens, section, unit, units
from puji.modalities.reports.report import Given, Report, checked, revived
from puji.modalities.reports.tokens import IMPRESSION, SECTIONS, Lexis, body, header, learned, parsed
from puji.modalities.reports.words import words
from puji.modality import END

# -- records ---------------------------------------------------------------------------------------------------------------


def test_findings_are_read_where_nobody_told_them():
    report = checked({"findings": "Small left pleural effusion. No pneumothorax.", "impression": "Possible pneumonia."})
    assert report.given == (
        Given("pleural effusion", ("small", "left")),
        Given("pneumothorax", (), "absent"),
        Given("pneumonia", (), "uncertain"),
    )
    assert checked({"findings": "Effusion.", "given": []}).given == ()


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({}, "reports.empty"),
        ({"findings": " \n "}, "reports.empty"),
        ({"findings": 3}, "reports.field"),
        ({"findings": "x" * 30_000}, "reports.long"),
        ({"findings": "Clear.", "given": "pneumonia"}, "reports.field"),
        ({"findings": "Clear.", "given": [{"name": ""}]}, "reports.field"),
        ({"findings": "Clear.", "given": [{"name": "x", "qualifiers": "left"}]}, "reports.field"),
        ({"findings": "Clear.", "flags": "missing:x"}, "reports.field"),
        ({"findings": "Clear.", "lines": 3}, "reports.field"),
        ({"findings": "Clear.", "given": [{"name": "x", "state": "maybe"}]}, "reports.state"),
        ({"findings": "Clear.", "given": [{"name": "x", "probability": 2}]}, "reports.probability"),
    ],
)
def test_fields_that_are_wrong_are_refused(fields, reason):
    with pytest.raises(Invalid) as refused:
        checked(fields)
    assert refused.value.reason == reason


@given(st.text(max_size=300))
def test_any_text_is_a_report_or_refused(text):
    try:
        report = checked({"findings": text})
    except Invalid:
        return
    assert revived(report.dump()) == report
    assert body(parsed(body(report))) == body(report)


def test_sections_out_of_order_are_refused():
    tokens = body(checked({"findings": "Clear."}))
    for wrong in (tokens[:-1], tokens[1:], [*tokens[:2], *tokens[3:], tokens[2]], [tokens[0], "cough", *tokens[1:]]):
        with pytest.raises(Invalid):
            parsed(wrong)


# -- figures of merit ------------------------------------------------------------------------------------------------------


def test_bleu_and_rouge_by_hand():
    draft, reference = "the heart is large .", "the heart is normal ."
    one, two, *_ = metrics.bleu([draft], [reference])
    assert one == pytest.approx(4 / 5) and two == pytest.approx(math.sqrt(4 / 5 * 2 / 4))
    assert metrics.rouge_l(draft.split(), reference.split()) == pytest.approx(0.8)
    short = metrics.bleu(["the heart"], [reference])[0]
    assert short == pytest.approx(math.exp(1 - 5 / 2))
    assert metrics.rouge_n(["a", "b", "a"], ["a", "a", "b"], 2) == pytest.approx(1 / 2)


@given(st.lists(st.sampled_from("abcd"), max_size=25), st.lists(st.sampled_from("abcd"), max_size=25))
def test_the_longest_common_subsequence_is_that_of_the_table(first, second):
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, two in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if one == two else max(table[i][j + 1], table[i + 1][j])
    assert metrics.common(first, second) == table[-1][-1]


def test_the_draft_that_others_are_like_wins():
    scores = metrics.consensus(["a b c d", "a b c d e", "x y z"])
    assert scores.index(max(scores)) in (0, 1) and min(scores) == scores[2]


def test_cleaning_is_that_of_r2gen():
    assert (
        metrics.r2gen("1. Heart is normal.. 2. No (acute) disease, X/Y.") == "heart is normal . no acute disease xy ."
    )


def test_plain_language_says_what_it_is_and_leaves_out_what_was_not_found():
    report = Report(given=tags.parsed("pneumonia (uncertain); pneumothorax (absent)"), findings=".")
    for language in LANGUAGES:
        told = plain(report, language)
        assert len(told) == 2 and glossary()["pneumonia"][language] in told[0]
    assert len(plain(Report(findings="."), "en")) == 2


# -- training sequences ----------------------------------------------------------------------------------------------------

SOME = [
    checked(
        {"findings": "There is a small left pleural effusion. The heart is normal in size.", "impression": "Effusion."}
    ),
    checked(
        {"findings": "Right pneumothorax. Mild cardiomegaly.", "given": [{"name": "pneumothorax"}, {"name": "hernia"}]}
    ),
    checked({"findings": "The lungs are clear. No effusion. There is scoliosis."}),
    checked({"findings": "Patchy opacity at the left base, possibly pneumonia. Hiatal hernia."}),
]


def test_training_tells_what_the_text_says():
    told = tags.consistent(SOME[1].given, SOME[1].text)
    assert {one.name for one in told} == {"pneumothorax", "cardiomegaly"}


def test_composed_reports_agree_with_their_findings():
    pool = compose.statements(SOME)
    assert set(pool) >= {"pleural effusion", "pneumothorax", "cardiomegaly", "scoliosis", "hernia"}
    rng = np.random.default_rng(0)
    longer = shorter = 0
    for _ in range(50):
        for report in SOME:
            report = replace(report, given=tags.consistent(report.given, report.text))
            more, fewer = compose.more(report, pool, rng), compose.fewer(report, rng)
            assert not Expected(more.given).check(more.text).faults
            assert not Expected(fewer.given).check(fewer.text).faults
            longer += len(more.given) > len(report.given)
            shorter += len(fewer.findings) < len(report.findings)
    assert longer > 50 and shorter > 20


def test_each_sentence_stands_behind_the_findings_that_it_states():
    given = tags.parsed("pleural effusion/left; pleural effusion/right/small; pneumonia (uncertain); hernia (absent)")
    told = section(
        given, words("1. Small right effusion, possibly pneumonia. No hernia. Heart size is normal. Stable.")
    )
    assert told == [
        *("finding:pleural effusion", "/right", "/small", "is:pleural effusion"),
        *("finding:pneumonia", "<uncertain>", "is:pneumonia", "<says>", "1", "."),
        *("small", "right", "effusion", ",", "possibly", "pneumonia", "."),
        *("no:hernia", "<says>", "no", "hernia", "."),
        *("normal:heart", "<says>", "heart", "size", "is", "normal", ".", "<says>", "stable", "."),
    ]
    assert section((), words("Fracture."))[:3] == ["finding:fracture", "is:fracture", "<says>"]
    # By its heading as the indexer wrote it, then by what the rules call it.
    told = section(tags.parsed("Blister/left"), words("Bullous changes."))
    assert told[:4] == ["finding:blister", "/left", "is:emphysema", "<says>"]


def test_chinese_sentences_have_plans_too():
    told = section(tags.parsed("胸腔积液/左/少量"), words("左侧少量胸腔积液，未见气胸。双肺清晰。"))
    assert told[:4] == ["finding:pleural effusion", "/left", "/small", "is:pleural effusion"]
    assert told[4:6] == ["no:pneumothorax", "<says>"]
    assert told[told.index("。") + 1 :][:2] == ["normal:lungs", "<says>"]


def test_rest_stands_before_the_last_sentences_that_tell_something_new():
    given = tags.parsed("hernia; scoliosis")
    told = findings_section(given, words("Hernia. Heart size is normal. Hernia again. There is scoliosis."))
    place = told.index(REST)
    assert told[place + 1 :] == ["finding:scoliosis", "is:scoliosis", "<says>", "there", "is", "scoliosis", "."]
    assert findings_section((), words("Stable."))[-1] == REST


def test_a_finding_is_told_by_a_name_that_training_showed():
    modality = Reports()
    modality.lexis = replace(LEXIS, names=["device", "pacemaker", "hernia"])
    known = {asked: str(modality.known(*tags.parsed(asked))) for asked in ("stents/left/big", "hernia, hiatal", "mass")}
    assert known == {"stents/left/big": "device/left", "hernia, hiatal": "hernia", "mass": "mass"}
    state = modality.grammar(Conditions()).start(header("", tags.parsed("mass")))
    assert "finding:mass" not in modality.grammar(Conditions()).allowed(state)  # left to the repair


def test_a_plan_tells_no_finding_twice_where_two_have_one_name():
    lexis = replace(LEXIS, qualifiers=["base", "left", "right"])
    grammar = ReportGrammar(lexis)
    state = grammar.start(header("", tags.parsed("pneumonia/left/base; pneumonia/right; hernia")))
    for token in ("finding:pneumonia", "/left", "/base", "is:pneumonia", "finding:pneumonia"):
        assert token in grammar.allowed(state)
        state = grammar.advance(state, token)
    assert set(grammar.allowed(state)) == {"/right"}
    for token in ("/right", "is:pneumonia"):
        state = grammar.advance(state, token)
    assert "finding:pneumonia" not in grammar.allowed(state) and "finding:hernia" in grammar.allowed(state)


def test_a_plan_says_that_nothing_is_acute_only_where_nothing_acute_was_found():
    grammar = ReportGrammar(LEXIS)
    for asked, may in (("hernia", True), ("pneumonia", False), ("pneumonia (uncertain)", False), ("effusion", False)):
        assert ("normal:acute" in grammar.allowed(grammar.start(header("", tags.parsed(asked))))) is may


LEXIS = Lexis(
    words=sorted({"effusion", "no", "1", ".", ")", "the", "left", "。"}),
    names=["pleural effusion", "pneumonia", "hernia"],
    absent=["hernia", "lung opacity", "pleural effusion", "pneumonia"],
    qualifiers=["left", "small"],
)
ASKED = st.sampled_from(
    [
        "normal",
        "pleural effusion/left/small",
        "pneumonia (uncertain); hernia",
        "hernia (absent); pneumonia",
        "pleural effusion/left; pleural effusion/left/small; deformity",
    ]
)


@given(ASKED, st.data())
@settings(max_examples=150, deadline=None)
def test_what_the_grammar_lets_through_plans_all_findings_and_denies_none(asked, data):
    wanted = tags.parsed(asked)
    grammar = ReportGrammar(LEXIS)
    tokens = header("", wanted)
    state = grammar.start(tokens)
    while tokens[-1] != END:
        allowed = sorted(grammar.allowed(state))
        assert allowed and set(allowed) <= set(LEXIS.tokens())
        closing = [one for one in allowed if one in SECTIONS]
        token = closing[0] if closing and len(tokens) > 60 else data.draw(st.sampled_from(allowed))
        state = grammar.advance(state, token)
        tokens.append(token)
        if len(tokens) > 400:
            return
    place = tokens.index("<findings>")
    told = {
        unit(one) for one in units(one for one in tokens[place:] if opens(one) or is_qualifier(one) or one == UNCERTAIN)
    }
    known = {unit(one) for one in wanted if tags.named_by(one)}
    assert known <= told
    for one in told - known:
        assert one[0].startswith("no:") and one[0][3:] not in {
            other.name for other in wanted if other.state != "absent"
        }
    if any(one.name == "pneumonia" and one.state == "present" for one in wanted):
        assert "no:lung opacity" not in tokens[place:] and "normal:lungs" not in tokens[place:]
    assert parsed(tokens).given == wanted


def test_the_grammar_lets_through_what_training_tells():
    lexis = learned([*SOME, *SOME])
    grammar = ReportGrammar(lexis)
    for report in SOME:
        tokens = body(replace(report, given=tags.consistent(report.given, report.text)))
        state = grammar.start(tokens[:1])
        for token in tokens[1:]:
            assert token in grammar.allowed(state), (token, tokens)
            state = grammar.advance(state, token)
        assert not grammar.allowed(state)


def test_a_finding_told_in_the_impression_alone_is_learned_and_not_drawn():
    report = checked({"findings": "Stable.", "impression": "Pneumonia."})
    tokens = body(report)
    grammar = ReportGrammar(learned([report, report]))
    state = grammar.start(tokens[: tokens.index(IMPRESSION)])
    assert grammar.allowed(state) == {"finding:pneumonia"}


def test_an_impression_that_nobody_wrote_is_not_learned():
    pool = compose.statements(SOME)
    ends = set()
    for seed in range(40):
        one = views.view(SOME[0], np.random.default_rng(seed), pool)
        ends.add((one.tokens[one.tokens.index(IMPRESSION) + 1 :] == [END], one.weights[-1]))
    assert ends == {(True, 0.0), (False, 1.0)}

"""Units as people write them, in UCUM, and as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puji.units import CODES, shown, ucum

UNITS = st.lists(st.sampled_from(CODES), min_size=1, max_size=3).map("/".join)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (("×10⁹/L", "10^9/L", "x10*9/L", "10*9/L"), "10*9/L"),
        (("µmol/L", "μmol/L", "umol/l", "mcmol/L"), "umol/L"),
        (("次/分", "bpm", "/分钟"), "/min"),
        (("mmHg", "mm[Hg]", "毫米汞柱"), "mm[Hg]"),
        (("μIU/mL", "uIU/ml", "mIU/L", "m[IU]/L"), "m[iU]/L"),
        (("mg/dl", "MG/DL", "mg/100ml"), "mg/dL"),
        (("kg/m²", "kg/m^2", "kg/m2"), "kg/m2"),
        (("℃", "°C", "Cel"), "Cel"),
        (("％", "percent"), "%"),
        (("{score}",), "{score}"),
    ],
)
def test_spellings_of_a_unit(texts, told):
    assert {ucum(text) for text in texts} == {told}


def test_people_read_no_brackets():
    assert [shown("mm[Hg]", language) for language in ("en", "zh")] == ["mmHg", "mmHg"]
    assert shown("Cel", "en") == "°C" and shown("Cel", "zh") == "℃"
    assert shown("10*9/L", "zh") == "×10⁹/L" and shown("{score}", "en") == "{score}"


@given(UNITS | st.integers(1, 12).map("10*{}/L".format), st.sampled_from(["en", "zh"]))
def test_what_people_read_means_the_same_unit(unit, language):
    read = shown(unit, language)
    assert "[" not in read and "*" not in read
    if unit != "1":  # a mere number has no unit that people read
        assert ucum(read) == ucum(unit)


@given(st.text(max_size=20))
def test_any_text_has_one_spelling(text):
    assert ucum(ucum(text)) == ucum(text)

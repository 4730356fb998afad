"""Findings: one name in each language, and codes whose check digits are right."""

from __future__ import annotations

from dataclasses import replace

from puji import findings
from puji.modalities.images.modality import Images
from puji.modality import Raw
from tests.images_cases import chests


def test_findings_have_one_name_in_both_languages():
    every = findings.findings()
    assert len({one.zh for one in every.values()}) == len(every) and all(one.zh for one in every.values())
    codes = [one.snomed for one in every.values() if one.snomed]
    assert len(set(codes)) == len(codes) and all(verhoeff(code) for code in codes)
    assert findings.canonical("肺炎") == findings.canonical("Pneumonia") == "pneumonia"
    assert findings.named("pneumothorax", "zh") == "气胸" and findings.named("something else", "zh") == "something else"
    assert Images().preprocess(Raw(replace(chests(1)[0], labels=("肺炎",)).dump())).labels == ("pneumonia",)


def verhoeff(code: str) -> bool:
    """Whether the check digit of a SNOMED CT identifier is right (Verhoeff 1969: the dihedral group of order 10)."""
    shuffle = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    check = 0
    for place, letter in enumerate(reversed(code)):
        digit = int(letter)
        for _ in range(place % 8):
            digit = shuffle[digit]
        rotated = (check + digit if check < 5 else check - digit) % 5
        flips = (check >= 5) != (digit >= 5)
        check = rotated + 5 * flips
    return check == 0

"""Units of measurement as people write them, in UCUM (https://ucum.org), which files keep, and as people read them."""

from __future__ import annotations

import os
import re
import unicodedata

CODES = (
    *("kg", "g", "mg", "ug", "ng", "pg", "mol", "mmol", "umol", "nmol", "pmol", "eq", "meq"),
    *("[iU]", "k[iU]", "m[iU]", "u[iU]", "U", "L", "dL", "mL", "uL", "fL", "s", "min", "h", "d"),
    *("m2", "cm", "mm", "mm[Hg]", "Cel", "%", "1"),
)
"""UCUM's codes between the strokes of a unit."""
WRITTEN = {
    **dict.fromkeys(("mcg", "微克"), "ug"),
    "mcmol": "umol",
    **dict.fromkeys(("iu", "[iu]", "国际单位"), "[iU]"),
    **dict.fromkeys(("kiu", "k[iu]"), "k[iU]"),
    **dict.fromkeys(("miu", "m[iu]"), "m[iU]"),
    **dict.fromkeys(("uiu", "u[iu]"), "u[iU]"),
    **dict.fromkeys(("hr", "hour", "小时"), "h"),
    **dict.fromkeys(("分", "分钟"), "min"),
    **dict.fromkeys(("day", "天"), "d"),
    **dict.fromkeys(("mmhg", "毫米汞柱"), "mm[Hg]"),
    **dict.fromkeys(("celsius", "°c"), "Cel"),
    **dict.fromkeys(("m^2", "平方米"), "m2"),
    **dict.fromkeys(("percent",), "%"),
    "公斤": "kg",
    "千克": "kg",
    "克": "g",
    "毫克": "mg",
    "升": "L",
    "毫升": "mL",
    "厘米": "cm",
    "毫米": "mm",
}
"""In lower case and after NFKC -> UCUM's code. "U" is none of these: of a dose it is the international unit, of an enzyme the
catalytic one."""
_LOWER = {**{code.lower(): code for code in CODES}, **WRITTEN}
_WHOLE = {
    **dict.fromkeys(("bpm", "beats/min", "{beats}/min", "次/分", "次/分钟"), "/min"),
    "mg/100ml": "mg/dL",
    "u[iU]/mL": "m[iU]/L",
}
"""Units that are told in another way as a whole."""
GLUCOSE_UNITS = ("mg/dL", "mmol/L")
"""In which people are shown glucose, see `glucose_unit`; the first is that of all files."""
_glucose_unit: str | None = None
_COUNTS = re.compile(r"[x×*]?10[\^*]?(\d{1,2})/[Ll升]")
"""Cells in a litre: ×10⁹/L, 10^9/L, 10*9/L."""
SHOWN = {"mm[Hg]": "mmHg", "m2": "m²", "[iU]": "IU", "k[iU]": "kIU", "m[iU]": "mIU", "u[iU]": "μIU"}
SHOWN |= {"ug": "μg", "umol": "μmol", "uL": "μL"}
"""UCUM's code -> as people read it, where that differs; degrees differ by language."""
_DEGREES = {"en": "°C", "zh": "℃"}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def ucum(text: str) -> str:
    """A unit in UCUM where its spelling is known, else as it stands (after NFKC)."""
    # NFKC makes one letter of the two signs for micro, and digits of those that are raised.
    told = unicodedata.normalize("NFKC", text).strip()
    if counts := _COUNTS.fullmatch(told):
        return f"10*{counts[1]}/L"
    if told.lower() in _WHOLE:
        return _WHOLE[told.lower()]
    first, *below = told.split("/")
    codes = [_code(part.strip()) for part in ([first, *below] if first else below)]
    if not all(codes):
        return told
    found = "/".join(code or "" for code in (codes if first else ["", *codes]))
    return _WHOLE.get(found, found)


def _code(part: str) -> str | None:
    return part if part in CODES else _LOWER.get(part.lower().replace("μ", "u"))


def shown(unit: str, language: str) -> str:
    """A unit of UCUM as people read it in ``language``; one that is not known as it stands.

    The unit of a mere number is not told.
    """
    if unit == "1":
        return ""
    if counts := re.fullmatch(r"10\*(\d{1,2})(/.*)", unit):
        return f"×10{counts[1].translate(_RAISED)}{counts[2]}"
    codes = unit.split("/")
    if not all(code in CODES or not code for code in codes):
        return unit
    words = {**SHOWN, "Cel": _DEGREES[language]}
    return "/".join(words.get(code, code) for code in codes)


def use_glucose_unit(unit: str | None) -> None:
    """Show people glucose in ``unit``, one of `GLUCOSE_UNITS`, from now on; None: as the environment says."""
    global _glucose_unit
    if unit is not None and unit not in GLUCOSE_UNITS:
        raise ValueError(f"unit {unit!r}: choose one of {', '.join(GLUCOSE_UNITS)}")
    _glucose_unit = unit


def glucose_unit() -> str:
    """The unit in which people are shown glucose: the chosen one, else PUJI_GLUCOSE_UNIT, else mg/dL. Files keep mg/dL."""
    told = ucum(_glucose_unit or os.environ.get("PUJI_GLUCOSE_UNIT", ""))
    return told if told in GLUCOSE_UNITS else GLUCOSE_UNITS[0]

"""Doses and measured values with their units, converted exactly: in fractions, never in floating point.

Units are those of UCUM (https://ucum.org) that doses and laboratory values are told in, and the ways in which people write
them ("mcg", "IU", "单位"). Below "/", "kg" is the patient's body weight. What is not known here is refused, not guessed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import lru_cache

from puji.errors import Invalid
from puji.units import glucose_unit

SMALLEST, LARGEST = Fraction(1, 10**9), Fraction(10**12)
"""Between them lies every number that a dose, a time or a measurement may have, 0 aside."""
DIGITS = 3
"""Significant digits of a dose that was reduced: nobody measures more."""
MOLAR_MASS = {"glucose": Fraction("180.156"), "creatinine": Fraction("113.12")}
"""Grams per mole (C6H12O6, C4H7N3O), from IUPAC's abridged standard atomic weights."""

_ATOMS: dict[str, tuple[Fraction, str]] = {
    "kg": (Fraction(1000), "mass"),
    "g": (Fraction(1), "mass"),
    "mg": (Fraction(1, 10**3), "mass"),
    "ug": (Fraction(1, 10**6), "mass"),
    "ng": (Fraction(1, 10**9), "mass"),
    "mol": (Fraction(1), "mol"),
    "mmol": (Fraction(1, 10**3), "mol"),
    "umol": (Fraction(1, 10**6), "mol"),
    "eq": (Fraction(1), "eq"),
    "meq": (Fraction(1, 10**3), "eq"),
    "[iU]": (Fraction(1), "unit"),
    "m[iU]": (Fraction(1, 10**3), "unit"),
    "L": (Fraction(1), "volume"),
    "dL": (Fraction(1, 10), "volume"),
    "mL": (Fraction(1, 10**3), "volume"),
    "uL": (Fraction(1, 10**6), "volume"),
    "min": (Fraction(1), "time"),
    "h": (Fraction(60), "time"),
    "d": (Fraction(1440), "time"),
    "m2": (Fraction(1), "area"),
    "mm[Hg]": (Fraction(1), "pressure"),
    "Cel": (Fraction(1), "temperature"),
    "%": (Fraction(1, 100), "number"),
    "1": (Fraction(1), "number"),
}
"""UCUM's code -> its size in the base unit of its kind."""
_WRITTEN = {
    **dict.fromkeys(("mcg", "µg", "μg", "微克"), "ug"),
    **dict.fromkeys(("U", "IU", "iu", "[IU]", "unit", "units", "单位", "国际单位"), "[iU]"),
    **dict.fromkeys(("mU", "mIU", "m[IU]"), "m[iU]"),
    "l": "L",
    "dl": "dL",
    "ml": "mL",
    "ul": "uL",
    "毫升": "mL",
    "毫克": "mg",
    "克": "g",
    "mEq": "meq",
    "hr": "h",
    "day": "d",
    "小时": "h",
    "分钟": "min",
    "天": "d",
    "mmHg": "mm[Hg]",
    "℃": "Cel",
    "m²": "m2",
}
"""As people write it -> UCUM's code."""
_SHOWN = {
    "en": {"[iU]": "U", "m[iU]": "mU", "ug": "mcg", "mm[Hg]": "mmHg", "Cel": "°C", "m2": "m²", "1": ""},
    "zh": {"[iU]": "U", "m[iU]": "mU", "ug": "μg", "mm[Hg]": "mmHg", "Cel": "℃", "m2": "m²", "1": ""},
}
"""As a clinician reads it; English safety lists (ISMP) ask for "mcg"."""
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*((?![0-9.])\S(?:.*\S)?)?\s*", re.ASCII)


@dataclass(frozen=True)
class Unit:
    """A unit: UCUM's ``code``, its size in the base units of its ``kind``, e.g. "mass/body/time" of ug/kg/min."""

    code: str
    size: Fraction
    kind: str


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, as it was told: not yet checked.

    ``substance``: what was measured; people are shown glucose in their own unit (`puji.units.glucose_unit`).
    """

    value: float
    unit: str
    substance: str = field(default="", compare=False)

    @classmethod
    def read(cls, text: str) -> Quantity:
        """Read "0.1 mg/kg"; a number without a unit is a mere number.

        Raises Invalid for what is no quantity, or has a unit that is not known.
        """
        found = _QUANTITY.fullmatch(text)
        if not found:
            raise Invalid("plans.units.quantity", value=text[:40])
        read = cls(float(found[1]), found[2] or "1")
        exact(read.value)
        parsed(read.unit)
        return read

    def __str__(self) -> str:
        # With all its digits: `read` gives the same again.
        return f"{_digits(self.value)} {'' if self.unit == '1' else self.unit}".rstrip()

    def shown(self, language: str) -> str:
        """As a clinician reads it in ``language``: "0.1 mcg/kg/min"."""
        own = glucose_unit()
        if self.substance == "glucose" and own != parsed(self.unit).code and self.value >= 0:
            value = converted(exact(self.value), self.unit, own, self.substance)
            digits = 1 if own == "mmol/L" else 0
            return f"{float(value):.{digits}f} {unit_shown(own, language)}"
        return f"{_digits(self.value)} {unit_shown(self.unit, language)}".rstrip()  # a dose is never told rounded


def unit_shown(unit: str, language: str) -> str:
    """A unit as a clinician reads it in ``language``; "" for that of a mere number."""
    return "/".join(_SHOWN[language].get(atom, atom) for atom in parsed(unit).code.split("/"))


def _digits(value: float) -> str:
    return f"{Decimal(repr(float(value))):f}".removesuffix(".0")


def exact(value: object) -> Fraction:
    """``value`` as the decimal that it is written as: 0.1 is a tenth. Raises Invalid for what is no number in range."""
    if isinstance(value, int) and not isinstance(value, bool):
        # Their own addition gives plain numbers, whatever a subclass does.
        found = Fraction(int.__add__(value, 0))
    elif isinstance(value, float) and math.isfinite(plain := float.__add__(value, 0.0)):
        found = Fraction(repr(plain))
    else:
        raise Invalid("plans.units.number")
    if found != 0 and not SMALLEST <= abs(found) <= LARGEST:
        raise Invalid("plans.units.number")
    return found


def rounded(value: Fraction, rounding: str, digits: int = 4) -> float:
    """``value`` with some significant digits, rounded as `decimal` says, for people to read."""
    context = Context(prec=digits, rounding=rounding)
    return float(context.divide(Decimal(value.numerator), Decimal(value.denominator)))


def rounded_down(value: Fraction) -> float:
    """A dose that was reduced to ``value``, with `DIGITS` significant digits and never above it."""
    return rounded(value, ROUND_FLOOR, DIGITS)


@lru_cache(maxsize=1000)
def parsed(text: str) -> Unit:
    """A unit as people or UCUM write it. Raises Invalid for one that is not known."""
    codes = [_WRITTEN.get(part.strip(), part.strip()) for part in (text.strip() or "1").split("/")]
    if len(text) > 40 or any(code not in _ATOMS for code in codes):
        raise Invalid("plans.units.unknown", unit=text[:40])
    size, kind = _ATOMS[codes[0]]
    below = []
    for code in codes[1:]:
        if code == "kg":
            below.append("body")
            continue
        size /= _ATOMS[code][0]
        below.append(_ATOMS[code][1])
    return Unit("/".join(codes), size, "/".join([kind, *sorted(below)]))


def converted(value: Fraction, unit: str, to: str, substance: str = "") -> Fraction:
    """``value`` in ``unit`` as one in the unit ``to``; between moles and grams where the ``substance`` is one of `MOLAR_MASS`.

    Raises Invalid for units of different kinds.
    """
    have, want = parsed(unit), parsed(to)
    mass = MOLAR_MASS.get(substance)
    if have.kind == want.kind:
        return value * have.size / want.size
    if mass is not None and have.kind.replace("mol", "mass", 1) == want.kind:
        return value * have.size * mass / want.size
    if mass is not None and have.kind == want.kind.replace("mol", "mass", 1):
        return value * have.size / mass / want.size
    raise Invalid("plans.units.differ", unit=unit, other=to)

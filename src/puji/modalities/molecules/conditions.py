"""What a chemist may ask for: property values or ranges, a part to keep, a linker, analogues of a molecule."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from rdkit.Chem import QED

from puji.errors import Invalid
from puji.modalities.molecules import fragments
from puji.modalities.molecules.molecule import canonical, parse
from puji.modalities.molecules.properties import PROPERTIES
from puji.options import Range


class Conditions(BaseModel):
    """What a generated molecule should be like. Everything is optional and may be combined, within reason."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    logp: Range[float] | None = None
    tpsa: Range[float] | None = None
    qed: Range[float] | None = None
    sa: Range[float] | None = None
    weight: Range[float] | None = None
    keep: str | None = Field(default=None, validation_alias=AliasChoices("keep", "scaffold", "fragment"))
    linker: str | None = None
    like: str | None = None
    similarity: Range[float] | None = None

    @field_validator("logp", "tpsa", "qed", "sa", "weight", "similarity", mode="before")
    @classmethod
    def _range(cls, value: Any, info: ValidationInfo) -> Range[float] | None:
        if value is None:
            return None
        name = str(info.field_name)
        lowest, highest = 0.0, 1.0
        if name in PROPERTIES:
            lowest, highest = PROPERTIES[name].lowest, PROPERTIES[name].highest
        asked = Range[float].of(value, name)
        if asked.low < lowest or asked.high > highest:
            raise Invalid("molecules.limits", option=name, value=str(asked), lowest=lowest, highest=highest)
        return asked

    @field_validator("keep", "linker", "like", mode="after")
    @classmethod
    def _smiles(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        name = str(info.field_name)
        try:
            if name == "like":
                smiles = canonical(parse(value))
                if "." in smiles:
                    raise Invalid("molecules.several")
                if "*" in smiles:
                    raise Invalid("molecules.point_here")
                return smiles
            smiles = fragments.normalised(value)
            if name == "linker" and [part.count("*") for part in smiles.split(".")] != [1, 1]:
                raise Invalid("molecules.linker", value=value)
            if name == "keep" and "." in smiles:
                raise Invalid("molecules.several")
        except Invalid as refusal:
            raise refusal.at(f"--{name}", None) from None
        return smiles

    @model_validator(mode="after")
    def _possible(self) -> Conditions:
        structures = [name for name in ("keep", "linker", "like") if getattr(self, name) is not None]
        if len(structures) > 1:
            raise Invalid("molecules.together", options=", ".join(f"--{name}" for name in structures))
        if self.similarity is not None:
            if self.like is None:
                raise Invalid("molecules.similarity_alone")
            if self.similarity.low >= 1:
                raise Invalid("molecules.similarity_one")
        kept = self.kept
        if kept is not None and self.weight is not None:
            lightest = PROPERTIES["weight"].compute(parse(kept)) - 1.01 * fragments.MOST_POINTS * ("*" not in kept)
            if self.weight.high < lightest:
                raise Invalid("molecules.weight_of_kept", weight=str(self.weight), lightest=f"{lightest:.0f}")
        if self.tpsa is not None and self.weight is not None and self.tpsa.low > 2 * self.weight.high:
            # The most polar group for its weight, NH2, has 26 square angstroms in 16 g/mol.
            raise Invalid("molecules.contradiction", first=f"tpsa={self.tpsa}", second=f"weight={self.weight}")
        if self.qed is not None:
            best = highest_qed(self.logp, self.tpsa, self.weight)
            if self.qed.low > best + 0.02:
                others = ", ".join(
                    f"{name}={getattr(self, name)}" for name in ("logp", "tpsa", "weight") if getattr(self, name)
                )
                raise Invalid("molecules.qed_bound", qed=str(self.qed), best=f"{best:.2f}", others=others)
        return self

    @property
    def kept(self) -> str | None:
        """The part to keep, or the two ends of the linker, with points numbered from 1 if there are any."""
        return self.keep if self.keep is not None else self.linker

    def properties(self) -> dict[str, Range[float]]:
        """The properties asked for, in their fixed order."""
        return {name: getattr(self, name) for name in PROPERTIES if getattr(self, name) is not None}


def highest_qed(logp: Range[float] | None, tpsa: Range[float] | None, weight: Range[float] | None) -> float:
    """The highest QED of any molecule whose logP, TPSA and weight lie in these ranges.

    QED is a weighted geometric mean of eight desirabilities (Bickerton et al., Nature Chem. 4:90, 2012): three of them are
    bounded by the ranges, the others by 1.
    """
    total = 0.0
    for name, asked in (("MW", weight), ("ALOGP", logp), ("PSA", tpsa)):
        if asked is not None:
            curve = QED.adsParameters[name]
            values = np.linspace(asked.low, asked.high, 201)
            desirable = max(QED.ads(float(value), curve) for value in values)  # type: ignore[no-untyped-call]
            total += getattr(QED.WEIGHT_MEAN, name) * math.log(min(1.0, max(desirable, 1e-9)))
    return math.exp(total / sum(QED.WEIGHT_MEAN))


class Ask(BaseModel):
    """What to predict of a molecule: all properties, or those named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    properties: tuple[str, ...] = tuple(PROPERTIES)

    @field_validator("properties", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """``"logp,qed"`` as well as ``("logp", "qed")``."""
        told = [value] if isinstance(value, str) else value
        if not isinstance(told, list | tuple) or not all(isinstance(one, str) for one in told):
            return value  # which is refused
        return [name for one in told for part in re.split("[,，]", one) if (name := part.strip())]

    @field_validator("properties", mode="after")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in PROPERTIES]
        if unknown or not value:
            raise Invalid("molecules.property", value=", ".join(unknown) or "-", known=", ".join(PROPERTIES))
        return tuple(name for name in PROPERTIES if name in value)

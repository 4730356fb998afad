"""What can be asked: of generation, of prediction, and before a new model learns."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from puji.errors import Invalid
from puji.modalities.images.image import cleaned_labels

SIZES = (28, 64)
PATCHES = (2, 4)
FEWEST_CODES, MOST_CODES = 16, 4096


class Conditions(BaseModel):
    """What a generated image shows.

    ``label``: labels with ";" between them. ``complete``: the path of a picture of which only ``region`` is drawn anew, given
    all around it; "left,top,right,bottom" as shares of the side.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str | None = None
    complete: str | None = None
    region: str | None = None

    @field_validator("label")
    @classmethod
    def _label(cls, value: str | None) -> str | None:
        return None if value is None else "; ".join(cleaned_labels(value))

    @field_validator("region")
    @classmethod
    def _region(cls, value: str | None) -> str | None:
        if value is not None:
            region_of(value)
        return value


class Ask(BaseModel):
    """How careful to be.

    ``sure``: the probability below which the likeliest label is no answer (0: always answer). ``unfamiliar``: what an image that
    is unlike the training data gets: no answer ("abstain") or one with a warning ("answer").
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sure: float = 0.6
    unfamiliar: Literal["abstain", "answer"] = "abstain"

    @field_validator("sure")
    @classmethod
    def _sure(cls, value: float) -> float:
        if not 0 <= value < 1:
            raise Invalid("images.sure", source="--sure", value=value)
        return value


class Setup(BaseModel):
    """How images become sequences: ``size`` in pixels, the side of a ``patch``, how many ``codes`` at most, in ``colour`` or
    grey; and whether an image and its mirror image are of one kind (``mirror``; a chest is not)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = 28
    patch: int = 4
    codes: int = 512
    colour: bool = False
    mirror: bool = False

    @field_validator("size", "patch")
    @classmethod
    def _sides(cls, value: int, info: Any) -> int:
        known = SIZES if info.field_name == "size" else PATCHES
        if value not in known:
            raise Invalid("images.side", source=f"--{info.field_name}", value=value, known=", ".join(map(str, known)))
        return value

    @field_validator("codes")
    @classmethod
    def _codes(cls, value: int) -> int:
        if not FEWEST_CODES <= value <= MOST_CODES:
            raise Invalid("images.codes", source="--codes", value=value, least=FEWEST_CODES, most=MOST_CODES)
        return value


def region_of(text: str | None) -> tuple[float, float, float, float]:
    """Left, top, right and bottom as shares of the side; the middle half where nothing is told. Raises Invalid."""
    if text is None:
        return 0.25, 0.25, 0.75, 0.75
    try:
        left, top, right, bottom = (float(part) for part in text.replace("，", ",").split(","))
    except ValueError as error:
        raise Invalid("images.region", source="--region") from error
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise Invalid("images.region", source="--region")
    return left, top, right, bottom

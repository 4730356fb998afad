"""What can be asked: of logged care to be generated, about a patient, and of a new model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from puji.errors import Invalid


class Conditions(BaseModel):
    """Generated care: ``state``: the one that it begins with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: str | None = None


class Ask(BaseModel):
    """A patient for whom a plan is wanted.

    ``least``: logged decisions that have to support an action for it to be recommended. ``alternatives``: further actions
    that are told. ``patient``: a JSON file with the facts that the safety rules need (`Facts`): what is not known there is
    vetoed where a rule asks for it. ``ahead``: tell what may follow, too. ``unfamiliar``: what a patient who is unlike the
    training data gets: no recommendation ("abstain") or one with a warning ("answer").
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    least: int = Field(default=20, ge=1)
    alternatives: int = Field(default=5, ge=0, le=100)
    patient: str | None = None
    ahead: bool = False
    unfamiliar: Literal["abstain", "answer"] = "abstain"

    @field_validator("patient")
    @classmethod
    def _patient(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_file():
            raise Invalid("read.missing", source=value)
        return value


class Setup(BaseModel):
    """``setting``: one that comes with Puji, by its name, or a .json or .toml file. ``description``: a CSV that tells numbers
    about each state. ``rounds``: of training, between which decisions are valued anew. ``episodes``: whole episodes that are
    learned beside the decisions, so that what follows can be foreseen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    setting: str = "sepsis"
    description: str | None = None
    rounds: int = Field(default=4, ge=1, le=20)
    episodes: int = Field(default=2000, ge=0)

    @field_validator("description")
    @classmethod
    def _description(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_file():
            raise Invalid("read.missing", source=value)
        return value

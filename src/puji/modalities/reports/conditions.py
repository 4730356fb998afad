"""What a draft is asked for: the findings, the indication, and how many drafts are compared."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from puji.errors import Invalid
from puji.findings import named
from puji.modalities.reports.report import Given
from puji.modalities.reports.tags import check_given, from_machine, parsed, says_normal
from puji.modalities.reports.words import cleaned

MOST_DRAFTS = 256
DRAFTS = 32
"""Drafts that are compared where nobody says how many."""


class Conditions(BaseModel):
    """What was found and why it was looked for.

    ``findings``: by a person, "cardiomegaly/mild; pleural effusion/left (uncertain)", or "normal"; ``machine``: by a classifier,
    "pneumonia=0.93; nodule=0.12"; ``indication``; ``drafts``: how many are drawn and compared for each that is given back, 1 for
    the first that agrees with the findings. Without ``findings`` and ``machine`` whole reports are drawn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    findings: str | None = None
    machine: str | None = None
    indication: str | None = None
    drafts: int | None = None

    @field_validator("findings", "machine", mode="after")
    @classmethod
    def _found(cls, value: str | None, info: Any) -> str | None:
        if value is not None:
            if not value.strip(" \t\r\n;；"):
                raise Invalid("reports.no_findings", source=f"--{info.field_name}")
            (parsed if info.field_name == "findings" else from_machine)(value)
        return value

    @model_validator(mode="after")
    def _normal(self) -> Conditions:
        """Raises Invalid where a person says that all is normal, and something is found: neither is dropped in silence."""
        found = [one for one in self.given() or () if one.state != "absent"] if says_normal(self.findings or "") else []
        if found:
            raise Invalid("reports.normal", source="--findings", finding=named(found[0].name))
        return self

    @field_validator("indication", mode="before")
    @classmethod
    def _indication(cls, value: Any) -> Any:
        return cleaned(value) if isinstance(value, str) else value

    @field_validator("drafts", mode="after")
    @classmethod
    def _drafts(cls, value: int | None) -> int | None:
        if value is not None and not 1 <= value <= MOST_DRAFTS:
            raise Invalid("reports.drafts", source="--drafts", value=value, most=MOST_DRAFTS)
        return value

    def given(self) -> tuple[Given, ...] | None:
        """The findings of both, those of the person first; None where neither was asked. Raises Invalid if they contradict."""
        if self.findings is None and self.machine is None:
            return None
        told = (*parsed(self.findings or ""), *from_machine(self.machine or ""))
        check_given(told)
        named = {one.name for one in told if one.source == "person"}
        return tuple(one for one in told if one.source == "person" or one.name not in named)


class Ask(BaseModel):
    """Nothing is predicted of a report."""

    model_config = ConfigDict(extra="forbid", frozen=True)

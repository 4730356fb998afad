"""Options as people give them: numbers and ranges, and refusals that name the option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from puji.errors import Invalid

Number = TypeVar("Number", int, float)


class Range(BaseModel, Generic[Number]):
    """A number, or all numbers from ``low`` to ``high``. Written 2.5, "2.5", "2:3", [2, 3] or {"low": 2, "high": 3}."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: Number
    high: Number

    @classmethod
    def of(cls, value: Any, option: str = "") -> Range[Number]:
        """``value`` as a range. Raises Invalid, naming ``option``, if it is no finite number or range, or upside down."""
        if isinstance(value, Range):
            return value
        parts: Any = value
        if isinstance(value, str):
            parts = value.split(":")
        elif isinstance(value, dict):
            parts = [value.get("low"), value.get("high")] if set(value) == {"low", "high"} else []
        elif isinstance(value, int | float | np.number):
            parts = [value]
        try:
            parts = [part.item() if isinstance(part, np.number) else part for part in parts]
            if len(parts) not in (1, 2) or any(isinstance(part, bool) for part in parts):
                raise ValueError(value)
            asked = cls(low=parts[0], high=parts[-1])
        except (TypeError, ValueError, ValidationError) as error:
            raise Invalid("options.range", option=option, value=str(value)[:80]) from error
        if asked.low > asked.high:
            raise Invalid("options.range_reversed", option=option, low=f"{asked.low:g}", high=f"{asked.high:g}")
        return asked

    @property
    def single(self) -> bool:
        """Whether one value was asked for, not a range."""
        return self.low == self.high

    def distance(self, value: float) -> float:
        """How far ``value`` lies outside; 0 inside."""
        return max(self.low - value, value - self.high, 0.0)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g}" if self.single else f"{self.low:g}:{self.high:g}"


def merged(kind: type[BaseModel], given: BaseModel | Mapping[str, Any] | None, more: Mapping[str, Any]) -> Any:
    """An instance of ``kind``: ``given``, or what its fields and ``more``, which win, make. Raises Invalid as `validated`."""
    if isinstance(given, kind) and not more:
        return given
    base = given.model_dump() if isinstance(given, BaseModel) else given or {}
    if not isinstance(base, Mapping):
        raise Invalid("options.conditions", kind=type(given).__name__, known=", ".join(kind.model_fields))
    return validated(kind, {**base, **more})


def validated(kind: type[BaseModel], fields: Mapping[str, Any]) -> Any:
    """An instance of ``kind`` from its fields. Raises Invalid, naming the field as an option, for one that is wrong."""
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = f"--{first['loc'][0]}" if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            raise Invalid("options.unknown", source=option, known=", ".join(kind.model_fields)) from error
        raise Invalid("options.wrong", source=option, value=str(first["input"])[:80]) from error

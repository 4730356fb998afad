"""Who plans: the interface. A planner is asked after each new forecast, and when insulin or carbohydrate is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from puji.streams.window import Window


@dataclass(frozen=True)
class Proposal:
    """A plan, or why there is none. ``resource``: FHIR, published to the patient's topic ``plan``.

    ``text``: what is recommended, for people, in a few characters. ``why``: key of the reason where nothing is; else "".
    """

    resource: Mapping[str, Any]
    text: str
    why: str = ""


class Planner(Protocol):
    """See the module."""

    def plan(self, patient: str, window: Window, now: int, why: str = "") -> Proposal | None:
        """What to do ``now`` (milliseconds since 1970); None: nothing is planned for this patient.

        ``why``: key of the reason why there can be no plan, as there can be no forecast; "" where there is none.
        """
        ...


__all__ = ["Planner", "Proposal"]

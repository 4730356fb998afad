"""One patient's logged care: what was observed, what was done, what came of it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from puji.errors import Invalid
from puji.language import Text
from puji.modalities.plans.setting import Setting

LONGEST = 10_000
"""Steps of an episode."""
WIDEST = 1000
"""Characters of a word: a state, an action, an outcome."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was observed, a ``state`` or the ``values`` of the setting's columns (None: not measured), and the ``action``
    taken then, with the ``reward`` that came of it. An action "" has yet to be taken."""

    state: str = ""
    values: tuple[float | None, ...] = ()
    action: str = ""
    reward: float = 0.0


@dataclass(frozen=True, slots=True)
class Episode:
    """``steps`` of one patient in their order. ``outcome``: how it ended, "" where that is not known. ``features``: what is
    known from the beginning on."""

    subject: str
    steps: tuple[Step, ...]
    outcome: str = ""
    features: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether the last action has yet to be taken."""
        return bool(self.steps) and not self.steps[-1].action

    def dump(self) -> str:
        """One line of JSON."""
        steps = [[one.state or list(one.values), one.action, one.reward] for one in self.steps]
        told = {"subject": self.subject, "features": list(self.features), "steps": steps, "outcome": self.outcome}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))

    def __str__(self) -> str:
        shown = (
            one.state or " ".join("?" if value is None else f"{value:g}" for value in one.values) for one in self.steps
        )
        told = "; ".join(f"{state} {one.action}".rstrip() for state, one in zip(shown, self.steps, strict=True))
        return f"{told}: {self.outcome}" if self.outcome else told


def returns(episode: Episode, setting: Setting) -> list[float] | None:
    """What came after each step: the discounted sum of the rewards and of the ending's worth. None where the ending is not
    known and counts."""
    if setting.outcomes and episode.outcome not in setting.outcomes:
        return None
    total = setting.outcomes[episode.outcome].worth if setting.outcomes else 0.0
    found = []
    for step in reversed(episode.steps):
        total = step.reward + setting.value.discount * total
        found.append(total)
    return found[::-1]


def checked(content: Any) -> Episode:
    """An episode from itself or its JSON. Raises Invalid."""
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise Invalid("plans.episode.unreadable") from error
    if isinstance(content, Episode):
        content = json.loads(content.dump())
    try:
        steps = tuple(_step(*one) for one in content["steps"])
        features = tuple(_word(one) for one in content.get("features", []))
        found = Episode(_word(content.get("subject", "")), steps, _word(content.get("outcome", "")), features)
    except Invalid:
        raise
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise Invalid("plans.episode.unreadable") from error
    if not found.steps:
        raise Invalid("plans.episode.empty")
    if len(found.steps) > LONGEST:
        raise Invalid("plans.episode.long", most=LONGEST)
    if any(not one.action for one in found.steps[:-1]) or (found.open and found.outcome):
        raise Invalid("plans.episode.no_action")
    if len({(bool(one.state), len(one.values)) for one in found.steps}) > 1:
        raise Invalid("plans.episode.uneven")
    return found


def typed(text: str) -> Episode:
    """An episode as a person types it, or its JSON: "417 5; 221 10; 33" is a patient who was in state 417, got action 5, came
    into state 221, got action 10, and is in state 33 now; ": survived" behind it tells the outcome. Several numbers before
    the action are the values of the setting's columns ("?": not measured), and then the last step needs an action or "-".

    Raises Invalid.
    """
    if text.lstrip().startswith("{"):
        return checked(text)
    told, _, outcome = text.partition(":")
    steps: list[list[Any]] = []
    parts = [part.split() for part in told.split(";")]
    if any(not part for part in parts):
        raise Invalid("plans.episode.unreadable")
    wide = max(len(part) for part in parts) > 2
    for part in parts:
        if wide:
            steps.append([[None if one == "?" else _number(one) for one in part[:-1]], part[-1].strip("-"), 0.0])
        else:
            steps.append([part[0], part[1] if len(part) == 2 else "", 0.0])
    return checked({"steps": steps, "outcome": outcome.strip()})


def _step(state: Any, action: Any, reward: Any) -> Step:
    reward = _number(reward)
    if isinstance(state, str) and state:
        return Step(_word(state), (), _word(action), reward)
    if not isinstance(state, list) or not state:
        raise Invalid("plans.episode.no_state")
    return Step("", tuple(None if one is None else _number(one) for one in state), _word(action), reward)


def _number(value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError) as error:
        raise Invalid("plans.episode.number", value=str(value)[:40]) from error
    if isinstance(value, bool) or not math.isfinite(found):
        raise Invalid("plans.episode.number", value=str(value)[:40])
    return found


def _word(value: Any) -> str:
    if (
        not isinstance(value, str)
        or len(value) > WIDEST
        or any(not one.isprintable() or one.isspace() or one in "<>" for one in value)
    ):
        raise Invalid("plans.episode.word", value=str(value)[:40])
    return value


def check_setting(episode: Episode, setting: Setting) -> Episode:
    """``episode``, if the setting knows all of it: actions, outcome, columns and what their numbers can be. Raises Invalid."""
    known = [one.code for one in setting.actions]
    for place, step in enumerate(episode.steps, 1):
        try:
            if setting.discrete and not step.state:
                raise Invalid("plans.episode.no_state")
            if len(step.values) != len(setting.observed) or bool(step.state) != setting.discrete:
                wanted: Sequence[str] = [one.column for one in setting.observed] or ["state"]
                raise Invalid("plans.episode.columns", columns=", ".join(wanted))
            if step.action and step.action not in known:
                raise Invalid("plans.setting.action", value=step.action[:40], known=", ".join(known))
            for one, value in zip(setting.observed, step.values, strict=True):
                one.check(value)
        except Invalid as refusal:
            where = Text("plans.episode.where", {"place": place}) if len(episode.steps) > 1 else ""
            raise Invalid(refusal.reason, **{**refusal.details, "where": where}) from refusal
    if episode.outcome and episode.outcome not in setting.outcomes:
        raise Invalid("plans.episode.outcome", value=episode.outcome[:40], known=", ".join(setting.outcomes))
    return episode

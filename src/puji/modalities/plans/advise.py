"""A plan for one patient: what the network says of each action, what the safety rules let pass of it, and what may follow.

The order is fixed and nothing in a model can change it: the network proposes, the rules judge every action that is told, and
what is recommended is the best of those that the rules let pass and that enough logged decisions support. Where there is
none, the plan says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from puji.errors import Invalid
from puji.language import LANGUAGES, Text, current, translate
from puji.modalities.plans.conditions import Ask
from puji.modalities.plans.plan import (
    Alternative,
    Branch,
    Maker,
    Names,
    Order,
    Outcome,
    Plan,
    Step,
    Support,
    Verdict,
    rivalled,
)
from puji.modalities.plans.safety import Current, Facts, Given, Observation, Rules, Safety
from puji.modalities.plans.safety.case import Native, family
from puji.modalities.plans.safety.facts import checked_facts
from puji.modalities.plans.safety.rules import once
from puji.modalities.plans.setting import Setting
from puji.modalities.plans.units import Quantity
from puji.modalities.plans.value import SHRINK, Estimates, ranked
from puji.modality import Estimate

COVERAGE, Z = 0.8, 1.281552
"""Of intervals, and how many standard deviations of the normal distribution that is."""
SYSTEMS: Mapping[Native, str] = {"ATC": "ATC (ATC/J01CA04)", "ICD10": "ICD-10 (ICD10/E11)"}
"""Codes that rules can compare, each with an example, as a refusal names them."""


class Advice(dict[str, Estimate]):
    """Estimates by name, and the ``plan`` that they belong to."""

    plan: Plan | None = None


@dataclass(frozen=True)
class Considered:
    """What the network says of the actions at one state, best first: place in the setting, value with its interval,
    support."""

    place: int
    estimate: Estimate
    support: Support


def considered(setting: Setting, found: Estimates, row: int = 0) -> list[Considered]:
    """The supported actions at one state, the best first, see `ranked`.

    The value is the mean of a beta distribution that begins as `SHRINK` decisions that are worth what the state is worth, and
    has seen the logged ones; the interval is the normal one of its spread. What the labels of later rounds add in precision
    is not counted, so the interval is rather too wide than too narrow; that the logs may be confounded, no interval tells.
    """
    scores = found.shrunken()[row]
    told = []
    for place in ranked(scores[None], setting.value.equal)[0]:
        if not np.isfinite(scores[place]):
            continue
        share, cases = min(1.0, max(0.0, float(scores[place]))), float(found.support[row, place])
        spread = Z * float(np.sqrt(share * (1 - share) / (SHRINK + cases + 1)))
        ends = [setting.value.of(min(1.0, max(0.0, one))) for one in (share - spread, share + spread)]
        estimate = Estimate(setting.value.of(share), min(ends), max(ends), setting.value.unit, COVERAGE)
        told.append(Considered(int(place), estimate, Support(round(cases), float(found.taken[row, place]))))
    return told


def orders(setting: Setting, place: int) -> tuple[Order, ...]:
    """The orders of an action."""
    return tuple(one.order() for one in setting.actions[place].orders)


def plan(
    setting: Setting,
    safety: Safety | None,
    pairs: Sequence[tuple[Considered, Alternative]],
    ask: Ask,
    *,
    names: Names,
    maker: Maker,
    patient: str = "",
    made: datetime | None = None,
    follow: Callable[[int], tuple[Branch, ...]] = lambda place: (),
) -> Plan:
    """The plan at one state. ``pairs``: all actions that are considered there, see `weighed`. ``follow``: what may follow the
    action with a place, see foresee.py."""
    alternatives = [alternative for _, alternative in pairs]
    passed = [pair for pair in pairs if pair[1].verdict.outcome != "vetoed"]
    allowed = [pair for pair in passed if pair[0].support.cases >= ask.least]
    base: dict[str, Any] = {"patient": patient, "made": made or datetime.now(UTC), "maker": maker, "names": names}
    ordered = any(one.orders for one in setting.actions)
    # An action without orders is never vetoed: that nobody told a patient's allergies must not stop the insulin.
    missing = _missing(alternatives) if not passed or (allowed and not allowed[0][1].proposed) else ()
    if safety is None or not allowed or not ordered or missing:
        usual = sorted(alternatives, key=lambda one: -one.support.cases)
        told = tuple(usual[: ask.alternatives + 1])
        why: Mapping[str, Any] = {}
        if safety is None:
            reason = "plans.abstained.no_rules"
        elif not ordered and (passed or not pairs):
            reason = "plans.abstained.no_orders"
        elif missing:
            reason, why = "plans.abstained.facts", {"fact": _listed(missing)}
        elif passed or not pairs:
            most = max((one.support.cases for one, _ in passed), default=0)
            reason, why = "plans.abstained.support", {"cases": f"{most:,}"}
        else:
            reason = "plans.abstained.vetoed"
        return Plan(**base, alternatives=told, abstained=reason, why=why)
    best, chosen = allowed[0]
    # What the logs support comes before what they hardly hold, and both from the best on.
    listed = sorted(pairs, key=lambda pair: pair[0].support.cases < ask.least)
    others = tuple(alternative for one, alternative in listed if one is not best)
    return Plan(
        **base,
        now=Step(chosen.verdict.orders, branches=follow(best.place)),
        chosen=chosen,
        alternatives=others[: ask.alternatives],
        rivals=sum(rivalled(one, chosen) for one in others),
        others=len(passed) - 1,
    )


def weighed(
    setting: Setting, safety: Safety | None, found: Estimates, facts: Facts
) -> list[tuple[Considered, Alternative]]:
    """All actions that are considered, the best first, each with what the safety rules say of it."""
    return [(one, _judged(setting, safety, one, facts)) for one in considered(setting, found)]


def _missing(alternatives: list[Alternative]) -> tuple[Any, ...]:
    """The facts that the safety rules ask for and nobody told."""
    findings = (finding for one in alternatives for finding in one.verdict.findings)
    return tuple(dict.fromkeys(one.details["fact"] for one in findings if one.reason == "plans.safety.missing"))


def _listed(keys: Iterable[str]) -> dict[str, str]:
    """The texts of message ``keys`` as one list, by language."""
    return {
        language: translate("plans.comma", language).join(translate(key, language) for key in keys)
        for language in LANGUAGES
    }


def _judged(setting: Setting, safety: Safety | None, one: Considered, facts: Facts) -> Alternative:
    proposed = orders(setting, one.place)
    gives = tuple((gift.medicine, gift.route) for gift in setting.actions[one.place].gives)
    if safety is None:
        verdict = Verdict(proposed)
    elif gives and not proposed:
        verdict = safety.check_undosed(facts, gives)
    else:
        verdict = safety.check(facts, proposed)
    outcome = Outcome("value", one.estimate, setting.value.hours, setting.value.better)
    return Alternative(proposed, outcome, one.support, verdict, dict(setting.actions[one.place].name))  # type: ignore[arg-type]


def unfamiliar(names: Names, maker: Maker, patient: str) -> Plan:
    """The plan for a patient who is unlike the training data: none, and why."""
    return Plan(patient, datetime.now(UTC), maker, abstained="plans.abstained.unfamiliar", names=names)


def advice(setting: Setting, pairs: Sequence[tuple[Considered, Alternative]], state: float, made: Plan) -> Advice:
    """What a plan says, as estimates by name: "recommended" where there is one, then each action by its code, the best first and
    those behind that the safety rules veto. ``pairs``: see `weighed`; ``state``: what logged care makes of it, a share."""
    told = Advice()
    for one, judged in sorted(pairs, key=lambda pair: pair[1].verdict.outcome == "vetoed"):
        action = setting.actions[one.place]
        name = judged.title.get(current(), action.code)
        about = f"{name} ({one.support.cases:,}; {100 * one.support.probability:.2g}%)"
        if judged.verdict.outcome != "allowed":
            effect = translate(f"plans.effect.{'veto' if judged.verdict.outcome == 'vetoed' else 'reduce'}")
            about = translate("plans.semicolon").join((about, effect))
        estimate = replace(one.estimate, about=about)
        if made.chosen is not None and "recommended" not in told and orders(setting, one.place) == made.chosen.proposed:
            told["recommended"] = estimate
        told[action.code] = estimate
    if "recommended" in told:
        told = Advice({"recommended": told["recommended"], **told})
    value = setting.value.of(state)
    told["logged care"] = Estimate(value, value, value, setting.value.unit, 1.0)
    told.plan = made
    return told


def load_facts(path: str | None, rules: Rules | None = None) -> Facts:
    """The patient's facts from a JSON file, with the fields of `Facts`; doses as "5 ug/kg/min". None: nothing is
    known.

    Raises Invalid for a file that is none, and for a fact that cannot be, or that the ``rules`` cannot compare with anything (a
    mere name): vetoed later, it would pass for a plan without a recommendation, or pass silently where no rule asks for it.
    """
    if path is None:
        return Facts()
    try:
        told = json.loads(Path(path).read_text("utf-8-sig"), object_pairs_hook=once)
        if not isinstance(told, dict):
            raise Invalid("plans.facts.object")
        plain: dict[str, Any] = {key: value for key, value in told.items() if key in ("age", "weight", "pregnant")}
        lists: dict[str, Any] = {
            key: _each(key, told[key], read) for key, read in LISTS.items() if told.get(key) is not None
        }
        known = {"age", "weight", "pregnant", *LISTS}
        if unknown := sorted(set(told) - known):
            raise Invalid("plans.facts.unknown", field=str(unknown[0])[:40], known=", ".join(sorted(known)))
        return _comparable(checked_facts(Facts(**plain, **lists)), rules)
    except Invalid as refusal:
        details: dict[str, Any] = {
            name: Text(value) if name == "fact" else value for name, value in refusal.details.items()
        }
        raise Invalid(refusal.reason, source=path, **details) from refusal
    except OSError as error:
        raise Invalid("read.failed", source=path, why=error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise Invalid("plans.facts.unreadable", source=path, why=str(error)[:200]) from error


def _comparable(facts: Facts, rules: Rules | None) -> Facts:
    """``facts``, if the rules know what each of their codes is. Raises Invalid."""
    if rules is None:
        return facts
    told: tuple[tuple[str, Native, Iterable[str]], ...] = (
        ("allergies", "ATC", facts.allergies or ()),
        ("conditions", "ICD10", facts.conditions or ()),
        ("current", "ATC", (one.code for one in facts.current or ())),
        ("given", "ATC", (one.code for one in facts.given or ())),
    )
    for fact, native, codes in told:
        for code in codes:
            if code not in rules.codes and family(code) != native:
                name = code.removeprefix("LOCAL/")[:40]
                raise Invalid("plans.facts.code", fact=f"plans.fact.{fact}", value=name, system=SYSTEMS[native])
    return facts


def _quantity(told: str | None) -> Quantity | None:
    return None if told is None else Quantity.read(told)


def _each(key: str, told: Any, read: Callable[[Any], Any]) -> tuple[Any, ...]:
    try:
        if not isinstance(told, list):
            raise TypeError("no list")
        return tuple(map(read, told))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Invalid("plans.safety.fact", fact=f"plans.fact.{key}") from error


LISTS: Mapping[str, Callable[[Any], Any]] = {
    "allergies": lambda one: one,
    "conditions": lambda one: one,
    "current": lambda one: Current(one["code"], _quantity(one.get("daily"))),
    "given": lambda one: Given(**{**one, "dose": Quantity.read(one["dose"])}),
    "observations": lambda one: Observation(one["code"], Quantity.read(one["value"]), one["age"]),
}
"""Facts that are lists in a file, and how one of theirs is read."""

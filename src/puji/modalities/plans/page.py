"""A plan as one page for a clinician, in English and Chinese, that needs no network: see `puji.gallery`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from puji import gallery
from puji.gallery import Chapter, Figure, Section
from puji.language import LANGUAGES, Text, current, translate
from puji.modalities.plans import words
from puji.modalities.plans.draw import alternatives
from puji.modalities.plans.plan import Plan


@dataclass(frozen=True)
class Spoken(Text):
    """A text that is not one message, but made in each language by ``tell``."""

    key: str = ""
    tell: Callable[[str], str] = str

    def text(self, language: str) -> str:
        """What ``tell`` says in ``language``; a number and its unit stay on one line."""
        return re.sub(r"(?<=\d) (?=\S)", "\N{NO-BREAK SPACE}", self.tell(language))


def page(plan: Plan, language: str | None = None, more: Sequence[Section] = ()) -> str:
    """The whole HTML page, opening in ``language``, with ``more`` behind what the plan tells."""
    digests = sorted({one.verdict.rules for one in plan.considered if one.verdict.rules})
    card = {"patient": plan.patient, **asdict(plan.maker), "safety rules": ", ".join(digests)}
    chapter = Chapter("plans", card, [*parts(plan).values(), *more])
    made = plan.made.isoformat(sep=" ", timespec="minutes")
    return gallery.page([chapter], language or current(), date=made, kind="plans.page")


def parts(plan: Plan) -> dict[str, Section]:
    """The sections of the page by name, in their order: "now" or "none", "considered", "safety", "later", "why"; those of which
    there is something to tell."""
    named = {
        "none" if plan.now is None else "now": _now(plan),
        "considered": _considered(plan),
        "safety": _safety(plan),
        "later": _later(plan),
        "why": _why(plan),
    }
    return {name: section for name, section in named.items() if section is not None}


def _say(tell: Callable[..., str], *about: Any) -> Spoken:
    return Spoken(tell=lambda language: tell(*about, language))


def _section(
    name: str, rows: Sequence[dict[str, Any]], note: Text | None = None, figures: Sequence[Figure] = ()
) -> Section | None:
    """None where there is nothing to tell."""
    columns = {key: Text(f"plans.column.{key}") for row in rows[:1] for key in row}
    return Section(Text(f"plans.section.{name}"), note, figures, rows, columns) if rows or note or figures else None


def _now(plan: Plan) -> Section | None:
    if plan.now is None or plan.chosen is None:
        return _section("none", (), _say(words.reason, plan))
    rows = [
        {
            "medicine": _say(words.given, one, plan),
            "dose": _say(one.dose.shown),
            "route": _say(words.route, one),
            "when": _say(words.timing, one),
        }
        for one in plan.now.orders
    ]
    return _section("now", rows or [{"medicine": Text("plans.order.none")}], _say(words.expected, plan))


def _considered(plan: Plan) -> Section | None:
    if not plan.considered:
        return None
    rows = [
        {
            "action": _say(words.titled, one, plan),
            "predicted": _say(words.interval, one.outcome),
            "cases": one.support.cases,
            "verdict": Text(f"plans.outcome.{one.verdict.outcome}"),
        }
        for one in plan.considered
    ]
    pictures = {language: str(alternatives(plan, language=language)) for language in LANGUAGES}
    figure = Figure(pictures, Text("plans.figure"), wide=True)
    return _section("considered", rows, _say(_counted, plan), [figure])


def _counted(plan: Plan, language: str) -> str:
    """What is predicted, which decisions were counted, and how far both can be trusted."""
    outcome, alike = plan.considered[0].outcome, words.alike(plan, language)
    told = {"name": plan.name(outcome.name, language), "within": words.duration(60 * outcome.hours, language)}
    told["better"] = translate(f"plans.remark.{outcome.better}", language)
    texts = [translate("plans.section.considered.value", language, **told)]
    texts += [translate("plans.section.considered.alike", language, alike=alike)] if alike else []
    return translate("plans.space", language).join([*texts, translate("plans.section.considered.note", language)])


def _safety(plan: Plan) -> Section | None:
    rows = [
        {
            "action": _say(words.titled, one, plan),
            "effect": Text(f"plans.effect.{finding.effect}"),
            "message": Spoken(tell=lambda language, finding=finding: finding.message(language, plan.names)),  # type: ignore[misc]
            "rule": finding.rule,
        }
        for one in plan.considered
        for finding in one.verdict.findings
    ]
    return _section("safety", rows)


def _later(plan: Plan) -> Section | None:
    rows = [
        {
            "response": _say(words.route_to, path, plan),
            "probability": f"{100 * path[-1].probability:.0f}%",
            "at": _say(words.duration, path[-1].step.at),
            "action": _say(words.later, path[-1].step.orders, plan),
        }
        for path in words.branches(plan.now)
    ]
    return _section("later", rows, Text("plans.section.later.note") if rows else None)


def _why(plan: Plan) -> Section | None:
    ordered = sorted(plan.drivers, key=lambda one: -abs(one.weight))
    rows = [
        {
            "state": _say(plan.name, one.code),
            "value": _say(one.value.shown) if one.value is not None else None,
            "weight": one.weight,
            "speaks": Text("plans.driver.is_for" if one.weight > 0 else "plans.driver.is_against"),
        }
        for one in ordered
    ]
    return _section("why", rows)

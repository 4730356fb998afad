"""A plan as the narrative of a FHIR resource: plain XHTML that says that a machine proposes it, and what."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from puji.language import translate
from puji.modalities.plans import words
from puji.modalities.plans.plan import Alternative, Plan

XHTML = "http://www.w3.org/1999/xhtml"


def div(plan: Plan, language: str) -> str:
    """The whole plan in ``language``."""
    parts = [f"<p><b>{escape(translate('plans.review', language))}</b></p>"]
    if plan.now is None or plan.chosen is None:
        parts += _titled("none", [plan.reason(language)], language)
    else:
        orders = [words.order(one, plan, language) for one in plan.now.orders]
        parts += _titled("now", orders or [words.action((), plan, language)], language)
        told = [words.outcome(plan.chosen.outcome, plan, language), words.support(plan.chosen, plan, language)]
        parts += _titled("expected", told, language)
        parts += _titled("later", [words.step(path, plan, language) for path in words.branches(plan.now)], language)
    parts += _titled(
        "safety", [text for one in plan.considered for text in words.findings(one, plan, language)], language
    )
    parts += _titled("alternatives", [_alternative(one, plan, language) for one in plan.alternatives], language)
    parts += _titled("why", [words.driver(one, plan, language) for one in plan.drivers], language)
    parts += _titled("origin", [words.origin(plan, language)], language)
    return f'<div xmlns="{XHTML}" lang="{language}" xml:lang="{language}">{"".join(parts)}</div>'


def _alternative(one: Alternative, plan: Plan, language: str) -> str:
    told = [words.whole(one, one.orders, plan, language), words.outcome(one.outcome, plan, language)]
    told += [words.support(one, plan, language), translate(f"plans.outcome.{one.verdict.outcome}", language)]
    return translate("plans.semicolon", language).join(told)


def _titled(name: str, texts: Iterable[str], language: str) -> list[str]:
    items = [f"<li>{escape(text)}</li>" for text in texts]
    return (
        [f"<h3>{escape(translate(f'plans.section.{name}', language))}</h3>", "<ul>", *items, "</ul>"] if items else []
    )

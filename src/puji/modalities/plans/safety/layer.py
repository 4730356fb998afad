"""The safety layer: what stands between a proposal and a recommendation.

A model proposes orders; that is all of it that arrives here. `Safety.check` takes no option, the rules come from the setting's
own file, the facts from the record, and every copy is checked again in plain values, so nothing that a model produces (a
condition, a token, a code) can loosen or skip a rule. What raises an error is vetoed. Rules that were changed after they were
read are noticed by their SHA-256, and then everything is vetoed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, final

from puji.errors import Invalid
from puji.modalities.plans.plan import Finding, Order, Verdict, reduced
from puji.modalities.plans.safety.case import Case
from puji.modalities.plans.safety.facts import Facts, checked_facts, checked_orders
from puji.modalities.plans.safety.rules import Rules
from puji.modalities.plans.units import Quantity, exact, rounded_down


@final
@dataclass(frozen=True, slots=True)
class Safety:
    """The rules of a setting, ready to judge. ``digest``: SHA-256 of the rules, as hexadecimal digits."""

    rules: Rules
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        # A copy of its own: no rule of another class, nothing shared with whoever made them.
        object.__setattr__(self, "rules", Rules.model_validate_json(self.rules.model_dump_json()))
        object.__setattr__(self, "digest", _digest(self.rules))

    def check(self, facts: Facts, orders: tuple[Order, ...]) -> Verdict:
        """What the rules say about ``orders``, all together, for a patient of whom ``facts`` are known. Never raises an error.

        A dose above an upper limit that allows it is reduced; what is left is judged again.
        """
        try:
            return self._check(facts, orders)
        except Invalid as refusal:
            return self._verdict((), [_refused(refusal)])
        except Exception:
            return self._verdict((), [Finding("veto", "plans.safety.failed")])

    def check_undosed(self, facts: Facts, given: tuple[tuple[str, str], ...]) -> Verdict:
        """What the rules that look at no dose say about medicines that are ``given`` by a route, (code, route), in doses that are
        not known here; the verdict has no orders. Never raises an error."""
        try:
            orders = tuple(Order(code, Quantity(1.0, "1"), route) for code, route in given)
            verdict = self._check(facts, orders, dosed=False)
        except Invalid as refusal:
            return self._verdict((), [_refused(refusal)])
        except Exception:
            return self._verdict((), [Finding("veto", "plans.safety.failed")])
        return replace(verdict, orders=())

    def _check(self, facts: Any, orders: Any, dosed: bool = True) -> Verdict:
        if _digest(self.rules) != self.digest:
            raise Invalid("plans.safety.changed")
        case = Case(checked_facts(facts), checked_orders(orders), self.rules.codes)
        findings = self._judge(case, dosed)
        shares = _shares(findings)
        if shares and not _vetoed(findings):
            less = tuple(_less(order, shares.get(place)) for place, order in enumerate(case.orders))
            case = replace(case, orders=less)
            # Less may be too little, and nothing may be left that is above a limit.
            again = [one for one in self._judge(case) if one.effect != "caution"]
            findings += [replace(one, effect="veto") for one in again]
        return self._verdict(case.orders, findings)

    def _judge(self, case: Case, dosed: bool = True) -> list[Finding]:
        found: list[Finding] = []
        for rule in self.rules.rules:
            if rule.dosed and not dosed:
                continue
            try:
                found += list(rule.judge(case))
            except Invalid as refusal:
                found.append(_refused(refusal, rule.id, getattr(rule, "effect", "veto")))
            except Exception:
                found.append(Finding("veto", "plans.safety.rule_failed", rule.id, details={"rule": rule.id}))
        return found

    def _verdict(self, orders: tuple[Order, ...], findings: list[Finding]) -> Verdict:
        ordered = tuple(sorted(findings, key=_place))
        return Verdict(() if _vetoed(findings) else orders, ordered, self.digest)


def _digest(rules: Rules) -> str:
    return hashlib.sha256(rules.model_dump_json().encode()).hexdigest()


def _refused(refusal: Invalid, rule: str = "", effect: Any = "veto") -> Finding:
    order = refusal.line - 1 if refusal.source == "order" and refusal.line else None
    return Finding(effect, refusal.reason, rule, order, {key: str(value) for key, value in refusal.details.items()})


def _vetoed(findings: list[Finding]) -> bool:
    return any(finding.effect == "veto" for finding in findings)


def _shares(findings: list[Finding]) -> dict[int, Fraction]:
    """The smallest share that stays of each order that is reduced."""
    shares: dict[int, Fraction] = {}
    for one in findings:
        if one.effect == "reduce" and one.order is not None:
            shares[one.order] = min(one.share, shares.get(one.order, Fraction(1)))
    return shares


def _less(order: Order, share: Fraction | None) -> Order:
    return order if share is None else reduced(order, rounded_down(exact(order.dose.value) * share))


def _place(finding: Finding) -> tuple[Any, ...]:
    """Findings stand in an order of their own, whatever that of the rules."""
    worst = ("veto", "reduce", "caution").index(finding.effect)
    return (worst, -1 if finding.order is None else finding.order, finding.rule, finding.reason, repr(finding.details))

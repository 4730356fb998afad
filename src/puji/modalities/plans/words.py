"""Orders, outcomes and steps in the words of a clinician, in English and Chinese."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from puji.language import translate
from puji.modalities.plans.plan import Alternative, Branch, Driver, Finding, Order, Outcome, Plan, Step
from puji.modalities.plans.setting import Value
from puji.modalities.plans.units import Quantity, parsed

DAY = 1440.0
"""Minutes."""


def duration(minutes: float, language: str) -> str:
    """Minutes as people say them: "30 min", "4 h", "2 d"."""
    size, name = next(
        (size, name) for size, name in ((DAY, "d"), (60.0, "h"), (1.0, "min")) if minutes >= 2 * size or size == 1
    )
    return translate(f"plans.time.{name}", language, value=f"{minutes / size:.4g}")


def route(one: Order, language: str) -> str:
    """How an order is given."""
    return translate(f"plans.route.{one.route}", language)


def timing(one: Order, language: str, now: bool = True) -> str:
    """When an order begins (``now``: also where that is at once), how long it lasts, and how often it comes."""
    parts = []
    if one.start:
        parts.append(translate("plans.order.later", language, start=duration(one.start, language)))
    elif now:
        parts.append(translate("plans.order.now", language))
    if one.minutes:
        key = "plans.order.runs" if "/time" in parsed(one.dose.unit).kind else "plans.order.over"
        parts.append(translate(key, language, minutes=duration(one.minutes, language)))
    if one.times > 1:
        parts.append(translate("plans.order.times", language, times=one.times, every=duration(one.every, language)))
    return translate("plans.comma", language).join(parts)


def order(one: Order, plan: Plan, language: str, now: bool = True) -> str:
    """One order in one sentence; ``now``: see `timing`."""
    told = {"medicine": given(one, plan, language), "dose": one.dose.shown(language), "route": route(one, language)}
    parts = (translate("plans.order", language, **told), timing(one, language, now))
    return translate("plans.comma", language).join(part for part in parts if part)


def given(one: Order, plan: Plan, language: str) -> str:
    """The medicine of an order, and what its kind of dose is called where the setting says so: "basal rate, insulin"."""
    medicine, called = plan.name(one.code, language), giving(one, plan, language)
    return translate("plans.given", language, giving=called, medicine=medicine) if called else medicine


def giving(one: Order, plan: Plan, language: str) -> str:
    """What the setting calls a rate or a single dose: "basal rate", "bolus"; "" where it says nothing."""
    kind = "rate" if "/time" in parsed(one.dose.unit).kind else "dose"
    return plan.names.get(f"giving.{kind}", {}).get(language, "")


def action(orders: Sequence[Order], plan: Plan, language: str, now: bool = True) -> str:
    """All orders of one action; that there is none is an action, too."""
    if not orders:
        return translate("plans.order.none", language)
    return translate("plans.semicolon", language).join(order(one, plan, language, now) for one in orders)


def whole(one: Alternative, orders: Sequence[Order], plan: Plan, language: str) -> str:
    """The ``orders`` of an alternative; where it has none, what the setting calls it: its doses may be known to nobody yet."""
    return action(orders, plan, language) if orders else one.title.get(language) or action((), plan, language)


def later(orders: Sequence[Order], plan: Plan, language: str) -> str:
    """The action of a later step, whose time is told elsewhere."""
    return action(orders, plan, language, now=False)


def brief(orders: Sequence[Order], plan: Plan, language: str) -> str:
    """An action as a figure names it: medicines, or what their doses are called, and doses."""
    if not orders:
        return translate("plans.order.none", language)
    return " + ".join(
        f"{giving(one, plan, language) or plan.name(one.code, language)} {one.dose.shown(language)}" for one in orders
    )


def value(outcome: Outcome, found: float, language: str) -> str:
    """A number of an outcome with its unit; a probability in percent."""
    unit = outcome.estimate.unit
    if unit in ("", "%"):
        return f"{100 * found if unit == '' else found:.3g}%"
    return Quantity(float(f"{found:.3g}"), unit).shown(language)


def interval(one: Outcome, language: str) -> str:
    """The predicted value with its interval."""
    found = {name: value(one, getattr(one.estimate, name), language) for name in ("value", "low", "high")}
    return translate("plans.interval", language, coverage=f"{100 * one.estimate.coverage:.0f}%", **found)


def outcome(one: Outcome, plan: Plan, language: str) -> str:
    """What is predicted, until when, with its interval."""
    told = {"name": plan.name(one.name, language), "within": duration(60 * one.hours, language)}
    return translate("plans.predicted", language, interval=interval(one, language), **told)


def titled(one: Alternative, plan: Plan, language: str) -> str:
    """An action as the setting calls it, and the orders that stand for it."""
    told = brief(one.orders, plan, language)
    title = one.title.get(language)
    return translate("plans.titled", language, title=title, orders=told) if title and one.orders else title or told


def whose(plan: Plan, told: str, language: str) -> str:
    """What is told about a plan, with for whom it is, where that is known."""
    return translate("plans.whose", language, patient=plan.patient, told=told) if plan.patient else told


def expected(plan: Plan, language: str) -> str:
    """For whom the recommendation is, what is expected of it, how logged care covers it, and whether rules reduced it."""
    if plan.chosen is None:
        return ""
    title = plan.chosen.title.get(language)
    texts = [title] if title else []
    texts += [outcome(plan.chosen.outcome, plan, language), support(plan.chosen, plan, language)]
    if plan.rivals:
        texts.append(translate("plans.rivals", language, count=plan.rivals, others=plan.others))
    texts += [translate("plans.outcome.reduced", language)] if plan.chosen.verdict.outcome == "reduced" else []
    return whose(plan, translate("plans.semicolon", language).join(texts), language)


def remarks(plan: Plan, value: Value, language: str) -> list[str]:
    """What stands below a table of estimates: what is recommended, or why nothing is; and what the numbers are."""
    if plan.now is None:
        told = [translate("plans.remark.none", language, why=plan.reason(language))]
    else:
        orders = action(plan.now.orders, plan, language)
        told = [translate("plans.remark.now", language, action=orders, expected=expected(plan, language))]
    found = [finding for one in plan.considered for finding in one.verdict.findings]
    told += dict.fromkeys(
        translate(
            "plans.remark.finding",
            language,
            effect=translate(f"plans.effect.{one.effect}", language),
            why=one.message(language, plan.names),
        )
        for one in found
        if one.reason != "plans.safety.missing" or plan.now is not None
    )
    if plan.considered:
        name, within = plan.name("value", language), duration(60 * value.hours, language)
        better = translate(f"plans.remark.{value.better}", language)
        numbers = {"name": name, "within": within, "better": better, "alike": alike(plan, language)}
        told.append(translate("plans.remark.numbers", language, **numbers))
    return told


def reason(plan: Plan, language: str) -> str:
    """For whom there is no recommendation, and why."""
    return whose(plan, plan.reason(language), language)


def support(one: Alternative, plan: Plan, language: str) -> str:
    """How far logged care covers an action, and which decisions were counted."""
    share, where = f"{100 * one.support.probability:.2g}%", alike(plan, language)
    told = {"cases": f"{one.support.cases:,}", "share": share}
    told["alike"] = f"{translate('plans.space', language)}{where}" if where else ""
    return translate("plans.support", language, **told)


def alike(plan: Plan, language: str) -> str:
    """Which logged decisions count as support: "in this state"; "" where the plan does not tell."""
    return plan.names.get("alike", {}).get(language, "")


def condition(branch: Branch, plan: Plan, language: str) -> str:
    """How the patient has to respond for a branch."""
    low = "" if branch.low is None else branch.low.shown(language)
    high = "" if branch.high is None else branch.high.shown(language)
    key = ("between" if high else "least") if low else "below" if high else "any"
    return translate(f"plans.branch.{key}", language, name=plan.name(branch.code, language), low=low, high=high)


def branches(step: Step | None, path: tuple[Branch, ...] = ()) -> Iterator[tuple[Branch, ...]]:
    """Every further step below ``step``, as the branches that lead there, in the order of the tree."""
    for branch in step.branches if step is not None else ():
        yield (*path, branch)
        yield from branches(branch.step, (*path, branch))


def route_to(path: Sequence[Branch], plan: Plan, language: str) -> str:
    """The conditions of all branches that lead to a step."""
    return translate("plans.then", language).join(condition(branch, plan, language) for branch in path)


def step(path: Sequence[Branch], plan: Plan, language: str) -> str:
    """The step at the end of a path of branches: when it comes, and what it is."""
    last = path[-1].step
    return translate(
        "plans.step",
        language,
        when=route_to(path, plan, language),
        at=duration(last.at, language),
        what=later(last.orders, plan, language),
    )


def finding(one: Alternative, found: Finding, plan: Plan, language: str) -> str:
    """What a safety rule says about an action."""
    return translate(
        "plans.finding",
        language,
        action=whole(one, one.proposed, plan, language),
        effect=translate(f"plans.effect.{found.effect}", language),
        message=found.message(language, plan.names),
    )


def findings(one: Alternative, plan: Plan, language: str) -> list[str]:
    """All that the safety rules say about an action."""
    return [finding(one, found, plan, language) for found in one.verdict.findings]


def driver(one: Driver, plan: Plan, language: str) -> str:
    """A part of the patient's state, and whether it speaks for the recommendation or against it."""
    name = plan.name(one.code, language)
    told = name if one.value is None else f"{name} {one.value.shown(language)}"
    return translate("plans.driver.for" if one.weight > 0 else "plans.driver.against", language, name=told)


def origin(plan: Plan, language: str) -> str:
    """Which model made the plan, and when."""
    maker = plan.maker
    when = plan.made.isoformat(sep=" ", timespec="minutes")
    told = {"name": maker.name, "version": maker.version, "commit": maker.commit[:12], "weights": maker.weights[:12]}
    key = "plans.origin" if maker.commit or maker.weights else "plans.origin.short"
    return translate(key, language, made=when, **told)

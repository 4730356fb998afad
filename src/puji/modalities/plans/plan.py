"""What a plan is made of: orders, what the safety rules said about them, steps, alternatives, and why.

Plain frozen data. A recommendation exists only together with the verdict that let it pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from typing import Literal

from puji.language import translate
from puji.modalities.plans.units import Quantity
from puji.modality import Estimate

Names = Mapping[str, Mapping[str, str]]
"""Code -> language -> its name."""
Effect = Literal["veto", "reduce", "caution"]
Detail = str | Quantity | Mapping[str, str]
"""A value that a message names: a text, a message's key, a code, a quantity, or a text by language."""


@dataclass(frozen=True)
class Order:
    """One medicine to be given.

    ``code``: "ATC/A10AB01", "RXNORM/5856", "LOCAL/insulin". ``dose``: of one administration: an amount ("U", "mg/kg"), or a rate
    ("ug/kg/min") at which it runs for ``minutes``. ``route``: one of `ROUTES`. ``start``: minutes from now. ``minutes``: how long
    one administration lasts, 0 for at once. ``times``: administrations, each beginning ``every`` minutes after the one before.
    """

    code: str
    dose: Quantity
    route: str
    start: float = 0.0
    minutes: float = 0.0
    times: int = 1
    every: float = 0.0


ROUTES = {
    "oral": "26643006",
    "sublingual": "37839007",
    "intravenous": "47625008",
    "intramuscular": "78421000",
    "subcutaneous": "34206005",
    "rectal": "37161004",
    "nasal": "46713006",
    "topical": "6064005",
    "transdermal": "45890007",
    "intraosseous": "417255000",
}
"""Routes of administration -> SNOMED CT."""


@dataclass(frozen=True)
class Finding:
    """What one rule says about a proposal.

    ``reason``: key of its message. ``rule``: its name in the setting's rules; "" where the proposal or the facts were refused
    before any rule. ``order``: which one, counted from 0; None: the proposal as a whole. ``share``: how much of the dose stays.
    """

    effect: Effect
    reason: str
    rule: str = ""
    order: int | None = None
    details: Mapping[str, Detail] = field(default_factory=dict)
    share: Fraction = Fraction(1)

    def message(self, language: str, names: Names | None = None) -> str:
        """What it says, for people, in ``language``; codes by their ``names``."""
        told = {key: shown(value, language, names or {}) for key, value in self.details.items()}
        return translate(self.reason, language, **told)


def shown(value: Detail, language: str, names: Names) -> str:
    """A detail as people read it: a quantity, a key of a message, a code by its name, or the text itself."""
    if isinstance(value, Quantity):
        return value.shown(language)
    if not isinstance(value, str):
        return value[language]
    if value.startswith("plans."):
        return translate(value, language)
    return names.get(value, {}).get(language) or value


@dataclass(frozen=True)
class Verdict:
    """What the safety rules say about a proposal. ``orders``: what may be given; none where it was vetoed.

    ``rules``: SHA-256 of the rules that were applied, as hexadecimal digits.
    """

    orders: tuple[Order, ...]
    findings: tuple[Finding, ...] = ()
    rules: str = ""

    def __post_init__(self) -> None:
        if self.outcome == "vetoed" and self.orders:
            raise ValueError("a vetoed proposal has no orders")

    @property
    def outcome(self) -> Literal["allowed", "reduced", "vetoed"]:
        """Vetoed if any rule vetoes, reduced if any reduces a dose, else allowed."""
        effects = {finding.effect for finding in self.findings}
        return "vetoed" if "veto" in effects else "reduced" if "reduce" in effects else "allowed"


@dataclass(frozen=True)
class Outcome:
    """What is predicted to come of an action, ``hours`` from now.

    ``name``: a code, or a word of ``Plan.names``. ``better``: which way is good. The estimate's unit is UCUM's, or "" for a
    probability.
    """

    name: str
    estimate: Estimate
    hours: float
    better: Literal["up", "down"]


@dataclass(frozen=True)
class Support:
    """How far logged care covers an action in states like this one.

    ``cases``: logged decisions; ``probability``: that logged care takes this action.
    """

    cases: int
    probability: float


@dataclass(frozen=True)
class Branch:
    """A further step, and how the patient has to respond for it to come: ``code`` observed from ``low`` to below ``high``."""

    code: str
    low: Quantity | None
    high: Quantity | None
    probability: float
    step: Step


@dataclass(frozen=True)
class Step:
    """Orders at some time, in minutes from now, and what follows. The orders of a later step are to be judged when it comes."""

    orders: tuple[Order, ...]
    at: float = 0.0
    branches: tuple[Branch, ...] = ()


@dataclass(frozen=True)
class Alternative:
    """An action that was considered: as it was ``proposed``, and what the rules say about it.

    ``outcome`` and ``support`` are those of ``orders``: of what the rules leave, and of the proposal where they veto it.
    ``title``: language -> what the setting calls the action, where that says more than its orders: a level of doses.
    """

    proposed: tuple[Order, ...]
    outcome: Outcome
    support: Support
    verdict: Verdict
    title: Mapping[str, str] = field(default_factory=dict)

    @property
    def orders(self) -> tuple[Order, ...]:
        """What the outcome is predicted of."""
        return self.proposed if self.verdict.outcome == "vetoed" else self.verdict.orders


def rivalled(one: Alternative, chosen: Alternative) -> bool:
    """Whether an alternative that may be given is as good as the recommended action within its interval."""
    if one.verdict.outcome == "vetoed" or one.outcome.name != chosen.outcome.name:
        return False
    found, value = one.outcome.estimate, chosen.outcome.estimate.value
    return found.high >= value if chosen.outcome.better == "up" else found.low <= value


@dataclass(frozen=True)
class Driver:
    """A part of the patient's state that drove the recommendation: for it (``weight`` above 0) or against it."""

    code: str
    value: Quantity | None
    weight: float


@dataclass(frozen=True)
class Maker:
    """The model that made a plan: ``commit`` of the code, ``weights``: their SHA-256 as hexadecimal digits."""

    name: str
    version: str
    commit: str
    weights: str


@dataclass(frozen=True)
class Plan:
    """A proposal for one patient, or the reason why there is none.

    ``patient``: the reference, "Patient/1". ``made``: with its time zone. ``now``: the recommended step, whose orders are
    those of ``chosen``'s verdict. ``alternatives``: those that are told; ``rivals`` of all ``others`` that the rules let pass may
    be as good. ``abstained``: message key of the reason, with ``why`` as the values of its fields.
    Raises ValueError for a plan that contradicts itself.
    """

    patient: str
    made: datetime
    maker: Maker
    now: Step | None = None
    chosen: Alternative | None = None
    alternatives: tuple[Alternative, ...] = ()
    drivers: tuple[Driver, ...] = ()
    abstained: str | None = None
    why: Mapping[str, Detail] = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    rivals: int = 0
    others: int = 0

    def __post_init__(self) -> None:
        if self.made.tzinfo is None:
            raise ValueError("a plan is made at a time with a zone")
        if self.abstained is not None:
            if self.now is not None or self.chosen is not None:
                raise ValueError("a plan that abstains recommends nothing")
        elif self.now is None or self.chosen is None:
            raise ValueError("a plan recommends a step, or says why not")
        elif not self.chosen.verdict.rules:
            raise ValueError("a plan recommends what safety rules have judged")
        elif self.chosen.verdict.outcome == "vetoed" or self.now.orders != self.chosen.verdict.orders:
            raise ValueError("a plan recommends what the safety rules let pass, and nothing else")

    def name(self, code: str, language: str) -> str:
        """The name of a code in ``language``; the code itself where it has none."""
        return shown(code, language, self.names)

    def reason(self, language: str) -> str:
        """Why the plan abstains; "" where it does not."""
        if self.abstained is None:
            return ""
        told = {key: shown(value, language, self.names) for key, value in self.why.items()}
        return translate(self.abstained, language, **told)

    @property
    def considered(self) -> tuple[Alternative, ...]:
        """The recommended action first, then the others."""
        return (self.chosen, *self.alternatives) if self.chosen is not None else self.alternatives


def reduced(order: Order, value: float) -> Order:
    """``order`` with another dose in the same unit."""
    return replace(order, dose=Quantity(value, order.dose.unit))

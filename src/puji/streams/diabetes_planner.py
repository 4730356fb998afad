"""The planner for type-1 diabetes: a window of readings and what the patient usually gets, to a plan as FHIR.

What is told to the model is what an insulin pump knows (`puji.modalities.plans.diabetes.doses.Calculator`): the last glucose
readings, the insulin and the carbohydrate that have yet to act, and the hour of the day. Nothing is recommended where that is not
known: without a forecast, with gaps in the last readings, or where nobody tells what insulin was given. Announced carbohydrate
may be missing: the model knows people who announce no meals, and the plan says that it takes the patient for one of them.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

from puji import registry
from puji.errors import Invalid
from puji.language import current, translate
from puji.modalities.plans.careplan import bundle
from puji.modalities.plans.diabetes.control import Dose
from puji.modalities.plans.diabetes.doses import ACTIONS, COLUMNS, READINGS, Calculator, Therapy
from puji.modalities.plans.diabetes.planning import plan_for
from puji.modalities.plans.diabetes.safeguard import REMEMBERED, facts
from puji.modalities.plans.plan import Maker, Plan
from puji.modalities.plans.safety import Current
from puji.streams.planner import Proposal
from puji.streams.resources import SIMULATED
from puji.streams.settings import Settings
from puji.streams.tokens import STEP
from puji.streams.vitals import BASAL, BOLUS, CARBOHYDRATE, GLUCOSE
from puji.streams.window import STEP_MS, Window

RELEASED = "plans-diabetes"
"""The released model that is taken where none is named."""
MINUTE = 60_000
ACTING = 6 * 60
"""Minutes whose insulin and carbohydrate are counted: of a bolus that is older, 1 % has yet to act."""
ANNOUNCED = 15
"""Minutes for which an announced meal waits for its bolus; after them it counts as eaten without one."""
LEAST = 20
"""Logged decisions that have to support what is recommended, as `puji predict plans` asks by default."""


class Known(NamedTuple):
    """What a window tells at a time: a bolus calculator that knows it, the last reading (mg/dl) and its age (minutes), g of a
    meal that waits for its bolus, U in the last `REMEMBERED` minutes, whether meals are announced, and the basal rate is told.
    """

    calculator: Calculator
    reading: float
    age: float
    announced: float
    given: float
    counting: bool
    rated: bool


class DiabetesPlanner:
    """Plans for the patients of ``settings``; nothing is planned for others.

    Parameters
    ----------
    model : puji.Model
        Of the setting "diabetes" of the modality plans. Raises Invalid for any other.
    settings : mapping of str to Settings
        By patient.
    simulated : bool
        Of virtual patients, who live by UTC; the hour of others is that of this computer's time zone.
    least : int
        Logged decisions that have to support what is recommended.
    """

    def __init__(
        self, model: Any, settings: Mapping[str, Settings], *, simulated: bool = False, least: int = LEAST
    ) -> None:
        setting = getattr(model.modality, "setting", None)
        columns = () if setting is None else tuple(one.column for one in setting.observed)
        actions = () if setting is None else tuple(one.code for one in setting.actions)
        # A model of an older form of the setting would be told what it does not know.
        if (columns, actions) != (COLUMNS, ACTIONS) or model.modality.rules is None:
            raise Invalid("streams.plans.setting", source=str(model.name))
        self.model, self.settings, self.simulated, self.least = model, settings, simulated, least
        weights = registry.shipped().get(model.name, {}).get("sha256", "")
        self.maker = Maker(model.name, version("puji"), str(model.provenance.get("commit", "")), weights)

    def plan(self, patient: str, window: Window, now: int, why: str = "") -> Proposal | None:
        """See `puji.streams.planner.Planner`."""
        settings = self.settings.get(patient)
        if settings is None:
            return None
        made = datetime.fromtimestamp(now / 1000, UTC)
        known = None
        reason = why.replace("streams.none.", "streams.plan.none.") or gaps(window) or unknown_insulin(window, now)
        if not reason:
            known = state(settings.therapy, window, now)
            found = self._made(settings, known, made)
        else:
            names = self.model.modality.setting.names(self.model.modality.rules)
            found = Plan(f"Patient/{patient}", made, self.maker, abstained=reason, names=names)
        return Proposal(self._resource(found, window, known), brief(found), found.abstained or "")

    def _made(self, told: Settings, known: Known, now: datetime) -> Plan:
        current = tuple(Current(code) for code in told.current)
        here = now if self.simulated else now.astimezone()
        minute = here.hour * 60 + here.minute
        return plan_for(
            self.model,
            known.calculator,
            known.announced,
            minute,
            facts(told.age, told.weight, known.reading, known.given, round(known.age, 2), current),
            f"Patient/{told.patient}",
            known.counting,
            self.least,
            made=now,
            maker=self.maker,
        )

    def _resource(self, plan: Plan, window: Window, known: Known | None) -> dict[str, Any]:
        """The plan as a Bundle; its CarePlan says what was not known, and from which reading it was made."""
        found = bundle(plan, current())
        care = found["entry"][0]["resource"]
        if known is not None:
            missing = {"carbohydrate": known.counting, "basal": known.rated}
            care["note"] += [
                {"text": translate(f"streams.plan.unknown.{key}")} for key, told in missing.items() if not told
            ]
        series = window.series.get(GLUCOSE.name)
        newest = series.newest() if series else None
        if series is not None and newest is not None:
            source = {"reference": f"Observation/{series.values[newest][1]}"}
            care["supportingInfo"] = [source, *care.get("supportingInfo", [])]
        if self.simulated:
            for entry in found["entry"]:
                entry["resource"].setdefault("meta", {})["security"] = [SIMULATED]
        return found


def brief(plan: Plan) -> str:
    """What is recommended, in a few characters: "0.85 U/h + 2.1 U"; "" where nothing is."""
    if plan.now is None:
        return ""
    doses = [one.dose.shown(current()) for one in plan.now.orders]
    return " + ".join(doses) or translate("streams.plan.stop")


def gaps(window: Window) -> str:
    """Key of the reason, where one of the last readings that tell glucose and trend is missing; else ""."""
    last = _last(window)
    if any(window.step(last - back) is None for back in range(READINGS)):
        return "streams.plan.none.gaps"
    return ""


def unknown_insulin(window: Window, now: int) -> str:
    """Key of the reason, where what is told of insulin does not reach back as far as the safety rules ask; else ""."""
    told = [*_told(window, BOLUS.name)[:1], *_told(window, BASAL.name)[:1]]
    if not told:
        return "streams.plan.none.insulin"
    return "streams.plan.none.insulin_short" if min(told)[0] > now - REMEMBERED * MINUTE else ""


def state(therapy: Therapy, window: Window, now: int) -> Known:
    """What a pump of one patient that was told all of ``window`` would know ``now``."""
    calculator = Calculator(therapy)
    interval = STEP // 60
    boluses, meals, rates = (_told(window, vital.name) for vital in (BOLUS, CARBOHYDRATE, BASAL))
    last_bolus = max((time for time, _ in boluses), default=-1)
    waiting = [(time, gram) for time, gram in meals if time > now - ANNOUNCED * MINUTE and time > last_bolus]
    eaten = meals[: len(meals) - len(waiting)]
    usual, given = float(therapy.basal[0]), 0.0
    # Intervals that end now, so that all that was told is counted, however recent.
    for back in range(ACTING // interval, 0, -1):
        start, stop = now - back * STEP_MS, now - (back - 1) * STEP_MS
        until = stop if back > 1 else math.inf  # a pump's clock may be a little ahead of ours
        bolus = _sum(boluses, start, until)
        rate = mean_rate(rates, start, stop, usual * 60) / 60
        dose = Dose(np.array([rate]), np.array([bolus / interval]))
        calculator.gave(dose, np.array([_sum(eaten, start, until)]), interval)
        given += (bolus + rate * interval) * (back * interval <= REMEMBERED)
    last = _last(window)
    for back in range(READINGS - 1, -1, -1):
        calculator.read(np.array([window.step(last - back)], np.float64))
    series = window.series[GLUCOSE.name]
    newest = series.newest() or 0
    reading = series.value(newest) or 0.0
    announced = float(sum(gram for _, gram in waiting))
    return Known(calculator, reading, max(0.0, (now - newest) / MINUTE), announced, given, bool(meals), bool(rates))


def mean_rate(rates: list[tuple[int, float]], start: int, stop: int, usual: float) -> float:
    """The mean of a rate from ``start`` to ``stop``; each of ``rates`` stands until the next, ``usual`` before the first."""
    place = bisect.bisect_right(rates, start, key=lambda one: one[0])
    value = rates[place - 1][1] if place else usual
    total, at = 0.0, start
    for time, after in rates[place:]:
        if time >= stop:
            break
        total += value * (time - at)
        value, at = after, time
    return (total + value * (stop - at)) / (stop - start)


def _last(window: Window) -> int:
    """The step of the newest glucose."""
    series = window.series.get(GLUCOSE.name)
    return ((series.newest() if series else None) or 0) // STEP_MS


def _told(window: Window, vital: str) -> list[tuple[int, float]]:
    """What was given or eaten, as (time, number), in the order of time; what was withdrawn is left out."""
    series = window.series.get(vital)
    if series is None:
        return []
    return [(time, value) for time in series.times if (value := series.value(time)) is not None]


def _sum(told: list[tuple[int, float]], start: float, stop: float) -> float:
    """After ``start``, up to ``stop``."""
    first, end = (bisect.bisect_right(told, edge, key=lambda one: one[0]) for edge in (start, stop))
    return sum(value for _, value in told[first:end])


__all__ = ["RELEASED", "DiabetesPlanner", "Known", "brief", "mean_rate", "state"]

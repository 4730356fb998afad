"""The plan as a controller: an engine that has learned from logged care chooses the actions of a whole batch at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from puji.modalities.plans import advise
from puji.modalities.plans.conditions import Ask
from puji.modalities.plans.diabetes.care import COUNTING, NOT_COUNTING
from puji.modalities.plans.diabetes.control import Controller, Dose
from puji.modalities.plans.diabetes.doses import INTERVAL, Calculator, Therapy
from puji.modalities.plans.diabetes.safeguard import INSULIN, ROUTE
from puji.modalities.plans.episode import Episode, Step
from puji.modalities.plans.modality import maker as this_program
from puji.modalities.plans.plan import Maker, Plan
from puji.modalities.plans.safety import Facts
from puji.modalities.plans.setting import Prescription, Setting
from puji.modalities.plans.value import Estimates, prompt, ranked

LEAST_BOLUS = 0.01
"""U: less is no order."""


class Planned(Controller):
    """The best supported action of the ``model`` (a `puji.Model` of the setting "diabetes"), every quarter of an hour.

    ``therapy``: the settings of the pumps. ``counting``: whether the patients announce their meals.
    """

    def __init__(self, therapy: Therapy, model: Any, counting: bool = True) -> None:
        self.model = model
        self.therapy = therapy
        self.kind = COUNTING if counting else NOT_COUNTING
        self.reset()

    def reset(self) -> None:
        """Nothing was read or given yet."""
        self.calculator = Calculator(self.therapy)
        self.rate = self.therapy.basal
        self.actions: list[np.ndarray] = []

    def dose(self, reading: np.ndarray, announced: np.ndarray, minute: int, interval: int) -> Dose:
        """The dose of the chosen actions; between decisions the basal rate stays."""
        self.calculator.read(reading)
        bolus = np.zeros(len(reading))
        if minute % INTERVAL == 0:
            scores = asked(self.model, self.calculator.columns(announced, minute), self.kind).shrunken()
            possible = self.calculator.possible(announced)
            equal = self.model.modality.setting.value.equal * self.therapy.unsure
            action = ranked(np.where(possible, scores, -np.inf), equal)[:, 0]
            self.actions.append(action)
            self.rate, bolus = self.calculator.dose(action, announced)
        return Dose(self.rate, bolus / interval)

    def gave(self, dose: Dose, announced: np.ndarray, interval: int) -> None:
        """Remember what was given."""
        self.calculator.gave(dose, announced, interval)


def asked(model: Any, columns: np.ndarray, kind: str) -> Estimates:
    """What the network says of patients as they are, see `Calculator.columns`; ``kind``: `COUNTING` or `NOT_COUNTING`."""
    modality = model.modality
    told = [
        Episode("", (Step("", tuple(None if one != one else one for one in row)),), "", (kind,))
        for row in columns.tolist()
    ]
    book = modality.book
    kinds = [book.kind(one, one.steps[0]) for one in told]
    found: Estimates = modality.estimates(model, [prompt(book, one, 0) for one in told], kinds)
    return found


def ordered(setting: Setting, calculator: Calculator, announced: np.ndarray) -> Setting:
    """``setting`` with the orders that its actions are for the only patient of ``calculator``, who announces ``announced`` g,
    (1,), and with what counts as equal for that patient."""
    actions = []
    for place, action in enumerate(setting.actions):
        rate, bolus = (float(one[0]) for one in calculator.dose(np.array([place]), announced))
        basal = [("U/h", round(60 * rate, 2), float(INTERVAL))] if rate > 0 else []
        given = [*basal, *([("U", round(bolus, 2), 0.0)] if bolus >= LEAST_BOLUS else [])]
        orders = tuple(
            Prescription(medicine=INSULIN, dose=f"{amount} {unit}", route=ROUTE, minutes=minutes)  # type: ignore[arg-type]
            for unit, amount, minutes in given
        )
        actions.append(action.model_copy(update={"orders": orders}))
    value = setting.value.model_copy(update={"equal": setting.value.equal * float(calculator.therapy.unsure[0])})
    return setting.model_copy(update={"actions": tuple(actions), "value": value})


def plan_for(
    model: Any,
    calculator: Calculator,
    announced: float,
    minute: int,
    facts: Facts,
    patient: str = "",
    counting: bool = True,
    least: int = 20,
    made: datetime | None = None,
    maker: Maker | None = None,
) -> Plan:
    """The plan for one patient now: what is recommended with its doses, alternatives, and what the safety rules say.

    ``calculator``: of the patient alone, which has read the sensor and knows what was given. ``announced``: carbohydrate of a
    meal that begins now, g, 0 for none. ``minute``: of the day. ``counting``: whether the patient announces meals. ``least``:
    logged decisions that have to support what is recommended. ``made``: when, ``maker``: by which model, as the plan says.
    Impossible actions, such as a bolus for no meal, are left out.
    """
    modality = model.modality
    meal = np.array([announced])
    found = asked(model, calculator.columns(meal, minute), COUNTING if counting else NOT_COUNTING)
    found = replace(found, support=np.where(calculator.possible(meal), found.support, 0.0))
    setting = ordered(modality.setting, calculator, meal)
    names = modality.setting.names(modality.rules)
    return advise.plan(
        setting,
        modality.safety,
        advise.weighed(setting, modality.safety, found, facts),
        Ask(least=least),
        names=names,
        maker=maker or this_program(),
        patient=patient,
        made=made,
    )

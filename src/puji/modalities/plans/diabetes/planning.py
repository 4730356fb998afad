"""The plan as a controller: an engine that has learned from logged care chooses the actions of a whole batch at once."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np

from puji.modalities.plans import advise
from puji.modalities.plans.conditions import Ask
from puji.modalities.plans.diabetes.care import COUNTING, NOT_COUNTING
from puji.modalities.plans.diabetes.control import Controller, Dose
from puji.modalities.plans.diabetes.doses import INTERVAL, Usual, Watch
from puji.modalities.plans.diabetes.patients import Patients
from puji.modalities.plans.diabetes.safeguard import INSULIN, ROUTE
from puji.modalities.plans.episode import Episode, Step
from puji.modalities.plans.plan import Maker, Plan
from puji.modalities.plans.safety import Facts
from puji.modalities.plans.setting import Prescription, Setting
from puji.modalities.plans.value import Estimates, prompt

LEAST_BOLUS = 0.01
"""U: less is no order."""


class Planned(Controller):
    """The best supported action of the ``model`` (a `puji.Model` of the setting "diabetes"), every quarter of an hour.

    ``counting``: whether the patients announce their meals.
    """

    def __init__(self, patients: Patients, model: Any, counting: bool = True) -> None:
        self.model = model
        self.patients = patients
        self.usual = Usual(patients)
        self.groups = patients.groups.tolist()
        self.kind = COUNTING if counting else NOT_COUNTING
        self.reset()

    def reset(self) -> None:
        """Nothing was read or given yet."""
        self.watch = Watch(self.patients)
        self.rate = self.patients.basal
        self.actions: list[np.ndarray] = []

    def estimates(self, columns: np.ndarray) -> Estimates:
        """What the network says of the patients as they are, see `Watch.columns`."""
        modality = self.model.modality
        told = [
            Episode("", (Step("", tuple(None if one != one else one for one in row)),), "", (group, self.kind))
            for row, group in zip(columns.tolist(), self.groups, strict=True)
        ]
        book = modality.book
        kinds = [book.kind(one, one.steps[0]) for one in told]
        found: Estimates = modality.estimates(self.model, [prompt(book, one, 0) for one in told], kinds)
        return found

    def dose(self, reading: np.ndarray, announced: np.ndarray, minute: int, interval: int) -> Dose:
        """The dose of the chosen actions; between decisions the basal rate stays."""
        self.watch.read(reading)
        bolus = np.zeros(len(reading))
        if minute % INTERVAL == 0:
            scores = self.estimates(self.watch.columns(announced)).shrunken()
            possible = self.usual.possible(reading, announced)
            scores = np.where(possible, scores, -np.inf)
            action = scores.argmax(axis=1)
            self.actions.append(action)
            self.rate, bolus = self.usual.dose(action, reading, announced)
        return Dose(self.rate, bolus / interval)

    def gave(self, dose: Dose, announced: np.ndarray, interval: int) -> None:
        """Remember what was given."""
        self.watch.gave(dose, announced, interval)


def ordered(setting: Setting, people: Patients, reading: float, announced: float) -> Setting:
    """``setting`` with the orders that its actions are for one patient (the only row of ``people``) whose sensor shows
    ``reading``, mg/dl, and who announces ``announced`` g."""
    usual = Usual(people)
    shown, told = np.array([reading]), np.array([announced])
    actions = []
    for place, action in enumerate(setting.actions):
        rate, bolus = (float(one[0]) for one in usual.dose(np.array([place]), shown, told))
        basal = [("U/h", round(60 * rate, 2), float(INTERVAL))] if rate > 0 else []
        given = [*basal, *([("U", round(bolus, 2), 0.0)] if bolus >= LEAST_BOLUS else [])]
        orders = tuple(
            Prescription(medicine=INSULIN, dose=f"{amount} {unit}", route=ROUTE, minutes=minutes)  # type: ignore[arg-type]
            for unit, amount, minutes in given
        )
        actions.append(action.model_copy(update={"orders": orders}))
    return setting.model_copy(update={"actions": tuple(actions)})


def plan_for(
    model: Any,
    people: Patients,
    columns: np.ndarray,
    reading: float,
    announced: float,
    facts: Facts,
    counting: bool = True,
    least: int = 20,
) -> Plan:
    """The plan for one patient now: what is recommended with its doses, alternatives, and what the safety rules say.

    ``columns``: of `Watch.columns`, (1, columns). ``least``: logged decisions that
    have to support what is recommended. Impossible actions, such as a bolus for no meal, are left out.
    """
    modality = model.modality
    found: Estimates = Planned(people, model, counting).estimates(columns)
    possible = Usual(people).possible(np.array([reading]), np.array([announced]))
    found = replace(found, support=np.where(possible, found.support, 0.0))
    setting = ordered(modality.setting, people, reading, announced)
    names, maker = modality.setting.names(modality.rules), Maker("puji plans", version("puji"), "", "")
    return advise.plan(
        setting,
        modality.safety,
        found,
        Ask(least=least),
        names=names,
        maker=maker,
        patient=people.names[0],
        facts=facts,
    )

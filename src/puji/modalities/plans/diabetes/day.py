"""A page that shows what a plan does: the plan at one moment, and a day of glucose under basal-bolus and under the plan.

    python -m puji.modalities.plans.diabetes.day runs/plans-diabetes child#009 plan.html

A virtual patient; research use only.
"""

from __future__ import annotations

import argparse
import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from puji import figures, registry
from puji.errors import Invalid
from puji.files import atomic_write
from puji.gallery import Figure, Section
from puji.language import LANGUAGES, Text, current, translate
from puji.modalities.plans.diabetes import care, loop, metrics, scenario
from puji.modalities.plans.diabetes.control import BasalBolus, Controller, Dose
from puji.modalities.plans.diabetes.doses import Calculator
from puji.modalities.plans.diabetes.patients import names, patients
from puji.modalities.plans.diabetes.planning import Planned, plan_for
from puji.modalities.plans.diabetes.safeguard import REMEMBERED, Guarded
from puji.modalities.plans.diabetes.world import live
from puji.modalities.plans.page import page
from puji.modalities.plans.plan import Plan
from puji.modalities.plans.safety import Facts

HISTORY = 800_000
"""Seed of the two weeks before the day."""


@dataclass
class Moment:
    """What stood before the plan when it decided for the first announced meal."""

    calculator: Calculator
    announced: float
    minute: int
    facts: Facts


class Watched(Guarded):
    """As `Guarded`, which remembers the moment of the first announced meal."""

    moment: Moment | None = None

    def dose(self, reading: np.ndarray, announced: np.ndarray, minute: int, interval: int) -> Dose:
        """As the others; the first meal is written down."""
        before = float(sum(one[0] for one in self.given[-(REMEMBERED // interval) :]))
        passed = super().dose(reading, announced, minute, interval)
        if self.moment is None and announced[0] > 0 and isinstance(self.inner, Planned):
            facts = self.facts(0, float(reading[0]), before)
            self.moment = Moment(copy.deepcopy(self.inner.calculator), float(announced[0]), minute, facts)
        return passed


def lived(model: Any, name: str, seed: int, least: int = 20) -> tuple[loop.Course, loop.Course, Plan]:
    """A day of one patient under basal-bolus and under the plan, which knows two weeks of the patient's own care, and the plan at
    the first announced meal."""
    if model.modality.name != "plans" or model.modality.rules is None or model.modality.setting.name != "diabetes":
        raise Invalid("plans.day.model")
    rules = model.modality.rules
    people, seeds = patients([name]), np.array([seed])
    meals = scenario.announce(scenario.quarters(scenario.random(seeds)), seeds, care.ERROR)

    def day(controller: Controller) -> tuple[loop.Course, Watched]:
        guarded = Watched(controller, people, rules)
        course = live(guarded, people, seeds, meals, rescued=True)
        return course, guarded

    usual, _ = day(BasalBolus(people))
    therapy = care.adjusted(people, HISTORY)
    planned, watched = day(Planned(therapy, model))
    moment = watched.moment
    if moment is None:
        raise Invalid("plans.episode.empty")
    made = plan_for(model, moment.calculator, moment.announced, moment.minute, moment.facts, patient=name, least=least)
    return usual, planned, made


def drawn(usual: loop.Course, planned: loop.Course, kind: str = "svg", language: str | None = None) -> str | bytes:
    """Glucose of both, the meals, and the insulin. Raises Invalid for another ``kind`` than "svg" and "png"."""
    figures.check(kind, "plans")
    language = language or current()
    hours = np.arange(usual.glucose.shape[1]) * usual.interval / 60
    with figures.canvas(8.6, 4.6) as figure:
        top, low = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        top.axhspan(70, 180, color=figures.RULE, alpha=0.6, linewidth=0)
        for course, name, colour in ((usual, "usual", figures.CYCLE[1]), (planned, "plan", figures.ACCENT)):
            told = translate(f"plans.day.{name}", language)
            top.plot(hours, course.glucose[0], color=colour, label=told)
            eaten = hours[:-1][course.rescue[0] > 0]
            top.plot(eaten, np.full(len(eaten), 0.03), "^", color=colour, transform=top.get_xaxis_transform())
            given = (course.basal + course.bolus)[0].reshape(-1, 3).mean(axis=1) * 60
            low.step(hours[:-1:3], given, where="post", color=colour, linewidth=1.3)
        for step in np.flatnonzero(usual.carbohydrate[0]):
            gram = f"{usual.carbohydrate[0, step]:.0f}"
            top.axvline(hours[step], color=figures.GREY, linewidth=0.8, linestyle=":")
            top.annotate(
                translate("plans.day.meal", language, gram=gram),
                (hours[step], 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(3, -2),
                textcoords="offset points",
                va="top",
                rotation=90,
                fontsize=8,
                color=figures.GREY,
            )
        top.set_ylabel(translate("plans.day.glucose", language))
        low.set_ylabel(translate("plans.day.insulin", language))
        low.set_xlabel(translate("plans.day.hour", language))
        low.set_yscale("symlog", linthresh=1)
        low.set_yticks([0, 1, 10], ["0", "1", "10"])
        low.minorticks_off()
        low.set_xticks(range(0, 25, 3))
        low.set_xlim(0, 24)
        top.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        return figures.drawn(figure, kind)


def section(name: str, usual: loop.Course, planned: loop.Course) -> Section:
    """The day, for a page."""
    shares = {
        f"{kind}{name}": f"{metrics.scores(course)[key][0]:.0f}"
        for kind, course in (("usual", usual), ("plan", planned))
        for name, key in (("", "in_range"), ("_low", "below_70"))
    }
    pictures = {language: str(drawn(usual, planned, language=language)) for language in LANGUAGES}
    figure = Figure(pictures, Text("plans.day.caption", {"patient": name, **shares}), wide=True)
    return Section(Text("plans.section.day"), Text("plans.section.day.note"), [figure])


def natural(text: str) -> int:
    """A whole number from 0 on. Raises ValueError for another."""
    if (number := int(text)) < 0:
        raise ValueError("below 0")
    return number


def main() -> None:
    """Write the page that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="checkpoint folder, or the name of a released model")
    parser.add_argument("patient", choices=names(), metavar="patient", help="adult#001 ... child#010")
    parser.add_argument("page", type=Path, help="HTML file to write")
    parser.add_argument("--seed", type=natural, default=0, help="of the day")
    parser.add_argument("--language", choices=LANGUAGES, default=None)
    asked = parser.parse_args()
    try:
        usual, planned, made = lived(registry.load(asked.model), asked.patient, asked.seed)
        atomic_write(asked.page, page(made, asked.language, [section(asked.patient, usual, planned)]))
    except Invalid as refusal:
        print(refusal.message(), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()

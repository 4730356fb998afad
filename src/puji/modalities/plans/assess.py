"""What a model's plans would be worth, from logged care that it was not trained on: off-policy evaluation, see evaluation.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from puji import figures
from puji.errors import Invalid
from puji.gallery import Figure
from puji.language import LANGUAGES, Text, translate
from puji.modalities.plans.conditions import Ask
from puji.modalities.plans.episode import Episode, returns
from puji.modalities.plans.evaluation import Evaluation, Logged, evaluate
from puji.modalities.plans.setting import Setting, called
from puji.modalities.plans.units import unit_shown
from puji.modalities.plans.value import Decisions, Estimates
from puji.modality import Assessment, Metric
from puji.resampling import resampled

RESAMPLES = 200
WIDTH, HEIGHT = 7.2, 2.2
"""Inches of the figure."""


def assess(model: Any, records: Sequence[Episode], ask: Ask) -> Assessment:
    """The plan in the place of logged care, with 95 % intervals by resampling episodes.

    Where fewer than ``ask.least`` logged decisions support an action, the plan abstains, and care goes on as it was logged.
    Safety rules are not applied: what they need of a patient does not stand in logs. Raises Invalid where no episode tells its
    ending.
    """
    modality = model.modality
    setting: Setting = modality.setting
    known = [(one, total) for one in records if (total := returns(one, setting)) is not None]
    if not known:
        raise Invalid("plans.assess.no_outcome")
    found = Decisions.of(modality.book, [one for one, _ in known])
    says: Estimates = modality.estimates(model, found.prompts, found.kinds)
    policy, silent = planned(says, ask.least)
    lengths = [len(one.steps) for one, _ in known]
    logged = Logged(np.repeat(np.arange(len(known)), lengths), found.before, found.action, found.reward, found.after)
    discount = setting.value.discount
    made = evaluate(logged, policy, discount=discount, resamples=RESAMPLES)
    got = logged.returns(discount)
    low, high = resampled(lambda drawn: float(got[drawn].mean()), len(got), RESAMPLES)
    care = Metric(float(got.mean()), len(got), setting.value.better, low, high)
    return Assessment(
        told(made, care, float(silent[found.before].mean()), len(found.before)), lambda: drawn(setting, made, care)
    )


def planned(says: Estimates, least: float) -> tuple[np.ndarray, np.ndarray]:
    """The plan as a policy (prompts, actions), and where it abstains, (prompts,) bool."""
    scores = np.where(says.support >= least, says.shrunken(), -np.inf)
    silent: np.ndarray = np.isneginf(scores.max(1))
    chosen = np.eye(scores.shape[1])[scores.argmax(1)]
    return np.where(silent[:, None], says.taken, chosen), silent


def told(made: Evaluation, care: Metric, silent: float, decisions: int) -> dict[str, Metric]:
    """The figures by name."""
    return {
        "logged care": care,
        "plan by fitted Q evaluation": made.fitted,
        "plan by importance sampling": made.weighted,
        "effective sample size": Metric(made.effective, made.episodes, "up"),
        "overlap": Metric(made.overlap, decisions, "up"),
        "never logged": Metric(made.unseen, decisions, "down"),
        "abstains": Metric(silent, decisions),
    }


def drawn(setting: Setting, made: Evaluation, care: Metric) -> list[Figure]:
    """Logged care, and the plan by both estimates, with their intervals."""
    pictures = {}
    for language in LANGUAGES:
        with figures.canvas(WIDTH, HEIGHT) as figure:
            panel = figure.subplots()
            scale, unit = (100, "%") if setting.value.unit == "" else (1, unit_shown(setting.value.unit, language))
            rows = {"logged care": care, "plan by fitted Q evaluation": made.fitted}
            rows["plan by importance sampling"] = made.weighted
            for place, one in enumerate(rows.values()):
                colour = figures.GREY if place == 0 else figures.ACCENT
                if one.low is not None and one.high is not None:
                    panel.plot([scale * one.low, scale * one.high], [place, place], color=colour, linewidth=2.4)
                panel.plot(scale * one.value, place, "o", color=colour, markersize=7)
            panel.set_yticks(range(len(rows)), [translate(f"plans.metric.{name}", language) for name in rows])
            panel.invert_yaxis()
            panel.margins(y=0.25)
            panel.grid(axis="y", visible=False)
            name = called(setting.value.name, language)
            panel.set_xlabel(f"{name}, {unit}" if unit else name)
            pictures[language] = str(figures.drawn(figure, "svg"))
    return [Figure(pictures, Text("plans.assess.figure"), wide=True)]

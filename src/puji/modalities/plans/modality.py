"""Treatment plans, learned offline from logged care."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel

from puji.errors import Invalid
from puji.language import current, translate
from puji.modalities.plans import advise, conditions, foresee, sepsis, tiers
from puji.modalities.plans.book import GOOD, PLAN, Book, action_token, load_description
from puji.modalities.plans.diabetes.public import get_diabetes_care
from puji.modalities.plans.episode import Episode, Step, check_setting, checked, typed
from puji.modalities.plans.grammar import EpisodeGrammar
from puji.modalities.plans.plan import Maker, Plan
from puji.modalities.plans.read import read
from puji.modalities.plans.safety import Rules, Safety
from puji.modalities.plans.setting import Setting, load_setting
from puji.modalities.plans.tokens import body, parsed
from puji.modalities.plans.value import Decisions, Estimates, estimates, prompt
from puji.modality import Answer, Assessment, Candidates, Grammar, Modality, Raw, View


class Plans(Modality[Episode]):
    """Patients whose care was logged: what was observed, done, and came of it; and what should be done."""

    name: ClassVar[str] = "plans"
    shown_by: ClassVar[str] = "puji.modalities.plans.demo"
    start: ClassVar[str] = PLAN
    size: ClassVar[str] = "nano"
    settings: ClassVar[Mapping[str, Any]] = {"batch_tokens": 550}
    context: ClassVar[int] = 512
    Conditions: ClassVar[type[BaseModel]] = conditions.Conditions
    Ask: ClassVar[type[BaseModel]] = conditions.Ask
    Setup: ClassVar[type[BaseModel]] = conditions.Setup
    lossless: ClassVar[bool] = False
    datasets: ClassVar[Mapping[str, Callable[[], Path]]] = {
        "icu-sepsis": sepsis.get_icu_sepsis,
        "diabetes-care": get_diabetes_care,
    }
    notes: ClassVar[tuple[str, ...]] = ("puji.research_use", "plans.confounding")
    answer_formats: ClassVar[tuple[str, ...]] = (".ndjson", ".html")

    def __init__(self) -> None:
        self.setting: Setting
        self.rules: Rules | None
        self.setting, self.rules = load_setting("sepsis")
        self.description: dict[str, np.ndarray] | None = None
        self.book = Book(self.setting)
        self.rounds = 1
        self.episodes = 0
        self.decisions = 0.0
        self._judge: Callable[[Decisions], Estimates] | None = None
        self._logged: list[tuple[Sequence[Episode], Decisions]] = []

    # -- step 1: preprocess ------------------------------------------------------------------------------------------

    def read(self, source: Path) -> Iterator[Raw | Invalid]:
        """Episodes of CSV, Parquet, MEDS or JSON lines, one patient at a time."""
        return read(source, self.setting)

    def preprocess(self, raw: Raw) -> Episode:
        """An episode, what a person types (`typed`: "417 5; 221 10; 33"), or its JSON. Raises Invalid."""
        return typed(raw.content) if isinstance(raw.content, str) else checked(raw.content)

    def group(self, record: Episode) -> str:
        """The subject; without an identifier the episode itself."""
        return record.subject or record.dump()

    # -- step 2: encode ----------------------------------------------------------------------------------------------

    def set_up(self, chosen: BaseModel) -> None:
        """Read the setting, its safety rules, and the description of its states. Raises Invalid."""
        wanted = chosen if isinstance(chosen, conditions.Setup) else conditions.Setup()
        self.setting, self.rules = load_setting(wanted.setting)
        self.description = None if wanted.description is None else load_description(Path(wanted.description))
        self.book = Book(self.setting)
        self.rounds, self.episodes = wanted.rounds, wanted.episodes

    def learn(self, records: Sequence[Episode]) -> None:
        """The states, bins and codes."""
        self.book = Book.learn(self.setting, records, self.description)

    def prepare(self, records: Sequence[Episode]) -> None:
        """How many decisions were logged."""
        self.decisions = float(sum(bool(step.action) for record in records for step in record.steps))
        self._judge, self._logged = None, []

    def state(self) -> dict[str, Any]:
        """The book, the safety rules, how many decisions were logged, and how many whole episodes are learned."""
        rules = None if self.rules is None else self.rules.model_dump_json()
        return {**self.book.state(), "rules": rules, "decisions": self.decisions, "episodes": self.episodes}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        self.book = Book.restored(state)
        self.setting = self.book.setting
        self.rules = None if state["rules"] is None else Rules.model_validate_json(state["rules"])
        self.decisions = float(state["decisions"])
        self.episodes = int(state.get("episodes", 1))  # not told: as many as it may have

    def tokens(self) -> list[str]:
        """The fixed tokens, those of the setting, and those of the states that were learned."""
        return self.book.tokens()

    def encode(self, record: Episode) -> list[str]:
        """From `PLAN` to END."""
        return body(self.book, record)

    def telling(self, record: Episode) -> list[str]:
        """What is told before the last decision."""
        return prompt(self.book, record, len(record.steps) - 1)

    def excerpt(self, record: Episode, rng: np.random.Generator) -> Episode:
        """The episode as it was before one of its decisions."""
        last = int(rng.integers(len(record.steps)))
        now = record.steps[last]
        return Episode(record.subject, (*record.steps[:last], Step(now.state, now.values)), "", record.features)

    def views(self, record: Episode, rng: np.random.Generator) -> Iterator[View]:
        """The episode itself, and each of its decisions with what it is worth."""
        yield View(self.encode(record))
        yield from self._decisions([record])

    def pool(self, records: Sequence[Episode], training: bool = True) -> Sequence[View]:
        """The distinct decisions of all records, weighted by how often they were met, and of some the whole episodes.

        No loss is watched: advantages are learned last, and what is noise in them is shrunk, not stopped early.
        """
        if not training:
            return ()
        whole = records[: self.episodes]
        if not any(known is records for known, _ in self._logged):  # the same in each round
            self._logged.append((records, Decisions.of(self.book, records)))
        return [*self._decisions(records, learned=True), *(View(self.encode(record)) for record in whole)]

    def _decisions(self, records: Sequence[Episode], learned: bool = False) -> list[View]:
        """``learned``: whether these are all that is learned from."""
        found = next((one for known, one in self._logged if known is records), None)
        found = found or Decisions.of(self.book, records)
        if self._judge is None:
            return found.views(self.book, found.first(self.book))
        judged = self._judge(found)
        labels = found.improved(self.book, judged.best())
        if learned:
            met = np.bincount(found.before, minlength=len(found.prompts))
            self.book.tiers = tiers.edges(self.setting.value.tiers, judged.state, met)
        return [
            *found.views(self.book, labels, judged.state),
            *tiers.views(self.book, found, labels, judged.state),
        ]

    def portions(self) -> list[float]:
        """Equal ones, or growing ones: 1, 2, 3 ... parts."""
        parts = [number + 1.0 if self.setting.value.growing else 1.0 for number in range(self.rounds)]
        return [part / sum(parts) for part in parts]

    def relabel(self, model: Any) -> bool:
        """Let the network say what decisions are worth from now on; see value.py."""

        def judge(found: Decisions) -> Estimates:
            return self.estimates(model, found.prompts, found.kinds)

        self._judge = judge
        return True

    def estimates(self, model: Any, prompts: Sequence[Sequence[str]], kinds: Sequence[Sequence[str]]) -> Estimates:
        """What the network of ``model`` (a `puji.Model` of this modality) says of prompts; see value.py and tiers.py."""
        asked = model.network, model.vocabulary, self.book
        found = estimates(*asked, prompts, kinds, self.decisions, self.setting.value.emphasis)
        return tiers.shared(*asked, found, self.decisions)

    # -- step 4: decode ----------------------------------------------------------------------------------------------

    def describe(self, record: Episode) -> conditions.Conditions:
        """The state that it begins with."""
        return conditions.Conditions(state=record.steps[0].state or None)

    def prompt(self, asked: BaseModel, rng: np.random.Generator) -> list[str]:
        """`PLAN`, and the state to begin with."""
        if not self.episodes:
            raise Invalid("plans.generate.none")
        state = asked.state if isinstance(asked, conditions.Conditions) else None
        if state is None:
            return [PLAN]
        if state not in self.book.states:
            raise Invalid("plans.episode.state", source="--state", value=state[:40])
        return [PLAN, *self.book.observed(Step(state))]

    def grammar(self, asked: BaseModel) -> Grammar:
        """Observations, an action, observations ..., how it ended."""
        return EpisodeGrammar(self.book)

    def warnings(self, asked: BaseModel) -> list[Invalid]:
        """That the patients are synthetic."""
        return [Invalid("plans.notice")]

    def question(self, record: Episode, ask: BaseModel) -> Candidates:
        """How likely the network finds each action after good and after bad, and the state itself: see value.py and
        advise.py."""
        wanted = ask if isinstance(ask, conditions.Ask) else conditions.Ask()
        now = self.evidence(record, wanted)
        alike = foresee.alike(self.book)
        facts = advise.load_facts(wanted.patient, self.rules)
        measured = self.setting.observations(now.steps[-1].values)
        if measured:
            facts = replace(facts, observations=(*(facts.observations or ()), *measured))
        asked = [*alike, *foresee.candidates(self.book, now)]
        ahead = foresee.following(self.book, now) if wanted.ahead and self.setting.discrete else []

        def answer(logs: np.ndarray) -> advise.Advice:
            says = foresee.Says(self.book, self.decisions, logs[: len(alike)])
            found = says.of(logs[len(alike) : len(asked)])
            pairs = advise.weighed(self.setting, self.safety, found, facts)
            made = advise.plan(
                *(self.setting, self.safety, pairs, wanted),
                names=self.setting.names(self.rules),
                maker=maker(),
                patient=record.subject,
                follow=lambda place: foresee.branches(says, logs[len(asked) :], place) if ahead else (),
            )
            return advise.advice(self.setting, pairs, float(found.state[0]), made)

        return Candidates([*asked, *ahead], answer)

    @property
    def safety(self) -> Safety | None:
        """The safety rules of the setting, ready to judge; None where it has none: then nothing is recommended."""
        return None if self.rules is None else Safety(self.rules)

    def evidence(self, record: Episode, ask: BaseModel) -> Episode:
        """The patient until the last observation, whatever was done then. Raises Invalid for what is not the setting's."""
        now = check_setting(record, self.setting).steps[-1]
        return Episode(record.subject, (*record.steps[:-1], Step(now.state, now.values)), "", record.features)

    def target(self, record: Episode, name: str) -> tuple[list[str], dict[str, float]]:
        """The patient now, doing well, and all actions as what may come next: 1 for the one with the code ``name``. Raises
        Invalid."""
        self.setting.action(name)
        now = self.evidence(record, self.Ask())
        told = prompt(self.book, now, len(now.steps) - 1)
        return [*told, GOOD], {action_token(one.code): float(one.code == name) for one in self.setting.actions}

    # -- step 5: postprocess -----------------------------------------------------------------------------------------

    def postprocess(self, tokens: Sequence[str], prompt: Sequence[str] = ()) -> Episode:
        """The episode that the tokens tell after what the prompt told. Raises Invalid."""
        told = list(tokens)
        return parsed(self.book, told if PLAN in told else [*prompt, *told])

    def distance(self, record: Episode, other: Episode) -> float:
        """0 for an episode of the same actions, states (or bins) and outcome; rewards are not told in tokens."""
        return 0.0 if body(self.book, record) == body(self.book, other) else float("inf")

    def row(self, record: Episode, asked: BaseModel | None = None) -> dict[str, Any]:
        """How long, what was done, how it ended."""
        return {
            "steps": len(record.steps),
            "actions": " ".join(step.action for step in record.steps if step.action),
            "outcome": record.outcome,
            "episode": str(record),
            "notice": translate("plans.notice"),
        }

    def dump(self, record: Episode) -> str:
        """One line of JSON."""
        return record.dump()

    def revive(self, line: str) -> Episode:
        """Inverse of `dump`."""
        return checked(line)

    def parse(self, text: str) -> Episode:
        """A patient as a person types it, if the setting knows all of it."""
        return check_setting(super().parse(text), self.setting)

    def render(self, record: Episode) -> dict[str, str | bytes]:
        """The episode as text."""
        return {"text/plain": str(record)}

    def render_answer(self, record: Episode, answer: Answer) -> dict[str, str | bytes]:
        """What is predicted of each action, with its interval and support."""
        from puji.modalities.plans.draw import alternatives

        made = self._plan(record, answer)
        return {"image/svg+xml": alternatives(made), "image/png": alternatives(made, "png")}

    def remarks(self, record: Episode, answer: Answer) -> list[str]:
        """What is recommended, or why nothing is; and what the numbers are."""
        from puji.modalities.plans.words import remarks

        return remarks(self._plan(record, answer), self.setting.value, current())

    def _plan(self, record: Episode, answer: Answer) -> Plan:
        found: Plan | None = getattr(answer.estimates, "plan", None)
        return found or advise.unfamiliar(self.setting.names(self.rules), maker(), record.subject)

    def tell_answers(self, pairs: Iterable[tuple[Episode, Answer]], target: Path) -> Iterator[str]:
        """The plans as FHIR R4, one resource a line, or (.html) as pages for a clinician."""
        from puji.modalities.plans.careplan import care_plans
        from puji.modalities.plans.page import page

        made = [self._plan(record, answer) for record, answer in pairs]
        if target.suffix.lower() == ".html":
            yield from (page(plan) for plan in made)
        else:
            yield from care_plans(made)

    def assess(
        self,
        model: Any,
        records: Sequence[Episode],
        ask: BaseModel,
        step: Callable[[int, int], None] = lambda done, total: None,
    ) -> Assessment:
        """Off-policy evaluation of the plans, see assess.py."""
        from puji.modalities.plans.assess import assess

        return assess(model, records, ask if isinstance(ask, conditions.Ask) else conditions.Ask())


def maker() -> Maker:
    """Who makes plans: this program."""
    from importlib.metadata import version

    return Maker("puji plans", version("puji"), "", "")

"""Episodes as tokens, and back."""

from __future__ import annotations

from collections.abc import Sequence

from puji.errors import Invalid
from puji.modalities.plans.book import PLAN, Book, action_token, feature_token, outcome_token
from puji.modalities.plans.episode import Episode, Step, checked
from puji.modality import END


def body(book: Book, record: Episode) -> list[str]:
    """`PLAN`, the features, each step's observations and action, the outcome, END."""
    tokens = [PLAN, *(feature_token(one) for one in record.features)]
    for step in record.steps:
        tokens += book.observed(step)
        tokens += [action_token(step.action)] if step.action else []
    return [*tokens, *([outcome_token(record.outcome)] if record.outcome else []), END]


def parsed(book: Book, tokens: Sequence[str]) -> Episode:
    """Inverse of `body`, where a bin stands for its middle. Raises Invalid."""
    told = [token for token in tokens if token not in (PLAN, END)]
    outcomes = {outcome_token(one): one for one in book.setting.outcomes}
    outcome = outcomes.get(told[-1], "") if told else ""
    told = told[:-1] if outcome else told
    features = []
    while told and told[0].startswith("<f:"):
        features.append(told.pop(0)[3:-1])
    steps: list[Step] = []
    seen: list[str] = []
    for token in told:
        if token.startswith("<a:"):
            now = book.seen(seen)
            steps.append(Step(now.state, now.values, token[3:-1]))
            seen = []
        elif token in outcomes or token.startswith("<f:"):
            raise Invalid("plans.episode.order")
        else:
            seen.append(token)
    if seen:
        now = book.seen(seen)
        steps.append(Step(now.state, now.values))
    return checked(Episode("", tuple(steps), outcome, tuple(features)))

"""Which patients a cohort is to hold: who is drawn, until when they are followed, and whether a life is as it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from puji.errors import Invalid
from puji.modalities.timelines import conditions, views
from puji.modalities.timelines.codebook import Codebook
from puji.modalities.timelines.timeline import YEAR, Timeline
from puji.modalities.timelines.tokens import DECADES, SEXES, START, UNTIL, born_token


@dataclass(frozen=True)
class Cohort:
    """What was asked (``wanted``) of patients such as those of training: ``people``: (sex, birth) as tokens -> how many there
    were; ``followed``: birth -> for how long, see `views.follow_up`."""

    wanted: conditions.Conditions
    book: Codebook
    people: Mapping[tuple[str, str], int]
    followed: Mapping[str, np.ndarray]

    def prompt(self, rng: np.random.Generator) -> list[str]:
        """Until when the patient is followed, `START`, the sex and decade of birth, each drawn as training patients have it.

        A condition asked for is not told: of a record that began with it, the model would have to say at which age that was
        before it has lived, and it mostly says "at birth". Lives are drawn and those without it refused (`accept`). An age asked
        for is not told either where patients were followed for longer: their lives are cut there, as they would have been.
        """
        self.having()
        least = self.wanted.until or 0
        if least > (most := views.longest("", self.followed)):
            raise Invalid("timelines.until_unseen", source="--until", value=least, oldest=most)
        fitting = self.fitting()
        # Of decades in which somebody was followed so far; where there are none, of all (`warnings` says so).
        fitting = [one for one in fitting if self.reaches(one[0][1])] or fitting
        shares = np.array([count for _, count in fitting], dtype=float)
        header = fitting[int(rng.choice(len(fitting), p=shares / shares.sum()))][0]
        until = views.drawn(header[1], least, rng, self.followed)
        front = [] if until is None else [UNTIL[until]]
        return [*front, START, *header]

    @property
    def sexes(self) -> list[str]:
        """Tokens of the sexes that fit."""
        return list(SEXES.values()) if self.wanted.sex is None else [SEXES[self.wanted.sex]]

    def fitting(self) -> list[tuple[tuple[str, str], float]]:
        """Sexes and decades that fit, each with how many training patients there are of them."""
        decades = {born_token(decade): self.share(decade) for decade in DECADES}
        found = [
            ((sex, born), count * decades.get(born, self.wanted.born is None))
            for (sex, born), count in sorted(self.people.items())
            if sex in self.sexes
        ]
        found = [(key, share) for key, share in found if share > 0]
        if found:
            return found
        born = [(token, share) for token, share in decades.items() if share > 0]
        return [((sex, token), share) for sex in self.sexes for token, share in born]

    def share(self, decade: int) -> float:
        """Of ``decade``, what lies within the years of birth asked for."""
        if self.wanted.born is None:
            return 1.0
        years = min(decade + 9, self.wanted.born.high) - max(decade, self.wanted.born.low) + 1
        return max(0, years) / 10

    def reaches(self, born: str) -> bool:
        """Whether somebody of the decade ``born`` was followed to the age asked for."""
        return views.longest(born, self.followed) >= (self.wanted.until or 0)

    def having(self) -> str:
        """The code that stands for the condition asked for, '' where none is. Raises Invalid for one that was never learned."""
        asked = self.wanted.having
        if asked is None:
            return ""
        if not (told := self.book.answerable(asked)):
            raise Invalid("timelines.unknown_code", source="--having", code=asked, hint=self.book.hint(asked))
        return told

    def warnings(self) -> list[Invalid]:
        """That the patients are synthetic; that there were none such in training; a code told by the one above it."""
        found = [Invalid("timelines.notice")]
        if self.people and not any(
            sex in self.sexes
            and self.reaches(born)
            and (self.wanted.born is None or any(born == born_token(d) and self.share(d) for d in DECADES))
            for sex, born in self.people
        ):
            found.append(Invalid("timelines.no_such_people"))
        if told := self.having():
            found.append(Invalid("timelines.having", code=told))
            if told != self.book.mapped(self.wanted.having or ""):
                found.append(Invalid("timelines.told_by", code=self.wanted.having, told=told))
        return found

    def accept(self, record: Timeline) -> Timeline:
        """The life as it was asked for, cut where follow-up is to end. Raises Invalid if it is not as asked."""
        wanted = self.wanted
        if wanted.sex is not None and record.sex != wanted.sex:
            raise Invalid("timelines.not_as_asked", option="sex")
        if wanted.born is not None and (record.born is None or not self.share(record.born // 10 * 10)):
            raise Invalid("timelines.not_as_asked", option="born")
        if wanted.until is not None:
            if not record.died and record.end < wanted.until * YEAR:
                raise Invalid("timelines.not_as_asked", option="until")
            record = record.until(wanted.until * YEAR)
            if not record.events:
                raise Invalid("timelines.no_events")
        if told := self.having():
            group = conditions.Outcome("", frozenset({told}))
            if not any(group.holds(self.book.token(event.code)) for event in record.events):
                raise Invalid("timelines.not_having", code=told)
        return record

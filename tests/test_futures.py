"""Questions that are answered by sampled futures: stopped by their clock, under their grammar, from a seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import BaseModel

from puji.engine import network
from puji.engine.vocabulary import Vocabulary
from puji.errors import Invalid
from puji.modality import END, Estimate, Futures, Modality, Raw
from puji.model import Model

DAYS = {"<1>": 1, "<2>": 2}
HORIZON = 5


class Visits(Modality[str]):
    """Words of events (A, B) and of days that pass."""

    name = "visits"
    start = "<start>"

    class Ask(BaseModel):
        n: int = 200

    def read(self, source):
        yield from ()

    def preprocess(self, raw: Raw) -> str:
        return raw.content

    def tokens(self):
        return [END, self.start, "A", "B", *DAYS]

    def encode(self, record):
        return [self.start, *record.split(), END]

    def postprocess(self, tokens, prompt=()):
        return " ".join(token for token in tokens if token not in (self.start, END))

    def question(self, record, ask):
        def clock():
            passed = 0

            def over(token):
                nonlocal passed
                passed += DAYS.get(token, 0)
                return passed >= HORIZON

            return over

        def answer(futures):
            self.futures = futures
            return {"A": Estimate(sum("A" in one for one in futures) / len(futures), 0, 1)}

        return Futures(self.encode(record)[:-1], ask.n, clock, answer, Alternating())


class Alternating:
    """An event, then days, an event, ...; never the end."""

    def start(self, prompt):
        return "days"

    def allowed(self, state):
        return {"A", "B"} if state == "event" else set(DAYS)

    def advance(self, state, token):
        return "days" if state == "event" else "event"


@pytest.fixture
def model():
    visits = Visits()
    vocabulary = Vocabulary(visits.tokens())
    settings = network.config("nano", len(vocabulary), context=8, end=vocabulary.ids[END])
    return Model(visits, vocabulary, network.build(settings, seed=0), {})


def test_futures_run_until_their_clock_says_so_also_beyond_the_context(model):
    found = model.predict("A").estimates["A"].value
    futures = model.modality.futures
    assert len(futures) == 200
    for future in futures:
        days = [DAYS[token] for token in future[::2]]
        assert sum(days) >= HORIZON > sum(days[:-1])
        assert set(future[1::2]) <= {"A", "B"}
    assert found == sum("A" in future for future in futures) / 200


def test_futures_depend_on_the_seed_alone(model):
    first, futures = model.predict("A", seed=1), model.modality.futures
    assert model.predict("A", seed=1).estimates == first.estimates
    assert model.modality.futures == futures
    model.predict("A", seed=2)
    assert model.modality.futures != futures
    model.predict("A", seed=1, n=300)
    assert model.modality.futures[:200] == futures


class Broken(Alternating):
    """As `Alternating`, but after B nothing may follow."""

    def allowed(self, state):
        return () if state == "broken" else super().allowed(state)

    def advance(self, state, token):
        return "broken" if token == "B" else super().advance(state, token)


@pytest.mark.parametrize("stuck", [False, True])
def test_futures_that_come_to_a_dead_end_do_not_count(model, monkeypatch, stuck):
    broken = Broken()
    if stuck:
        monkeypatch.setattr(broken, "allowed", lambda state: ())
    ask = model.modality.question("A", Visits.Ask())
    monkeypatch.setattr(model.modality, "question", lambda record, _: replace(ask, grammar=broken))
    if stuck:
        with pytest.raises(Invalid, match="No sampled future"):
            model.predict("A")
        return
    answer = model.predict("A")
    futures = model.modality.futures
    assert 0 < len(futures) < 200 and all("B" not in future for future in futures)
    assert answer.estimates["A"].value == sum("A" in future for future in futures) / len(futures)
    assert "predict.lost" in answer.notes

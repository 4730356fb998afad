"""The released timelines: what the weights know of the simulated patients, not only that they load."""

from __future__ import annotations

import numpy as np
import pytest

import puji
from puji.corpus import held_out
from puji.errors import Invalid
from puji.modalities.timelines import hits
from puji.modalities.timelines.demo import demo, sample
from puji.modalities.timelines.timeline import YEAR


@pytest.fixture(scope="module")
def model():
    return puji.load("timelines")


def test_the_sample_was_held_out_of_training(model):
    patients = sample()
    assert len(patients) == 60 and all(held_out(one.subject, 0.1) for one in patients)
    assert {one.sex for one in patients} == {"female", "male"} and any(one.died for one in patients)


def test_the_next_event_of_patients_never_seen(model):
    found = hits.judge(model, sample(), model.modality.book.codes).rates()
    assert found["targets"] > 4000
    assert found["top1"] > 0.45 and found["top10"] > 0.8 and found["nats"] < 2.3


def test_most_of_the_sample_is_familiar_and_what_was_never_seen_is_not(model):
    assert np.mean([model.familiar(one) for one in sample()[:20]]) >= 0.9
    assert model.familiar("male 1950; LOCAL/alpha 30; LOCAL/beta 31; LOCAL/gamma 32; now 40") is False


def test_a_cohort_as_asked(model):
    batch = model.generate(6, sex="female", born="1950:1969", having="E11", seed=3)
    for one in batch.generated:
        assert one.record.sex == "female" and one.record.born // 10 in (195, 196)
    ages = [next(event.age for event in one.events if event.code.startswith("ICD10/E11")) for one in batch.records]
    assert np.median(ages) > 30 * YEAR, "type 2 diabetes comes to adults"
    # They are just those with it among the lives that would have been drawn anyway: nothing else about them is chosen.
    others = batch.attempts - sum(count for why, count in batch.refusals().items() if why.startswith("generate."))
    plain = model.generate(others, sex="female", born="1950:1969", seed=3)
    having = [one for one in plain.generated if any(e.code.startswith("ICD10/E11") for e in one.record.events)]
    assert [one.record for one in having] == batch.records


def test_men_and_women_get_what_only_they_can(model):
    found = {sex: model.generate(60, sex=sex, born="1940:1959", seed=1).generated for sex in ("female", "male")}
    codes = {sex: [event.code for one in batch for event in one.record.events] for sex, batch in found.items()}
    pregnancy = ("ICD10/O", "ATC/G03A")
    assert sum(code.startswith(pregnancy) for code in codes["female"]) > 20
    assert sum(code.startswith(pregnancy) for code in codes["male"]) < 0.05 * len(codes["male"])


def test_codes_have_names_in_both_languages(model):
    book = model.modality.book
    assert (book.name("ICD10/E11", "en"), book.name("SNOMED/44054006", "zh")) == ("type 2 diabetes", "2型糖尿病")
    told = [code for code in book.codes if code.startswith(("ATC", "LOINC"))]
    named = [code for code in told if book.name(code, "zh") and book.name(code, "en")]
    assert len(named) > 0.7 * len(told), "groups above a medicine need no name"


def test_what_the_demo_shows(model):
    cohort, future, why = demo(model, seed=0)
    assert len(cohort.figures) == 4 and len(cohort.table) == 12
    for section in (future, why):
        (figure,) = section.figures
        assert set(figure.picture) == {"en", "zh"} and figure.picture["en"].count("<path") > 20
    scores = [abs(row["points"]) for row in why.table]
    assert len(scores) > 3 and scores == sorted(scores, reverse=True)


def test_a_cohort_followed_to_an_age(model):
    batch = model.generate(10, seed=0, until=50)
    for one in batch.generated:
        assert one.record.end <= 50 * YEAR and all(event.age <= 50 * YEAR for event in one.record.events)
        assert one.record.died or one.record.end == 50 * YEAR
        # What was told beyond is not part of it, and so is its likelihood.
        assert (one.log_likelihood is None) == (not one.record.died)
    ages = [[event.age for event in record.events] for record in batch]
    assert max(sum(age > 49.9 * YEAR for age in some) for some in ages) < 12, "events pile up at the end"
    assert not any(refusal.reason == "timelines.not_as_asked" for refusal in batch.rejected)


def test_an_age_to_which_nobody_was_followed(model):
    with pytest.raises(Invalid, match="followed"):
        model.generate(2, until=110)

    def said(**asked):
        return [note.reason for note in model.modality.warnings(model.modality.Conditions(**asked))]

    assert "timelines.no_such_people" in said(until=80, born="1960:1969")
    assert "timelines.no_such_people" not in said(until=80) + said(until=50, born="1960:1969")

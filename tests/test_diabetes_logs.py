"""Logged care: reproducible, of the patients who may be logged, and varied enough to learn from."""

from __future__ import annotations

import numpy as np
import polars
import pytest

from puji.errors import Invalid
from puji.modalities.plans.diabetes import logs
from puji.modalities.plans.diabetes.patients import GROUPS, patients
from puji.modalities.plans.diabetes.world import EVERY

TRAJECTORIES = 6


@pytest.fixture(scope="module")
def care():
    return logs.log(TRAJECTORIES, seed=5)


def test_only_patients_001_to_007_are_logged(care):
    found = set(care["patient"])
    assert found == {f"{group}#{number:03d}" for group in GROUPS for number in range(1, 8)}
    assert care["subject"].n_unique() == 21 * TRAJECTORIES


def test_a_trajectory_has_every_step_until_it_ends(care):
    for rows in care.partition_by("subject"):
        assert rows["step"].to_list() == list(range(len(rows)))
        assert not rows["ended"][:-1].any()
        assert rows["ended"][-1] or len(rows) == 288
    assert care.null_count().sum_horizontal().item() == 0
    assert care["glucose"].is_between(10, 600).all() and care["sensor"].is_between(39, 600).all()


def test_care_is_reproducible_and_no_trajectory_depends_on_the_others(care, monkeypatch):
    assert logs.log(TRAJECTORIES, seed=5).equals(care)
    fewer = logs.log(2, seed=5)
    assert fewer.equals(
        care.filter(polars.col("subject").str.ends_with("/0") | polars.col("subject").str.ends_with("/1"))
    )
    monkeypatch.setattr(logs, "BATCH", 13)
    assert logs.log(2, seed=5).equals(fewer)
    assert not logs.log(2, seed=6).equals(fewer)


def test_people_make_mistakes(care):
    told = care.filter(polars.col("announced") > 0)
    forgotten = (told["bolus"] == 0).mean()
    assert 0.02 < forgotten < 0.2
    ratio = patients(told["patient"].to_list()).column("carbohydrate_ratio")
    given = told["bolus"].to_numpy() * EVERY
    normal = (given > 0) & (told["sensor"].to_numpy() < 150)
    spread = np.log(given[normal] * ratio[normal] / told["announced"].to_numpy()[normal])
    assert 0.15 < spread.std() < 0.35
    between = care.filter((polars.col("announced") == 0) & (polars.col("bolus") > 0))
    assert len(between) > 10 and (between["sensor"] > logs.Habits().high).all()
    stopped = care.filter(polars.col("basal") == 0)
    assert 0.001 < len(stopped) / len(care) < 0.1 and (stopped["sensor"] < logs.Habits().low).all()
    rate = care.filter(polars.col("basal") > 0)
    assert 0.15 < np.log(rate["basal"].to_numpy() / patients(rate["patient"].to_list()).basal).std() < 0.4


def test_without_mistakes_care_is_basal_bolus():
    never = logs.Habits(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, suspended=0.0)
    perfect = logs.log(2, seed=5, habits=never)
    assert ((perfect["bolus"] > 0) == (perfect["announced"] > 0)).all()
    basal = patients(perfect["patient"].to_list()).basal
    assert perfect["basal"].to_numpy() == pytest.approx(basal, abs=1e-5)
    in_range = [frame["glucose"].is_between(70, 180).mean() for frame in (perfect, logs.log(2, seed=5))]
    assert in_range[0] > in_range[1]


def test_logs_are_written_whole(tmp_path):
    logs.write(tmp_path / "care.parquet", 1, days=2, seed=1)
    read = polars.read_parquet(tmp_path / "care.parquet")
    assert read.equals(logs.log(1, days=2, seed=1))
    assert read["step"].max() == 575
    with pytest.raises(Invalid):
        logs.write(tmp_path / "nowhere" / "care.parquet", 1)


def test_no_trajectories_are_refused():
    with pytest.raises(ValueError, match="1 or more"):
        logs.log(0)

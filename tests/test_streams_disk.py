"""What survives a kill of the program, and laws that hold whatever devices send."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puji.errors import Invalid
from puji.streams import window as windows
from puji.streams.forecaster import Persistence
from puji.streams.monitor import ACCEPTED
from puji.streams.observation import Reading
from puji.streams.samples import told
from puji.streams.store import NAME, Store
from puji.streams.window import Limits, Window

from .streams_cases import NOW, STEP, Hands, Told, flags, glucose, kept, monitor, reopened, stored, take


def test_a_new_program_takes_up_where_the_old_one_was(tmp_path):
    told_to = Told()
    one = monitor(tmp_path, forecaster=told_to)
    take(one, *(glucose(minutes, 60 - minutes / 10) for minutes in range(-60, 1, 5)), b"garbage")
    before, rows, waiting = kept(one), stored(one), one.store.outbox(0, 100)
    after = Told()
    two = reopened(one, forecaster=after)
    assert (kept(two), stored(two), two.store.outbox(0, 100)) == (before, rows, waiting)
    assert two.counts == one.counts
    assert two.patients["p1"].alerts == one.patients["p1"].alerts
    assert take(two, *(glucose(minutes, 60) for minutes in range(-60, 1, 5))) == ["duplicate"] * 13
    assert after.tracks[-1].steps == told_to.tracks[-1].steps
    assert flags(two) == [("glucose-low", "active")]  # not once more


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path):
    one = monitor(tmp_path)
    take(one, glucose(-5, 120))
    with pytest.raises(RuntimeError), one.store.batch():
        one.take("puji/p1/observation", told(glucose(0, 121)))
        one.settle()
        raise RuntimeError("power cut")
    two = reopened(one)
    assert kept(two) == [(-5, 120)]
    assert two.counts == {ACCEPTED: 1}


def test_a_folder_belongs_to_one_program(tmp_path):
    one = monitor(tmp_path)
    with pytest.raises(Invalid, match="another process"):
        Store(tmp_path)
    one.store.close()
    assert (tmp_path / NAME).stat().st_mode & 0o077 == 0
    Store(tmp_path).close()


def test_a_damaged_file_is_refused_and_kept(tmp_path):
    (tmp_path / NAME).write_bytes(b"not a database, but somebody's readings" * 100)
    with pytest.raises(Invalid, match="damaged"):
        Store(tmp_path)
    assert (tmp_path / NAME).read_bytes().startswith(b"not a database")


# -- laws --------------------------------------------------------------------------------------------------------------

offsets = st.lists(st.integers(-25 * 60, 0), min_size=1, max_size=40)


@settings(max_examples=60)
@given(offsets, st.randoms(use_true_random=False), st.lists(st.integers(0, 39), max_size=20))
def test_order_and_repetition_do_not_matter(seconds, random, repeats):
    readings = [Reading("p", "glucose", NOW + second * 1000, 100.0 + second / 100, f"id{second}") for second in seconds]
    shuffled = readings + [readings[place % len(readings)] for place in repeats]
    random.shuffle(shuffled)

    def placed(order):
        window, taken = Window("p", Limits()), 0
        for reading in order:
            try:
                window.place([reading], NOW)
                taken += 1
            except Invalid as refusal:
                assert refusal.reason == "streams.refused.duplicate"
        return window, taken

    expected, _ = placed(sorted(set(readings), key=lambda one: one.time))
    found, taken = placed(shuffled)
    assert taken == len(set(seconds))
    assert found.series["glucose"].times == sorted({one.time for one in readings})
    assert found.series["glucose"].values == expected.series["glucose"].values
    assert found.steps(NOW // STEP, 6) == expected.steps(NOW // STEP, 6)


statuses = st.sampled_from(["final", "corrected", "entered-in-error"])
patients = st.sampled_from(["p1", "p2"])
messages = st.tuples(patients, st.integers(-3000, 300), st.integers(0, 700), statuses, st.integers(0, 30))


@settings(max_examples=40)
@given(st.lists(messages, max_size=40))
def test_memory_and_disk_agree_whatever_comes(tmp_path_factory, script):
    clock = Hands()
    one = monitor(tmp_path_factory.mktemp("law"), clock, forecaster=Persistence(), limits=Limits(most=8))
    for name, seconds, value, status, key in script:
        clock.now += 20_000
        take(one, {**glucose(seconds / 60, value, name, key=f"{name}-{key}"), "status": status}, patient=name)
    rows = {(row.patient, row.vital, row.time): (row.value, row.id) for row in one.store.readings()}
    memory = {
        (name, vital, time): entry
        for name, patient in one.patients.items()
        for vital, series in patient.window.series.items()
        for time, entry in series.values.items()
    }
    assert rows == memory
    assert sum(one.counts.values()) == len(script)
    for patient in one.patients.values():
        for series in patient.window.series.values():
            assert series.times == sorted(series.values)
            assert all(series.values[time][1] == key for key, time in series.ids.items())
    two = reopened(one)
    assert two.counts == one.counts
    one_steps = {
        name: patient.window.steps(clock.now // STEP, 24) for name, patient in one.patients.items() if patient.known
    }
    assert {name: patient.window.steps(clock.now // STEP, 24) for name, patient in two.patients.items()} == one_steps
    two.store.close()


def test_persistence_widens_with_time():
    track = Persistence().open("p")
    assert track.forecast() is None
    track.feed(120)
    track.feed(None)
    near, far = track.forecast().horizons
    assert near.median == far.median == 120
    assert far.high - far.low > near.high - near.low
    assert math.isclose(far.high - 120, 43)


def test_json_of_messages_is_compact_utf8(tmp_path):
    one = monitor(tmp_path)
    take(one, *(glucose(minutes, 90) for minutes in (-10, -5, 0)))
    payload = one.store.outbox(0, 1)[0][1].payload
    assert json.loads(payload)["resourceType"] == "Observation"
    assert b": " not in payload.split(b'"text"')[0]
    assert windows.STEP_MS == STEP

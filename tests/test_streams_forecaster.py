"""The forecaster on the engine: looking ahead equals forking, tracks equal their replay, weights are what they say."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puji.engine import network as networks
from puji.engine.ahead import Ahead
from puji.engine.session import Session
from puji.errors import Invalid
from puji.streams import tokens, weights
from puji.streams.engine_forecaster import EngineForecaster
from puji.streams.forecaster import replay


@pytest.fixture(scope="module")
def network():
    return weights.load()


@pytest.fixture(scope="module")
def forecaster(network):
    return EngineForecaster(network)


def wave(n, middle=120.0, height=40.0):
    return (middle + height * np.sin(np.arange(n) / 9)).tolist()


@given(st.lists(st.floats(20, 600), min_size=1, max_size=50))
def test_tokens_tell_glucose_within_half_a_bin(values):
    ids = tokens.encode(np.array(values))
    back = tokens.decode(ids)
    inside = np.clip(values, tokens.LOWEST, tokens.HIGHEST)
    assert (np.abs(back - inside) <= tokens.WIDTH / 2 + 1e-9).all()
    assert (tokens.encode(back) == ids).all()
    assert tokens.bins()[ids].all()


def test_a_gap_is_a_token_of_its_own():
    assert tokens.encode(np.array([np.nan, 100.0])).tolist()[0] == tokens.GAP
    assert np.isnan(tokens.decode(np.array([tokens.GAP, tokens.START]))).all()
    assert not tokens.bins()[[tokens.PAD, tokens.END, tokens.START, tokens.GAP]].any()


def test_looking_ahead_is_forking_and_sampling():
    config = networks.config("nano", tokens.VOCABULARY, context=40, pad=0, end=1)
    fresh = networks.build(config, seed=3).eval()
    session = Session(fresh, [tokens.START], "float32")
    session.feed([20, 21, 22, 30, 31])
    seeds = [5, 2**63 + 1, 7]
    allowed = tokens.bins()
    found = Ahead(fresh, 4, "float32")(session, 6, seeds, allowed)
    for row, seed in enumerate(seeds):
        twin, drawn = session.fork(), []
        for _ in range(6):
            drawn.append(twin.sample(seed, allowed=allowed))
            twin.feed(drawn[-1:])
        assert found[row].tolist() == drawn
    assert session.length == 6
    again = Ahead(fresh, 4, "float32")(session, 6, seeds, allowed)
    assert (again == found).all()


def test_looking_ahead_refuses_what_it_cannot():
    config = networks.config("nano", tokens.VOCABULARY, context=16, pad=0, end=1)
    fresh = networks.build(config, seed=3).eval()
    session = Session(fresh)
    ahead = Ahead(fresh, 2)
    with pytest.raises(ValueError, match="nothing was fed"):
        ahead(session, 1, [1])
    session.feed([tokens.START] * 10)
    assert ahead(session, 7, [1]).shape == (1, 7)
    with pytest.raises(ValueError, match="context"):
        ahead(session, 8, [1])
    with pytest.raises(ValueError, match="room for 2"):
        ahead(session, 1, [1, 2, 3])
    with pytest.raises(ValueError, match="allowed"):
        ahead(session, 1, [1], np.zeros(tokens.VOCABULARY, np.bool_))


def test_a_forecast_is_ordered_and_repeats(forecaster):
    track = replay(forecaster, "p1", wave(40))
    first, again = track.forecast(), track.forecast()
    assert first == again
    near, far = first.horizons
    assert (near.minutes, far.minutes) == (30, 60)
    for one in first.horizons:
        assert tokens.LOWEST <= one.low <= one.median <= one.high <= tokens.HIGHEST
        assert 0 <= one.below <= 1
    assert far.high - far.low > near.high - near.low
    assert replay(forecaster, "p2", wave(40)).forecast() != first  # other random numbers
    assert forecaster.open("p1").forecast() is None


def test_a_track_is_restored_by_telling_it_again(forecaster):
    steps = [None, *wave(20), None, None, *wave(10)]
    one = forecaster.open("p1")
    for place, value in enumerate(steps):
        one.feed(value)
        if place in (5, 22, 32):
            assert replay(forecaster, "p1", steps[: place + 1]).forecast() == one.forecast()


def test_a_track_goes_on_for_days(forecaster):
    track = forecaster.open("p1")
    for place, value in enumerate(wave(3 * tokens.HISTORY)):
        track.feed(None if place % 50 > 45 else value)
        if place % 36 == 35:
            assert track.forecast() is not None


def test_high_and_low_glucose_are_told_apart(forecaster):
    high = replay(forecaster, "p", [250.0] * 24).forecast().horizons[0]
    low = replay(forecaster, "p", [70.0] * 24).forecast().horizons[0]
    assert high.median > 180 > 110 > low.median
    assert low.below > high.below


@pytest.mark.parametrize("horizons", [(), (7,), (0,), (90,)])
def test_horizons_are_whole_steps_up_to_an_hour(network, horizons):
    with pytest.raises(ValueError, match="multiples of 5"):
        EngineForecaster(network, horizons)


def test_the_weights_open_without_puji_and_damage_is_noticed(tmp_path):
    from transformers import LlamaForCausalLM

    folder = tmp_path / "weights"
    shutil.copytree(weights.FOLDER, folder)
    stock = LlamaForCausalLM.from_pretrained(folder)
    assert stock.config.vocab_size == tokens.VOCABULARY
    assert sum((folder / name).stat().st_size for name in weights.FILES) < 1_000_000
    card = json.loads((folder / weights.CARD).read_text("utf-8"))
    assert "001-007" in card["data"]
    (folder / weights.CARD).write_text(json.dumps({**card, "step_seconds": 60}), "utf-8")
    with pytest.raises(Invalid, match="weights"):
        weights.load(folder)
    shutil.copy(weights.FOLDER / weights.CARD, folder / weights.CARD)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(Invalid, match="weights"):
        weights.load(folder)
    with pytest.raises(Invalid, match="weights"):
        weights.load(tmp_path / "nowhere")


def test_saved_weights_come_back(network, tmp_path):
    weights.save(network, tmp_path, {"data": "test"})
    again = weights.load(tmp_path)
    for name, value in network.state_dict().items():
        assert (again.state_dict()[name] == value).all(), name

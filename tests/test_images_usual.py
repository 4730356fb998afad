"""What is called usual: a distance in several measures at once, in either direction, with a known rate of false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puji.modalities.images import phantoms
from puji.modalities.images.codebook import Codebook
from puji.modalities.images.usual import FALSE_ALARMS, Usual, squares, traits


def drawn(n, seed=0, width=4):
    """Correlated normal numbers (n, width)."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, width)) @ np.random.default_rng(99).standard_normal((width, width)) + 5


@given(st.integers(12, 60), st.integers(0, 2**32 - 1))
def test_the_limit_is_that_of_images_which_do_not_count_themselves(n, seed):
    found = drawn(n, seed)
    one_by_one = []
    for place in range(n):
        others = np.delete(found, place, 0)
        # Usual adds 1e-6 to the variances, which is nothing here.
        one_by_one.append(squares(found[place : place + 1], others.mean(0), np.cov(others, rowvar=False))[0])
    limit = np.quantile(one_by_one, 1 - FALSE_ALARMS, method="higher")
    assert Usual.learn(found).limit == pytest.approx(limit, rel=1e-3)


@pytest.mark.parametrize("n", [40, 400])
def test_false_alarms_come_as_often_as_said(n):
    rates = []
    for seed in range(40):
        usual = Usual.learn(drawn(n, seed))
        rates.append((usual.distances(drawn(1000, 1000 + seed)) > usual.limit).mean())
    assert 0.03 < np.mean(rates) < 0.06


def test_too_usual_is_unusual_and_what_is_unusual_only_together_is_found():
    usual = Usual.learn(drawn(400))
    middle, spread = usual.mean, np.sqrt(np.diag(usual.covariance))
    assert usual.distances(middle[None])[0] == pytest.approx(0)
    for sign in (-1, 1):
        assert usual.distances((middle + sign * 6 * spread * np.eye(4)[0])[None])[0] > usual.limit
    rng = np.random.default_rng(3)
    both = rng.standard_normal((400, 1)) + 0.1 * rng.standard_normal((400, 2))
    usual = Usual.learn(both)
    apart = np.array([[1.0, -1.0]])
    assert (np.abs(apart) < both.std(0) * 1.5).all() and usual.distances(apart)[0] > usual.limit


def test_the_units_of_the_measures_do_not_matter():
    found, others = drawn(300), drawn(50, 1)
    mixing = np.array([[2.0, 0.3, 0, 0], [0, 0.5, 0, 0.2], [0.1, 0, 9, 0], [0, 0, 0, 1.0]])
    plain, mixed = Usual.learn(found), Usual.learn(found @ mixing)
    assert mixed.limit == pytest.approx(plain.limit, rel=1e-3)
    assert mixed.distances(others @ mixing) == pytest.approx(plain.distances(others), rel=1e-3)


def test_it_comes_back_from_its_state():
    usual = Usual.learn(drawn(30))
    again = Usual.restored(usual.state())
    assert again.limit == usual.limit and again.n == 30
    assert (again.distances(drawn(9)) == usual.distances(drawn(9))).all()


def test_traits_are_numbers_whatever_the_image():
    rng = np.random.default_rng(0)
    some = np.stack([phantoms.chest(rng).array for _ in range(8)])
    book = Codebook.learn(some, 4, 16)
    blank, noise = np.full_like(some[:1], 7), rng.integers(0, 256, some[:1].shape, dtype=np.uint8)
    images = np.concatenate([some, blank, 0 * blank, noise])
    found = traits(book, images, np.zeros((len(images), 49)))
    assert found.shape == (11, 6) and np.isfinite(found).all()
    assert found[8, 3] == found[8, 4] == 0 and found[8, 2] == 7  # no spread, no roughness
    assert (found[10, 4] > found[:8, 4]).all() and (found[10, 5] > found[:8, 5]).all()

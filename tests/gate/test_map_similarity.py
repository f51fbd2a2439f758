"""How alike two maps are, and what chance may do to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from xaicli.gate.map_similarity import FLOOR, Noise, Similarity, chance_floor, similarity

SIZE = (10, 10)


@pytest.fixture
def maps():
    rng = np.random.default_rng(4)
    return rng.normal(size=SIZE).astype(np.float32), rng.normal(size=SIZE).astype(np.float32)


def test_a_map_is_like_itself_whatever_its_scale_and_offset(maps):
    assert similarity(maps[0], maps[0], SIZE) == Similarity(1.0, 1.0)
    assert similarity(maps[0], 5 * maps[0] + 3, SIZE) == Similarity(pytest.approx(1.0), 1.0)


def test_the_correlation_is_scipys_and_the_overlap_that_of_the_strongest_tenth(maps):
    found = similarity(*maps, SIZE)
    one, other = (set(np.argsort(-values, axis=None)[:10].tolist()) for values in maps)
    assert found.spearman == pytest.approx(scipy.stats.spearmanr(maps[0].ravel(), maps[1].ravel()).statistic)
    assert found.overlap == len(one & other) / len(one | other)


def test_the_opposite_map_is_as_unlike_as_can_be(maps):
    assert similarity(maps[0], -maps[0], SIZE) == Similarity(pytest.approx(-1.0), 0.0)


def test_maps_of_other_resolutions_are_compared_at_the_inputs():
    coarse = np.arange(4, dtype=np.float32).reshape(2, 2)
    fine = np.asarray([[0, 0.25, 0.75, 1], [0.5, 0.75, 1.25, 1.5], [1.5, 1.75, 2.25, 2.5], [2, 2.25, 2.75, 3]], dtype=np.float32)
    assert similarity(coarse, fine, (4, 4)) == Similarity(1.0, 1.0)


def test_constant_maps_are_like_each_other_and_nothing_else(maps):
    flat = np.zeros((3, 3), dtype=np.float32)
    assert similarity(flat, flat + 2, SIZE) == Similarity(1.0, 1.0)
    assert similarity(flat, maps[0], SIZE) == Similarity(0.0, 0.0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_map_that_is_not_finite_reaches_no_floor(maps, wrong):
    broken = maps[0].copy()
    broken[0, 0] = wrong
    for pair in ((broken, maps[0]), (maps[0], broken), (broken, broken)):
        found = similarity(*pair, SIZE)
        assert not found.reaches(Similarity(-1.0, 0.0))
        assert found.above(FLOOR) == -math.inf


def test_the_floor_of_chance_lets_one_map_in_a_hundred_fall_below_it():
    found = [Similarity(place / 1000, place / 500) for place in range(399)]
    assert chance_floor(found) == Similarity(0.003, 0.006)
    assert sum(not one.reaches(chance_floor(found)) for one in found) / 400 <= 0.01
    assert chance_floor(found[:198]) == Similarity(0.0, 0.0)
    assert chance_floor(found[50:60]) == Similarity(0.05, 0.1)


def test_the_floor_of_chance_is_never_above_that_of_rounding():
    assert chance_floor([Similarity(0.999, 0.95)] * 8) == FLOOR


def test_noise_is_the_floor_of_all_repetitions_and_the_mean_of_each_photo():
    one, other = [Similarity(0.5, 0.4), Similarity(0.9, 0.8)], [Similarity(0.75, 0.1), Similarity(0.6, 0.5)]
    assert Noise.of([one, other]) == Noise(Similarity(0.5, 0.1), (0.625, 0.75))


def test_what_fell_short_is_the_correlation_unless_the_overlap_alone_did():
    assert Similarity(0.97, 0.7).shortfall(FLOOR) == "0.97"
    assert Similarity(0.99, 0.7).shortfall(FLOOR) == "overlap 0.70"

"""How many photos it would take."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from xaicli.metric import Quantity, ValueKind
from xaicli.results.needed import MOST_PHOTOS, needed_to_judge, photos_needed, roughly, spread_of, too_few

HITS = Quantity(ValueKind.BINARY, 0.0, 1.0)


@pytest.mark.parametrize(("spread", "distance"), [(1.0, 0.1), (0.3, 0.05), (2.0, -0.5)])
def test_with_the_photos_needed_four_tests_in_five_see_the_difference(spread, distance):
    needed = photos_needed(spread, distance)
    reach = abs(distance) / (spread / math.sqrt(needed))
    power = scipy.stats.norm.cdf(reach - 1.959964) + scipy.stats.norm.cdf(-reach - 1.959964)
    assert power == pytest.approx(0.8, abs=0.01)


def test_no_number_of_photos_tells_zero_from_zero():
    assert photos_needed(1.0, 0.0) == math.inf
    assert photos_needed(0.0, 0.1) == 2


def test_the_spread_is_that_of_photos_that_have_a_value():
    values = np.random.default_rng(0).normal(size=10)
    assert spread_of([*values, math.nan]) == pytest.approx(values.std(ddof=1))
    assert spread_of([0.5]) == 0.0


@pytest.mark.parametrize("wanted", [0.99, 0.9])
def test_hits_alone_reach_a_bound_where_the_exact_interval_does(wanted):
    needed = needed_to_judge([1.0, 1.0], wanted, math.inf, HITS, paired=False)
    # n hits of n: the interval starts at 0.025 ** (1 / n).
    assert needed == math.ceil(math.log(0.025) / math.log(wanted))


def test_a_rate_that_is_the_bound_is_never_told_from_it():
    assert needed_to_judge([1.0, 0.0], 0.5, math.inf, HITS, paired=False) == math.inf


def test_hits_that_never_turn_stay_within_a_tolerance_once_there_are_enough():
    needed = int(needed_to_judge([0.0] * 5, -0.05, 0.05, HITS, paired=True))

    def reach(n: int) -> float:
        return 1.959964 * math.sqrt(2 / (n + 2) / (n + 2))

    assert reach(needed) <= 0.05 < reach(needed - 1)


@pytest.mark.parametrize(("count", "said"), [(2, 2), (99, 99), (101, 110), (1837, 1900), (9950, 10000)])
def test_photos_needed_are_rounded_up_to_two_digits(count, said):
    assert roughly(count) == said


@pytest.mark.parametrize(
    ("photos", "needed", "said"),
    [
        (8, 343, "8 photos are too few; about 350 needed"),
        (1, 0, "1 photo is too few; about 2 needed"),
        (8, MOST_PHOTOS + 1, "8 photos cannot tell, and no number of photos would do"),
    ],
)
def test_too_few_photos_are_said_with_the_number_it_would_take(photos, needed, said):
    assert too_few(photos, needed) == said

"""Intervals, paired differences, ratios of means and Holm's correction, against scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from xaicli.results import intervals, stats


def skewed(photos: int, cells: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=(photos, cells))


@pytest.mark.parametrize("photos", [20, 60, 300])
def test_from_twenty_photos_on_the_interval_is_the_bca_bootstrap(photos):
    values = skewed(photos)[:, 0]
    estimate = stats.mean(values)
    expected = scipy.stats.bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(1))
    # Monte Carlo error of either end: about 3 % of a standard error.
    tolerance = 0.1 * expected.standard_error
    assert estimate.value == pytest.approx(values.mean(), abs=1e-12)
    assert estimate.low == pytest.approx(expected.confidence_interval.low, abs=tolerance)
    assert estimate.high == pytest.approx(expected.confidence_interval.high, abs=tolerance)


@pytest.mark.parametrize("photos", [2, 3, 19])
def test_below_twenty_photos_it_is_the_t_interval(photos):
    values = skewed(photos)[:, 0]
    estimate, expected = stats.mean(values), scipy.stats.ttest_1samp(values, 0)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-9)
    assert estimate.p == pytest.approx(expected.pvalue, rel=1e-9)


def test_a_difference_is_paired():
    first = skewed(12)[:, 0]
    second = first + np.linspace(0.1, 0.2, 12)
    expected = scipy.stats.ttest_rel(first, second)
    estimate = stats.difference(first, second)
    assert estimate.value == pytest.approx(-0.15)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-6)
    assert estimate.p == pytest.approx(expected.pvalue, rel=1e-6)


@pytest.mark.parametrize("photos", [12, 50])
def test_differences_of_columns_are_the_differences_pair_by_pair(photos):
    table = skewed(photos, 4)
    table[3, 3] = math.nan
    pairs = [(0, 1), (2, 0), (1, 3), (3, 2), (0, 1)]
    for (first, second), estimate in zip(pairs, stats.differences(table, pairs), strict=True):
        expected = stats.difference(table[:, first], table[:, second])
        assert (estimate.n, estimate.of) == (expected.n, expected.of)
        for name in ("value", "low", "high", "p"):
            assert getattr(estimate, name) == pytest.approx(getattr(expected, name), rel=1e-3, abs=1e-9)


def test_one_photo_has_no_interval_and_therefore_no_mean():
    for values in ([0.5], [0.5, math.nan], [math.nan, math.nan]):
        estimate = stats.mean(values)
        assert (estimate.value, estimate.low, estimate.high, estimate.p) == (None, None, None, None)
        assert (estimate.n, estimate.of) == (np.isfinite(values).sum(), len(values))


def test_missing_values_are_left_out_and_counted():
    values = skewed(40)[:, 0]
    values[::4] = math.nan
    estimate = stats.mean(values)
    assert (estimate.n, estimate.of) == (30, 40)
    assert estimate.value == pytest.approx(np.nanmean(values))
    alone = stats.mean(values[np.isfinite(values)])
    error = np.nanstd(values) / math.sqrt(30)
    assert estimate.low == pytest.approx(alone.low, abs=0.25 * error)
    assert estimate.high == pytest.approx(alone.high, abs=0.25 * error)


def test_an_infinite_value_is_refused():
    with pytest.raises(ValueError, match="infinite"):
        stats.mean([0.1, math.inf, 0.2])


@pytest.mark.parametrize("photos", [5, 30])
def test_photos_that_agree_exactly_leave_an_interval_of_no_width(photos):
    estimate = stats.mean([0.25] * photos)
    assert (estimate.value, estimate.low, estimate.high) == (0.25, 0.25, 0.25)
    assert estimate.p == 2.0 ** (1 - photos)
    assert stats.mean([0.0] * photos).p == 1.0


def test_a_cell_does_not_depend_on_its_neighbours():
    table = skewed(50, 4)
    together, alone = stats.means(table), stats.mean(table[:, 2])
    for name in ("value", "low", "high", "p"):
        assert getattr(together[2], name) == pytest.approx(getattr(alone, name), rel=1e-4)


def test_the_same_values_give_the_same_interval_and_another_seed_nearly_the_same():
    values = skewed(100)[:, 0]
    first, again, other = stats.mean(values), stats.mean(values), stats.mean(values, seed=1)
    assert first == again
    assert first != other
    assert first.low == pytest.approx(other.low, abs=0.1 * values.std() / 10)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_interval_moves_and_stretches_with_the_values(scale):
    values = skewed(40)[:, 0]
    plain, moved = stats.mean(values), stats.mean(scale * (values + 3))
    assert moved.low == pytest.approx(scale * (plain.low + 3), rel=1e-5)
    assert moved.high == pytest.approx(scale * (plain.high + 3), rel=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.floats(-1, 1), st.integers(20, 60), st.integers(0, 1000))
def test_the_p_value_agrees_with_the_interval(shift, photos, seed):
    values = skewed(photos, seed=seed)[:, 0] - 1 + shift
    estimate = stats.mean(values)
    excluded = estimate.low > 0 or estimate.high < 0
    assert excluded == (estimate.p < 0.05) or estimate.p == pytest.approx(0.05, abs=0.002)


def test_a_strong_effect_has_a_p_value_below_what_resamples_resolve():
    assert stats.mean(1 + 0.1 * skewed(100)[:, 0]).p < 1e-20


def test_a_ratio_of_means_is_not_a_mean_of_ratios():
    above, below = np.array([1.0, 2.0, 3.0, 10.0]), np.array([2.0, 2.0, 5.0, 7.0])
    estimate = stats.ratio_of_means(above, below)
    assert estimate.value == 1.0
    # The delta method's standard error, written out.
    residuals = above - below
    error = math.sqrt((residuals**2).sum() / 3 / 4) / below.mean()
    assert estimate.high - 1.0 == pytest.approx(scipy.stats.t.ppf(0.975, 3) * error)


def test_the_interval_of_a_ratio_resamples_whole_photos():
    generator = np.random.default_rng(4)
    below = generator.uniform(0.2, 1.0, 80)
    above = 0.3 * below + generator.normal(0, 0.05, 80)
    estimate = stats.ratio_of_means(above, below)

    def ratio(first, second, axis):
        return first.mean(axis=axis) / second.mean(axis=axis)

    expected = scipy.stats.bootstrap((above, below), ratio, paired=True, method="BCa", rng=np.random.default_rng(2))
    assert estimate.low == pytest.approx(expected.confidence_interval.low, abs=0.1 * expected.standard_error)
    assert estimate.high == pytest.approx(expected.confidence_interval.high, abs=0.1 * expected.standard_error)


@pytest.mark.parametrize("photos", [6, 60])
def test_a_ratio_over_nothing_is_not_known(photos):
    noise = np.random.default_rng(0).normal(size=photos)
    estimate = stats.ratio_of_means(np.ones(photos), noise - noise.mean())
    assert not estimate.known
    assert estimate.n == photos


def test_the_bounded_memory_of_large_tables_does_not_change_the_interval(monkeypatch):
    values = skewed(100, 3)
    whole = stats.means(values)
    monkeypatch.setattr(intervals, "DRAWS", 1)
    fewer = stats.means(values)
    for first, second in zip(whole, fewer, strict=True):
        assert first.low == pytest.approx(second.low, abs=0.15 * values.std() / 10)


def test_past_twenty_thousand_photos_the_bootstrap_and_t_no_longer_differ(monkeypatch):
    values = skewed(20_001)[:, 0]
    estimate = stats.mean(values)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(scipy.stats.ttest_1samp(values, 0).confidence_interval()))
    monkeypatch.setattr(intervals, "MOST_FOR_BOOTSTRAP", 30_000)
    drawn = stats.mean(values)
    assert drawn.low == pytest.approx(estimate.low, abs=0.1 * values.std() / math.sqrt(20_000))


def test_a_few_values_among_very_many_photos_are_drawn_by_themselves():
    values = np.full(30_000, math.nan)
    values[::1000] = skewed(30)[:, 0]
    estimate, alone = stats.mean(values), stats.mean(values[::1000])
    assert (estimate.low, estimate.high, estimate.n, estimate.of) == (alone.low, alone.high, 30, 30_000)


def test_holm_adjusts_step_by_step():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.6, 0.7]) == [1.0, 1.0]
    assert stats.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_never_lowers_a_p_value_keeps_their_order_and_is_kinder_than_bonferroni(p_values):
    adjusted = stats.holm(p_values)
    assert all(p <= a <= min(1.0, p * len(p_values)) + 1e-12 for p, a in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.asarray(adjusted)[order]) >= 0).all()


@pytest.mark.parametrize(("spread", "distance"), [(1.0, 0.1), (0.3, 0.05), (2.0, -0.5)])
def test_with_the_photos_needed_four_tests_in_five_see_the_difference(spread, distance):
    needed = stats.photos_needed(spread, distance)
    reach = abs(distance) / (spread / math.sqrt(needed))
    power = scipy.stats.norm.cdf(reach - 1.959964) + scipy.stats.norm.cdf(-reach - 1.959964)
    assert power == pytest.approx(0.8, abs=0.01)


def test_no_number_of_photos_tells_zero_from_zero():
    assert stats.photos_needed(1.0, 0.0) == math.inf
    assert stats.photos_needed(0.0, 0.1) == 2


@pytest.mark.parametrize("photos", [10, 200])
def test_the_spread_is_read_off_an_interval(photos):
    values = np.random.default_rng(0).normal(size=photos)
    assert stats.spread_of(stats.mean(values)) == pytest.approx(values.std(ddof=1), rel=0.1)
    assert stats.spread_of(stats.mean([0.5])) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(("photos", "lowest"), [(10, 0.86), (30, 0.90), (100, 0.93)])
def test_intervals_cover_the_truth_as_often_as_they_say(photos, lowest):
    """Skewed values, true mean 1. No interval reaches 95 % there with few photos; the t interval on 10 has about 90 %."""
    trials = 2000
    estimates = stats.means(skewed(photos, trials, seed=5))
    covered = np.mean([e.low <= 1.0 <= e.high for e in estimates])
    assert lowest <= covered <= 0.97
    normal = stats.means(np.random.default_rng(6).normal(1.0, 1.0, (photos, trials)))
    assert np.mean([e.low <= 1.0 <= e.high for e in normal]) == pytest.approx(0.95, abs=0.035)


@pytest.mark.slow
def test_an_alarm_without_a_difference_is_as_rare_as_it_says():
    differences = np.random.default_rng(7).standard_t(5, (60, 2000))
    alarms = np.mean([estimate.p < 0.05 for estimate in stats.means(differences)])
    assert 0.03 <= alarms <= 0.075

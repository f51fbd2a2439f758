"""Means, medians, paired differences, ratios of means and Holm's correction, against scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from xaicli.metric import Quantity, ValueKind
from xaicli.results import stats

HITS = Quantity(ValueKind.BINARY, 0.0, 1.0)
PERCENT = Quantity(ValueKind.BINARY, 0.0, 100.0)
SHARES = Quantity(ValueKind.CONTINUOUS, 0.0, 1.0)
ERRORS = Quantity(ValueKind.SKEWED, 0.0, math.inf)


def skewed(photos: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=photos)


# Paired differences


@pytest.mark.parametrize("photos", [2, 3, 19, 20, 60, 300])
def test_a_difference_has_students_interval_and_test(photos):
    first, second = skewed(photos), skewed(photos, 1)
    expected = scipy.stats.ttest_rel(first, second)
    estimate = stats.difference(first, second)
    assert estimate.value == pytest.approx((first - second).mean())
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-9)
    assert estimate.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert estimate.test == "paired t"


NULLS = {
    "two skewed scores": lambda r, n: r.exponential(0.1, n) - r.exponential(0.1, n),
    "60 % zeros": lambda r, n: np.where(r.random(n) < 0.6, 0.0, r.normal(size=n)),
    "t(3) tails": lambda r, n: r.standard_t(3, n),
    "beta(2, 2)": lambda r, n: r.beta(2, 2, n) - 0.5,
}


@pytest.mark.parametrize("photos", [20, 40])
@pytest.mark.parametrize("name", NULLS)
def test_a_difference_that_is_not_there_is_seen_no_more_often_than_is_said(name, photos):
    drawn = np.random.default_rng(2)
    found = [stats.change(NULLS[name](drawn, photos)) for _ in range(2000)]
    assert np.mean([estimate.p < 0.05 for estimate in found]) <= 0.06
    assert np.mean([estimate.low <= 0 <= estimate.high for estimate in found]) >= 0.94


@settings(max_examples=50, deadline=None)
@given(st.floats(-1, 1), st.integers(2, 60), st.integers(0, 1000))
def test_the_p_value_of_a_difference_agrees_with_its_interval(shift, photos, seed):
    estimate = stats.change(skewed(photos, seed) - 1 + shift)
    assert (estimate.low > 0 or estimate.high < 0) == (estimate.p < 0.05)


# Binary scores


@pytest.mark.parametrize(("hits", "photos"), [(2, 2), (0, 20), (1, 20), (19, 20), (7, 30)])
def test_a_rate_has_the_exact_interval(hits, photos):
    values = np.repeat([1.0, 0.0], [hits, photos - hits])
    expected = scipy.stats.binomtest(hits, photos).proportion_ci(0.95, "exact")
    for quantity in (HITS, PERCENT):
        estimate = stats.mean(values * quantity.high, quantity)
        assert estimate.value == pytest.approx(quantity.high * hits / photos)
        assert (estimate.low, estimate.high) == pytest.approx((quantity.high * expected.low, quantity.high * expected.high))
        assert estimate.test == "exact binomial (Clopper-Pearson)"


def test_two_hits_of_two_and_no_hit_of_twenty():
    assert (stats.mean([1.0, 1.0], HITS).low, stats.mean([1.0, 1.0], HITS).high) == (pytest.approx(0.158, abs=5e-4), 1.0)
    assert (stats.mean([0.0] * 20, HITS).low, stats.mean([0.0] * 20, HITS).high) == (0.0, pytest.approx(0.168, abs=5e-4))


@pytest.mark.parametrize(("rate", "photos"), [(0.95, 30), (0.05, 20), (0.5, 5), (0.02, 100)])
def test_the_interval_of_a_rate_covers_the_truth(rate, photos):
    """Summed over all numbers of hits there can be, not drawn."""
    hits = np.arange(photos + 1)
    found = [stats.mean(np.repeat([1.0, 0.0], [count, photos - count]), HITS) for count in hits]
    covered = [estimate.low <= rate <= estimate.high for estimate in found]
    assert scipy.stats.binom.pmf(hits, photos, rate)[covered].sum() >= 0.95


def test_a_part_of_a_hit_widens_the_interval():
    whole, more, parted = (stats.mean([1.0] * 5 + [part] + [0.0] * 4, HITS) for part in (0.0, 1.0, 0.5))
    assert (parted.value, parted.low, parted.high) == (0.55, whole.low, more.high)


@pytest.mark.parametrize(("up", "down", "photos"), [(6, 0, 20), (5, 0, 20), (9, 1, 30), (0, 0, 8), (3, 3, 10), (40, 20, 200)])
def test_paired_hits_are_compared_by_the_exact_mcnemar_test(up, down, photos):
    first = np.array([1.0] * up + [0.0] * down + [1.0] * (photos - up - down))
    second = np.array([0.0] * up + [1.0] * down + [1.0] * (photos - up - down))
    estimate = stats.difference(100 * first, 100 * second, PERCENT)
    expected = scipy.stats.binomtest(up, up + down).pvalue if up + down else 1.0
    assert estimate.p == pytest.approx(expected)
    assert estimate.value == pytest.approx(100 * (up - down) / photos)
    assert (estimate.low > 0 or estimate.high < 0) == (expected < 0.05)
    assert -100 <= estimate.low < estimate.high <= 100
    assert estimate.test == "exact McNemar"


def test_the_interval_of_paired_hits_is_that_of_bonett_and_price():
    """Worked by hand: of 98 photos 11 turn up and 3 down; one more of each is 0.12 and 0.04 of 100."""
    estimate = stats.change([1.0] * 11 + [-1.0] * 3 + [0.0] * 84, HITS)
    half = 1.959964 * math.sqrt((0.16 - 0.08**2) / 100)
    # The exact test does not reject (p = 0.057), so that the interval is stretched to 0 where the formula ends just above it.
    assert estimate.p == pytest.approx(0.0574, abs=1e-3)
    assert half < 0.08
    assert (estimate.low, estimate.high) == (0.0, pytest.approx(0.08 + half))


@pytest.mark.parametrize("bound", [0.99, 0.5])
def test_a_rate_is_tested_against_a_bound_exactly(bound):
    values = [1.0] * 7 + [0.0] * 3
    assert stats.p_against(values, bound, HITS) == pytest.approx(scipy.stats.binomtest(7, 10, bound).pvalue)


# Means of other scores


@pytest.mark.parametrize("photos", [2, 5, 50])
def test_equal_scores_say_nothing_of_their_spread(photos):
    for estimate in (stats.mean([0.25] * photos, SHARES), stats.change([0.25] * photos, SHARES)):
        assert (estimate.value, estimate.low, estimate.high, estimate.p) == (0.25, None, None, None)


def test_the_interval_of_a_mean_is_students_stretched_by_the_correction_for_skewness():
    """Hall's transformation solved numerically: t + g t^2 / 3 + g^2 t^3 / 27 + g / 6 at the quantiles of t."""
    values = skewed(30)
    error, skewness = values.std(ddof=1) / math.sqrt(30), scipy.stats.skew(values)
    g, reach = skewness / math.sqrt(30), scipy.stats.t.ppf(0.975, 29)

    def ends(quantile: float) -> float:
        def excess(t: float) -> float:
            return t + g * t**2 / 3 + g**2 * t**3 / 27 + g / 6 - quantile

        return values.mean() - error * scipy.optimize.brentq(excess, -100, 100)

    estimate, plain = stats.mean(values), scipy.stats.ttest_1samp(values, 0).confidence_interval()
    assert estimate.low == pytest.approx(min(plain.low, ends(reach)))
    assert estimate.high == pytest.approx(max(plain.high, ends(-reach)))
    assert estimate.high > plain.high


def test_of_symmetric_scores_the_interval_is_students():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    estimate, plain = stats.mean(values), scipy.stats.ttest_1samp(values, 0).confidence_interval()
    assert (estimate.low, estimate.high) == pytest.approx((plain.low, plain.high))


def test_an_interval_stays_inside_the_range_of_its_metric():
    assert stats.mean([0.1, 0.9], SHARES).low == 0.0
    assert stats.mean([0.1, 0.9], SHARES).high == 1.0
    assert stats.mean([0.1, 0.9]).low < -1
    assert stats.change([-0.9, 0.9], SHARES).low == -1.0


DRAWS = {
    "normal": (lambda r, n: r.normal(size=n), 0.0),
    "beta(2, 2)": (lambda r, n: r.beta(2, 2, n), 0.5),
    "exponential": (lambda r, n: r.exponential(size=n), 1.0),
    "nine zeros in ten": (lambda r, n: np.where(r.random(n) < 0.9, 0.0, r.random(n)), 0.05),
}


@pytest.mark.parametrize("photos", [10, 20, 100])
@pytest.mark.parametrize("name", DRAWS)
def test_an_interval_that_is_not_called_optimistic_covers_the_truth(name, photos):
    draw, truth = DRAWS[name]
    drawn = np.random.default_rng(5)
    found = [stats.mean(draw(drawn, photos)) for _ in range(2000)]
    said = [estimate for estimate in found if estimate.low is not None]
    assert not any(estimate.optimistic for estimate in said)
    # 0.93, less two standard errors of 2,000 draws.
    assert np.mean([estimate.low <= truth <= estimate.high for estimate in said]) >= 0.93 - 0.011


@pytest.mark.parametrize(("quantity", "photos"), [(SHARES, 9), (ERRORS, 49)])
def test_with_few_photos_an_interval_is_called_optimistic(quantity, photos):
    values = np.random.default_rng(0).beta(1, 3, photos + 1)
    assert stats.mean(values[:photos], quantity).optimistic
    assert not stats.mean(values, quantity).optimistic


def test_the_median_lies_between_two_scores_whose_ranks_the_binomial_gives():
    values = np.arange(20.0)[::-1]
    estimate = stats.median(values)
    # Of 20 photos the 6th and the 15th: P(fewer than 6 below the median) = 0.0207.
    assert (estimate.value, estimate.low, estimate.high) == (9.5, 5.0, 14.0)
    assert scipy.stats.binom.cdf(5, 20, 0.5) < 0.025 < scipy.stats.binom.cdf(6, 20, 0.5)


@pytest.mark.parametrize(("photos", "known"), [(5, False), (6, True)])
def test_a_median_needs_six_photos_for_an_interval(photos, known):
    assert (stats.median(np.arange(float(photos))).low is not None) is known


def test_one_photo_has_no_interval_and_therefore_no_mean():
    for values in ([0.5], [0.5, math.nan], [math.nan, math.nan]):
        for quantity in (SHARES, HITS, ERRORS):
            estimate = stats.mean(values, quantity)
            assert (estimate.value, estimate.low, estimate.high, estimate.p) == (None, None, None, None)
            assert (estimate.n, estimate.of) == (np.isfinite(values).sum(), len(values))


def test_missing_values_are_left_out_and_counted():
    values = skewed(40)
    values[::4] = math.nan
    estimate, alone = stats.mean(values), stats.mean(values[np.isfinite(values)])
    assert (estimate.n, estimate.of) == (30, 40)
    assert (estimate.value, estimate.low, estimate.high) == (alone.value, alone.low, alone.high)


def test_an_infinite_value_is_refused():
    with pytest.raises(ValueError, match="infinite"):
        stats.mean([0.1, math.inf, 0.2])


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_interval_moves_and_stretches_with_the_values(scale):
    values = skewed(40)
    plain, moved = stats.mean(values), stats.mean(scale * (values + 3))
    assert moved.low == pytest.approx(scale * (plain.low + 3), rel=1e-5)
    assert moved.high == pytest.approx(scale * (plain.high + 3), rel=1e-5)


# Ratios, and many tests


def test_a_ratio_of_means_is_not_a_mean_of_ratios():
    above, below = np.array([1.0, 2.0, 3.0, 10.0]), np.array([2.0, 2.0, 5.0, 7.0])
    estimate = stats.ratio_of_means(above, below)
    assert estimate.value == 1.0
    # The delta method's standard error, written out; the skewness may only stretch the interval.
    residuals = above - below
    error = math.sqrt((residuals**2).sum() / 3 / 4) / below.mean()
    assert estimate.high - 1.0 >= scipy.stats.t.ppf(0.975, 3) * error * (1 - 1e-12)
    assert estimate.p == pytest.approx(2 * scipy.stats.t.sf(1 / error, 3))


def test_the_interval_of_a_ratio_is_that_of_resampled_photos():
    generator = np.random.default_rng(4)
    below = generator.uniform(0.2, 1.0, 80)
    above = 0.3 * below + generator.normal(0, 0.05, 80)
    estimate = stats.ratio_of_means(above, below)

    def ratio(first, second, axis):
        return first.mean(axis=axis) / second.mean(axis=axis)

    expected = scipy.stats.bootstrap((above, below), ratio, paired=True, method="BCa", rng=np.random.default_rng(2))
    assert estimate.low == pytest.approx(expected.confidence_interval.low, abs=0.2 * expected.standard_error)
    assert estimate.high == pytest.approx(expected.confidence_interval.high, abs=0.2 * expected.standard_error)


@pytest.mark.parametrize("photos", [6, 60])
def test_a_ratio_over_nothing_is_not_known(photos):
    noise = np.random.default_rng(0).normal(size=photos)
    estimate = stats.ratio_of_means(np.ones(photos), noise - noise.mean())
    assert not estimate.known
    assert estimate.n == photos


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

"""Ranges, colours and opacity of maps."""

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xaicli.errors import UsageError
from xaicli.images.colour import Scale, coloured, palette
from xaicli.method import Sign

maps = arrays(np.float32, (6, 7), elements=st.floats(-1e6, 1e6, width=32))


@given(maps)
def test_a_signed_range_is_symmetric_and_holds_all_of_a_coarse_map(values):
    scale = Scale.of([values], Sign.SIGNED)
    assert -scale.low == scale.high == np.abs(values).max()
    assert not scale.clipped


@given(maps)
def test_a_non_negative_range_runs_from_the_lowest_to_the_highest(values):
    scale = Scale.of([values], Sign.NONNEGATIVE)
    assert (scale.low, scale.high) == (values.min(), values.max())


@given(maps, st.sampled_from(list(Sign)))
def test_fractions_and_strengths_lie_in_0_to_1_and_keep_the_order(values, sign):
    scale = Scale.of([values], sign)
    fractions, strengths = scale.fractions(values), scale.strengths(values, sign)
    for part in (fractions, strengths):
        assert part.dtype == np.float32
        assert part.min() >= 0
        assert part.max() <= 1
    order = np.argsort(values, axis=None, kind="stable")
    assert (np.diff(fractions.ravel()[order]) >= 0).all()


def test_zero_of_a_signed_map_is_invisible_and_grey():
    scale = Scale.of([np.array([[-1.0, 4.0]])], Sign.SIGNED)
    zero = np.zeros((1, 1))
    assert scale.strengths(zero, Sign.SIGNED) == 0
    grey = coloured(zero, scale, palette(Sign.SIGNED))[0, 0].astype(int)
    assert np.ptp(grey) <= 3
    assert 150 < grey.mean() < 235


def test_opposite_values_stand_out_alike_and_differ_in_colour():
    values = np.array([[-2.0, 2.0]])
    scale = Scale.of([values], Sign.SIGNED)
    assert scale.strengths(values, Sign.SIGNED).tolist() == [[1, 1]]
    blue, red = coloured(values, scale, palette(Sign.SIGNED))[0].astype(int)
    assert blue[2] > blue[0]
    assert red[0] > red[2]


def test_one_range_for_many_maps_holds_them_all():
    scale = Scale.of([np.array([[1.0, 2.0]]), np.array([[-1.0, 1.5]])], Sign.NONNEGATIVE)
    assert (scale.low, scale.high) == (-1, 2)
    assert Scale.of([np.array([[1.0]]), np.array([[-3.0]])], Sign.SIGNED) == Scale(-3, 3)


def test_a_few_extreme_pixels_of_a_fine_map_do_not_hide_the_rest():
    values = np.linspace(0, 1, 10_000).reshape(100, 100)
    values.flat[-10:] = 1000
    scale = Scale.of([values], Sign.NONNEGATIVE)
    assert 0.99 < scale.high < 1
    assert scale.clipped
    assert scale.texts() == ("0", "≥0.995")
    assert Scale.of([values], Sign.NONNEGATIVE, saturated=0) == Scale(0, 1000)


@pytest.mark.parametrize("sign", Sign)
def test_a_map_that_is_zero_but_in_a_few_places_shows_these(sign):
    values = np.zeros((100, 100))
    values[3, 4] = 5
    scale = Scale.of([values], sign)
    assert scale.high == 5
    assert not scale.clipped
    assert scale.strengths(values, sign)[3, 4] == 1


@pytest.mark.parametrize("sign", Sign)
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_map_has_no_strength_where_it_is_not_signed(sign, value):
    values = np.full((4, 4), value)
    scale = Scale.of([values], sign)
    strengths = scale.strengths(values, sign)
    assert strengths.max() == (1 if sign is Sign.SIGNED and value else 0)


def test_values_that_are_not_finite_do_not_count():
    assert Scale.of([np.array([[np.nan, 1, 2, np.inf]])], Sign.NONNEGATIVE) == Scale(1, 2)
    assert Scale.of([np.full((2, 2), np.nan)], Sign.SIGNED) == Scale(0, 0)
    assert Scale.of([], Sign.SIGNED).is_constant


@pytest.mark.parametrize(
    ("scale", "texts"),
    [
        (Scale(0, 0.12345), ("0", "0.123")),
        (Scale(-2, 2), ("−2", "2")),
        (Scale(-2, 2, clipped=True), ("≤−2", "≥2")),
        (Scale(1e-9, 0.5), ("≈0", "0.5")),
        (Scale(-1e-7, 1e-7), ("−1e−07", "1e−07")),
    ],
)
def test_both_ends_of_a_range_are_put_in_words(scale, texts):
    assert scale.texts() == texts


@pytest.mark.parametrize("name", ["inferno", "coolwarm", "viridis", "RdBu_r", "tab10"])
def test_colours_are_those_of_matplotlib(name):
    table = palette(Sign.NONNEGATIVE, name)
    assert table.shape == (256, 3)
    for level in (0, 100, 255):
        assert table[level].tolist() == [round(part * 255) for part in matplotlib.colormaps[name](level / 255)[:3]]


def test_an_unknown_colour_map_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r'no colour map is called "virids".*Did you mean viridis\?'):
        palette(Sign.SIGNED, "virids")


def test_no_map_is_drawn_in_jet():
    assert not any(np.array_equal(palette(sign), palette(sign, "jet")) for sign in Sign)

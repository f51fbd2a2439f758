"""Speckle is smoothed where it is drawn; every other map is drawn as it is."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from xaicli.errors import UsageError
from xaicli.images.colour import Scale
from xaicli.images.overlay import LOOKS, overlay
from xaicli.images.smoothing import is_speckle, legible
from xaicli.images.view import View
from xaicli.sign import Sign

NOISE = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
SLOPE = np.add.outer(np.arange(64), np.arange(64)).astype(np.float32)


def test_noise_is_speckle_and_a_slope_is_not():
    assert is_speckle(NOISE)
    assert not is_speckle(SLOPE)
    assert not is_speckle(np.zeros((64, 64), np.float32))
    assert not is_speckle(NOISE[:7, :7])


def test_only_speckle_is_changed_and_only_once():
    assert legible(SLOPE) is SLOPE
    smooth = legible(NOISE)
    assert smooth.std() < NOISE.std() / 2
    assert smooth.mean() == pytest.approx(NOISE.mean(), abs=0.02)
    assert legible(smooth) is smooth


def test_the_range_of_colours_is_that_of_what_is_drawn():
    assert Scale.of([NOISE], Sign.SIGNED) == Scale.of([legible(NOISE)], Sign.SIGNED)


@pytest.fixture
def drawn():
    photo = Image.new("RGB", (64, 64), (10, 200, 30))
    geometry = View(resize=64, crop=64).geometry(64, 64)
    return {look: np.asarray(overlay(photo, SLOPE, geometry, Sign.NONNEGATIVE, look=look)) for look in LOOKS}


def test_grey_shows_how_much_each_part_stands_out(drawn):
    grey = drawn["grey"]
    assert (grey == grey[..., :1]).all()
    assert grey[0, 0, 0] < 5
    assert grey[-1, -1, 0] > 250
    assert (np.diff(grey[32, :, 0].astype(int)) >= 0).all()


def test_contours_run_where_a_quarter_a_half_and_three_quarters_are_passed(drawn):
    lines = (drawn["contour"] != (10, 200, 30)).any(axis=-1)
    # Along the diagonal the map rises evenly from end to end.
    crossed = np.flatnonzero(np.diff(lines.diagonal().astype(int)) == 1)
    assert crossed / 63 == pytest.approx([0.25, 0.5, 0.75], abs=0.04)


def test_an_unknown_look_is_refused():
    with pytest.raises(UsageError, match="expected heat, grey, contour"):
        overlay(Image.new("RGB", (64, 64)), SLOPE, View(resize=64, crop=64).geometry(64, 64), Sign.NONNEGATIVE, look="jet")

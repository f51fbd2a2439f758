"""A region of the view on the photo's pixels."""

from __future__ import annotations

import numpy as np

from xaicli.images.view import View
from xaicli.images.view_region import on_pixels


def test_a_cell_covers_the_pixels_that_the_model_sees_in_it() -> None:
    view = View(resize=(8, 8), crop=None)
    region = np.zeros((2, 2), dtype=np.bool_)
    region[1, 0] = True
    found = on_pixels(region, view.geometry(20, 10))
    assert found.shape == (10, 20)
    assert found[5:, :10].all()
    assert found.sum() == 50


def test_what_is_cropped_away_is_in_no_region() -> None:
    view = View(resize=8, crop=8)
    everything = np.ones((4, 4), dtype=np.bool_)
    found = on_pixels(everything, view.geometry(16, 8))
    assert found[:, 4:12].all()
    assert not found[:, :4].any()
    assert on_pixels(everything, view.geometry(16, 8), unseen=True).all()

"""A region filled: nothing else changes, and what is put there is what the fill says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from xaicli.errors import UsageError
from xaicli.images.fill import FILLS, filled

RANDOM = np.random.default_rng(0)


def photo(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (21, 30, 3), dtype=np.uint8))


def region() -> np.ndarray:
    found = np.zeros((21, 30), dtype=np.bool_)
    found[14:, :9] = True
    return found


@pytest.mark.parametrize("fill", FILLS)
def test_pixels_outside_the_region_stay(fill: str) -> None:
    before, after = photo(), filled(photo(), region(), fill, RANDOM, photo(1))
    assert (np.asarray(before)[~region()] == np.asarray(after)[~region()]).all()
    assert (np.asarray(before)[region()] != np.asarray(after)[region()]).any()


@pytest.mark.parametrize("fill", FILLS)
def test_an_empty_region_changes_nothing_and_a_whole_one_is_filled(fill: str) -> None:
    assert filled(photo(), np.zeros((21, 30), dtype=np.bool_), fill, RANDOM, photo(1)) == photo()
    assert filled(photo(), np.ones((21, 30), dtype=np.bool_), fill, RANDOM, photo(1)).size == photo().size


def test_a_hole_in_one_colour_gets_that_colour() -> None:
    grey = np.full((21, 30, 3), 90, dtype=np.uint8)
    marked = grey.copy()
    marked[region()] = 255
    for fill in ("inpaint", "mean"):
        assert (np.asarray(filled(Image.fromarray(marked), region(), fill, RANDOM)) == grey).all()


def test_a_hole_in_a_ramp_is_bridged_and_not_flat() -> None:
    ramp = np.repeat(np.repeat(np.arange(0, 120, 4, dtype=np.uint8)[None, :, None], 21, axis=0), 3, axis=2)
    hole = np.zeros((21, 30), dtype=np.bool_)
    hole[8:13, 12:18] = True
    inside = np.asarray(filled(Image.fromarray(np.where(hole[:, :, None], 255, ramp).astype(np.uint8)), hole, "inpaint", RANDOM))
    # The ramp solves Laplace's equation, so it is what the membrane tends to.
    assert np.abs(inside[hole].astype(int) - ramp[hole]).max() <= 8


def test_another_photo_is_what_that_photo_shows_there() -> None:
    after = np.asarray(filled(photo(), region(), "other", RANDOM, photo(1)))
    assert (after[region()] == np.asarray(photo(1))[region()]).all()


def test_unknown_fills_and_a_missing_other_photo_are_refused() -> None:
    with pytest.raises(UsageError, match="Did you mean inpaint"):
        filled(photo(), region(), "impaint", RANDOM)
    with pytest.raises(UsageError, match="at least two photos"):
        filled(photo(), region(), "other", RANDOM)

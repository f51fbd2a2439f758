"""Outlines of regions on pictures of the photo."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from xaicli.images.marks import DARK, LIGHT, RegionMark, marks_of, outline
from xaicli.images.overlay import overlay
from xaicli.images.steps import animation, strip
from xaicli.images.view import View
from xaicli.method import Sign

GREY = (120, 120, 120)


@settings(deadline=None)
@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_an_outline_runs_where_a_cell_inside_meets_one_outside(region):
    """The length of all lines is the number of sides between a cell inside and one outside."""
    padded = np.pad(region, 1)
    sides = (padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum()
    lines = outline(region)
    assert np.abs(lines[:, 2:] - lines[:, :2]).sum() == sides
    for x0, y0, x1, y1 in lines.astype(int):
        for step in range(max(x1 - x0, y1 - y0)):
            if y0 == y1:
                assert padded[y0, x0 + step + 1] != padded[y0 + 1, x0 + step + 1]
            else:
                assert padded[y0 + step + 1, x0] != padded[y0 + step + 1, x0 + 1]


def test_an_outline_lies_on_the_photo_where_the_model_saw_the_region():
    """A view of 64 x 56 pixels, a region of its cells 2 to 4 of 7 across and 1 to 2 of 8 down."""
    photo = Image.new("RGB", (300, 200), GREY)
    geometry = View(64, (64, 56)).geometry(*photo.size)
    region = np.zeros((8, 7), dtype=bool)
    region[1:3, 2:5] = True
    RegionMark(region).draw(photo, geometry)
    drawn = (np.asarray(photo) != GREY).any(axis=2)
    rows, columns = np.nonzero(drawn)
    left, top = geometry.to_source(16, 8)
    right, bottom = geometry.to_source(40, 24)
    assert (columns.min(), rows.min()) == pytest.approx((left, top), abs=3)
    assert (columns.max(), rows.max()) == pytest.approx((right, bottom), abs=3)
    assert not drawn[int(top) + 4 : int(bottom) - 4, int(left) + 4 : int(right) - 4].any()
    colours = {tuple(colour) for colour in np.asarray(photo)[drawn]}
    assert colours == {LIGHT, DARK}


def marked():
    region = np.zeros((4, 4), dtype=bool)
    region[1:3, 1:3] = True
    return marks_of({"region": region, "steps": np.zeros((2, 4, 4))})


def test_marks_lie_over_the_map_in_overlays_and_steps():
    photo = Image.new("RGB", (80, 80), GREY)
    geometry = View(None, 80).geometry(80, 80)
    values = np.zeros((3, 4, 4), dtype=np.float32)
    values[:, 3, 3] = 1
    plain, outlined = (overlay(photo, values[0], geometry, Sign.NONNEGATIVE, marks=marks) for marks in ((), marked()))
    changed = (np.asarray(plain) != np.asarray(outlined)).any(axis=2)
    assert changed[20, 20:60].all()
    assert not changed[30:50, 30:50].any()
    for drawn in (
        lambda marks: strip(photo, values, geometry, Sign.NONNEGATIVE, marks=marks).tobytes(),
        lambda marks: animation(photo, values, geometry, Sign.NONNEGATIVE, marks=marks),
    ):
        assert drawn(()) != drawn(marked())


def test_what_is_no_region_is_no_mark():
    assert marks_of({}) == ()
    assert marks_of({"region": np.zeros((2, 3, 4)), "se": np.ones((4, 4))}) == ()

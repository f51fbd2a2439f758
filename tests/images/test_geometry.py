"""The geometry of a view is exact both ways, at every size."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from xaicli.errors import InputError
from xaicli.images.geometry import Geometry
from xaicli.images.view import View

lengths = st.integers(1, 400)
pairs = st.tuples(st.integers(1, 300), st.integers(1, 300))
views = st.one_of(
    st.builds(View, st.none() | st.integers(1, 300) | pairs, st.integers(1, 300) | pairs),
    st.builds(View, pairs, st.none()),
)
geometries = st.builds(lambda view, width, height: view.geometry(width, height), views, lengths, lengths)
places = st.floats(-500, 900)


@given(geometries, places, places)
def test_to_source_and_to_view_are_inverse(geometry, x, y):
    assert geometry.to_source(*geometry.to_view(x, y)) == pytest.approx((x, y), rel=1e-12, abs=1e-9)
    assert geometry.to_view(*geometry.to_source(x, y)) == pytest.approx((x, y), rel=1e-12, abs=1e-9)


@given(geometries)
def test_the_box_seen_lies_in_the_photo_and_within_the_extent(geometry):
    x0, y0, x1, y1 = geometry.box
    assert 0 <= x0 < x1 <= geometry.source[0]
    assert 0 <= y0 < y1 <= geometry.source[1]
    left, top, right, bottom = geometry.extent
    assert left <= x0
    assert top <= y0
    assert right >= x1
    assert bottom >= y1


@given(geometries)
def test_content_and_box_are_the_same_region(geometry):
    x0, y0, x1, y1 = geometry.content
    assert (*geometry.to_source(x0, y0), *geometry.to_source(x1, y1)) == pytest.approx(geometry.box, rel=1e-12, abs=1e-9)
    assert geometry.box_to_view(geometry.box) == pytest.approx(geometry.content, rel=1e-12, abs=1e-9)


@given(geometries)
def test_a_geometry_survives_json(geometry):
    record = json.loads(json.dumps(geometry.as_dict()))
    assert Geometry.from_dict(record) == geometry


@pytest.mark.parametrize(
    "record", [{}, {"source": [1, 2]}, None, {"source": [0, 2], "resized": [1, 1], "offset": [0, 0], "size": [1, 1]}]
)
def test_a_record_that_is_no_geometry_is_refused(record):
    with pytest.raises(InputError):
        Geometry.from_dict(record)


def test_a_centre_crop_of_a_wide_photo_by_hand():
    geometry = View(256, 224).geometry(512, 256)
    assert geometry.resized == (512, 256)
    assert geometry.offset == (144, 16)
    assert geometry.box == (144, 16, 368, 240)
    assert geometry.to_source(0, 0) == (144, 16)
    assert geometry.to_view(256, 128) == (112, 112)
    assert geometry.box_to_view((0, 0, 256, 128)) == (0, 0, 112, 112)
    assert not geometry.sees_all


def test_an_exact_resize_stretches_and_sees_all():
    geometry = View((100, 50), None).geometry(200, 100)
    assert geometry.scale == (0.25, 1.0)
    assert geometry.box == (0, 0, 200, 100)
    assert geometry.sees_all


def test_a_photo_smaller_than_the_crop_is_padded_on_the_far_side_when_odd():
    geometry = View(None, 8).geometry(5, 4)
    assert geometry.offset == (-1, -2)
    assert geometry.content == (1, 2, 6, 6)
    assert geometry.extent == (-1, -2, 7, 6)
    assert geometry.box == (0, 0, 5, 4)


def test_a_box_the_model_did_not_see_has_no_area():
    geometry = View(None, 4).geometry(10, 4)
    x0, _, x1, _ = geometry.box_to_view((0, 0, 2, 4))
    assert x0 == x1
    assert geometry.box_to_view((0, 0, 2, 4), clipped=False) == (-3, 0, -1, 4)


@given(st.integers(20, 90), st.integers(20, 90), views)
def test_a_bright_square_arrives_where_the_geometry_says(width, height, view):
    geometry = view.geometry(width, height)
    column, row = width // 3, height // 2
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[row : row + 6, column : column + 6] = 255
    box = geometry.box_to_view((column, row, column + 6, row + 6))
    if (box[2] - box[0]) * (box[3] - box[1]) < 9:
        return
    seen = View(view.resize, view.crop, "box", (0, 0, 0), (1, 1, 1)).prepare(Image.fromarray(pixels))[0].numpy() > 0.5
    if not seen.any():
        return
    rows, columns = np.nonzero(seen)
    bounds = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert bounds == pytest.approx(box, abs=1.01)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (1, 10**9)])
def test_a_photo_of_no_size_or_absurd_proportions_is_refused(size):
    with pytest.raises(InputError):
        View().geometry(*size)

"""A map lies on its photo exactly where the model saw it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xaicli.errors import InputError, UsageError
from xaicli.images.colour import Scale
from xaicli.images.overlay import on_photo, overlay, pixels_seen, upsample
from xaicli.images.view import View
from xaicli.method import Sign

GREY = (120, 120, 120)


def change(photo, drawn):
    """How far each pixel's colour has moved."""
    return np.abs(np.asarray(drawn).astype(int) - np.asarray(photo)).sum(axis=2)


def spot(height, width, row, column):
    values = np.zeros((height, width), dtype=np.float32)
    values[row, column] = 1
    return values


def test_upsampling_is_bilinear_between_the_centres_of_cells():
    line = upsample(torch.tensor([[0.0, 4.0]]), (1, 8))
    assert line[0].tolist() == [0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4]
    assert upsample(torch.rand(2, 3, 4, 5), (8, 9)).shape == (2, 3, 8, 9)
    assert upsample(torch.ones(4, 5, dtype=torch.float16), (6, 6)).dtype == torch.float32


@settings(deadline=None)
@given(st.integers(8, 60), st.integers(8, 60), st.integers(1, 9), st.integers(1, 9))
def test_on_a_photo_that_is_the_view_it_is_the_upsampled_map(width, height, rows, columns):
    values = torch.rand(rows, columns, generator=torch.Generator().manual_seed(rows * 10 + columns))
    geometry = View(None, (height, width)).geometry(width, height)
    if rows > height or columns > width:
        return
    drawn = on_photo(values, geometry, (0, 0, width, height))
    torch.testing.assert_close(drawn, upsample(values, (height, width)), atol=1e-5, rtol=0)


@settings(deadline=None)
@given(
    st.integers(30, 120),
    st.integers(30, 120),
    st.sampled_from([View(48, 40), View(40, 48), View((50, 30), None), View(None, 64)]),
)
def test_a_ramp_over_the_view_gives_each_photo_pixel_its_place_in_the_view(width, height, view):
    geometry = view.geometry(width, height)
    size = view.size[1]
    ramp = torch.arange(size, dtype=torch.float32).expand(view.size[0], size) + 0.5
    left, top, right, bottom = pixels_seen(geometry)
    seen = on_photo(ramp, geometry, (left, top, right, bottom))[0]
    expected = torch.tensor([geometry.to_view(x + 0.5, 0)[0] for x in range(left, right)]).clamp(0.5, size - 0.5)
    # Where several view pixels fall in one photo pixel, those at the border take the mean of what is left of them.
    torch.testing.assert_close(seen[2:-2], expected[2:-2].float(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("sign", Sign)
def test_a_blob_appears_at_its_place_on_the_original_photo(sign):
    photo = Image.new("RGB", (300, 200), GREY)
    geometry = View(64, 56).geometry(*photo.size)
    drawn = overlay(photo, spot(7, 7, 2, 5), geometry, sign)
    assert drawn.size == photo.size
    rows, columns = np.nonzero(change(photo, drawn) > 0.8 * change(photo, drawn)[20:180, 70:230].max())
    inside = (rows > 15) & (rows < 185) & (columns > 65) & (columns < 235)
    x, y = geometry.to_source((5 + 0.5) * 8, (2 + 0.5) * 8)
    assert columns[inside].mean() + 0.5 == pytest.approx(x, abs=1)
    assert rows[inside].mean() + 0.5 == pytest.approx(y, abs=1)


def test_what_the_model_did_not_see_stays_as_it_was():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8))
    geometry = View(50, 50).geometry(200, 100)
    assert geometry.box == (50, 0, 150, 100)
    moved = change(photo, overlay(photo, np.ones((2, 2)) * [[0, 1], [1, 1]], geometry, Sign.NONNEGATIVE))
    assert not moved[:, :50].any()
    assert not moved[:, 150:].any()
    assert (moved[0, 50:150] > 0).mean() > 0.9
    assert (moved[:, 50] > 0).mean() > 0.9


def test_a_photo_that_is_seen_whole_has_no_frame():
    photo = Image.new("RGB", (40, 30), GREY)
    values = spot(5, 5, 2, 2)
    for view in (View((64, 64), None), View(64, 128)):
        moved = change(photo, overlay(photo, values, view.geometry(40, 30), Sign.NONNEGATIVE))
        assert not moved[0].any()
        assert not moved[:, 0].any()
        assert moved[15, 20] > 100


def test_padding_keeps_the_map_in_place():
    photo = Image.new("RGB", (20, 10), GREY)
    geometry = View(None, 40).geometry(20, 10)
    left_border = np.zeros((40, 40), dtype=np.float32)
    left_border[:, 10:12] = 1
    moved = change(photo, overlay(photo, left_border, geometry, Sign.NONNEGATIVE))
    assert (moved[:, :2] > 50).all()
    assert not moved[:, 4:].any()


def test_nothing_is_drawn_where_a_map_has_nothing_to_say():
    photo = Image.new("RGB", (32, 32), GREY)
    geometry = View((32, 32), None).geometry(32, 32)
    for sign in Sign:
        assert not change(photo, overlay(photo, np.zeros((4, 4)), geometry, sign)).any()
    assert not change(photo, overlay(photo, np.full((4, 4), 3.0), geometry, Sign.NONNEGATIVE)).any()
    assert not change(photo, overlay(photo, spot(4, 4, 1, 1), geometry, Sign.SIGNED, alpha=0)).any()


def test_the_strongest_place_shows_the_last_colour_where_alpha_is_one():
    photo = Image.new("RGB", (64, 64), GREY)
    geometry = View((64, 64), None).geometry(64, 64)
    drawn = overlay(photo, spot(4, 4, 1, 1), geometry, Sign.NONNEGATIVE, alpha=1.0, colormap="viridis", scale=Scale(0, 0.5))
    assert np.asarray(drawn)[24, 24].tolist() == [253, 231, 37]


def test_a_common_scale_makes_maps_comparable():
    photo = Image.new("RGB", (32, 32), GREY)
    geometry = View((32, 32), None).geometry(32, 32)
    values = spot(4, 4, 1, 1)
    weak = overlay(photo, 0.25 * values, geometry, Sign.NONNEGATIVE, scale=Scale(0, 1))
    strong = overlay(photo, values, geometry, Sign.NONNEGATIVE, scale=Scale(0, 1))
    alone = overlay(photo, 0.25 * values, geometry, Sign.NONNEGATIVE)
    assert alone.tobytes() == strong.tobytes() != weak.tobytes()


def test_a_map_finer_than_the_photo_is_averaged_not_sampled():
    geometry = View((64, 64), None).geometry(16, 16)
    checks = torch.tensor(np.indices((64, 64)).sum(axis=0) % 2, dtype=torch.float32)
    torch.testing.assert_close(on_photo(checks, geometry, (0, 0, 16, 16)), torch.full((16, 16), 0.5))


def test_bands_join_without_a_seam(monkeypatch):
    photo = Image.new("RGB", (90, 70), GREY)
    geometry = View(48, 40).geometry(90, 70)
    values = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    whole = overlay(photo, values, geometry, Sign.SIGNED)
    monkeypatch.setattr("xaicli.images.overlay.BAND", 100)
    assert overlay(photo, values, geometry, Sign.SIGNED).tobytes() == whole.tobytes()


def test_the_same_input_gives_the_same_bytes_and_nothing_is_changed():
    photo = Image.new("RGB", (50, 40), GREY)
    values = torch.rand(7, 7, generator=torch.Generator().manual_seed(0))
    before = values.clone()
    geometry = View(32, 28).geometry(50, 40)
    first, second = (overlay(photo, values, geometry, Sign.NONNEGATIVE) for _ in range(2))
    assert first.tobytes() == second.tobytes() == overlay(photo, values.numpy(), geometry, Sign.NONNEGATIVE).tobytes()
    assert torch.equal(values, before)
    assert photo.getextrema() == ((120, 120),) * 3


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (2, 3), (7, 5)])
def test_tiny_and_thin_photos_are_drawn(size):
    photo = Image.new("RGB", size, GREY)
    for view in (View(32, 28), View(None, 4)):
        assert overlay(photo, spot(7, 7, 3, 3), view.geometry(*size), Sign.SIGNED).size == size


@pytest.mark.parametrize(
    "values", [np.zeros((2, 3, 4)), np.zeros(4), np.zeros((0, 3)), np.array([[np.nan, 1.0]]), np.array([[np.inf]])]
)
def test_what_is_no_finite_map_is_refused(values):
    photo = Image.new("RGB", (8, 8))
    with pytest.raises(InputError):
        overlay(photo, values, View(8, 8).geometry(8, 8), Sign.SIGNED)


@pytest.mark.parametrize("look", [{"alpha": -0.1}, {"alpha": 1.1}, {"alpha": float("nan")}, {"colormap": "jett"}])
def test_a_look_that_cannot_be_is_refused(look):
    photo = Image.new("RGB", (8, 8))
    with pytest.raises(UsageError):
        overlay(photo, np.eye(3), View(8, 8).geometry(8, 8), Sign.SIGNED, **look)


def test_a_map_of_another_photo_is_refused():
    geometry = View(8, 8).geometry(8, 8)
    with pytest.raises(InputError, match="expected the photo that was explained"):
        overlay(Image.new("RGB", (9, 8)), np.eye(3), geometry, Sign.SIGNED)
    assert overlay(Image.new("RGB", (9, 8)), np.eye(3), replace(geometry, source=(9, 8)), Sign.SIGNED).size == (9, 8)

"""Numbers of a photo: which axis is that of channels, what type says of black and white, which bands are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from xaicli.errors import InputError, UsageError
from xaicli.images.pixels import TURNS
from xaicli.images.samples import Samples, parse_bands, picture_of, samples_of, turned
from xaicli.images.window import Window

sides = st.integers(1, 9)


@given(sides, sides, st.integers(1, 9), st.booleans())
def test_the_axis_with_as_many_entries_as_the_network_takes_channels_is_that_of_channels(height, width, channels, last):
    array = np.arange(height * width * channels, dtype=np.uint8).reshape(channels, height, width)
    given_array = array.transpose(1, 2, 0) if last else array
    ambiguous = height == channels if last else width == channels
    values = samples_of(given_array, channels, channels_first=not last).values
    if not ambiguous:
        assert np.array_equal(samples_of(given_array, channels).values, array)
    assert np.array_equal(values, array)


def test_where_no_axis_fits_the_shorter_is_that_of_channels_so_that_both_numbers_can_be_said():
    assert samples_of(np.zeros((5, 20, 30), np.uint8), 13).values.shape == (5, 20, 30)
    assert samples_of(np.zeros((20, 30, 5), np.uint8), 13).values.shape == (5, 20, 30)


def test_where_both_axes_fit_the_last_is_that_of_channels_and_the_first_in_a_tensor():
    array = np.arange(4 * 6 * 4, dtype=np.uint8).reshape(4, 6, 4)
    assert np.array_equal(samples_of(array, 4).values, array.transpose(2, 0, 1))
    assert np.array_equal(samples_of(array, 4, channels_first=True).values, array)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((2, 3, 4, 5, 6)), "shape"),
        (np.zeros(5), "shape"),
        (np.zeros((0, 4)), "shape"),
        (np.zeros((4, 4), complex), "complex128"),
        (np.array([["a"]]), "<U1"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), np.inf, np.float32), "infinity"),
    ],
)
def test_arrays_that_are_no_photo_are_refused_in_words(array, said):
    with pytest.raises(InputError, match=said):
        samples_of(array)


@pytest.mark.parametrize(
    ("dtype", "declared"),
    [(np.bool_, (0, 1)), (np.uint8, (0, 255)), ("<u2", (0, 65535)), (">u2", (0, 65535)), (np.int16, None), (np.float64, (0, 1))],
)
def test_a_type_says_what_is_black_and_white_where_photos_use_all_of_it(dtype, declared):
    assert samples_of(np.zeros((2, 2), dtype)).declared == declared


def test_a_ramp_of_12_bits_in_16_is_its_copy_of_8_bits():
    ramp = np.arange(4096, dtype=np.uint16).reshape(1, 64, 64)
    copy = np.rint(ramp / 4095 * 255).astype(np.uint8)
    deep, _ = Samples(ramp, (0, 4095), (0, 65535)).bands(Window())
    plain, _ = Samples(copy, (0, 255)).bands(Window.parse("0:4095"))
    assert np.abs(np.asarray(deep) - np.asarray(plain)).max() <= 1 / 255
    assert np.array_equal(np.asarray(picture_of(deep)), np.asarray(picture_of(plain)))


def test_where_white_is_the_smallest_value_bands_are_inverted_and_said_so():
    bands, said = Samples(np.array([[[0, 10]]], np.uint16), (0, 10), inverted=True).bands(Window())
    assert np.asarray(bands).tolist() == [[[1, 0]]]
    assert said == ("values from 10 (black) to 0 (white)",)


def test_the_bands_that_are_named_are_drawn_as_red_green_and_blue():
    bands = np.stack([np.full((2, 2), value, np.float32) for value in (0.0, 0.2, 1.0)])
    assert picture_of(bands, (3, 2, 1)).getpixel((0, 0)) == (255, 51, 0)
    assert picture_of(bands, (2,)).getpixel((0, 0)) == (51, 51, 51)
    assert picture_of(bands[:1]).getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("text", ["0+1+2", "1+2", "a", "1+2+3+4", "-1", "1.5", "3,2,1"])
def test_bands_that_cannot_be_drawn_are_refused(text):
    with pytest.raises(UsageError, match="--bands"):
        parse_bands(text)


def test_a_band_that_a_photo_does_not_have_is_refused_with_both_numbers():
    with pytest.raises(UsageError, match=r"--bands 14\+2\+1 of a photo of 13 bands; expected numbers from 1 to 13"):
        picture_of(np.zeros((13, 2, 2), np.float32), (14, 2, 1))


@pytest.mark.parametrize("orientation", [1, *TURNS])
def test_numbers_are_turned_upright_as_pictures_are(orientation):
    stored = np.arange(6, dtype=np.uint8).reshape(2, 3)
    picture = Image.fromarray(stored)
    wanted = picture.transpose(TURNS[orientation]) if orientation in TURNS else picture
    assert np.array_equal(turned(stored[None], orientation)[0], np.asarray(wanted))

"""Bands that are made part by part: the numbers, inputs and pictures of the whole photo at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from xaicli.errors import InputError
from xaicli.images import scaled_bands
from xaicli.images.footprint import LARGEST, refuse_heavy_numbers
from xaicli.images.samples import picture_of, samples_of
from xaicli.images.view import INTERPOLATIONS, View
from xaicli.images.window import Window

sides = st.integers(1, 40)


@st.composite
def photos(draw):
    """An array (C, H, W), its white, and how many numbers are scaled at a time."""
    kind = draw(st.sampled_from([np.uint16, np.int16, np.float32, np.float64]))
    shape = draw(st.sampled_from([1, 3, 5])), draw(sides), draw(sides)
    seed, at_a_time = draw(st.integers(0, 2**31)), draw(st.integers(1, 500))
    values = np.random.default_rng(seed).normal(3000, 2000, shape).clip(-30000, 30000).astype(kind)
    return values, at_a_time, draw(st.booleans())


@settings(max_examples=60, deadline=None)
@given(photos(), st.sampled_from(sorted(INTERPOLATIONS)), sides, sides)
def test_input_and_picture_in_strips_are_those_of_the_whole_photo_at_once(photo, interpolation, height, width):
    values, at_a_time, turn = photo
    window = Window.parse("0:6000")
    view = View((height, width), None, interpolation, (0.5,) * len(values), (0.25,) * len(values))
    plain = ((values.astype(np.float64) - 0) / 6000).clip(0, 1).astype(np.float32)
    plain = 1 - plain if turn else plain
    resized = [np.asarray(Image.fromarray(band).resize((width, height), INTERPOLATIONS[interpolation])) for band in plain]
    wanted = (np.stack(resized).clip(0, 1) - 0.5) / 0.25
    samples = scaled_samples(values, turn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaled_bands, "AT_A_TIME", at_a_time)
        bands, _ = samples.bands(window)
        assert np.allclose(view.prepare_bands(bands), wanted, atol=1e-6)
        assert np.allclose(bands, plain, atol=1e-6)
        picture = np.asarray(picture_of(bands))
    assert np.array_equal(picture, np.asarray(picture_of(plain)))
    if len(values) <= 3:
        assert np.array_equal(picture, np.broadcast_to(np.rint(plain * 255), (3, *plain.shape[1:])).transpose(1, 2, 0))


def scaled_samples(values, inverted):
    from dataclasses import replace

    return replace(samples_of(values, len(values), channels_first=True), inverted=inverted)


def test_grey_of_colours_and_three_equal_colours_of_grey_are_mixed_part_by_part(monkeypatch):
    monkeypatch.setattr(scaled_bands, "AT_A_TIME", 7)
    values = np.arange(3 * 5 * 4, dtype=np.uint16).reshape(3, 5, 4)
    colours, _ = samples_of(values, 3, channels_first=True).bands(Window.parse("0:59"))
    plain = values / 59
    mixed = scaled_bands.ScaledBands(colours.values, colours.limits, shares=(0.299, 0.587, 0.114))
    assert mixed.shape == (1, 5, 4)
    assert np.allclose(mixed, 0.299 * plain[:1] + 0.587 * plain[1:2] + 0.114 * plain[2:], atol=1e-6)
    assert np.allclose(colours.repeated(3), plain[[0, 0, 0]], atol=1e-6)


def test_a_photo_whose_numbers_and_picture_do_not_fit_is_refused_in_words():
    refuse_heavy_numbers(10, LARGEST - 40, 10)
    with pytest.raises(InputError, match="takes 850 MiB of memory to decode; expected at most 850 MiB"):
        refuse_heavy_numbers(10, LARGEST - 39, 10)

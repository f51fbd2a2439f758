"""Directories of TIFF and BigTIFF: pages and numbers, in both orders of bytes; and what they decide."""

from __future__ import annotations

import io

import numpy as np
import pytest

from xaicli.errors import InputError
from xaicli.images.decode import decode_bytes
from xaicli.images.tiff_directory import MOST_PAGES, pages_of, tiff_tag

tifffile = pytest.importorskip("tifffile")
KINDS = [(order, big) for order in "<>" for big in (False, True)]
WHITE = (255, 255, 255)
WIDTH, HEIGHT, BITS, PLANES, LARGEST = 256, 257, 258, 284, 281
RAMP = np.linspace(0, 65535, 8 * 6 * 3).astype(np.uint16).reshape(8, 6, 3)


def written(array, order, big, **words):
    file = io.BytesIO()
    tifffile.imwrite(file, array, byteorder=order, bigtiff=big, **words)
    return file.getvalue()


@pytest.mark.parametrize(("order", "big"), KINDS)
def test_numbers_of_the_first_page_and_pages_are_read_in_both_orders_from_both_kinds(order, big):
    content = written(np.zeros((5, 8, 6), np.uint16), order, big, photometric="minisblack", extratags=[(LARGEST, "H", 1, 4095)])
    found = {tag: tiff_tag(content, tag) for tag in (WIDTH, HEIGHT, BITS, LARGEST, 65000)}
    assert found == {WIDTH: 6, HEIGHT: 8, BITS: 16, LARGEST: 4095, 65000: None}
    assert pages_of(content) == 5


@pytest.mark.parametrize(("order", "big"), KINDS)
def test_a_file_cut_off_anywhere_is_read_as_far_as_it_goes(order, big):
    content = written(RAMP, order, big, photometric="rgb")
    for end in range(len(content)):
        assert tiff_tag(content[:end], WIDTH) in (None, 6)
        assert pages_of(content[:end]) in (0, 1)


@pytest.mark.parametrize(("order", "big"), KINDS)
@pytest.mark.parametrize("apart", [False, True])
def test_colours_of_16_bits_are_the_same_picture_however_a_file_holds_them(order, big, apart):
    given = np.moveaxis(RAMP, -1, 0) if apart else RAMP
    content = written(given, order, big, photometric="rgb", planarconfig="separate" if apart else "contig")
    image = decode_bytes(content, "ramp.tif", 0, WHITE, 10_000).image
    assert np.abs(np.asarray(image).astype(int) - RAMP / 257).max() <= 1


def test_a_bigtiff_of_too_many_pages_is_refused_before_one_is_decoded():
    page = (0).to_bytes(8, "little")
    at = [16 + 16 * number for number in range(MOST_PAGES + 1)]
    chain = b"".join(page + (after).to_bytes(8, "little") for after in [*at[1:], 0])
    content = b"II+\0\x08\0\0\0" + (16).to_bytes(8, "little") + chain
    with pytest.raises(InputError, match="more than 10,000 pages"):
        decode_bytes(content, "pages.tif", 0, WHITE, 10_000)

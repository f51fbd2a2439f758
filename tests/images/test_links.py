"""Links lie between the places of their pairs, in the colour of their sign."""

from __future__ import annotations

import numpy as np
from PIL import Image

from xaicli.images.colour import Scale
from xaicli.images.geometry import Geometry
from xaicli.images.links import draw_links, links_picture
from xaicli.segment_pairs import SegmentPair

# The view is the middle 200 x 200 of a photo of 400 x 200.
MIDDLE = Geometry(source=(400, 200), resized=(400, 200), offset=(100, 0), size=(200, 200))


def pair(weight, one=(0.5, 0.1), other=(0.5, 0.9), segments=(3, 7)):
    return SegmentPair(segments, (one, other), weight)


def drawn(pairs):
    picture = Image.new("RGB", (400, 200), (10, 60, 10))
    draw_links(picture, pairs, MIDDLE, Scale(-1.0, 1.0), None)
    return np.asarray(picture).astype(int)


def test_a_link_joins_both_places_in_the_photo():
    pixels = drawn([pair(1.0)])
    changed = np.argwhere((pixels != (10, 60, 10)).any(axis=2))
    radius = 7
    assert changed[:, 1].min() in range(120 - radius - 2, 120 - radius + 2)
    assert changed[:, 1].max() in range(280 + radius - 2, 280 + radius + 2)
    # Between the places only the line's own rows are drawn on.
    assert set(changed[changed[:, 1] == 200][:, 0]) <= set(range(94, 106))


def test_signs_have_opposite_colours_and_strength_is_width():
    strong, weak, negative = (drawn([pair(weight)])[:, 200] for weight in (1.0, 0.3, -1.0))
    assert (strong[100] != negative[100]).any()
    widths = [int((column != (10, 60, 10)).any(axis=1).sum()) for column in (strong, weak, negative)]
    assert widths[0] == widths[2] > widths[1] > 0


def test_what_is_next_to_nothing_is_left_out_and_the_strongest_is_on_top():
    assert (drawn([pair(1.0), pair(0.01, (0.1, 0.1), (0.1, 0.9))])[20] == (10, 60, 10)).all()
    crossing = [pair(1.0), pair(-0.5, (0.1, 0.5), (0.9, 0.5), (1, 2))]
    assert (drawn(crossing)[100, 200] == drawn([pair(1.0)])[100, 200]).all()


def test_the_picture_has_lines_of_text_and_a_bar_and_the_photo_stays():
    photo = Image.new("RGB", (400, 200), (10, 60, 10))
    before = photo.tobytes()
    bare, told = (links_picture(photo, [pair(0.2)], MIDDLE, lines, side=300) for lines in ((), ("a", "b")))
    assert photo.tobytes() == before
    assert told.height > bare.height > 150
    assert links_picture(photo, [], MIDDLE).width == told.width - 300 + 720

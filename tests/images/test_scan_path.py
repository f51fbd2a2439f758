"""Scan paths lie where the network looked, and come in their order."""

from __future__ import annotations

import numpy as np
from PIL import Image

from xaicli.images.geometry import Geometry
from xaicli.images.scan_path import draw_path, spelled, together


def test_places_are_marked_where_they_lie_in_the_photo_and_the_photo_stays():
    # The view is the middle 200 x 200 of a photo of 400 x 200.
    geometry = Geometry(source=(400, 200), resized=(400, 200), offset=(100, 0), size=(200, 200))
    photo = Image.new("RGB", (400, 200), (10, 60, 10))
    before = photo.tobytes()
    drawn = np.asarray(draw_path(photo, np.array([[0.5, 0.0], [0.5, 1.0]]), geometry)).astype(int)
    assert photo.tobytes() == before
    changed = np.argwhere((drawn != (10, 60, 10)).any(axis=2))
    assert changed[:, 1].min() in range(100 - 18, 100 - 9)
    assert changed[:, 1].max() in range(300 + 9, 300 + 18)
    # The line between them runs along the middle row, and nowhere else.
    assert (drawn[100, 150] == (255, 255, 255)).all()
    assert (drawn[60, 200] == (10, 60, 10)).all()


def test_one_place_alone_has_no_line():
    geometry = Geometry(source=(100, 100), resized=(100, 100), offset=(0, 0), size=(100, 100))
    drawn = np.asarray(draw_path(Image.new("RGB", (100, 100)), np.array([[0.5, 0.5]]), geometry))
    assert set(np.unique(np.argwhere(drawn.any(axis=2)))) <= set(range(40, 61))


def test_places_that_would_cover_each_other_are_one_with_all_numbers():
    points = [(10.0, 10.0), (50.0, 50.0), (12.0, 10.0), (50.0, 53.0), (90.0, 10.0)]
    assert together(points, 5) == [((10.0, 10.0), [1, 3]), ((50.0, 50.0), [2, 4]), ((90.0, 10.0), [5])]


def test_numbers_in_a_row_are_one_part():
    assert spelled([1, 2, 4, 5, 6, 9]) == ["1", "2", "4\u20136", "9"]


def test_the_plate_of_a_crowded_place_grows_with_its_numbers():
    """A plate is white, so that all of what is written on it can be read."""
    geometry = Geometry((200, 200), (200, 200), (0, 0), (200, 200))

    def white(places: int) -> int:
        path = np.array([[0.5, 0.5], [0.1, 0.1]] * places)
        return int((np.asarray(draw_path(Image.new("RGB", (200, 200)), path, geometry)) == 255).all(axis=2).sum())

    assert white(8) > 2 * white(1)

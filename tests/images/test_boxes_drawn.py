"""Boxes on pictures of the photo."""

from __future__ import annotations

import numpy as np
import pytest
from detectors import hand_made
from PIL import Image

import xaicli
from xaicli.images.boxes_drawn import BoxMark, box_marks
from xaicli.images.marks import DARK, LIGHT
from xaicli.images.view import View

GREY = (120, 120, 120)
VIEW = View((64, 64), None)


@pytest.mark.parametrize("share", [1, 2])
def test_a_box_lies_where_the_photo_has_it_on_smaller_pictures_too(share):
    photo = Image.new("RGB", (300 // share, 200 // share), GREY)
    BoxMark((60, 80, 200, 160), "dog 0.98", (300, 200)).draw(photo, VIEW.geometry(*photo.size))
    pixels = np.asarray(photo)
    inside = pixels[80 // share + 3 : 160 // share - 3, 60 // share + 3 : 200 // share - 3]
    assert (inside == GREY).all()
    light = (pixels == LIGHT).all(axis=2)
    assert light[100 // share, 60 // share]
    assert light[159 // share, 130 // share]
    assert (pixels == DARK).all(axis=2)[100 // share, 60 // share - 1]


def test_the_label_stands_above_the_box_or_in_it_where_there_is_no_room():
    for corners, rows in {(60, 80, 200, 160): slice(60, 80), (60, 0, 200, 160): slice(1, 20)}.items():
        photo = Image.new("RGB", (300, 200), GREY)
        BoxMark(corners, "dog 0.98", (300, 200)).draw(photo, VIEW.geometry(300, 200))
        label = np.asarray(photo)[rows, 64:120]
        assert (label == DARK).all(axis=2).mean() > 0.3
        assert (label > 200).any()


@pytest.mark.parametrize("corners", [(0, 0, 300, 200), (299, 199, 300, 200), (10, 10, 10, 10), (0, 50, 1, 51)])
def test_boxes_at_the_border_and_of_no_size_are_drawn(corners):
    photo = Image.new("RGB", (300, 200), GREY)
    BoxMark(corners, "a very long label " * 30, (300, 200)).draw(photo, VIEW.geometry(300, 200))
    assert (np.asarray(photo) == LIGHT).all(axis=2).any()


def test_overlays_sheets_and_written_pictures_show_the_box_and_its_label(tmp_path):
    pixels = np.full((200, 200, 3), 120, dtype=np.uint8)
    pixels[:100, :100, 0] = 230
    Image.fromarray(pixels).save(tmp_path / "street.png")
    [one] = xaicli.explain(tmp_path / "street.png", hand_made(), "grad-cam", output=tmp_path / "out", sheet=True)
    assert one.marks == box_marks({"corners": [0, 0, 100, 100], "label": "red", "score": one.record.box["score"]}, (200, 200))
    overlay = np.asarray(one.overlay())
    assert (overlay[50, 99] == LIGHT).all()
    [written] = [path for path in (tmp_path / "out").glob("*.png") if path.name != "sheet.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(written)), overlay)
    sheet = np.asarray(Image.open(tmp_path / "out" / "sheet.png"))
    assert (sheet == DARK).all(axis=2).any()


def test_a_classifiers_map_shows_no_box():
    assert box_marks({}, (300, 200)) == ()

"""A view whose crop is larger than its resize: the model's line, the warning and the record say that photos are padded."""

from __future__ import annotations

import pytest
from PIL import Image

import xaicli
from xaicli.images.view import View
from xaicli.runs.open_model import describe_model, open_model


class Lines:
    def __init__(self):
        self.said, self.warned = [], []

    def say(self, text):
        self.said.append(text)

    def warn(self, text):
        self.warned.append(text)


@pytest.mark.parametrize(
    ("resize", "crop", "padded"),
    [
        (32, 64, True),
        (64, 64, False),
        (256, 224, False),
        ((32, 64), 64, True),
        ((64, 64), (64, 64), False),
        (40, (32, 48), False),
        (None, 64, False),
        ((32, 32), None, False),
    ],
)
def test_photos_are_padded_where_the_crop_is_larger_than_the_resize(resize, crop, padded):
    view = View(resize, crop)
    assert bool(view.padding) is padded
    assert ("padded with black" in view.describe()) is padded


def test_a_bundled_model_of_another_view_shows_it_and_warns_of_black_edges():
    lines = Lines()
    open_model("tiny", progress=lines, resize=32)
    assert "resize 32, crop 64, padded with black, bilinear" in lines.said[-1]
    assert lines.warned == [
        "photos resized to 32 are padded with black to the crop of 64 x 64; "
        "give --resize as large as the crop, or a smaller --crop"
    ]


def test_a_bundled_model_of_its_own_view_has_a_short_line_and_no_warning():
    lines = Lines()
    open_model("tiny", progress=lines)
    assert "resize" not in lines.said[-1]
    assert lines.warned == []
    assert "resize" not in describe_model(xaicli.load_classifier("tiny"))


def test_a_record_says_that_the_photo_is_padded():
    photo = Image.new("RGB", (48, 64), (200, 30, 30))
    explained = xaicli.explain(photo, xaicli.load_classifier("tiny", resize=32), method="center")
    assert "photos resized to 32 are padded with black to the crop of 64 x 64" in explained[0].record.notes

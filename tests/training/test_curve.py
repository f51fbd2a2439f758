"""The picture of a training run."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from xaicli.errors import InputError
from xaicli.training.curve import curve_path, draw_curve, panels

TRACE = [{"epoch": at / 4, "ce": 2 - at / 8, "area": 0.5, "loss": 3 - at / 8, "lr": 0.1} for at in range(1, 9)]
HISTORY = [{"ce": 1.8, "loss": 2.8, "lr": 0.1, "held loss": 2.9, "held kept": 0.5}, {"held loss": 2.5, "held kept": 0.75}]


def test_every_quantity_has_a_panel_the_loss_first_the_rate_last():
    assert panels(TRACE, HISTORY) == ["loss", "ce", "area", "kept", "lr"]


def test_a_loss_of_one_term_is_drawn_once():
    single = [{name: value for name, value in row.items() if name != "area"} for row in TRACE]
    assert panels(single, HISTORY[1:]) == ["ce", "kept", "lr"]


@pytest.mark.parametrize("trace", [TRACE, TRACE[:1]])
@pytest.mark.parametrize("history", [HISTORY, []])
def test_a_picture_is_drawn_of_whatever_there_is(tmp_path, trace, history):
    draw_curve(tmp_path / "a" / "b.png", trace, history, "a title")
    with Image.open(tmp_path / "a" / "b.png") as picture:
        assert picture.width > 400
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10


def test_it_lies_beside_the_checkpoint():
    assert curve_path(Path("a/my.t-tame.safetensors")) == Path("a/my.t-tame.curve.png")


def test_a_place_that_takes_no_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        draw_curve(tmp_path / "file" / "b.png", TRACE, HISTORY, "")

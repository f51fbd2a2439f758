"""Figures for papers: their width, their bytes, and what they are known by."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from xaicli.claims import is_own
from xaicli.errors import UsageError
from xaicli.images.figure import claim_figure, save_figure, sheet_figure
from xaicli.images.sheet import SheetCell, SheetRow
from xaicli.images.view import View
from xaicli.sign import Sign


@pytest.fixture
def rows():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    geometry = View(resize=36, crop=32).geometry(*photo.size)
    ramp = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    cells = {
        "rise": SheetCell(ramp, Sign.NONNEGATIVE, ("insertion 0.500",)),
        "flat": SheetCell(np.ones((4, 4), np.float32), Sign.SIGNED),
    }
    return [SheetRow(photo, geometry, name, ("tabby 0.81",), cells) for name in ("a.jpg", "b.jpg")]


def test_a_sheet_is_as_wide_as_asked_for(rows, tmp_path):
    save_figure(sheet_figure(rows, ["rise", "flat"], width_cm=8, dpi=254), tmp_path / "sheet.png", 254)
    # 254 dots an inch are 100 a centimetre.
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width == 800


@pytest.mark.parametrize("ending", ["pdf", "svg", "png"])
def test_the_same_figure_is_the_same_bytes_and_is_known_as_ours(rows, tmp_path, ending):
    for name in ("one", "two"):
        save_figure(sheet_figure(rows, ["rise", "flat"]), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()
    assert is_own(tmp_path / f"one.{ending}")
    claim_figure(tmp_path / f"one.{ending}")


def test_text_in_an_svg_stays_text(rows, tmp_path):
    save_figure(sheet_figure(rows, ["rise", "flat"]), tmp_path / "sheet.svg")
    text = (tmp_path / "sheet.svg").read_text()
    for wanted in ("tabby 0.81", "insertion 0.500", "constant map"):
        assert f">{wanted}<" in text


def test_another_ending_and_another_programs_file_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"sheet\.gif; expected a name that ends in \.pdf, \.svg, \.png"):
        claim_figure(tmp_path / "sheet.gif")
    (tmp_path / "mine.pdf").write_bytes(b"%PDF-1.4 my thesis")
    with pytest.raises(UsageError, match="xai did not write it"):
        claim_figure(tmp_path / "mine.pdf")

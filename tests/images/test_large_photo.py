"""A photo that is taken part by part: all that is made of it is what Pillow makes of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import xaicli
from xaicli.images import large_photo
from xaicli.images.decode import decode
from xaicli.images.large_photo import LargePhoto
from xaicli.images.pixels import EXIF_ORIENTATION, TURNS
from xaicli.images.view import INTERPOLATIONS, View

WIDTH, HEIGHT = 53, 37


@pytest.fixture(autouse=True)
def _parts_are_a_few_rows(monkeypatch):
    monkeypatch.setattr(large_photo, "AT_A_TIME", 300)
    monkeypatch.setattr(large_photo, "LARGEST_DRAWN", 300)


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_resized_cropped_and_reduced_as_the_upright_photo_is(picture, orientation):
    large = LargePhoto(picture, orientation, (255, 255, 255))
    turn = TURNS.get(orientation)
    upright = picture if turn is None else picture.transpose(turn)
    assert large.size == upright.size
    for resample in INTERPOLATIONS.values():
        for size in ((10, 12), (70, 80), (upright.width, 9), (20, upright.height)):
            assert large.resize(size, resample).tobytes() == upright.resize(size, resample).tobytes()
    assert large.crop((-3, 5, 20, 60)).tobytes() == upright.crop((-3, 5, 20, 60)).tobytes()
    assert large.reduced().tobytes() == upright.reduce(large.factor).tobytes()
    assert large.reduced().width * large.reduced().height <= 300
    grey = large.convert("L").resize((10, 12), Image.Resampling.BILINEAR)
    assert grey.tobytes() == upright.convert("L").resize((10, 12), Image.Resampling.BILINEAR).tobytes()


def saved(picture, mode, orientation, path):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    if mode == "transparent palette":
        picture.quantize(20).save(path, transparency=3, exif=exif)
    elif mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        picture.save(path, exif=exif)
    else:
        picture.convert(mode).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "transparent palette"])
@pytest.mark.parametrize("view", [View(resize=8, crop=8), View(resize=None, crop=40), View(resize=(9, 7), crop=None)])
def test_the_network_sees_a_large_photo_as_any_other(picture, mode, orientation, view, tmp_path, monkeypatch):
    path = saved(picture, mode, orientation, tmp_path / "photo.png")
    usual = decode(path)
    monkeypatch.setattr(large_photo, "LARGE", 100)
    large = decode(path)
    assert large.whole is not None
    assert large.size == usual.size == usual.image.size
    assert view.prepare(large.pixels).equal(view.prepare(usual.pixels))
    assert large.notes[:-1] == usual.notes
    assert "its overlay is 3 times smaller" in large.notes[-1]


def test_a_large_photo_is_explained_in_its_own_coordinates(picture, tmp_path, monkeypatch):
    picture.save(tmp_path / "a.png")
    [usual] = xaicli.explain(str(tmp_path / "a.png"), "tiny", "grad-cam")
    monkeypatch.setattr(large_photo, "LARGE", 100)
    [large] = xaicli.explain(str(tmp_path / "a.png"), "tiny", "grad-cam", output=tmp_path / "out")
    assert np.array_equal(large.values, usual.values)
    assert large.record.size == (WIDTH, HEIGHT)
    with Image.open(tmp_path / "out" / "a.grad-cam.png") as overlay:
        assert overlay.size == (18, 13)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".gif"])
def test_the_bytes_of_its_file_are_let_go_before_its_overlay_is_made(picture, ending, tmp_path, monkeypatch):
    path = tmp_path / f"photo{ending}"
    picture.save(path)
    monkeypatch.setattr(large_photo, "LARGE", 100)
    whole = decode(path).whole
    file = getattr(whole.image, "fp", None)
    assert file is None or file.closed or not file.getbuffer().nbytes
    assert whole.part((0, 0, 8, 8)).size == (8, 8)

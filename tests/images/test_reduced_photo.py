"""A JPEG decoded smaller (`--fast-decode`) gives nearly what the whole photo gives, and its results are told from others."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import xaicli
from xaicli.errors import InputError, UsageError
from xaicli.images.decode import NO_JPEG, decode
from xaicli.images.photo_input import input_of, reading_of
from xaicli.images.pixels import EXIF_ORIENTATION, TURNS
from xaicli.images.reduced_photo import ReducedPhoto, reduced_photo
from xaicli.images.view import View
from xaicli.images.view_values import OVER_MANY

LEVEL = 1 / 255
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
"""The input is then the pixels themselves, in 0..1."""
WIDTH, HEIGHT = 203, 157


def waves(width: int, height: int) -> Image.Image:
    """A photo without sharp edges, which grows brighter to the right and to the bottom."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    parts = [x / width, y / height, 0.5 + 0.4 * np.sin(x / 19 + y / 31)]
    return Image.fromarray(np.stack([np.rint(255 * part) for part in parts], axis=-1).astype(np.uint8))


def saved(path, orientation=1, mode="RGB", size=(WIDTH, HEIGHT)):
    """A JPEG whose upright picture has that size."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    turned = orientation >= 5
    picture = waves(*size).convert(mode)
    turn = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}.get(orientation, TURNS.get(orientation))
    picture = picture if turn is None else picture.transpose(turn)
    assert picture.size == (size[::-1] if turned else size)
    picture.save(path, "JPEG", quality=95, exif=exif)
    return path


def inputs(path, view):
    """The input of a photo decoded fast, and decoded whole."""
    fast, whole = dataclasses.replace(view, fast_decode=True), view
    return [input_of(decode(path, reading=reading_of(each)), each) for each in (fast, whole)]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_it_is_resized_as_the_whole_photo_is_however_it_is_turned(orientation, mode, tmp_path):
    path = saved(tmp_path / "a.jpg", orientation, mode)
    view = View(resize=(19, 22), crop=None, **PLAIN)
    photo = decode(path, reading=reading_of(dataclasses.replace(view, fast_decode=True)))
    assert isinstance(photo.whole, ReducedPhoto)
    assert photo.whole.factor == 4
    assert photo.size == (WIDTH, HEIGHT)
    fast, whole = inputs(path, view)
    assert (fast - whole).abs().max() < 5 * LEVEL
    # A quarter of a smaller pixel aside, the ramps would differ by 1.2 levels everywhere.
    assert (fast - whole).mean(dim=(1, 2)).abs().max() < 0.3 * LEVEL


def test_pixels_past_the_photo_s_edge_do_not_count(tmp_path):
    """A quarter of 203 pixels is 51 pixels, of which the last shows 3 pixels of the photo and one past its edge."""
    picture = waves(51, 40)
    assert reduced_photo(picture, (203, 157), 1).box == (0, 0, 50.75, 39.25)
    assert reduced_photo(picture, (203, 157), 3).box == (0.25, 0.75, 51, 40)
    assert reduced_photo(picture, (157, 203), 5).box == (0, 0, 50.75, 39.25)
    assert reduced_photo(picture, (157, 203), 6).box == (0.25, 0, 51, 39.25)


@pytest.mark.parametrize(("side", "factor"), [(10, 8), (11, 4), (20, 4), (21, 2), (40, 2), (41, 1)])
def test_it_is_decoded_at_no_less_than_twice_the_size_that_is_needed(side, factor, tmp_path):
    path = saved(tmp_path / "a.jpg", size=(160, 160))
    view = View(resize=side, crop=side, fast_decode=True)
    assert decode(path, reading=reading_of(view)).image.width == 160 // factor


def test_what_is_not_much_larger_is_decoded_whole_byte_for_byte(tmp_path):
    fast, whole = inputs(saved(tmp_path / "a.jpg"), View(resize=128, crop=112))
    assert fast.equal(whole)


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_other_files_are_decoded_whole_and_the_record_says_so(ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    waves(WIDTH, HEIGHT).save(path)
    view = View(resize=16, crop=16, fast_decode=True)
    photo = decode(path, reading=reading_of(view))
    assert NO_JPEG in photo.notes
    assert photo.image.size == (WIDTH, HEIGHT)
    assert NO_JPEG not in decode(path, reading=reading_of(View(resize=16, crop=16))).notes


def test_a_jpeg_of_several_pictures_is_decoded_smaller_too(tmp_path):
    path = tmp_path / "a.jpg"
    waves(WIDTH, HEIGHT).save(path, "MPO", save_all=True, append_images=[waves(40, 30)], quality=95)
    view = View(resize=(19, 22), crop=None, **PLAIN)
    fast, whole = inputs(path, view)
    assert not fast.equal(whole)
    assert (fast - whole).abs().max() < 5 * LEVEL


def test_a_damaged_jpeg_is_refused_as_ever(tmp_path):
    path = saved(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="not a readable photo"):
        decode(path, reading=reading_of(View(resize=16, crop=16, fast_decode=True)))


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ({"interpolation": "nearest"}, "single pixels"),
        ({"interpolation": "box"}, "single pixels"),
        ({"resize": None, "crop": 20}, "not resized"),
        ({"frames": 4}, "sequences"),
    ],
)
def test_a_view_that_takes_single_pixels_of_a_photo_refuses(view, words):
    with pytest.raises(UsageError, match=words):
        View(**view, fast_decode=True)


def test_it_is_off_by_default_and_then_no_part_of_a_stamp():
    assert "fast_decode" not in View().as_dict()
    assert View(fast_decode=True).as_dict()["fast_decode"] is True
    assert View.from_dict(View(fast_decode=True).as_dict()) == View(fast_decode=True)
    assert "JPEGs decoded fast" in View(fast_decode=True).describe()


def test_results_of_it_are_results_of_another_subject(tmp_path):
    path, folder = str(saved(tmp_path / "a.jpg", size=(640, 480))), tmp_path / "out"
    fast = xaicli.load_classifier("tiny", fast_decode=True)
    assert fast.fingerprint != xaicli.load_classifier("tiny").fingerprint
    [made] = xaicli.explain(path, fast, "grad-cam", output=folder)
    assert any("times smaller" in note for note in made.record.notes)
    assert json.loads((folder / "a.grad-cam.json").read_text())["view"]["fast_decode"] is True
    with pytest.raises(UsageError, match="other"):
        xaicli.explain(path, "tiny", "grad-cam", output=folder)
    with Image.open(folder / "a.grad-cam.png") as overlay:
        assert overlay.size == (320, 240)
    assert made.record.size == (640, 480)


@pytest.mark.real
@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("interpolation", OVER_MANY)
def test_on_photos_it_changes_less_than_the_choice_of_the_interpolation(interpolation, factor, assets):
    """In the mean of each photo by at most 2 levels of 255, and less than bilinear and bicubic differ from each other."""
    for path in sorted((assets / "photos").glob("*.jpg"))[:16]:
        with Image.open(path) as image:
            width, height = image.size
        side = min(width, height) // (2 * factor)
        view = View(resize=side, crop=side, interpolation=interpolation, **PLAIN)
        fast, whole = inputs(path, view)
        assert not fast.equal(whole)
        other = "bicubic" if interpolation == "bilinear" else "bilinear"
        chosen = input_of(decode(path), dataclasses.replace(view, interpolation=other))
        changed = (fast - whole).abs().mean()
        assert changed <= 2 * LEVEL
        assert changed < (chosen - whole).abs().mean()

"""Pictures of sequences: a map on each frame, a strip with bars, a moving picture."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from xaicli.errors import InputError
from xaicli.images.contact_print import ContactPrint, columns_of, tiles
from xaicli.images.film import Film, importance_of
from xaicli.images.geometry import Geometry
from xaicli.images.overlay import overlay
from xaicli.images.view import View
from xaicli.sign import Sign

VIEW = View((30, 40), None, frames=5)


def printed(count: int = 5, size: tuple[int, int] = (80, 60)) -> Image.Image:
    sheet = ContactPrint.of(size, count)
    for number in range(count):
        sheet.add(Image.new("RGB", size, (20 * number, 100, 50)))
    return sheet.picture


def geometry_of(picture: Image.Image) -> Geometry:
    return replace(VIEW.geometry(80, 60), source=picture.size)


def frames_of(picture: Image.Image, count: int = 5) -> list[np.ndarray]:
    return [np.asarray(picture.crop(box)) for box in tiles(picture.size, count)]


def test_frames_stand_in_about_as_many_lines_as_columns() -> None:
    assert [columns_of(count) for count in (1, 2, 4, 5, 9, 16)] == [1, 2, 2, 3, 3, 4]
    assert tiles((30, 20), 5) == [(0, 0, 10, 10), (10, 0, 20, 10), (20, 0, 30, 10), (0, 10, 10, 20), (10, 10, 20, 20)]


def test_large_frames_are_printed_smaller() -> None:
    sheet = ContactPrint.of((4000, 3000), 16)
    assert sheet.picture.width * sheet.picture.height <= 1.01 * (1 << 22)
    assert sheet.frame_size == (4000, 3000)


def test_each_frame_gets_its_own_map_on_one_scale() -> None:
    maps = np.zeros((5, 6, 8), np.float32)
    maps[2], maps[3, :3] = 1, 0.5
    picture = printed()
    drawn = frames_of(overlay(picture, maps, geometry_of(picture), Sign.NONNEGATIVE))
    plain = frames_of(picture)
    changed = [np.abs(one.astype(int) - other).mean() for one, other in zip(drawn, plain, strict=True)]
    assert changed[0] == changed[1] == changed[4] == 0
    assert changed[2] > changed[3] > 0


def test_a_map_of_few_parts_of_the_time_lies_between_their_middles() -> None:
    maps = np.stack([np.zeros((2, 2)), np.ones((2, 2))]).astype(np.float32)
    film = Film(printed(), maps, geometry_of(printed()), Sign.NONNEGATIVE, range(5))
    np.testing.assert_allclose(importance_of(film.maps), [0, 0.1, 0.5, 0.9, 1], atol=1e-6)


def test_a_map_without_time_is_drawn_on_all_frames() -> None:
    picture, values = printed(), np.eye(4, dtype=np.float32)
    drawn = overlay(picture, values, geometry_of(picture), Sign.NONNEGATIVE)
    repeated = overlay(picture, np.repeat(values[None], 5, axis=0), geometry_of(picture), Sign.NONNEGATIVE)
    assert drawn.tobytes() == repeated.tobytes() != picture.tobytes()


def test_maps_of_other_axes_are_refused() -> None:
    picture = printed()
    with pytest.raises(InputError, match=r"a map of shape \(1, 5, 2, 2\); expected \(frames, height, width\)"):
        overlay(picture, np.zeros((1, 5, 2, 2), np.float32), geometry_of(picture), Sign.NONNEGATIVE)


def film(values: tuple[float, ...], sign: Sign = Sign.SIGNED) -> Film:
    picture = printed(len(values))
    geometry = replace(geometry_of(picture), frames=len(values))
    return Film(picture, np.array(values, np.float32)[:, None, None], geometry, sign, range(3, 3 + len(values)))


def lines_of_bars(picture: Image.Image, count: int) -> list[int]:
    """Coloured pixels below each frame, of a strip of one line."""
    array = np.asarray(picture).astype(int)
    below = array[226:306]
    coloured = (below.max(axis=2) - below.min(axis=2)) > 30
    return [int(part.sum()) for part in np.array_split(coloured[:, 20:-20], count, axis=1)]


def test_bars_grow_with_the_importance_of_a_frame() -> None:
    heights = lines_of_bars(film((0.0, 0.25, 1.0, -0.5)).strip(), 4)
    assert heights[0] == 0
    assert heights[2] > heights[3] > heights[1] > 0


def test_a_long_sequence_takes_several_lines() -> None:
    assert film((0.1,) * 16).strip().height > 1.5 * film((0.1,) * 8).strip().height
    assert film((0.1,) * 16).strip().width == film((0.1,) * 8).strip().width <= 1600


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_moving_picture_has_the_frames_of_the_sequence(kind: str) -> None:
    with Image.open(io.BytesIO(film((0.0, 0.25, 1.0, -0.5)).animation(kind, side=120))) as moving:
        assert moving.n_frames == 4  # type: ignore[attr-defined]
        assert moving.width == 120

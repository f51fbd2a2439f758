"""Pictures of steps: all on one scale, or each stretched."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from xaicli.errors import InputError, UsageError
from xaicli.images.geometry import Geometry
from xaicli.images.steps import animation, stretched, strip
from xaicli.method import Sign

PHOTO = Image.new("RGB", (60, 40), (90, 120, 150))
GEOMETRY = Geometry((60, 40), (60, 40), (10, 0), (40, 40))
MAPS = np.linspace(0, 1, 3 * 16, dtype=np.float32).reshape(3, 4, 4)


def as_bytes(maps: np.ndarray) -> list[int]:
    return np.floor(maps.flatten() * 255).astype(int).tolist()


def test_the_authors_rendering_of_the_last_map() -> None:
    last = np.array([[[0.0, 1.0], [2.0, 4.0]]])
    assert as_bytes(stretched(last)) == [0, 143, 219, 255]


def test_the_authors_rendering_of_an_earlier_map_reaches_all_colours_too() -> None:
    maps = np.array([[[0.0, 0.5], [0.5, 1.0]], [[0.0, 1.0], [2.0, 4.0]]])
    assert as_bytes(stretched(maps)[0]) == [0, 139, 139, 255]


def test_the_sigmoid_step_by_hand() -> None:
    u = np.array([0, 0.25, 0.5, 1])
    step = 1 / (1 + np.exp(-5 * u)) - 0.5
    assert step.tolist() == pytest.approx([0, 0.277300, 0.424142, 0.493307], abs=1e-6)
    found = stretched(u.reshape(1, 2, 2)).flatten()
    assert found.tolist() == pytest.approx((step / step[-1]).tolist())


@pytest.mark.parametrize("maps", [np.zeros((2, 2, 2)), -np.ones((2, 2, 2))])
def test_maps_without_anything_positive_are_zeros(maps: np.ndarray) -> None:
    assert not stretched(maps).any()


def test_a_step_that_is_the_same_everywhere_is_zeros() -> None:
    maps = np.stack([np.full((2, 2), 0.5), np.arange(4.0).reshape(2, 2)])
    assert not stretched(maps)[0].any()
    assert stretched(maps)[1].max() == 1


@pytest.mark.parametrize(("count", "lines"), [(3, 1), (12, 2), (13, 3)])
def test_a_strip_has_as_many_lines_as_it_needs(count: int, lines: int) -> None:
    maps = np.linspace(0, 1, count * 16, dtype=np.float32).reshape(count, 4, 4)
    picture = strip(PHOTO, maps, GEOMETRY, Sign.NONNEGATIVE)
    one = strip(PHOTO, maps[:1], GEOMETRY, Sign.NONNEGATIVE)
    assert picture.width <= 1600
    assert round((picture.height - one.height) / (one.height - 60)) <= lines - 1


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_moving_picture_has_a_frame_a_step_and_holds_the_last(kind: str) -> None:
    content = animation(PHOTO, MAPS, GEOMETRY, Sign.NONNEGATIVE, kind=kind, milliseconds=100)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == kind.upper()
        assert picture.n_frames == 3
        assert picture.info["loop"] == 0
        frames = []
        for at in range(3):
            picture.seek(at)
            picture.load()
            frames.append((np.asarray(picture.convert("RGB")).astype(int), picture.info["duration"]))
    assert [duration for _, duration in frames] == [100, 100, 400]
    assert (frames[0][0] != frames[2][0]).any()


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(UsageError, match="no moving picture of kind"):
        animation(PHOTO, MAPS, GEOMETRY, Sign.NONNEGATIVE, kind="gfi")


def test_maps_that_are_no_steps_are_refused() -> None:
    with pytest.raises(InputError, match="step maps of shape"):
        strip(PHOTO, MAPS[0], GEOMETRY, Sign.NONNEGATIVE)

"""Slices: where they lie, and how maps of them become one map again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.ucag.slices import Slicing, authors_starts, evenly_spread

SQUARE = (224, 224)
CROP = (124, 124)


@pytest.mark.parametrize(("count", "starts"), [(6, (0, 20, 40, 60, 80, 100)), (4, (0, 33, 67, 100)), (2, (0, 100))])
def test_check_1_slices_are_spread_from_edge_to_edge(count: int, starts: tuple[int, ...]) -> None:
    slicing = evenly_spread(SQUARE, CROP, (count, count))
    assert slicing.rows == slicing.columns == starts
    assert slicing.canvas == SQUARE
    assert slicing.corners[:2] == [(0, 0), (0, starts[1])]


@pytest.mark.parametrize(("count", "stride", "end"), [(6, 20, 224), (4, 34, 226), (8, 14, 222), (2, 102, 226)])
def test_check_1_the_authors_strides_end_before_or_beyond_the_border(count: int, stride: int, end: int) -> None:
    slicing = authors_starts(SQUARE, CROP, (count, count))
    assert slicing.rows == tuple(range(0, count * stride, stride))
    assert slicing.canvas == (end, end)


def test_the_authors_starts_at_299_end_one_pixel_beyond() -> None:
    assert authors_starts((299, 299), (165, 165), (6, 6)).canvas == (300, 300)


def test_check_3_coverage() -> None:
    slicing = evenly_spread(SQUARE, CROP, (6, 6))
    cover = torch.zeros(SQUARE)
    for top, left in slicing.corners:
        cover[top : top + 124, left : left + 124] += 1
    axis = cover[:, 0]
    assert axis[[0, 19, 20, 60, 100, 111, 123, 124, 223]].tolist() == [1, 1, 2, 4, 6, 6, 6, 5, 1]
    assert axis.sum() == 744 == 6 * 124
    assert (cover.min(), cover.max()) == (1, 36)
    ones = torch.ones(36, 1, 1, 1)
    # Divided by one more than the count, a constant map favours the middle; divided by the count it stays constant.
    assert_close(slicing.fold(ones, ones[:, :, 0, 0], "authors")[0], cover / (1 + cover))
    assert_close(slicing.fold(ones, ones[:, :, 0, 0]), torch.ones(1, *SQUARE))


P = torch.tensor([[0.1, 0.2, 0.1], [0.3, 0.9, 0.3], [0.1, 0.2, 0.1]])


@pytest.mark.parametrize(
    ("divisor", "rows"),
    [
        ("count", [[0.449329, 0.472957, 0.472957, 0.449329], [0.499070, 0.623681, 0.623681, 0.499070]]),
        ("authors", [[0.224664, 0.315305, 0.315305, 0.224664], [0.332714, 0.498945, 0.498945, 0.332714]]),
        ("weighted", [[1.0] * 4] * 2),
    ],
)
def test_check_5_constant_maps_by_three_divisors(divisor: str, rows: list[list[float]]) -> None:
    weights = (P - P.max()).exp().flatten()[:, None]
    found = evenly_spread((4, 4), (2, 2), (3, 3)).fold(torch.ones(9, 1, 1, 1), weights, divisor)[0]
    assert_close(found, torch.tensor([*rows, *rows[::-1]]), atol=1e-6, rtol=0)


def constant(*values: float) -> Tensor:
    """Maps (S, 1, 1, 1) that are the same everywhere."""
    return torch.tensor(values)[:, None, None, None]


@pytest.mark.parametrize(
    ("divisor", "rows"),
    [
        ("count", [[1, 1.5, 2], [2, 2.5, 3], [3, 3.5, 4]]),
        ("authors", [[0.5, 1, 1], [1.333333, 2, 2], [1.5, 2.333333, 2]]),
    ],
)
def test_check_6_overlapping_maps_are_averaged(divisor: str, rows: list[list[float]]) -> None:
    found = evenly_spread((3, 3), (2, 2), (2, 2)).fold(constant(1, 2, 3, 4), torch.ones(4, 1), divisor)[0]
    assert_close(found, torch.tensor(rows), atol=1e-6, rtol=0)


def test_maps_of_several_targets_have_their_own_weights() -> None:
    slicing = evenly_spread((3, 3), (2, 2), (2, 2))
    maps, weights = torch.rand(4, 2, 5, 7), torch.rand(4, 2)
    both = slicing.fold(maps, weights)
    for target in range(2):
        assert_close(both[target : target + 1], slicing.fold(maps[:, target : target + 1], weights[:, target : target + 1]))


def test_a_canvas_of_another_size_is_stretched() -> None:
    slicing = authors_starts(SQUARE, CROP, (8, 8))
    assert slicing.canvas == (222, 222)
    folded = slicing.fold(torch.ones(64, 1, 3, 3), torch.ones(64, 1))
    assert folded.shape == (1, 222, 222)
    ramp = torch.arange(222.0).expand(1, 222, 222)
    expected = torch.nn.functional.interpolate(ramp[None], SQUARE, mode="bilinear", align_corners=False)[0]
    assert_close(slicing.stretch(ramp), expected)
    assert evenly_spread(SQUARE, CROP, (8, 8)).stretch(ramp) is ramp


def test_a_slice_that_reaches_beyond_the_border_is_stretched() -> None:
    slicing = authors_starts(SQUARE, CROP, (2, 2))
    photo = torch.rand(3, *SQUARE)
    expected = torch.nn.functional.interpolate(photo[None, :, 102:, 102:], (322, 322), mode="bicubic")[0]
    assert_close(slicing.slices(slicing.bands(photo, 322), [3], (322, 322))[0], expected)


def test_slices_cut_at_once_are_those_that_torch_enlarges_one_by_one() -> None:
    slicing = evenly_spread((40, 32), (22, 17), (3, 2))
    photo = torch.rand(3, 40, 32)
    found = slicing.slices(slicing.bands(photo, 29), [4, 1, 2], (31, 29))
    parts = [photo[None, :, top : top + 22, left : left + 17] for top, left in [(18, 0), (0, 15), (9, 0)]]
    expected = torch.cat([torch.nn.functional.interpolate(part, (31, 29), mode="bicubic", align_corners=False) for part in parts])
    assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_enlarging_a_row_overshoots_and_is_not_clamped() -> None:
    row = torch.tensor([0.0, 1, 2, 3]).expand(3, 1, 4)
    slicing = Slicing((1, 4), (1, 4), (0,), (0,))
    found = slicing.slices(slicing.bands(row, 6), [0], (1, 6))[0, 0, 0]
    assert_close(found, torch.tensor([-0.087, 0.406, 1.213, 1.787, 2.594, 3.087]), atol=1e-3, rtol=0)


def test_sizes_that_are_not_square() -> None:
    slicing = evenly_spread((40, 32), (22, 17), (3, 2))
    assert (slicing.rows, slicing.columns) == ((0, 9, 18), (0, 15))
    assert slicing.fold(torch.rand(6, 1, 4, 3), torch.ones(6, 1)).shape == (1, 40, 32)


@pytest.mark.parametrize(("crop", "count"), [((50, 50), (2, 2)), ((100, 100), (1, 1)), ((300, 100), (6, 6))])
def test_slices_that_do_not_cover_the_photo_are_refused(crop: tuple[int, int], count: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="do not cover 224"):
        evenly_spread(SQUARE, crop, count)

"""The mask algebra: exact on a 4 x 4 picture, where all 64 masks can be written out, and against torch's own resize."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torch.testing import assert_close

from xaicli.errors import UsageError
from xaicli.methods.rise.masks import MaskGrid, MaskPainter, interpolation

TINY = MaskGrid((4, 4), (2, 2))
CPU = torch.device("cpu")
EXACT = {"rtol": 0, "atol": 1e-12}
PRINTED = {"rtol": 0, "atol": 5e-7}


def every_mask(grid: MaskGrid) -> tuple[Tensor, Tensor, Tensor]:
    """All grids at all shifts: bits (N, cells), shifts (N, 2), masks (N, H, W) in float64."""
    patterns = itertools.product((0.0, 1.0), repeat=grid.count)
    drawn = list(itertools.product(patterns, range(grid.cell[0]), range(grid.cell[1])))
    bits = torch.tensor([pattern for pattern, _, _ in drawn], dtype=torch.float64)
    shifts = torch.tensor([(down, across) for _, down, across in drawn])
    return bits, shifts, MaskPainter(grid.rows, grid.columns, grid.cells).masks(bits, shifts)


def resized_and_cut(grid: MaskGrid, bits: Tensor, shift: tuple[int, int]) -> Tensor:
    """A mask by torch's resize; with a mirrored border the grid is continued on each side first."""
    cells = bits.reshape(1, 1, *grid.cells)
    if grid.border == "clamp":
        canvas = interpolate(cells, size=grid.canvas, mode="bilinear", align_corners=False)[0, 0]
    else:
        wide = pad(cells, (1, 1, 1, 1), mode="reflect")
        steps = [length / count for length, count in zip(grid.canvas, grid.cells, strict=True)]
        at = [(torch.arange(length).double() + 0.5) / step + 0.5 for length, step in zip(grid.canvas, steps, strict=True)]
        canvas = bilinear_at(wide[0, 0], *at)
    return canvas[shift[0] : shift[0] + grid.size[0], shift[1] : shift[1] + grid.size[1]]


def bilinear_at(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    down = np.stack([np.interp(rows, np.arange(values.shape[0]), column) for column in values.numpy().T], axis=1)
    return torch.from_numpy(np.stack([np.interp(columns, np.arange(values.shape[1]), row) for row in down]))


def test_the_interpolation_of_two_cells_over_six_pixels():
    clamped = torch.tensor([0, 0, 1 / 3, 2 / 3, 1, 1], dtype=torch.float64)
    mirrored = torch.tensor([1 / 3, 0, 1 / 3, 2 / 3, 1, 2 / 3], dtype=torch.float64)
    assert_close(interpolation(2, 6, "clamp")[:, 1], clamped, **EXACT)
    assert_close(interpolation(2, 6, "mirror")[:, 1], mirrored, **EXACT)


@pytest.mark.parametrize("border", ["clamp", "mirror"])
@pytest.mark.parametrize("cells", [1, 2, 3, 7])
def test_each_pixel_is_a_mean_of_cells(border, cells):
    assert_close(interpolation(cells, 37, border).sum(dim=1), torch.ones(37, dtype=torch.float64), **EXACT)


def test_the_mask_of_a_checkered_grid_shifted_down_by_one():
    painter = MaskPainter.on(CPU, TINY)
    mask = painter.masks(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), torch.tensor([[1, 0]]))[0]
    expected = [[1, 1, 2 / 3, 1 / 3], [2 / 3, 2 / 3, 5 / 9, 4 / 9], [1 / 3, 1 / 3, 4 / 9, 5 / 9], [0, 0, 1 / 3, 2 / 3]]
    assert_close(mask, torch.tensor(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("border", ["clamp", "mirror"])
@pytest.mark.parametrize(("size", "cells"), [((9, 14), (3, 4)), ((13, 7), (4, 2)), ((8, 8), (8, 8)), ((10, 11), (3, 5))])
def test_masks_are_the_resized_grid_cut_at_the_shift(border, size, cells):
    grid = MaskGrid(size, cells, border)
    generator = torch.Generator().manual_seed(1)
    bits = torch.rand(20, grid.count, generator=generator).round().double()
    shifts = torch.stack([torch.randint(side, (20,), generator=generator) for side in grid.cell], dim=1)
    masks = MaskPainter(grid.rows, grid.columns, cells).masks(bits, shifts)
    for at in range(20):
        assert_close(masks[at], resized_and_cut(grid, bits[at], tuple(shifts[at].tolist())), **EXACT)


@pytest.mark.parametrize("border", ["clamp", "mirror"])
def test_the_mean_of_all_masks_is_one_half_at_every_pixel(border):
    _, _, masks = every_mask(MaskGrid((4, 4), (2, 2), border))
    assert len(masks) == 64
    assert_close(masks.mean(dim=0), torch.full((4, 4), 0.5, dtype=torch.float64), **EXACT)


def saliency(scores: Tensor, masks: Tensor) -> Tensor:
    return (scores[:, None, None] * masks).mean(dim=0) / 0.5


def rows_of(*pairs: tuple[float, float]) -> Tensor:
    return torch.tensor([[first, rest, rest, rest] for first, rest in pairs], dtype=torch.float64)


def test_the_saliency_of_a_score_that_is_one_pixel_of_the_mask():
    bits, shifts, masks = every_mask(TINY)
    scores = masks[:, 1, 2]
    expected = rows_of((0.708333, 0.731481), (0.694444, 0.716049), (0.638889, 0.654321), (0.583333, 0.592593))
    assert float(scores.mean()) == pytest.approx(0.5)
    assert_close(saliency(scores, masks), expected, **PRINTED)
    sums = TINY.sums(bits, shifts, scores / 64 / 0.5, torch.zeros(64, dtype=torch.int64), 1)
    assert_close(TINY.enlarge(sums)[0], saliency(scores, masks), **EXACT)


def test_the_saliency_of_a_threshold_is_the_mean_score_and_the_covariance():
    _, _, masks = every_mask(TINY)
    scores = (masks[:, 1, 2] > 0.5).double()
    expected = rows_of((0.75, 0.8125), (0.729167, 0.784722), (0.666667, 0.701389), (0.604167, 0.618056))
    covariance = ((scores - scores.mean())[:, None, None] * (masks - masks.mean(dim=0))).mean(dim=0)
    assert_close(saliency(scores, masks), expected, **PRINTED)
    assert_close(scores.mean() + covariance / 0.5, saliency(scores, masks), **EXACT)


def test_the_saliency_of_a_linear_score_is_its_grid_enlarged_at_the_mean_shift():
    bits, _, masks = every_mask(TINY)
    slopes = torch.tensor([[0.1, 0.3], [-0.2, 0.4]], dtype=torch.float64)
    scores = 0.2 + (bits - 0.5) @ slopes.flatten()
    printed = [
        [0.25, 0.266667, 0.3, 0.333333],
        [0.225, 0.247222, 0.291667, 0.336111],
        [0.175, 0.208333, 0.275, 0.341667],
        [0.125, 0.169444, 0.258333, 0.347222],
    ]
    mean_rows = torch.tensor([[1, 0], [5 / 6, 1 / 6], [0.5, 0.5], [1 / 6, 5 / 6]], dtype=torch.float64)
    assert_close(TINY.rows.mean(dim=0), mean_rows, **EXACT)
    assert_close(0.2 + 0.5 * TINY.mean(slopes), torch.tensor(printed, dtype=torch.float64), **PRINTED)
    assert_close(0.2 + 0.5 * TINY.mean(slopes), saliency(scores, masks), **EXACT)


@pytest.mark.parametrize(
    ("side", "cells", "cell", "canvas"),
    [(224, 7, 32, 256), (224, 8, 28, 252), (224, 10, 23, 253), (225, 7, 33, 264), (3, 3, 1, 4)],
)
def test_cells_and_canvas(side, cells, cell, canvas):
    grid = MaskGrid((side, side), (cells, cells))
    assert grid.cell == (cell, cell)
    assert grid.canvas == (canvas, canvas)
    assert grid.rows.shape == (cell, side, cells)


def test_sums_by_group_and_shift_are_the_sums_of_masks():
    grid = MaskGrid((9, 14), (3, 4))
    generator = torch.Generator().manual_seed(4)
    bits = torch.rand(200, grid.count, generator=generator).round()
    shifts = torch.stack([torch.randint(side, (200,), generator=generator) for side in grid.cell], dim=1)
    weights = torch.randn(200, generator=generator, dtype=torch.float64)
    groups = torch.randint(3, (200,), generator=generator)
    masks = MaskPainter(grid.rows, grid.columns, grid.cells).masks(bits.double(), shifts)
    expected = [(weights[groups == group, None, None] * masks[groups == group]).sum(dim=0) for group in range(3)]
    assert_close(grid.enlarge(grid.sums(bits, shifts, weights, groups, 3)), torch.stack(expected), rtol=0, atol=1e-10)


def test_a_grid_finer_than_the_input_is_refused():
    with pytest.raises(UsageError, match="grid of 5 x 4 cells is finer than the input of 4 x 4 pixels"):
        MaskGrid((4, 4), (5, 4))
    with pytest.raises(UsageError, match="grid of 7 x 7 cells is finer than the input of 4 x 4 patches"):
        MaskGrid((4, 4), (7, 7), smooth=False)

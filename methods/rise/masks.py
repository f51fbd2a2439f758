"""Random masks on a coarse grid, enlarged and shifted (RISE, section 3.2 of the paper), as products of small matrices.

A mask is `Y[d_y] @ g @ X[d_x].T`: a grid g of open and closed cells between two interpolation matrices that are cut at the
shift d. What is linear in the masks, such as a weighted sum of any number of them, is linear in the grids: it is taken over
grids, one sum a shift, and enlarged once, so that masks are never kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from xaicli.errors import UsageError

Border = Literal["clamp", "mirror"]


@dataclass(frozen=True)
class MaskGrid:
    """Masks of `size` (height, width) from grids of `cells` (rows, columns).

    border: what lies beyond the outer cells' centres, the cell itself (clamp) or its neighbour (mirror, as in the authors'
    code). Rows of the matrices sum to 1, so that a mask's mean over shifts and grids is the share of open cells at every pixel.
    smooth: values between the centres of cells are interpolated; otherwise a place belongs to the nearest cell, so that masks are
    0 or 1, as those of patches are. Raises UsageError where there are more cells than places.
    """

    size: tuple[int, int]
    cells: tuple[int, int]
    border: Border = "clamp"
    smooth: bool = True

    def __post_init__(self) -> None:
        if self.cells[0] > self.size[0] or self.cells[1] > self.size[1]:
            cells, places = (f"{side[0]} x {side[1]}" for side in (self.cells, self.size))
            what = "pixels" if self.smooth else "patches"
            raise UsageError(f"a grid of {cells} cells is finer than the input of {places} {what}", hint="Give a smaller grid.")

    @property
    def cell(self) -> tuple[int, int]:
        """Height and width of a cell in pixels; shifts are below it."""
        return math.ceil(self.size[0] / self.cells[0]), math.ceil(self.size[1] / self.cells[1])

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of the enlarged grid, one cell more than is needed, from which a mask is cut."""
        return (self.cells[0] + 1) * self.cell[0], (self.cells[1] + 1) * self.cell[1]

    @property
    def count(self) -> int:
        """Cells of a grid."""
        return self.cells[0] * self.cells[1]

    @cached_property
    def rows(self) -> Tensor:
        """(shifts, height, rows of cells) float64: the vertical interpolation at each shift."""
        return windows(self.cells[0], self.canvas[0], self.size[0], self.cell[0], self.border, self.smooth)

    @cached_property
    def columns(self) -> Tensor:
        """(shifts, width, columns of cells) float64: the horizontal interpolation at each shift."""
        return windows(self.cells[1], self.canvas[1], self.size[1], self.cell[1], self.border, self.smooth)

    def sums(self, bits: Tensor, shifts: Tensor, weights: Tensor, groups: Tensor, count: int) -> Tensor:
        """Weighted sums of grids by group and shift, ready for `enlarge`: (count, shifts_y, rows, shifts_x, columns) float64.

        bits: (N, cells) 0 or 1; shifts: (N, 2) int64; weights: (N,); groups: (N,) int64 below `count`.
        """
        down, across = self.cell
        total = torch.zeros(count * down * across, self.count, dtype=torch.float64)
        place = (groups * down + shifts[:, 0]) * across + shifts[:, 1]
        total.index_add_(0, place, weights[:, None] * bits.double())
        return total.reshape(count, down, across, *self.cells).transpose(2, 3).contiguous()

    def enlarge(self, sums: Tensor) -> Tensor:
        """Sums of grids (..., shifts_y, rows, shifts_x, columns) as sums of masks (..., height, width), in float64."""
        down, up, across, side = sums.shape[-4:]
        flat = sums.reshape(*sums.shape[:-4], down * up, across * side)
        left = self.rows.transpose(0, 1).reshape(self.size[0], down * up)
        right = self.columns.transpose(0, 1).reshape(self.size[1], across * side)
        return left @ flat @ right.T

    def mean(self, grid: Tensor) -> Tensor:
        """The mean over all shifts of one grid of any numbers (..., rows, columns), enlarged: (..., height, width) float64."""
        return self.rows.mean(dim=0) @ grid.double() @ self.columns.mean(dim=0).T


@dataclass(frozen=True, eq=False)
class MaskPainter:
    """Draws masks of a grid on a device: (N, height, width) float32."""

    rows: Tensor
    columns: Tensor
    cells: tuple[int, int]

    @classmethod
    def on(cls, device: torch.device, grid: MaskGrid) -> MaskPainter:
        return cls(grid.rows.float().to(device), grid.columns.float().to(device), grid.cells)

    def masks(self, bits: Tensor, shifts: Tensor) -> Tensor:
        """bits: (N, cells) float32; shifts: (N, 2) int64; both on the painter's device."""
        grids = bits.reshape(-1, *self.cells)
        return self.rows[shifts[:, 0]] @ grids @ self.columns[shifts[:, 1]].transpose(1, 2)


def interpolation(cells: int, length: int, border: Border, smooth: bool = True) -> Tensor:
    """The matrix (length, cells) that enlarges `cells` values to `length`, with half-pixel centres: linearly, or by the nearest
    without `smooth`; float64."""
    place = (torch.arange(length, dtype=torch.float64) + 0.5) * cells / length - 0.5
    if not smooth:
        return nn.functional.one_hot((place + 0.5).floor().long(), cells).double()
    low = place.floor()
    share = place - low
    matrix = torch.zeros(length, cells, dtype=torch.float64)
    line = torch.arange(length)
    for index, weight in ((low.long(), 1 - share), (low.long() + 1, share)):
        inside = index.clamp(0, cells - 1)
        if border == "mirror" and cells > 1:
            inside = torch.where(index < 0, -index, torch.where(index >= cells, 2 * (cells - 1) - index, index))
        matrix.index_put_((line, inside), weight, accumulate=True)
    return matrix


def windows(cells: int, length: int, size: int, shifts: int, border: Border, smooth: bool) -> Tensor:
    """The interpolation matrix cut to `size` rows at each of the shifts: (shifts, size, cells)."""
    return interpolation(cells, length, border, smooth).unfold(0, size, 1)[:shifts].transpose(1, 2).contiguous()

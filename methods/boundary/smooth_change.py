"""A change to the boundary that can be looked at: drawn on a coarse grid, and as short and plain as the boundary allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from xaicli.methods.boundary.input_space import FLAT, Arrival, nearest_boundary

FIRST_STEP, LAST_STEP = 0.1, 1e-3
"""Length of a step along the boundary, in shares of the change, at the begin and at the end."""
RETURNS = 5
"""Steps back to the boundary at the end."""


@dataclass(frozen=True)
class Smoothing:
    """side: of the grid, in cells; variation: what the change's total variation counts beside its length; rounds: gradient steps
    that shorten it."""

    side: int
    variation: float
    rounds: int


def smooth_boundary(
    margins: Callable[[Tensor], Tensor], photo: Tensor, rivals: list[int], steps: int, tolerance: float, smoothing: Smoothing
) -> Arrival:
    """A point `photo + d` on the boundary, with d (C, H, W) a grid of `side` cells a side, enlarged bilinearly.

    The grid is projected on the boundary as in `nearest_boundary`. Then `|d| + variation TV(d)` falls by gradient steps along the
    boundary, `rounds` of them, each of which also goes back to it.
    """
    size = photo.shape[1:]

    def change(grid: Tensor) -> Tensor:
        return functional.interpolate(grid, size, mode="bilinear", align_corners=False)

    def over_grids(grid: Tensor) -> Tensor:
        return margins(photo + change(grid))

    start = photo.new_zeros((len(photo), smoothing.side, smoothing.side))
    first = nearest_boundary(over_grids, start, rivals, steps, tolerance)
    grid = first.point
    if first.arrived:
        chosen, limit = rivals.index(first.rival), tolerance * abs(first.start)

        def margin(at: Tensor) -> Tensor:
            return over_grids(at[None])[chosen]

        def size_of(at: Tensor) -> Tensor:
            return extent(change(at[None])[0], smoothing.variation)

        grid = shortened(margin, size_of, grid, limit, smoothing.rounds)
    point = photo + change(grid[None])[0]
    return Arrival(point.detach(), first.rival, first.steps, first.arrived, first.slope, first.start)


def extent(change: Tensor, variation: float) -> Tensor:
    """`|d| + variation TV(d)` of a change (C, H, W); TV sums the absolute differences of neighbours."""
    length = change.square().sum().sqrt()
    return length + variation * (change.diff(dim=1).abs().sum() + change.diff(dim=2).abs().sum())


def shortened(
    margin: Callable[[Tensor], Tensor], size_of: Callable[[Tensor], Tensor], start: Tensor, limit: float, rounds: int
) -> Tensor:
    """The smallest grid found whose margin is at most `limit`, from one that is on the boundary."""
    grid, best, least = start, start, float(size_of(start))
    shares = torch.logspace(0, 1, rounds, base=LAST_STEP / FIRST_STEP).mul(FIRST_STEP).tolist() + [0.0] * RETURNS * (rounds > 0)
    for share in shares:
        at = grid.detach().clone().requires_grad_(True)
        value, size = margin(at), size_of(at)
        (slope,), (pull,) = torch.autograd.grad(value, at), torch.autograd.grad(size, at)
        value, size = value.detach(), size.detach()
        if abs(float(value)) <= limit and float(size) < least:
            best, least = grid, float(size)
        steep = slope.square().sum()
        if float(steep) < FLAT:
            break
        along = pull - (pull * slope).sum() / steep * slope
        step = share * grid.norm() / along.norm().clamp_min(FLAT)
        grid = grid - value / steep * slope - step * along
    return best

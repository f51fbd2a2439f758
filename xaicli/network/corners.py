"""Proof of a layer's grid: when one corner of the input changes, the cell in that corner must change most.

An attention matrix of 197 x 197 entries, keys of tokens x head width, tokens that run down the columns or in windows, channels
taken for rows, a class token counted as a patch: each has a plausible shape, and each moves at the wrong place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xaicli.errors import RunError
from xaicli.network.modes import attribution_mode
from xaicli.network.named_run import NamedRun, RunWatch
from xaicli.network.nested import first_tensor
from xaicli.network.noise import Enter, as_it_is, noise
from xaicli.network.observe import Call, argument, observing
from xaicli.network.tokens import Axes, Layout, Side

CORNERS = ("top left", "top right", "bottom left", "bottom right")
CHANGE = 2.0
"""How much brighter a changed corner is made, in standard deviations of the inputs; noise is added too."""

CENTRES_APART = 0.01
"""Two neighbouring corners must change parts of the grid whose centres are this far apart, in sides of the grid."""


@dataclass(frozen=True)
class Movement:
    """For each corner of the input, in the order of `CORNERS`, the cell of the grid (row, column) that moves most; None where
    nothing moves. tolerance: how far from the corner it may lie; in_order: whether the change is on average further up for the
    upper corners than for the lower ones, and further left for the left ones."""

    grid: tuple[int, int]
    cells: tuple[tuple[int, int] | None, ...]
    tolerance: tuple[int, int]
    in_order: bool

    def misplaced(self, convolved: bool) -> str:
        """The first corner that moves another place of the grid, in words; empty if all four corners move their own.

        convolved: convolutions receive or return these features. Their axes are known, and a deep one sees all of a small input,
        so it is enough that the movements are in order; if nothing moves, the features are dead and their maps constant.
        """
        if convolved and (self.in_order or not any(self.cells)):
            return ""
        for corner, cell in enumerate(self.cells):
            if cell is None:
                return f"nothing in it moves when the {CORNERS[corner]} corner of the input changes"
            wanted = corner_cell(corner, self.grid)
            if any(abs(a - b) > off for a, b, off in zip(cell, wanted, self.tolerance, strict=True)):
                rows, columns = self.grid
                place = f"row {cell[0] + 1} of {rows}, column {cell[1] + 1} of {columns}"
                return f"when the {CORNERS[corner]} corner of the input changes, {place} moves most"
        return ""


def corner_cell(corner: int, grid: tuple[int, int]) -> tuple[int, int]:
    return (grid[0] - 1) * (corner // 2), (grid[1] - 1) * (corner % 2)


def watch_corners(
    module: nn.Module,
    size: tuple[int, int],
    candidates: Mapping[tuple[str, Side], Sequence[Layout]],
    channels: int = 3,
    enter: Enter = as_it_is,
    run: NamedRun | None = None,
) -> dict[tuple[str, Side, Layout], Movement]:
    """How the grids of layers move when corners of the input change, from one pass of five inputs of `size`; all layouts have the
    same grid.

    enter: how inputs (B, C, H, W) reach the network. The last call of each layer counts, of the layer of `run` that run. A layer
    that does not fit its layout in this pass is left out.
    """
    grid = next(layout.grid for layouts in candidates.values() for layout in layouts)
    found: dict[tuple[str, Side, Layout], Movement] = {}
    watch = RunWatch(run)

    def note(call: Call, side: Side, tensor: Tensor | None) -> None:
        for layout in candidates.get((call.path, side), ()) if watch.counts(call) else ():
            if tensor is not None and tensor.is_floating_point() and (cells := to_cells(tensor.detach(), layout)) is not None:
                found[call.path, side, layout] = Movement(grid, most_moved(cells), tolerance(layout), in_order(cells))

    def before(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        watch.begins(call)
        note(call, "input", argument(args, kwargs))

    def after(call: Call, args: object, kwargs: object, output: Any) -> None:
        note(call, "output", first_tensor(output))

    # With a graph, as in the dry run: without one, some networks bypass their own modules. There is no backward pass, so nothing
    # is kept for one.
    nothing_kept = torch.autograd.graph.saved_tensors_hooks(lambda tensor: None, lambda kept: kept)
    with attribution_mode(module), observing(module, before=before, after=after), nothing_kept:
        module(enter(with_changed_corners(noise(module, size, channels), grid).requires_grad_() * 1))
    return found


def with_changed_corners(photo: Tensor, grid: tuple[int, int]) -> Tensor:
    """The photo (1, C, H, W) and four copies of it, each with one corner of the size of one cell changed: (5, C, H, W)."""
    height, width = photo.shape[2:]
    tall, wide = -(-height // grid[0]), -(-width // grid[1])
    generator = torch.Generator().manual_seed(2)
    change = (torch.randn(1, photo.shape[1], tall, wide, generator=generator) + CHANGE).to(photo)
    copies = photo.repeat(1 + len(CORNERS), 1, 1, 1)
    for corner in range(len(CORNERS)):
        top, left = (height - tall) * (corner // 2), (width - wide) * (corner % 2)
        copies[corner + 1, :, top : top + tall, left : left + wide] += change[0]
    return copies


def to_cells(tensor: Tensor, layout: Layout) -> Tensor | None:
    """How far each cell of the grid moves for each changed corner, (4, h, w); None if the tensor does not fit the layout."""
    try:
        features = layout.to_grid(tensor)
    except RunError:
        return None
    if features.shape[0] != 1 + len(CORNERS) or tuple(features.shape[2:]) != layout.grid:
        return None
    return (features[1:].float() - features[:1].float()).square().sum(dim=1).sqrt()


def share_of_corner(cells: Tensor) -> Tensor:
    """The movement of cells (4, h, w), times the cube of each corner's share in it: some tokens move whatever changes."""
    return cells * (cells / cells.sum(dim=0).clamp_min(torch.finfo(cells.dtype).tiny)) ** 3


def most_moved(cells: Tensor) -> tuple[tuple[int, int] | None, ...]:
    """For each corner, the cell of (4, h, w) that moves most; the corner's own cell if features are not finite, since nothing can
    be said of them."""
    if not bool(cells.isfinite().all()):
        return tuple(corner_cell(corner, (cells.shape[1], cells.shape[2])) for corner in range(len(CORNERS)))
    flat = share_of_corner(cells).flatten(1)
    places = [divmod(place, cells.shape[2]) for place in flat.argmax(dim=1).tolist()]
    return tuple(place if moves else None for place, moves in zip(places, flat.any(dim=1).tolist(), strict=True))


def in_order(cells: Tensor) -> bool:
    """Whether the centres of movement in cells (4, h, w) are arranged as the corners are."""
    weights = cells / cells.sum(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(cells.dtype).tiny)
    rows = (weights.sum(dim=2) * torch.arange(cells.shape[1], device=cells.device)).sum(dim=1) / cells.shape[1]
    columns = (weights.sum(dim=1) * torch.arange(cells.shape[2], device=cells.device)).sum(dim=1) / cells.shape[2]
    apart = [rows[2] - rows[0], rows[3] - rows[1], columns[1] - columns[0], columns[3] - columns[2]]
    return all(float(distance) > CENTRES_APART for distance in apart)


def tolerance(layout: Layout) -> tuple[int, int]:
    """How many rows and columns from the corner the cell may lie, since overlapping patches and convolutions spread a change. A
    sequence that is shifted by one token is still detected: the bottom left corner then moves the right end of the row above."""
    if layout.axes in (Axes.CHANNELS_FIRST, Axes.CHANNELS_LAST):
        return max(1, layout.grid[0] // 3), max(1, layout.grid[1] // 3)
    return (1, 1) if min(layout.grid) > 2 else (0, 0)

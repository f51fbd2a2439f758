"""A map drawn over its photo: the only place where maps are upsampled for drawing and laid on pictures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.images.colour import Scale, coloured, palette
from xaicli.images.contact_print import tiles
from xaicli.images.geometry import Geometry
from xaicli.images.marks import TargetMark
from xaicli.images.smoothing import legible
from xaicli.later import ndimage
from xaicli.sign import Sign

HEAT, GREY, CONTOUR = LOOKS = ("heat", "grey", "contour")
"""The ways in which a map may be drawn on its photo."""

LEVELS = (0.25, 0.5, 0.75)
"""The levels of contours, as shares of the range."""

ALPHA = 0.75
FALL = 0.7
"""The opacity is how much a value stands out, to this power: it falls slower than the value, so that weaker parts are visible."""

BAND = 1 << 18
"""Pixels drawn at a time, so that memory does not grow with the photo; each takes about a hundred bytes meanwhile."""

Map = NDArray[np.float32] | Tensor
Pixels = NDArray[np.float32]


def upsample(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (..., h, w) at height and width `size`: bilinear, align_corners=False."""
    flat = values.reshape(-1, 1, *values.shape[-2:]).float()
    bigger = functional.interpolate(flat, size=size, mode="bilinear", align_corners=False)
    return bigger.reshape(*values.shape[:-2], *size)


def overlay(
    photo: Image.Image,
    values: Map,
    geometry: Geometry,
    sign: Sign,
    *,
    scale: Scale | None = None,
    colormap: str | None = None,
    alpha: float = ALPHA,
    look: str = HEAT,
    marks: Sequence[TargetMark] = (),
    in_place: bool = False,
) -> Image.Image:
    """The photo, RGB and at its own resolution, with the map (h, w) drawn over the part that the model saw.

    That part has a thin frame if it is not the whole photo. scale: the range of colours, by default the map's own; colormap:
    matplotlib's name; alpha: the opacity, 0..1, of the strongest value. Opacity falls to 0 with the map, so that the photo stays
    visible where the map is weak. look: `heat`, colours over the photo; `grey`, how much each part stands out, white on black, as
    papers on gradients show it; `contour`, lines around what stands out by a quarter, a half and three quarters. A map that is
    speckle is smoothed first. marks: what the target is of, drawn on top. in_place: draw on `photo` itself, which is RGB, and no
    longer needed as it is. Raises InputError for a map that is not finite, UsageError for a look that cannot be.
    """
    if geometry.frames:
        return on_frames(photo, values, geometry, sign, scale, in_place, colormap=colormap, alpha=alpha, look=look, marks=marks)
    if not 0 <= alpha <= 1:
        raise UsageError(f"alpha {alpha:g}", expected="an opacity from 0 to 1")
    table = palette(sign, colormap)
    refuse_unknown(look)
    grid = torch.from_numpy(np.ascontiguousarray(legible(as_grid(values).numpy())))
    if photo.size != geometry.source:
        found = f"the map belongs to a photo of {geometry.source} pixels, and this one has {photo.size}"
        raise InputError(found, expected="the photo that was explained")
    scale = scale or Scale.of([grid.numpy()], sign)
    # It is drawn on in bands, so that no further copy is in memory.
    drawn = photo if in_place else photo.convert("RGB")
    seen = pixels_seen(geometry)
    for start, stop, band in bands(grid, geometry, seen):
        below = np.asarray(drawn.crop((seen[0], start, seen[2], stop)))
        drawn.paste(Image.fromarray(painted(below, band, scale, sign, table, alpha, look)), (seen[0], start))
    if look == CONTOUR:
        draw_contours(drawn, grid, geometry, scale, sign, table)
    if not geometry.sees_all:
        draw_frame(drawn, seen)
    for mark in marks:
        mark.draw(drawn, geometry)
    return drawn


def on_frames(
    photo: Image.Image, values: Map, geometry: Geometry, sign: Sign, scale: Scale | None, in_place: bool, **look: Any
) -> Image.Image:
    """A print of frames with the map (t, h, w) of each drawn on it, all on one scale; a map (h, w) is drawn on all of them."""
    maps = in_time(torch.as_tensor(values).detach().to("cpu", torch.float32), geometry.frames).numpy()
    scale = scale or Scale.of(list(maps), sign)
    drawn = photo if in_place else photo.copy()
    for box, one in zip(tiles(drawn.size, geometry.frames), maps, strict=True):
        frame = drawn.crop(box)
        where = dataclasses.replace(geometry, source=frame.size, frames=0)
        drawn.paste(overlay(frame, one, where, sign, scale=scale, in_place=True, **look), box[:2])
    return drawn


def in_time(maps: Tensor, frames: int) -> Tensor:
    """Maps (t, h, w), or one (h, w) for all frames, as (frames, h, w): linear between the middles of the t parts of the time."""
    if maps.ndim == 2:
        return maps.expand(frames, *maps.shape)
    if maps.ndim != 3 or not maps.numel():
        raise InputError(f"a map of shape {tuple(maps.shape)}", expected="(frames, height, width)")
    if len(maps) == frames:
        return maps
    flat = maps.flatten(1).T[None]
    return functional.interpolate(flat, frames, mode="linear", align_corners=False)[0].T.unflatten(1, maps.shape[1:])


def bands(grid: Tensor, geometry: Geometry, seen: tuple[int, int, int, int]) -> Iterator[tuple[int, int, Pixels]]:
    """The map at the photo's pixels that the model saw, a few rows at a time: first row, row after the last, values."""
    for start, stop in rows_at_a_time(seen):
        yield start, stop, on_photo(grid, geometry, (seen[0], start, seen[2], stop)).numpy()


def rows_at_a_time(seen: tuple[int, int, int, int], least: int = 1) -> Iterator[tuple[int, int]]:
    """The rows of a box, `least` or more at a time: the first, and the one after the last."""
    left, top, right, bottom = seen
    rows = max(least, BAND // max(1, right - left))
    for start in range(top, bottom, rows):
        yield start, min(start + rows, bottom)


def painted(
    below: NDArray[np.uint8], band: Pixels, scale: Scale, sign: Sign, table: NDArray[np.uint8], alpha: float, look: str
) -> NDArray[np.uint8]:
    """Rows of the photo (h, w, 3) with the map's values (h, w) drawn over them."""
    if look == CONTOUR:
        return below
    strengths = scale.strengths(band, sign)
    if look == GREY:
        return np.repeat(np.rint(255 * strengths).astype(np.uint8)[..., None], 3, axis=-1)
    mixed = below + (coloured(band, scale, table).astype(np.float32) - below) * (alpha * strengths**FALL)[..., None]
    return np.rint(mixed).astype(np.uint8)


def draw_contours(
    drawn: Image.Image, grid: Tensor, geometry: Geometry, scale: Scale, sign: Sign, table: NDArray[np.uint8]
) -> None:
    """Draw lines at a quarter, a half and three quarters of the range on the part of the photo that the model saw."""
    left, top, right, bottom = seen = pixels_seen(geometry)
    thick = max(1, round(min(right - left, bottom - top) / 200))
    for start, stop in rows_at_a_time(seen, 4 * thick):
        # A line is as thick as it is far from where the level begins, which may be in the rows above or below.
        above, below = max(top, start - thick), min(bottom, stop + thick)
        band = on_photo(grid, geometry, (left, above, right, below)).numpy()
        levels = (scale.strengths(band, sign) * (1 + len(LEVELS))).astype(np.uint8)
        canvas = np.array(drawn.crop((left, start, right, stop)))
        for level, share in enumerate(LEVELS, 1):
            inside = levels >= level
            edge = inside & ~ndimage.minimum_filter(inside, size=2 * thick + 1, mode="nearest")
            canvas[edge[start - above : edge.shape[0] - (below - stop)]] = table[round((0.5 + share / 2) * (len(table) - 1))]
        drawn.paste(Image.fromarray(canvas), (left, start))


def bar_table(sign: Sign, colormap: str | None, look: str) -> NDArray[np.uint8]:
    """The colours (256, 3) of the bar beside a map of that look."""
    if look != GREY:
        return palette(sign, colormap)
    ramp = np.abs(np.linspace(-1, 1, 256)) if sign is Sign.SIGNED else np.linspace(0, 1, 256)
    return np.repeat(np.rint(255 * ramp).astype(np.uint8)[:, None], 3, axis=1)


def refuse_unknown(look: str) -> None:
    if look not in LOOKS:
        raise UsageError(f'no look "{look}"', expected=", ".join(LOOKS), hint=did_you_mean(look, LOOKS))


def as_grid(values: Map) -> Tensor:
    """A map (h, w) as a float32 tensor on the CPU; raises InputError if it cannot be drawn."""
    grid = torch.as_tensor(values).detach().to("cpu", torch.float32)
    if grid.ndim != 2 or not grid.numel():
        raise InputError(f"a map of shape {tuple(grid.shape)}", expected="(height, width)")
    if not bool(grid.isfinite().all()):
        raise InputError("a map that holds NaN or infinity cannot be drawn", hint="Its values are in the .npy file.")
    return grid


def pixels_seen(geometry: Geometry) -> tuple[int, int, int, int]:
    """The photo's pixels whose centres the model saw: left, top, right, bottom; at least one."""
    x0, y0, x1, y1 = geometry.box
    left, top = math.ceil(x0 - 0.5), math.ceil(y0 - 0.5)
    return left, top, max(left + 1, math.ceil(x1 - 0.5)), max(top + 1, math.ceil(y1 - 0.5))


def on_photo(grid: Tensor, geometry: Geometry, box: tuple[int, int, int, int]) -> Tensor:
    """The map at the pixels `box` (left, top, right, bottom) of the photo: bilinear between the centres of the map's cells.

    If the map is finer than the photo, each pixel gets the mean over its area.
    """
    left, top, right, bottom = box
    cells_x = grid.shape[1] / geometry.size[0] * geometry.scale[0]
    cells_y = grid.shape[0] / geometry.size[1] * geometry.scale[1]
    fine_x, fine_y = max(1, math.ceil(cells_x)), max(1, math.ceil(cells_y))
    x = places(left, right, fine_x, geometry.scale[0], geometry.offset[0], geometry.size[0])
    y = places(top, bottom, fine_y, geometry.scale[1], geometry.offset[1], geometry.size[1])
    where = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
    sampled = functional.grid_sample(grid[None, None], where, mode="bilinear", padding_mode="border", align_corners=False)
    if fine_x > 1 or fine_y > 1:
        sampled = functional.avg_pool2d(sampled, (fine_y, fine_x))
    return sampled[0, 0]


def places(start: int, stop: int, fine: int, scale: float, offset: int, size: int) -> Tensor:
    """The positions of photo pixels in the view, from -1 to 1, with `fine` samples per pixel."""
    centres = start + (torch.arange((stop - start) * fine, dtype=torch.float64) + 0.5) / fine
    return ((centres * scale - offset) / size * 2 - 1).float()


def draw_frame(picture: Image.Image, box: tuple[int, int, int, int]) -> None:
    """Draw a thin light line with a dark one inside it, which is visible on any photo."""
    thick = max(1, round(min(picture.size) / 500))
    left, top, right, bottom = box
    draw = ImageDraw.Draw(picture)
    for inset, colour in ((0, (255, 255, 255)), (thick, (40, 40, 40))):
        if right - left > 4 * thick and bottom - top > 4 * thick:
            draw.rectangle((left + inset, top + inset, right - 1 - inset, bottom - 1 - inset), outline=colour, width=thick)

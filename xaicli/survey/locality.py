"""How local a map is, and over which channels it spreads: the climate study's statistics of a mean map.

Maps (h, w) or (L, h, w) are non-negative; places are cells (row, column), distances in cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xaicli.survey.map_grids import Floats

Place = tuple[float, float]


def channel_profile(mean: Floats) -> Floats:
    """The share of each channel or lag (L,) in a map (L, h, w): `rho(l) = sum_ij M[l, i, j] / sum M`."""
    totals: Floats = mean.sum(axis=(1, 2))
    return totals / totals.sum()


def decay(profile: Floats) -> float:
    """The slope of the least-squares line through the logarithm of a profile (L,), per channel or lag; channels without any
    share are left out. NaN of fewer than two others."""
    known = profile > 0
    if known.sum() < 2:
        return float("nan")
    return float(np.polyfit(np.flatnonzero(known), np.log(profile[known]), 1)[0])


def separability(profiles: Sequence[Floats]) -> float:
    """How much profiles of several groups differ: the largest distance of any share from the mean over groups."""
    table = np.stack(profiles)
    table = table / table.sum(axis=1, keepdims=True)
    return float(np.abs(table - table.mean(axis=0)).max())


def distances(size: tuple[int, int], place: Place) -> Floats:
    """The distance of each cell's centre of (h, w) from a place."""
    rows, columns = (np.arange(length) - at for length, at in zip(size, place, strict=True))
    found: Floats = np.hypot(rows[:, None], columns[None, :])
    return found


def share_within(mean: Floats, place: Place, radius: float) -> float:
    """The share of a map within a radius of a place, the border included."""
    near = distances((mean.shape[-2], mean.shape[-1]), place) <= radius
    return float(mean[..., near].sum() / mean.sum())


def mean_radius(mean: Floats, place: Place) -> float:
    """The mean distance of a map from a place: `sum M d / sum M`."""
    return float((mean * distances((mean.shape[-2], mean.shape[-1]), place)).sum() / mean.sum())


def aligned(values: Floats, place: tuple[int, int], *, periodic: bool = False) -> Floats:
    """The map moved so that a cell lies in the middle, (h // 2, w // 2); what leaves comes in again on the other side if
    periodic, else zeros come in."""
    height, width = values.shape[-2:]
    down, across = height // 2 - place[0], width // 2 - place[1]
    moved: Floats = np.roll(values, (down, across), axis=(-2, -1))
    if not periodic:
        rows, columns = np.arange(height) - down, np.arange(width) - across
        there = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None, :]
        moved = np.where(there, moved, 0.0)
    return moved

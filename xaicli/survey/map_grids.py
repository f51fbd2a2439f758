"""Maps of any resolution on one grid: the share of a map's weight in each cell."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from xaicli.description import weights_of
from xaicli.sign import Sign

GRID = 16
"""Cells per side on which maps are compared with each other."""

Floats = NDArray[np.float64]


def shares_of(values: NDArray[np.floating], sign: Sign, side: int = GRID) -> Floats | None:
    """The share of a map (h, w) in each cell of (side, side), which sum to 1; None if nothing in the map speaks for its target.

    Only what speaks for the target counts: positive values; of a map that only ranks, its highest tenth.
    """
    if not np.isfinite(values).all():
        return None
    weights = weights_of(np.asarray(values, dtype=np.float64), sign)
    total = float(weights.sum())
    return None if total <= 0 else resampled(weights / total, (side, side))


def resampled(weights: Floats, size: tuple[int, int]) -> Floats:
    """Weights (h, w) on another grid, each cell's weight spread evenly over its area; their sum stays."""
    down, across = (overlaps(old, new) for old, new in zip(weights.shape, size, strict=True))
    moved: Floats = down @ weights @ across.T
    return moved


def fractions(mask: NDArray[np.bool_], size: tuple[int, int]) -> Floats:
    """The share of each cell of (h, w) that a mask of any resolution covers, 0 to 1."""
    return resampled(mask.astype(np.float64), size) * (size[0] * size[1] / mask.size)


@functools.lru_cache(maxsize=64)
def overlaps(old: int, new: int) -> Floats:
    """The share (new, old) of each of `old` equal parts of a side that lies in each of `new`; every column sums to 1."""
    edges_old, edges_new = np.arange(old + 1) / old, np.arange(new + 1) / new
    starts = np.maximum(edges_new[:-1, None], edges_old[None, :-1])
    stops = np.minimum(edges_new[1:, None], edges_old[None, 1:])
    shares: Floats = np.maximum(stops - starts, 0) * old
    shares.flags.writeable = False
    return shares

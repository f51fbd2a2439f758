"""A region of the model's view, at any resolution, as a mask over the photo's pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xaicli.images.geometry import Geometry

Region = NDArray[np.bool_]


def on_pixels(region: Region, geometry: Geometry, *, unseen: bool = False) -> Region:
    """Which pixels of the photo have their centre in a region (h, w) of the view; unseen: what holds outside the view."""
    width, height = geometry.source
    rows, seen_rows = cells_of(height, region.shape[0], geometry, axis=1)
    columns, seen_columns = cells_of(width, region.shape[1], geometry, axis=0)
    seen = seen_rows[:, None] & seen_columns[None, :]
    return np.where(seen, region[rows[:, None], columns[None, :]], unseen)


def cells_of(length: int, cells: int, geometry: Geometry, axis: int) -> tuple[NDArray[np.intp], Region]:
    """For each pixel along an axis its cell in the region, and whether the model sees it."""
    centres = np.arange(length) + 0.5
    places = centres * geometry.scale[axis] - geometry.offset[axis]
    found = np.floor(places / geometry.size[axis] * cells).astype(np.intp)
    return found.clip(0, cells - 1), (found >= 0) & (found < cells)

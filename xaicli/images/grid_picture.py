"""A grid of values as a picture of its own, in the colours of overlays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xaicli.images.colour import Scale, coloured, palette
from xaicli.sign import Sign


def grid_picture(values: NDArray[np.floating], side: int = 224, sign: Sign = Sign.NONNEGATIVE) -> Image.Image:
    """A grid (h, w) in a picture whose longer side is `side`, each cell a rectangle; the lightest colour is the largest value,
    of a signed grid grey is zero."""
    grid = np.asarray(values)
    # Of a grid of zeros alone any end above zero does.
    scale = Scale.of([grid], sign, saturated=0.0) if sign is Sign.SIGNED else Scale(0.0, float(grid.max()) or 1.0)
    factor = side / max(grid.shape)
    size = max(1, round(grid.shape[1] * factor)), max(1, round(grid.shape[0] * factor))
    return Image.fromarray(coloured(grid, scale, palette(sign))).resize(size, Image.Resampling.NEAREST)

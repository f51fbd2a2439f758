"""Where a mark lies: the part of a map, or of a cluster's mean map, that stands out."""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from xaicli.survey.map_grids import Floats, resampled
from xaicli.survey.measures import PARTS, place_of

Region = NDArray[np.bool_]


def above(weights: Floats, threshold: float) -> Region:
    """Cells (h, w) with at least that share of the largest weight."""
    found: Region = weights >= threshold * weights.max()
    return found


def mark_of(mean: Floats, threshold: float, grow: int = 1) -> Region:
    """The mark of a cluster's mean map (16, 16): the cells above `threshold` of the largest at the cluster's place, that are
    connected with it, and so many cells around them."""
    row, column = place_of(resampled(mean, (PARTS, PARTS)))
    high, wide = mean.shape[0] // PARTS, mean.shape[1] // PARTS
    part = mean[row * high : (row + 1) * high, column * wide : (column + 1) * wide]
    down, across = np.unravel_index(int(part.argmax()), part.shape)
    peak = row * high + int(down), column * wide + int(across)
    connected, _ = scipy.ndimage.label(mean >= threshold * mean[peak])
    found: Region = connected == connected[peak]
    return scipy.ndimage.binary_dilation(found, np.ones((3, 3)), iterations=grow) if grow else found

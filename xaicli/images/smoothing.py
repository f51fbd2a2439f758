"""Maps of single pixels made legible: a gradient a pixel is speckle, of which an eye sees nothing at the size of a sheet.

Only what is drawn is smoothed; the map itself stays what its method defines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FINE = 32
"""Cells a side from which on a map may be speckle."""
ALIKE = 0.7
"""The correlation of neighbours below which a map is speckle: gradients have about 0.5, masks and segments 0.85 or more."""
WIDTH = 0.02
"""Standard deviation of the Gaussian, as a share of the longer side."""


def is_speckle(values: NDArray[np.floating]) -> bool:
    """Whether neighbouring values of a map (h, w) have little to do with each other."""
    if values.ndim != 2 or min(values.shape) < FINE or not np.isfinite(values).all():
        return False
    # Without the extremes: a few odd pixels do not make speckle of a smooth map.
    usual = np.clip(values, *np.percentile(values, (1, 99)))
    size = np.abs(usual - usual.mean())
    pairs = ((size[:, 1:], size[:, :-1]), (size[1:], size[:-1]))
    return sum(correlation(one, other) for one, other in pairs) / 2 < ALIKE


def correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Pearson's, 1 where nothing varies."""
    spread = float(one.std() * other.std())
    return 1.0 if spread == 0 else float(((one - one.mean()) * (other - other.mean())).mean()) / spread


def legible(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """The map as it is drawn: speckle smoothed by a Gaussian, every other map as it is."""
    if not is_speckle(values):
        return values
    return np.asarray(ndimage.gaussian_filter(values, WIDTH * max(values.shape)), dtype=values.dtype)

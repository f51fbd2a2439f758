"""Smoothing of noisy maps for drawing: gradients of single pixels are speckle, in which nothing can be seen at the size of a
sheet.

Only the drawing is smoothed; the map itself does not change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xaicli.later import ndimage

FINE = 32
"""A map with fewer cells per side is never speckle."""
ALIKE = 0.7
"""A map is speckle if the correlation of neighbouring values is below this: gradients have about 0.5, masks and segments 0.85 or
more."""
WIDTH = 0.02
"""Standard deviation of the Gaussian, as a share of the longer side."""


def is_speckle(values: NDArray[np.floating]) -> bool:
    """Whether neighbouring values of a map (h, w) are nearly unrelated."""
    if values.ndim != 2 or min(values.shape) < FINE or not np.isfinite(values).all():
        return False
    # Without the extremes: a few odd pixels do not make a smooth map speckle.
    usual = np.clip(values, *np.percentile(values, (1, 99)))
    size = np.abs(usual - usual.mean())
    pairs = ((size[:, 1:], size[:, :-1]), (size[1:], size[:-1]))
    return sum(correlation(one, other) for one, other in pairs) / 2 < ALIKE


def correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Pearson's correlation; 1 if nothing varies."""
    spread = float(one.std() * other.std())
    return 1.0 if spread == 0 else float(((one - one.mean()) * (other - other.mean())).mean()) / spread


def legible(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """The map as it is drawn: speckle is smoothed by a Gaussian, any other map is unchanged."""
    if not is_speckle(values):
        return values
    return np.asarray(ndimage.gaussian_filter(values, WIDTH * max(values.shape)), dtype=values.dtype)

"""Photos set apart by one place of the border: where some maps have a share that the others have not.

The place of an object varies from photo to photo, and that hides a mark that takes only a part of each map from groups of whole
maps. A mark stays at its place, and the shares there fall into two.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from xaicli.survey.map_grids import Floats
from xaicli.survey.measures import PARTS

GAP = 1 / PARTS**2
"""The shares of the two must be a sixteenth apart, the whole share of an even map."""
CLEAR, ALIKE = 0.5, 0.25
"""The gap must be this much of the distance between the means of the two, or it is a tail of one; and the shares of those that
have the mark must be alike: their standard deviation is at most this much of the gap."""
FEWEST_PHOTOS, FEWEST_SHARE = 4, 0.1

Chosen = NDArray[np.bool_]


def set_apart(maps: Floats) -> Chosen | None:
    """Which of the maps (n, side * side) have a share at some place of the border that the others have not; None where all are
    alike. Maps sum to 1; of several such places that with the widest gap counts."""
    side = math.isqrt(maps.shape[1])
    parts = maps.reshape(len(maps), PARTS, side // PARTS, PARTS, side // PARTS).sum(axis=(2, 4))
    inner = slice(1, PARTS - 1)
    at_border = np.ones((PARTS, PARTS), dtype=np.bool_)
    at_border[inner, inner] = False
    widest, chosen = 0.0, None
    for shares in parts[:, at_border].T:
        gap, threshold = widest_gap(shares)
        if gap > max(widest, GAP) and are_two(shares, shares > threshold, gap):
            widest, chosen = gap, shares > threshold
    return chosen


def widest_gap(shares: Floats) -> tuple[float, float]:
    """The widest gap between neighbouring shares (n,), and the share at its lower end."""
    ordered = np.sort(shares)
    gaps = np.diff(ordered)
    at = int(gaps.argmax())
    return float(gaps[at]), float(ordered[at])


def are_two(shares: Floats, upper: Chosen, gap: float) -> bool:
    """Whether the parts of the shares above and below a gap are of enough photos each, and narrow beside the gap."""
    fewest = max(FEWEST_PHOTOS, math.ceil(FEWEST_SHARE * len(shares)))
    if min(upper.sum(), (~upper).sum()) < fewest:
        return False
    clear = gap >= CLEAR * float(shares[upper].mean() - shares[~upper].mean())
    return clear and float(shares[upper].std()) <= ALIKE * gap

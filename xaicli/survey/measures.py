"""What makes a single photo worth a look: its methods disagree, its map lies at the border, in a corner, or outside the object.

Grids (G, G) hold shares of a map's weight, which sum to 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from xaicli.scoring.similarity import rank_correlation
from xaicli.survey.map_grids import Floats, fractions, resampled

BAND = 1 / 8
"""The width of the border, as a share of the side; the border is 7/16 of the area."""
PARTS = 4
"""Parts per side among which the place of a mark is sought: the 12 at the border, each 1/16 of the area."""
HALF = 0.5
"""From here on an agreement or energy is high (XEdgeAI's quadrants)."""

FINE, SHORTCUT, SUSPECT, MISSED = "fine", "shortcut", "suspect label", "missed"
"""The quadrants: right and on the object; right, but beside the object; wrong, but on the object; wrong, and beside it."""


def disagreement(grids: Sequence[Floats | None]) -> float | None:
    """1 less the mean rank correlation of all pairs of methods: 0 if they rank alike, 1 if unrelated, up to 2; None if fewer than
    two methods have a map."""
    known = [torch.from_numpy(grid.ravel()) for grid in grids if grid is not None]
    pairs = [rank_correlation(one, other) for one, other in itertools.combinations(known, 2)]
    finite = [pair for pair in pairs if not math.isnan(pair)]
    return 1 - sum(finite) / len(finite) if finite else None


def border_share(grid: Floats) -> float:
    """The share of the weight within an eighth of the side from the border; 0.4375 of an even map."""
    side = 8 * math.ceil(len(grid) / 8)
    fine = grid if side == len(grid) else resampled(grid, (side, side))
    wide = round(side * BAND)
    return float(1 - fine[wide:-wide, wide:-wide].sum())


def corner_share(grid: Floats) -> float:
    """The share of the weight in the corner that has most of it, a quarter of the sides; 0.0625 of an even map."""
    return float(resampled(grid, (PARTS, PARTS))[np.ix_((0, -1), (0, -1))].max())


def place_of(parts: Floats) -> tuple[int, int]:
    """The part (row, column) at the border of (4, 4) that has most of the weight."""
    at_border = parts.copy()
    at_border[1:-1, 1:-1] = -1
    row, column = np.unravel_index(int(at_border.argmax()), parts.shape)
    return int(row), int(column)


def place_in_words(row: int, column: int) -> str:
    """`upper left corner`, `lower edge`."""
    last = PARTS - 1
    down, across = {0: "upper", last: "lower"}.get(row, ""), {0: "left", last: "right"}.get(column, "")
    return f"{down} {across} corner" if down and across else f"{down or across} edge"


def energy(weights: Floats, mask: NDArray[np.bool_]) -> float:
    """The share of a map's weight (h, w) on the marked region, a mask of any resolution over the same view."""
    return float((weights * fractions(mask, shape_of(weights))).sum() / weights.sum())


def overlap_at_half(weights: Floats, mask: NDArray[np.bool_]) -> float:
    """Intersection over union of the region and the part of the map (h, w) of at least half of its maximum."""
    part = (weights >= HALF * weights.max()).astype(np.float64)
    marked = fractions(mask, shape_of(weights))
    both = float((part * marked).sum())
    return both / float(part.sum() + marked.sum() - both)


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float | None:
    """Intersection over union of two masks of any resolutions, compared at that of the second; None if both are empty."""
    first = fractions(one, (other.shape[0], other.shape[1])) >= HALF
    either = int((first | other).sum())
    return int((first & other).sum()) / either if either else None


def quadrant(agreement: float, on_object: float) -> str:
    """XEdgeAI's quadrant of an agreement (IoU of prediction and label, or 1 and 0 for right and wrong) and of the energy."""
    if agreement >= HALF:
        return FINE if on_object >= HALF else SHORTCUT
    return SUSPECT if on_object >= HALF else MISSED


def doubt(probabilities: Sequence[float]) -> float:
    """Entropy in nats of the recorded probabilities and of what they leave, taken as one further class."""
    rest = max(0.0, 1 - sum(probabilities))
    return max(0.0, -sum(p * math.log(p) for p in (*probabilities, rest) if p > 0))


def shape_of(weights: Floats) -> tuple[int, int]:
    return weights.shape[0], weights.shape[1]

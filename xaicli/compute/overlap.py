"""How far two attention maps mark the same places: intersection over union, as LFI-CAM's stability is told by (section 4.3)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 100 / 255
SMOOTHING = 1e-6


def overlap(
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    threshold: float = THRESHOLD,
    mode: Literal["map", "authors_rows"] = "map",
) -> float:
    """Cells above `threshold` in both of two maps (h, w), 0 to 1, over cells above it in either; 1 where there are none.

    authors_rows: as the released script computes it, for its printed figures alone. It stretches maps to 0..256 in eight bits, so
    that the peak wraps round to 0 and is left out, and averages over rows, where an empty row counts as agreement.
    """
    if mode == "authors_rows":
        first, second = eight_bits(one) > threshold * 255, eight_bits(other) > threshold * 255
        both, either = (first & second).sum(axis=1), (first | second).sum(axis=1)
        return float(((both + SMOOTHING) / (either + SMOOTHING)).mean())
    first, second = one > threshold, other > threshold
    either = int((first | second).sum())
    return int((first & second).sum()) / either if either else 1.0


def eight_bits(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Values 0 to 1 times 256 as the script casts them: 256 becomes 0."""
    return (np.asarray(values, dtype=np.float64) * 256).astype(np.int64).astype(np.uint8)

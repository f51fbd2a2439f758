"""How much of what two maps of a photo mark is the same: intersection over union, as it is defined, and as the authors of LFI-CAM
compute it.

Maps are (N, H, W), 0 to 1, of the same photos by two networks; what is above 100 of 255 is marked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Marks = NDArray[np.bool_]
THRESHOLD = 100
WHITE = 255
SMOOTHING = 1e-6


def iou(first: Floats, second: Floats) -> Floats:
    """(N,): the places that both maps mark, divided by those that one of them marks; 1 where neither marks any."""
    one, other = (maps * WHITE > THRESHOLD for maps in (first, second))
    both, either = (one & other).sum(axis=(1, 2)), (one | other).sum(axis=(1, 2))
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))


def iou_as_published(first: Floats, second: Floats) -> Floats:
    """(N,): the same by the authors' script: row by row, of maps whose peak has wrapped to 0."""
    return iou_of_rows(in_eight_bits(first) > THRESHOLD, in_eight_bits(second) > THRESHOLD)


def iou_of_rows(one: Marks, other: Marks) -> Floats:
    """(N,): intersection over union of each row of marks (N, H, W), then the mean over rows; a row without marks counts 1."""
    both, either = (one & other).sum(axis=2), (one | other).sum(axis=2)
    return np.asarray(((both + SMOOTHING) / (either + SMOOTHING)).mean(axis=1))


def in_eight_bits(maps: Floats) -> NDArray[np.uint8]:
    """Maps (N, H, W) as the authors' script reads them: stored in eight bits, stretched to 0..256, and cast to eight bits again,
    where 256 becomes 0."""
    stored = np.round(maps * WHITE)
    low = stored.min(axis=(1, 2), keepdims=True)
    span = stored.max(axis=(1, 2), keepdims=True) - low
    stretched = (stored - low) / np.where(span == 0, 1, span) * 256
    return (stretched.astype(np.int64) % 256).astype(np.uint8)

"""Pairs of segments whose joint effect on a score is more, or less, than the sum of their own: how a map tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAIRS = "pairs"
"""The extra of a method that finds them: (B, T, P, 7), a row a pair, as `SegmentPair.row` has it; rows of NaN hold none."""
COLUMNS = 7

Place = tuple[float, float]


@dataclass(frozen=True)
class SegmentPair:
    """Two segments by number; their places, row and column in shares of the network's input; and the weight of their product."""

    segments: tuple[int, int]
    places: tuple[Place, Place]
    weight: float

    @property
    def row(self) -> list[float]:
        """Both numbers, both places, the weight."""
        return [*self.segments, *self.places[0], *self.places[1], self.weight]

    def as_dict(self) -> dict[str, Any]:
        return {
            "segments": list(self.segments),
            "places": [[round(part, 4) for part in place] for place in self.places],
            "weight": self.weight,
        }

    @classmethod
    def from_dict(cls, given: Any) -> SegmentPair:
        """The pair of a record; raises KeyError, TypeError or ValueError where it is none."""
        (first, second), (one, other) = given["segments"], given["places"]
        row = np.array([first, second, *one, *other, given["weight"]], dtype=np.float64)
        if row.shape != (COLUMNS,) or not np.isfinite(row).all():
            raise ValueError("a pair of segments without its places or its weight")
        return pair_of(row)


def pair_of(row: NDArray[Any]) -> SegmentPair:
    first, second, top, left, bottom, right, weight = (float(part) for part in row)
    return SegmentPair((int(first), int(second)), ((top, left), (bottom, right)), weight)


def pairs_of(rows: NDArray[Any]) -> list[SegmentPair]:
    """The pairs of one map (P, 7), the strongest first."""
    found = [pair_of(row) for row in rows if np.isfinite(row).all()]
    return sorted(found, key=lambda pair: (-abs(pair.weight), pair.segments))

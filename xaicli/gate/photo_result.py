"""The results of a run of a suite for one photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaicli.images.boxes_drawn import box_marks
from xaicli.images.marks import REGION, TargetMark, marks_of


@dataclass(frozen=True, eq=False)
class Score:
    """One score, or the reason why there is none."""

    value: float | None
    status: str


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """The results of a run for one photo.

    image: its path from the suite's folder; target: what was explained, canonical; decision: the class the model chose;
    probability: of the target on the clean photo; maps: by method label, (h, w); scores: by method and metric label; region: of
    a class map, what the target is of, bool (h, w); box: of a detector, the target's box as records hold it.
    """

    image: str
    content: str
    frame: int
    target: str
    decision: int
    probability: float
    maps: Mapping[str, NDArray[np.float32]]
    scores: Mapping[tuple[str, str], Score] = field(default_factory=dict)
    region: NDArray[np.bool_] | None = None
    box: Mapping[str, Any] = field(default_factory=dict)

    def marks(self, size: tuple[int, int]) -> tuple[TargetMark, ...]:
        """What pictures of a photo of `size` (width, height) show of the target."""
        return (*marks_of({} if self.region is None else {REGION: self.region}), *box_marks(self.box, size))

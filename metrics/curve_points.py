"""Curves of which only some points are passed: what is known of them, and which points to pass next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xaicli.float64 import in_float64
from xaicli.outputs import Outputs
from xaicli.scoring.copies import Outcomes

Floats = NDArray[np.float64]

FIRST_INTERVALS = 14
"""Intervals of the first look."""
AT_ONCE = 4
"""Maximum points that one look adds to a curve: fewer looks fill batches better, more looks spend fewer passes."""
SAFETY = 3.5
"""Standard errors of an area that count as its error."""


@dataclass(eq=False)
class KnownPoints:
    """The outcomes (curves, K) of several curves, as far as they were passed. places: (K,) float64, the x of the points."""

    outcomes: Outcomes
    places: Tensor
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, curves: int, places: Tensor, device: torch.device, outputs: Outputs) -> KnownPoints:
        empty = Outcomes.empty(curves * len(places), device, outputs).view(curves, len(places))
        return cls(empty, places, np.zeros((curves, len(places)), dtype=np.bool_))

    def put(self, points: Sequence[Sequence[int]], found: Outcomes) -> None:
        """Note the outcomes of some points of each curve, curve after curve."""
        start = 0
        for curve, own in enumerate(points):
            at = torch.tensor(own, device=found.logit.device, dtype=torch.int64)
            for name in ("log_odds", "logit", "decided", "overlap"):
                getattr(self.outcomes, name)[curve, at] = getattr(found, name)[start : start + len(own)]
            self.known[curve, list(own)] = True
            start += len(own)

    def put_ends(self, first: Outcomes, last: Outcomes) -> None:
        """Note the ends: (N,) outcomes, to be repeated for each of several orders of N items."""
        for point, end in ((0, first), (len(self.places) - 1, last)):
            repeated = end[torch.arange(len(self.known), device=end.logit.device) % len(end.logit)]
            for name in ("log_odds", "logit", "decided", "overlap"):
                getattr(self.outcomes, name)[:, point] = getattr(repeated, name)
            self.known[:, point] = True

    def curve(self, name: str) -> Tensor:
        """One outcome along each curve, (curves, K) float64: linear between the points that were passed."""
        values = in_float64(getattr(self.outcomes, name))
        if self.known.all():
            return values
        return torch.from_numpy(np.stack([np.interp(self.x, *own) for own in self.passed(name)])).to(values.device)

    @property
    def x(self) -> Floats:
        return self.places.numpy()

    def passed(self, name: str) -> Iterator[tuple[Floats, Floats]]:
        """Of each curve, the places that were passed and one outcome there."""
        values = in_float64(getattr(self.outcomes, name)).cpu().numpy()
        for row, own in zip(self.known, values, strict=True):
            yield self.x[row], own[row]

    def further(self, name: str, tolerance: float) -> list[list[int]]:
        """The points of each curve to pass next, so that its area is known to `tolerance`; none where it is."""
        curves = zip(self.known, self.passed(name), strict=True)
        return [next_points(np.flatnonzero(row), *own, self.step, tolerance) for row, own in curves]

    @property
    def step(self) -> float:
        """The width of the curve's own steps."""
        return float(np.diff(self.x).max(initial=0.0))

    def readouts(self, name: str, items: int) -> dict[str, Tensor]:
        """How many points were passed for each of N items, and the error of the area: (N,)."""
        errors = [
            area_error(np.flatnonzero(row), *own, self.step) for row, own in zip(self.known, self.passed(name), strict=True)
        ]
        passed = torch.from_numpy(self.known.sum(axis=1) - 2).double().view(-1, items).sum(dim=0)
        return {"points": passed, "area_error": torch.tensor(errors, dtype=torch.float64).view(-1, items).mean(dim=0)}


def first_points(count: int) -> list[int]:
    """The points of a first look at a curve of `count` points: a few equal intervals."""
    return sorted({round(part * (count - 1) / FIRST_INTERVALS) for part in range(FIRST_INTERVALS + 1)})


def next_points(points: NDArray[np.intp], places: Floats, values: Floats, step: float, tolerance: float) -> list[int]:
    """The points that would lower the error of a curve's area most; none where it is at most `tolerance`, or where a value is not
    finite, since no further points would give such a curve an area.

    points, places, values: (M,) indices, x and y of the points that are known; step: the width of the curve's own steps.
    """
    variances = interval_variances(points, places, values, step)
    goal = (tolerance / SAFETY) ** 2
    total, chosen = float(variances.sum()), []
    if not np.isfinite(total):
        return []
    for at in variances.argsort()[::-1][:AT_ONCE]:
        if total <= goal or variances[at] == 0:
            break
        chosen.append(int(points[at] + points[at + 1]) // 2)
        # Halving an interval leaves about a quarter of its variance.
        total -= 0.75 * float(variances[at])
    return sorted(chosen)


def area_error(points: NDArray[np.intp], places: Floats, values: Floats, step: float) -> float:
    """The error of the area under a curve that is linear between the points that are known; 0 where all are."""
    return SAFETY * float(interval_variances(points, places, values, step).sum()) ** 0.5


def interval_variances(points: NDArray[np.intp], places: Floats, values: Floats, step: float) -> Floats:
    """The variance of the area under each interval of a curve that is known at M points, (M - 1,).

    Between known points the curve is taken for a Brownian bridge, whose area under an interval of width h varies by
    `s (h^3 - h step^2) / 12`: the curve itself is linear within a step. s, the variance of a unit's way, is read from how far
    known points are off the line between their neighbours: the larger value of the two ends of an interval, and at least the
    median of all points. NaN where a value is not finite.
    """
    widths = np.diff(places)
    if not np.isfinite(values).all():
        return np.full_like(widths, np.nan)
    if len(widths) < 2:
        return np.zeros_like(widths)
    before, after = widths[:-1], widths[1:]
    line = (values[:-2] * after + values[2:] * before) / (before + after)
    spread = (values[1:-1] - line) ** 2 * (before + after) / (before * after)
    at_points = np.concatenate([spread[:1], spread, spread[-1:]])
    rough = np.maximum(np.maximum(at_points[:-1], at_points[1:]), np.median(at_points))
    return rough * (widths**3 - widths * step**2).clip(min=0) / 12 * (np.diff(points) > 1)

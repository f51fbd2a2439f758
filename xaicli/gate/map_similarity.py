"""How similar two maps of one photo are: Spearman correlation, and overlap of the strongest tenth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from xaicli.passes.upsampling import upsample
from xaicli.scoring.similarity import rank_correlation

STRONGEST = 0.1
RARE = 0.01
"""The share of a method's maps, made with another seed, that may lie below its floor, for each of the two numbers."""


@dataclass(frozen=True)
class Similarity:
    """spearman: -1 to 1; overlap: intersection over union, 0 to 1, of the strongest tenth of both maps' pixels."""

    spearman: float
    overlap: float

    def reaches(self, floor: Similarity) -> bool:
        """Whether both numbers reach the floor; NaN never does."""
        return self.spearman >= floor.spearman and self.overlap >= floor.overlap

    def above(self, floor: Similarity) -> float:
        """By how much the number closer to its floor exceeds it; a map that is not finite is below every floor."""
        return -np.inf if np.isnan(self.spearman) else min(self.spearman - floor.spearman, self.overlap - floor.overlap)

    def shortfall(self, floor: Similarity) -> str:
        """The number that is below its floor: the correlation, unless only the overlap is."""
        alone = self.overlap < floor.overlap and self.spearman >= floor.spearman
        return f"overlap {self.overlap:.2f}" if alone else f"{self.spearman:.2f}"


FLOOR = Similarity(spearman=0.98, overlap=0.80)
"""The similarity that maps must reach if only rounding differs."""


def chance_floor(found: Sequence[Similarity]) -> Similarity:
    """The similarity that maps of an unchanged model reach with another seed in all but one case of a hundred; never more than
    FLOOR.

    For each of the two numbers it is the highest value found such that a further one is expected to fall below it no more often
    than that; with fewer than 199 values, the lowest.
    """
    place = max(0, int(RARE * (len(found) + 1)) - 1)
    spearman, overlap = (sorted(getattr(one, name) for one in found)[place] for name in ("spearman", "overlap"))
    return Similarity(min(spearman, FLOOR.spearman), min(overlap, FLOOR.overlap))


@dataclass(frozen=True)
class Noise:
    """How the maps of a stochastic method change with another seed: the mean correlation for each photo, and the common floor."""

    floor: Similarity
    expected: tuple[float, ...]

    @classmethod
    def of(cls, repetitions: Sequence[Sequence[Similarity]]) -> Noise:
        """From the similarities of each repetition, photo by photo."""
        means = (sum(one.spearman for one in photo) / len(photo) for photo in zip(*repetitions, strict=True))
        return cls(chance_floor([one for repetition in repetitions for one in repetition]), tuple(means))


RANDOM_CELLS = (7, 7)
RANDOM_DRAWS = 5


def hardly_fails(
    maps: Sequence[NDArray[np.float32]], size: tuple[int, int], passes: Callable[[Sequence[Similarity]], bool]
) -> str:
    """The words on a rule that random maps, coarse normal noise, pass in most draws, for noise or for want of photos; empty for
    another rule.

    maps: of the baseline, by photo; passes: whether the rule holds for maps of these similarities to them.
    """
    drawn, passed = np.random.default_rng(0), 0
    for done in range(1, RANDOM_DRAWS + 1):
        passed += passes([similarity(one, drawn.standard_normal(RANDOM_CELLS, dtype=np.float32), size) for one in maps])
        if 2 * (done - passed) > RANDOM_DRAWS:
            return ""
    often = f"random maps pass it in {passed} of {RANDOM_DRAWS} draws"
    return f"; this rule can hardly fail here: {often} (more photos, and more masks or samples, would help)"


def similarity(old: NDArray[np.float32], new: NDArray[np.float32], size: tuple[int, int]) -> Similarity:
    """The similarity of two maps, upsampled to the input's size. Two constant maps are equal; a map that is not finite is similar
    to none."""
    if not (np.isfinite(old).all() and np.isfinite(new).all()):
        return Similarity(float("nan"), 0.0)
    constant = [values.min() == values.max() for values in (old, new)]
    if any(constant):
        return Similarity(1.0, 1.0) if all(constant) else Similarity(0.0, 0.0)
    first, second = (upsample(torch.from_numpy(np.ascontiguousarray(values))[None], size)[0].flatten() for values in (old, new))
    return Similarity(rank_correlation(first, second), overlap(first, second))


def overlap(first: torch.Tensor, second: torch.Tensor) -> float:
    """Intersection over union of the strongest tenth of the pixels (HW,) of each; of equal pixels the first count."""
    count = max(1, round(STRONGEST * first.numel()))
    chosen = torch.zeros(2, first.numel(), dtype=torch.bool)
    for row, values in zip(chosen, (first, second), strict=True):
        row[values.argsort(descending=True, stable=True)[:count]] = True
    return int(chosen.all(dim=0).sum()) / int(chosen.any(dim=0).sum())

"""How alike two maps of one photo are: Spearman correlation, and overlap of the strongest tenth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from xaicli.compute.similarity import rank_correlation
from xaicli.compute.upsampling import upsample

STRONGEST = 0.1


@dataclass(frozen=True)
class Similarity:
    """spearman: -1 to 1; overlap: intersection over union, 0 to 1, of the strongest tenth of both maps' pixels."""

    spearman: float
    overlap: float

    def reaches(self, floor: Similarity) -> bool:
        """NaN reaches nothing."""
        return self.spearman >= floor.spearman and self.overlap >= floor.overlap

    @classmethod
    def lowest(cls, found: Iterable[Similarity]) -> Similarity:
        listed = list(found)
        return cls(min(one.spearman for one in listed), min(one.overlap for one in listed))


def similarity(old: NDArray[np.float32], new: NDArray[np.float32], size: tuple[int, int]) -> Similarity:
    """Of two maps, each upsampled to the input's size; two constant maps are alike, and one that is not finite is like nothing."""
    if not (np.isfinite(old).all() and np.isfinite(new).all()):
        return Similarity(float("nan"), 0.0)
    constant = [values.min() == values.max() for values in (old, new)]
    if any(constant):
        return Similarity(1.0, 1.0) if all(constant) else Similarity(0.0, 0.0)
    first, second = (upsample(torch.from_numpy(np.ascontiguousarray(values))[None], size)[0] for values in (old, new))
    return Similarity(rank_correlation(first.flatten(), second.flatten()), overlap(first, second))


def overlap(first: torch.Tensor, second: torch.Tensor) -> float:
    count = max(1, round(STRONGEST * first.numel()))
    strongest = [set(values.flatten().argsort(descending=True, stable=True)[:count].tolist()) for values in (first, second)]
    return len(strongest[0] & strongest[1]) / len(strongest[0] | strongest[1])

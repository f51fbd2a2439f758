"""The interval of a mean or ratio over photos, and the p-value that agrees with it.

From 20 photos on the bias-corrected and accelerated bootstrap (BCa; Efron, JASA 1987); below, and past 20,000, where the two no
longer differ, Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from xaicli.passes.seeds import stream

LEVEL = 0.95
FEWEST_FOR_BOOTSTRAP = 20
MOST_FOR_BOOTSTRAP = 20_000
MOST_RESAMPLES = 10_000
FEWEST_RESAMPLES = 2_000
DRAWS = 20_000_000
"""Photos drawn in all: beyond 2,000 photos the resamples become fewer, as the bootstrap distribution becomes smoother."""
CHUNK = 2_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean, difference or ratio over photos.

    low, high: the 95 % interval; n of `of`: photos that had a value, of those there are; p: two-sided, for the null hypothesis
    that the value is 0, and in agreement with the interval. value, low, high and p are None where fewer than two photos had a
    value, or where a ratio's denominator is not told apart from 0.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    of: int
    p: float | None = None

    @property
    def known(self) -> bool:
        return self.value is not None


def resampled(photos: int) -> bool:
    """Whether so many photos get a bootstrap interval."""
    return FEWEST_FOR_BOOTSTRAP <= photos <= MOST_FOR_BOOTSTRAP


def student(value: float, influence: Floats, of: int) -> Estimate:
    """The t interval: few photos are too small a world to draw from, and many need no drawing."""
    n = len(influence)
    error = math.sqrt(float(np.square(influence).sum()) / (n - 1) / n)
    if negligible(error, value):
        return Estimate(value, value, value, n, of, degenerate_p(value, n))
    half = float(special.stdtrit(n - 1, (1 + LEVEL) / 2)) * error
    p = 2 * float(special.stdtr(n - 1, -abs(value) / error))
    return Estimate(value, value - half, value + half, n, of, p)


def accelerated(value: float, shifts: Floats, influence: Floats, of: int) -> Estimate:
    """The BCa interval and the p-value that agrees with it; shifts: (resamples,) differences from the value."""
    n = len(influence)
    squared = np.square(influence)
    squares = float(squared.sum())
    error = math.sqrt(squares) / n
    if negligible(error, value):
        return Estimate(value, value, value, n, of, degenerate_p(value, n))
    ordered = np.sort(shifts)
    bias = float(special.ndtri(share_below(ordered, 0.0)))
    acceleration = float(squared @ influence) / (6 * squares**1.5)
    tails = np.asarray([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    moved = bias + special.ndtri(tails)
    low, high = value + np.quantile(ordered, special.ndtr(bias + moved / (1 - acceleration * moved)))
    # The interval at level 1 - p ends at 0: the same formula, solved for p.
    at_zero = float(special.ndtri(share_below(ordered, -value))) - bias
    z = at_zero / (1 + acceleration * at_zero) - bias
    p = 2 * float(special.ndtr(-abs(z)))
    floor = 2 / (len(shifts) + 1)
    if p <= floor:
        # Beyond what the resamples resolve, the tail of the normal distribution.
        p = min(floor, 2 * float(special.ndtr(-abs(value) / error)))
    return Estimate(value, float(low), float(high), n, of, p)


def share_below(ordered: Floats, threshold: float) -> float:
    """The share of sorted values below a threshold, ties counted half, kept off 0 and 1."""
    count = (np.searchsorted(ordered, threshold, "left") + np.searchsorted(ordered, threshold, "right")) / 2
    return float(np.clip(count, 0.5, len(ordered) - 0.5) / len(ordered))


def negligible(error: float, value: float) -> bool:
    return error <= 1e-12 * max(1.0, abs(value))


def degenerate_p(value: float, n: int) -> float:
    """All photos agree exactly: 1 where they agree on 0, else the sign test."""
    return 1.0 if negligible(abs(value), 1.0) else min(1.0, 2.0 ** (1 - n))


def resampled_shifts(residuals: Floats, below: Floats, seed: int) -> Floats:
    """(resamples, cells): by how much a ratio moves when photos are drawn again, from its photos' residuals and denominators."""
    photos = len(residuals)
    scale = np.maximum(np.abs(residuals).max(axis=0), np.finfo(np.float64).tiny)
    # Residuals have mean 0, so that float32 is exact enough; a matrix product draws for all cells at once.
    upper, lower = (residuals / scale).astype(np.float32), below.astype(np.float32)
    constant = bool((below == 1.0).all())
    parts = []
    for weights in resamples(photos, seed):
        drawn = np.full(1, photos, dtype=np.float32) if constant else weights @ lower
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append(np.nan_to_num((weights @ upper) / drawn, nan=0.0, posinf=0.0, neginf=0.0))
    return np.concatenate(parts).astype(np.float64) * scale


def resamples(photos: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """How often each photo is drawn, (resamples, photos) a chunk; the same for the same number of photos and seed."""
    count = int(np.clip(DRAWS // photos, FEWEST_RESAMPLES, MOST_RESAMPLES))
    return (chunk.astype(np.float32) for chunk in drawn_counts(photos, seed, count))


@lru_cache(maxsize=1)
def drawn_counts(photos: int, seed: int, count: int) -> tuple[NDArray[np.uint8], ...]:
    """The counts of `count` resamples in chunks, kept for the next table of as many photos: some 20 MB."""
    rows = max(1, CHUNK // photos)
    chunks = []
    for chunk, start in enumerate(range(0, count, rows)):
        size = min(rows, count - start)
        drawn = stream(seed, "bootstrap", chunk).integers(0, photos, (size, photos), dtype=np.int32)
        drawn += np.arange(size, dtype=np.int32)[:, None] * photos
        # No photo is drawn 256 times: of n draws from n photos the most frequent comes about ten times.
        chunks.append(np.bincount(drawn.ravel(), minlength=size * photos).reshape(size, photos).astype(np.uint8))
    return tuple(chunks)

"""Statistics over photos: intervals, paired differences, ratios of means, Holm's correction, photos needed.

A mean over photos comes with an interval: from 20 photos on the bias-corrected and accelerated bootstrap (BCa; Efron, JASA 1987),
which resamples whole photos; below, Student's t. Cells computed together share their resamples. Missing values are NaN: they are
left out of a mean, and `n` of `of` says how many are in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from xaicli.compute.seeds import stream

LEVEL = 0.95
FEWEST_FOR_BOOTSTRAP = 20
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


def mean(values: ArrayLike, *, seed: int = 0) -> Estimate:
    """The mean of values (photos,), NaN where a photo has none."""
    return means(np.asarray(values, dtype=np.float64)[:, None], seed=seed)[0]


def means(values: ArrayLike, *, seed: int = 0) -> list[Estimate]:
    """The mean of each column of values (photos, cells), NaN where a photo has none."""
    table = np.asarray(values, dtype=np.float64)
    return ratios(table, np.ones_like(table), seed=seed)


def difference(first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> Estimate:
    """The mean of first - second, paired: over the photos that have both."""
    return mean(np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64), seed=seed)


def ratio_of_means(above: ArrayLike, below: ArrayLike, *, seed: int = 0) -> Estimate:
    """mean(above) / mean(below) over the photos that have both; photos are resampled with both their values."""
    columns = (np.asarray(values, dtype=np.float64)[:, None] for values in (above, below))
    return ratios(*columns, seed=seed)[0]


def differences(values: ArrayLike, pairs: Sequence[tuple[int, int]], *, seed: int = 0) -> list[Estimate]:
    """The paired difference of two columns of values (photos, cells) for each pair of columns."""
    table = np.asarray(values, dtype=np.float64)
    whole = np.asarray([len(table) >= FEWEST_FOR_BOOTSTRAP and bool(np.isfinite(column).all()) for column in table.T])
    result: dict[tuple[int, int], Estimate] = {}
    rest = [pair for pair in dict.fromkeys(pairs) if not (whole[pair[0]] and whole[pair[1]])]
    if rest:
        apart = np.stack([table[:, first] - table[:, second] for first, second in rest], axis=1)
        result |= zip(rest, means(apart, seed=seed), strict=True)
    if len(rest) < len(set(pairs)):
        # Where no photo lacks a value, a mean of differences is a difference of means, and so in every resample.
        columns = np.flatnonzero(whole)
        place = {int(column): at for at, column in enumerate(columns)}
        residuals = table[:, columns] - table[:, columns].mean(axis=0)
        shifts = resampled_shifts(residuals, np.ones_like(residuals), seed)
        for pair in set(pairs) - set(rest):
            first, second = (place[column] for column in pair)
            value = float(table[:, pair[0]].mean() - table[:, pair[1]].mean())
            influence = residuals[:, first] - residuals[:, second]
            result[pair] = accelerated(value, shifts[:, first] - shifts[:, second], influence, len(table))
    return [result[pair] for pair in pairs]


def ratios(above: Floats, below: Floats, *, seed: int = 0) -> list[Estimate]:
    """mean(above) / mean(below) of each column of two tables (photos, cells).

    Raises ValueError where a value is infinite.
    """
    if np.isinf(above).any() or np.isinf(below).any():
        raise ValueError("an infinite value: a score is finite or missing")
    there = ~(np.isnan(above) | np.isnan(below))
    above, below = np.where(there, above, 0.0), np.where(there, below, 0.0)
    counts = there.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = above.sum(axis=0) / below.sum(axis=0)
        # What one photo moves the ratio by, times n: the influence function, exact for a mean.
        residuals = np.where(there, above - values * below, 0.0)
        influence = residuals * counts / below.sum(axis=0)
    usable = (counts >= 2) & denominators_differ_from_zero(below, there, counts)
    result = [Estimate(None, None, None, int(n), len(there)) for n in counts]
    many = usable & (counts >= FEWEST_FOR_BOOTSTRAP)
    for cell in np.flatnonzero(usable & ~many):
        result[cell] = student(float(values[cell]), influence[there[:, cell], cell], len(there))
    cells = np.flatnonzero(many)
    if len(cells):
        shifts = resampled_shifts(residuals[:, cells], below[:, cells], seed)
        for at, cell in enumerate(cells):
            result[cell] = accelerated(float(values[cell]), shifts[:, at], influence[there[:, cell], cell], len(there))
    return result


def denominators_differ_from_zero(below: Floats, there: NDArray[np.bool_], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each column's mean is more than two standard errors from 0: else no interval of a ratio is finite."""
    n = np.maximum(counts, 2)
    centre = below.sum(axis=0) / n
    spread = np.sqrt(np.where(there, (below - centre) ** 2, 0.0).sum(axis=0) / (n - 1) / n)
    return np.abs(centre) > 2 * spread


def student(value: float, influence: Floats, of: int) -> Estimate:
    """The t interval: few photos are too small a world to draw from."""
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
    rows = max(1, CHUNK // photos)
    for chunk, start in enumerate(range(0, count, rows)):
        size = min(rows, count - start)
        drawn = stream(seed, "bootstrap", chunk).integers(0, photos, (size, photos), dtype=np.int32)
        drawn += np.arange(size, dtype=np.int32)[:, None] * photos
        yield np.bincount(drawn.ravel(), minlength=size * photos).reshape(size, photos).astype(np.float32)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number by Holm's step-down procedure (1979), in the order given."""
    order = np.argsort(np.asarray(p_values, dtype=np.float64), kind="stable")
    adjusted = np.empty(len(order))
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values, dtype=np.float64)[order] * factors))
    return [float(value) for value in adjusted]


def photos_needed(spread: float, distance: float, *, power: float = 0.8) -> float:
    """Photos at which a mean `distance` from a bound, of standard deviation `spread`, is told apart from it with that power.

    Two-sided at the 5 % level, by the normal distribution; infinite where the distance is 0.
    """
    if not spread:
        return 2.0
    if not distance:
        return math.inf
    reach = float(special.ndtri((1 + LEVEL) / 2) + special.ndtri(power))
    return max(2.0, math.ceil((reach * spread / abs(distance)) ** 2))


def spread_of(estimate: Estimate) -> float:
    """The standard deviation of one photo's value, read off an interval's width; 0 where it is not known."""
    if estimate.low is None or estimate.high is None or estimate.n < 2:
        return 0.0
    tail = (1 + LEVEL) / 2
    reach = special.stdtrit(estimate.n - 1, tail) if estimate.n < FEWEST_FOR_BOOTSTRAP else special.ndtri(tail)
    return (estimate.high - estimate.low) / 2 / float(reach) * math.sqrt(estimate.n)

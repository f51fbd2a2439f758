"""Statistics over photos: intervals, paired differences, ratios of means, Holm's correction, photos needed.

Whole photos are resampled, and cells computed together share their resamples. Missing values are NaN: left out of a mean, and
`n` of `of` says how many are in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from xaicli.results.intervals import LEVEL, Estimate, Floats, accelerated, resampled, resampled_shifts, student

__all__ = [
    "LEVEL",
    "Estimate",
    "difference",
    "differences",
    "holm",
    "mean",
    "means",
    "photos_needed",
    "ratio_of_means",
    "ratios",
    "spread_of",
]


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
    whole = np.asarray([resampled(len(table)) and bool(np.isfinite(column).all()) for column in table.T])
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
    many = usable & np.asarray([resampled(int(n)) for n in counts])
    for cell in np.flatnonzero(usable & ~many):
        result[cell] = student(float(values[cell]), influence[there[:, cell], cell], len(there))
    cells = np.flatnonzero(many)
    if len(cells) and not resampled(len(there)):
        # A few photos with values among too many to draw from: only these are drawn.
        for cell in cells:
            mine = there[:, cell]
            (alone,) = ratios(above[mine, cell, None], below[mine, cell, None], seed=seed)
            result[cell] = replace(alone, of=len(there))
    elif len(cells):
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
    if not distance:
        return math.inf
    if not spread:
        return 2.0
    reach = float(special.ndtri((1 + LEVEL) / 2) + special.ndtri(power))
    return max(2.0, math.ceil((reach * spread / abs(distance)) ** 2))


def spread_of(estimate: Estimate) -> float:
    """The standard deviation of one photo's value, read off an interval's width; 0 where it is not known."""
    if estimate.low is None or estimate.high is None or estimate.n < 2:
        return 0.0
    tail = (1 + LEVEL) / 2
    reach = special.ndtri(tail) if resampled(estimate.n) else special.stdtrit(estimate.n - 1, tail)
    return (estimate.high - estimate.low) / 2 / float(reach) * math.sqrt(estimate.n)

"""Statistics over photos: means, medians, paired differences, ratios of means, Holm's correction.

Missing values are NaN. They are left out of a mean, and `n` of `of` says how many values are in it. The `Quantity` of the values
decides the interval and the test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from xaicli.later import special
from xaicli.metric import Quantity, ValueKind
from xaicli.results.intervals import FEWEST_SKEWED, LEVEL, ORDER, Estimate, Floats, paired, single
from xaicli.results.rates import are_turns, rate, rate_p, turns

__all__ = ["LEVEL", "Estimate", "change", "difference", "holm", "mean", "median", "p_against", "ratio_of_means"]

ANY = Quantity()


def mean(values: ArrayLike, quantity: Quantity = ANY) -> Estimate:
    """The mean of values (photos,), NaN for a missing value; raises ValueError if a value is infinite."""
    known, of = present(values)
    if len(known) < 2:
        return Estimate(None, None, None, len(known), of)
    if quantity.kind is ValueKind.BINARY:
        return rate(known, quantity, of)
    value = float(known.mean())
    found = single(value, known - value, of)
    if quantity.kind is ValueKind.SKEWED and found.low is not None:
        found = replace(found, optimistic=found.n < FEWEST_SKEWED)
    return found.within(quantity.low, quantity.high)


def difference(first: ArrayLike, second: ArrayLike, quantity: Quantity = ANY) -> Estimate:
    """The mean of first - second, paired: over the photos that have both."""
    return change(np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64), quantity)


def change(differences: ArrayLike, quantity: Quantity = ANY) -> Estimate:
    """The mean of paired differences (photos,) of values of a quantity, NaN if a photo lacks one of the two."""
    known, of = present(differences)
    if len(known) < 2:
        return Estimate(None, None, None, len(known), of)
    if quantity.kind is ValueKind.BINARY and are_turns(known, quantity):
        return turns(known, quantity, of)
    value, reach = float(known.mean()), quantity.high - quantity.low
    return paired(value, known - value, of).within(-reach, reach)


def p_against(values: ArrayLike, bound: float, quantity: Quantity = ANY) -> float | None:
    """The two-sided p-value for the null hypothesis that the mean of values (photos,) is `bound`."""
    known, _ = present(values)
    if quantity.kind is ValueKind.BINARY:
        return rate_p(known, bound, quantity)
    return change(known - bound).p


def median(values: ArrayLike) -> Estimate:
    """The median of values (photos,).

    Its interval lies between two of the values and holds for any distribution; with fewer than six photos there is no such
    interval.
    """
    known, of = present(values)
    n = len(known)
    if n < 2:
        return Estimate(None, None, None, n, of)
    ordered, places = np.sort(known), np.arange(n)
    below = int((special.bdtr(places, n, 0.5) <= (1 - LEVEL) / 2).sum())
    low, high = (float(ordered[below - 1]), float(ordered[n - below])) if below else (None, None)
    return Estimate(float(np.median(known)), low, high, n, of, test=ORDER)


def ratio_of_means(above: ArrayLike, below: ArrayLike) -> Estimate:
    """mean(above) / mean(below) over the photos that have both; the error is by the delta method, which is exact for a mean."""
    table = np.stack([np.asarray(part, dtype=np.float64) for part in (above, below)])
    finite(table)
    of = table.shape[1]
    upper, lower = table[:, ~np.isnan(table).any(axis=0)]
    n = len(upper)
    if n < 2 or not differs_from_zero(lower):
        return Estimate(None, None, None, n, of)
    value = float(upper.mean() / lower.mean())
    return single(value, (upper - value * lower) / float(lower.mean()), of)


def present(values: ArrayLike) -> tuple[Floats, int]:
    """The values that are not missing, and the number of all."""
    table = np.asarray(values, dtype=np.float64)
    finite(table)
    return table[~np.isnan(table)], len(table)


def finite(values: Floats) -> None:
    if np.isinf(values).any():
        raise ValueError("an infinite value: a score is finite or missing")


def differs_from_zero(below: Floats) -> bool:
    """Whether the mean of a denominator is more than two standard errors from 0; otherwise the interval of a ratio is
    infinite."""
    spread = math.sqrt(float(((below - below.mean()) ** 2).sum()) / (len(below) - 1) / len(below))
    return abs(float(below.mean())) > 2 * spread


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted by Holm's step-down procedure (1979), in the order given."""
    order = np.argsort(np.asarray(p_values, dtype=np.float64), kind="stable")
    adjusted = np.empty(len(order))
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values, dtype=np.float64)[order] * factors))
    return [float(value) for value in adjusted]

"""The interval of a mean, difference, rate or median over photos, and the p-value of its test.

Which interval a number gets was decided by simulation: `python -m benchmarks intervals` repeats it, docs/scores.md shows it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xaicli.later import special

LEVEL = 0.95
FEWEST, FEWEST_SKEWED = 10, 50
"""Below these numbers of photos, the interval of a mean covers the truth less often than stated if scores are skewed: FEWEST for
any metric, FEWEST_SKEWED for metrics known to be skewed."""

PAIRED = "paired t"
CORRECTED = "Student's t, corrected for skewness"
ORDER = "order statistics"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean, difference or ratio over photos.

    low, high: the 95 % interval; n of `of`: how many of the photos had a value; p: two-sided, for the null hypothesis that the
    value is 0; test: the test behind interval and p, in words; optimistic: whether the interval covers the truth less often than
    stated. value is None if fewer than two photos had a value, or if a ratio's denominator cannot be distinguished from 0. low,
    high and p are None then too, and if all values are equal, since equal values do not show their spread.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    of: int
    p: float | None = None
    test: str = ""
    optimistic: bool = False

    @property
    def known(self) -> bool:
        return self.value is not None

    def within(self, low: float, high: float) -> Estimate:
        """The estimate with its interval limited to the smallest and largest possible value."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=max(self.low, low), high=min(self.high, high))


def paired(value: float, influence: Floats, of: int) -> Estimate:
    """Student's interval and test of a mean difference; influence: (n,) the influence of each photo on it, times n."""
    n, error = len(influence), error_of(influence)
    if negligible(error, value):
        return Estimate(value, None, None, n, of, test=PAIRED)
    half = float(special.stdtrit(n - 1, (1 + LEVEL) / 2)) * error
    p = 2 * float(special.stdtr(n - 1, -abs(value) / error))
    return Estimate(value, value - half, value + half, n, of, p, PAIRED)


def single(value: float, influence: Floats, of: int) -> Estimate:
    """The interval of one mean: Student's, extended to the ends of the interval corrected for skewness (Hall, 1992) where those
    lie outside.

    p is Student's, so p rejects whatever the interval excludes.
    """
    plain = replace(paired(value, influence, of), test=CORRECTED)
    if plain.low is None or plain.high is None:
        return plain
    low, high = corrected_ends(value, influence)
    return replace(plain, low=min(plain.low, low), high=max(plain.high, high), optimistic=plain.n < FEWEST)


def corrected_ends(value: float, influence: Floats) -> tuple[float, float]:
    """The ends of the interval at which t, made symmetric by Hall's cubic transformation, reaches its quantiles.

    With t = (mean - truth) / error and g = skewness / sqrt(n) the transformed t is t + g t^2 / 3 + g^2 t^3 / 27 + g / 6.
    (Hall: On the removal of skewness by transformation, J. R. Statist. Soc. B 54, 1992.)
    """
    n, error = len(influence), error_of(influence)
    centred = influence - influence.mean()
    g = float((centred**3).mean() / (centred**2).mean() ** 1.5) / math.sqrt(n)
    reach = float(special.stdtrit(n - 1, (1 + LEVEL) / 2))
    if abs(g) < 1e-9:
        return value - reach * error, value + reach * error
    high, low = (value - error * 3 / g * (float(np.cbrt(1 + g * (t - g / 6))) - 1) for t in (-reach, reach))
    return low, high


def error_of(influence: Floats) -> float:
    n = len(influence)
    return math.sqrt(float(np.square(influence).sum()) / (n - 1) / n)


def negligible(error: float, value: float) -> bool:
    return error <= 1e-12 * max(1.0, abs(value))

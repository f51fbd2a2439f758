"""The interval of a mean, difference, rate or median over photos, and the p-value of its test.

Which interval a number gets was decided by simulation: `python -m benchmarks intervals` repeats it, docs/scores.md shows it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

LEVEL = 0.95
FEWEST, FEWEST_SKEWED = 10, 50
"""With fewer photos the interval of a mean covers the truth less often than it says where scores happen to be skewed; and where
a metric's scores are known to be."""

STUDENT = "Student's t"
PAIRED = "paired t"
CORRECTED = "Student's t, corrected for skewness"
ORDER = "order statistics"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean, difference or ratio over photos.

    low, high: the 95 % interval; n of `of`: photos that had a value, of those there are; p: two-sided, for the null hypothesis
    that the value is 0; test: what interval and p rest on, in the words of a sentence; optimistic: whether the interval covers
    the truth less often than it says. value is None where fewer than two photos had a value, or where a ratio's denominator is
    not told apart from 0. low, high and p are None then too, and where all values are equal: these say nothing of their spread.
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
        """The estimate with an interval that stays between the smallest and the largest value there can be."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=max(self.low, low), high=min(self.high, high))


def paired(value: float, influence: Floats, of: int) -> Estimate:
    """Student's interval and test of a mean difference; influence: (n,) what each photo moves it by, times n."""
    n, error = len(influence), error_of(influence)
    if negligible(error, value):
        return Estimate(value, None, None, n, of, test=PAIRED)
    half = float(special.stdtrit(n - 1, (1 + LEVEL) / 2)) * error
    p = 2 * float(special.stdtr(n - 1, -abs(value) / error))
    return Estimate(value, value - half, value + half, n, of, p, PAIRED)


def single(value: float, influence: Floats, of: int) -> Estimate:
    """The interval of one mean: Student's, stretched to where the correction for skewness (Hall, 1992) reaches beyond it.

    p is Student's, so that what the interval excludes p rejects.
    """
    plain = replace(paired(value, influence, of), test=CORRECTED)
    if plain.low is None or plain.high is None:
        return plain
    low, high = corrected_ends(value, influence)
    return replace(plain, low=min(plain.low, low), high=max(plain.high, high), optimistic=plain.n < FEWEST)


def corrected_ends(value: float, influence: Floats) -> tuple[float, float]:
    """Where t, made symmetric by Hall's cubic transformation, reaches its quantiles.

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

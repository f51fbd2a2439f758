"""Statistics of binary scores: hit rates, and which of two hits more often. The tests are exact, since photos may be few."""

from __future__ import annotations

import math

import numpy as np

from xaicli.later import distributions, special
from xaicli.metric import Quantity
from xaicli.results.intervals import LEVEL, Estimate, Floats

RATE = "exact binomial (Clopper-Pearson)"
MCNEMAR = "exact McNemar"
NEAR = 1e-9


def shares(values: Floats, quantity: Quantity) -> Floats:
    """Binary values as 0 and 1; a mean of several, for example over seeds, lies in between."""
    return (values - quantity.low) / (quantity.high - quantity.low)


def rate(values: Floats, quantity: Quantity, of: int) -> Estimate:
    """The mean of binary values (n,) with the Clopper-Pearson interval.

    A fraction of a hit (a mean over several seeds) counts as a miss for the lower end and as a hit for the upper end.
    """
    hits, n = float(shares(values, quantity).sum()), len(values)
    low, high = rate_ends(math.floor(hits + NEAR), math.ceil(hits - NEAR), n)
    span = quantity.high - quantity.low
    return Estimate(float(values.mean()), quantity.low + span * low, quantity.low + span * high, n, of, test=RATE)


def rate_ends(fewest: int, most: int, n: int) -> tuple[float, float]:
    """The exact interval of a rate with between `fewest` and `most` hits of n."""
    tail = (1 - LEVEL) / 2
    low = float(special.betaincinv(fewest, n - fewest + 1, tail)) if fewest else 0.0
    high = float(special.betaincinv(most + 1, n - most, 1 - tail)) if most < n else 1.0
    return low, high


def rate_p(values: Floats, bound: float, quantity: Quantity) -> float:
    """The exact two-sided p-value for the null hypothesis that binary values (n,) have this mean."""
    hits, n = float(shares(values, quantity).sum()), len(values)
    wanted = float(np.clip((bound - quantity.low) / (quantity.high - quantity.low), 0.0, 1.0))
    towards = math.ceil(hits - NEAR) if hits < wanted * n else math.floor(hits + NEAR)
    return float(distributions.binomtest(towards, n, wanted).pvalue)


def are_turns(differences: Floats, quantity: Quantity) -> bool:
    """Whether paired differences may come from binary values: each is 0 or the whole range up or down."""
    parts = np.abs(differences) / (quantity.high - quantity.low)
    return bool(np.minimum(parts, np.abs(parts - 1)).max(initial=0.0) < NEAR)


def turns(differences: Floats, quantity: Quantity, of: int) -> Estimate:
    """The mean of paired differences of binary values (n,), by the exact McNemar test.

    Its interval is that of Bonett and Price (2012): one photo is added in each direction, then the normal distribution is used.
    It is extended to 0 if the exact test does not distinguish the mean from 0.
    """
    n, span = len(differences), quantity.high - quantity.low
    up, down = int((differences > NEAR * span).sum()), int((differences < -NEAR * span).sum())
    low, high = turn_ends(up, down, n)
    p = float(distributions.binomtest(up, up + down).pvalue) if up + down else 1.0
    if p >= 1 - LEVEL:
        low, high = min(low, 0.0), max(high, 0.0)
    return Estimate(float(differences.mean()), span * low, span * high, n, of, p, MCNEMAR)


def turn_ends(up: float, down: float, n: float) -> tuple[float, float]:
    """The interval of (up - down) / n, inside -1 to 1."""
    more, less = (up + 1) / (n + 2), (down + 1) / (n + 2)
    half = float(special.ndtri((1 + LEVEL) / 2)) * math.sqrt((more + less - (more - less) ** 2) / (n + 2))
    return max(-1.0, more - less - half), min(1.0, more - less + half)

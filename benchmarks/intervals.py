"""Whether intervals cover the truth, and tests reject where there is no difference, as often as they say: simulated.

A figure is a share of 2,000 draws a round, with its own error; a coverage must be 0.93 and false rejections 0.06, within two
such errors. Coverage is of the draws that get an interval; a cell whose intervals all call themselves optimistic (`~`) is not
held to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure
from xaicli.metric import Quantity, ValueKind
from xaicli.results import stats
from xaicli.results.intervals import Estimate

DRAWS = 2_000
PHOTOS = (5, 10, 20, 50, 100, 400)
COVERED, REJECTED = 0.93, 0.06
Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]


@dataclass(frozen=True)
class Case:
    """Scores, or paired differences, of one kind. truth: what the estimate should cover."""

    name: str
    quantity: Quantity
    draw: Draw
    truth: float
    estimate: Callable[[Floats, Quantity], Estimate]


def hits(rate: float) -> Draw:
    return lambda r, n: (r.random(n) < rate).astype(np.float64)


def turning(rate: float) -> Draw:
    """Differences of paired hits: up and down with this probability each."""
    return lambda r, n: r.choice([1.0, -1.0, 0.0], n, p=[rate, rate, 1 - 2 * rate])


BINARY = Quantity(ValueKind.BINARY, 0.0, 1.0)
SHARES = Quantity(ValueKind.CONTINUOUS, 0.0, 1.0)
PLAIN = Quantity()
SKEWED = Quantity(ValueKind.SKEWED, 0.0, math.inf)

MEANS = (
    Case("hits, 1 in 2", BINARY, hits(0.5), 0.5, stats.mean),
    Case("hits, 19 in 20", BINARY, hits(0.95), 0.95, stats.mean),
    Case("hits, 1 in 20", BINARY, hits(0.05), 0.05, stats.mean),
    Case("normal", PLAIN, lambda r, n: r.normal(size=n), 0.0, stats.mean),
    Case("uniform", SHARES, lambda r, n: r.random(n), 0.5, stats.mean),
    Case("beta(2, 2)", SHARES, lambda r, n: r.beta(2, 2, n), 0.5, stats.mean),
    Case("t(3) tails", PLAIN, lambda r, n: r.standard_t(3, n), 0.0, stats.mean),
    Case("exponential", PLAIN, lambda r, n: r.exponential(size=n), 1.0, stats.mean),
    Case("nine zeros in ten", SHARES, lambda r, n: np.where(r.random(n) < 0.9, 0.0, r.random(n)), 0.05, stats.mean),
    Case("lognormal, a skewed metric", SKEWED, lambda r, n: r.lognormal(size=n), math.exp(0.5), stats.mean),
    Case("its median", SKEWED, lambda r, n: r.lognormal(size=n), 1.0, lambda values, quantity: stats.median(values)),
)
DIFFERENCES = (
    Case("hits, 1 in 5 turn each way", BINARY, turning(0.2), 0.0, stats.change),
    Case("hits, 1 in 20 turn each way", BINARY, turning(0.05), 0.0, stats.change),
    Case("beta(2, 2)", PLAIN, lambda r, n: r.beta(2, 2, n) - 0.5, 0.0, stats.change),
    Case("60 % zeros", PLAIN, lambda r, n: np.where(r.random(n) < 0.6, 0.0, r.normal(size=n)), 0.0, stats.change),
    Case("t(3) tails", PLAIN, lambda r, n: r.standard_t(3, n), 0.0, stats.change),
    Case("of two skewed scores", PLAIN, lambda r, n: r.exponential(0.1, n) - r.exponential(0.1, n), 0.0, stats.change),
    Case("of two lognormal scores", SKEWED, lambda r, n: r.lognormal(size=n) - r.lognormal(size=n), 0.0, stats.change),
)


def measure(rounds: int) -> list[Figure]:
    """Coverage of means and medians; coverage and false rejections of paired differences."""
    means = [figure for case in MEANS for n in PHOTOS for figure in covered("mean", case, n, simulated(case, n, rounds))]
    return means + [figure for case in DIFFERENCES for n in PHOTOS for figure in compared(case, n, rounds)]


def simulated(case: Case, photos: int, rounds: int) -> list[Estimate]:
    r = np.random.default_rng([photos, *case.name.encode()])
    return [case.estimate(case.draw(r, photos), case.quantity) for _ in range(DRAWS * rounds)]


def covered(what: str, case: Case, photos: int, found: list[Estimate]) -> Iterator[Figure]:
    """Coverage of those that have an interval, and how many have none."""
    ends = [(one.low, one.high) for one in found if one.low is not None and one.high is not None]
    name = f"{what}, {case.name}, {photos} photos"
    if len(ends) < len(found):
        yield share(f"{name}: no interval", len(found) - len(ends), len(found))
    if ends:
        inside = sum(low <= case.truth <= high for low, high in ends)
        optimistic = all(one.optimistic for one in found if one.low is not None)
        yield share(f"{name}: coverage{' ~' * optimistic}", inside, len(ends), least=None if optimistic else COVERED)


def compared(case: Case, photos: int, rounds: int) -> Iterator[Figure]:
    found = simulated(case, photos, rounds)
    yield from covered("difference", case, photos, found)
    rejected = sum(one.p is not None and one.p < 1 - stats.LEVEL for one in found)
    yield share(f"difference, {case.name}, {photos} photos: false rejections", rejected, len(found), limit=REJECTED)


def share(what: str, count: int, of: int, *, limit: float | None = None, least: float | None = None) -> Figure:
    """A share with its simulation error; a bound holds within two of them."""
    value = count / of
    error = math.sqrt(max(value * (1 - value), 1 / of) / of)
    upper, lower = (None if bound is None else round(bound + 2 * way * error, 4) for bound, way in ((limit, 1), (least, -1)))
    return Figure(what, f"± {error:.4f}", (value,), upper, lower)

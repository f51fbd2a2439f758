"""How many photos it would take to distinguish a mean from a bound, estimated from the photos at hand."""

from __future__ import annotations

import math
from collections.abc import Callable

from numpy.typing import ArrayLike

from xaicli.later import special
from xaicli.metric import Quantity, ValueKind
from xaicli.results.intervals import LEVEL
from xaicli.results.rates import are_turns, rate_ends, shares, turn_ends
from xaicli.results.stats import present
from xaicli.words import count

MOST_PHOTOS = 1_000_000
"""Above this number no advice is given."""


def photos_needed(spread: float, distance: float, *, power: float = 0.8) -> float:
    """The number of photos with which a mean at `distance` from a bound is distinguished from it with that power, for values of
    standard deviation `spread`.

    Two-sided at the 5 % level, by the normal distribution; infinite if the distance is 0.
    """
    if not distance:
        return math.inf
    if not spread:
        return 2.0
    reach = float(special.ndtri((1 + LEVEL) / 2) + special.ndtri(power))
    return max(2.0, math.ceil((reach * spread / abs(distance)) ** 2))


def spread_of(values: ArrayLike) -> float:
    """The standard deviation of one photo's value; 0 if fewer than two photos have one."""
    known, _ = present(values)
    return float(known.std(ddof=1)) if len(known) > 1 else 0.0


def needed_to_judge(values: ArrayLike, low: float, high: float, quantity: Quantity, *, paired: bool) -> float:
    """The number of photos with which the mean of values (photos,) would be shown to lie within `low` to `high`, or outside;
    infinite if no number would do.

    paired: whether the values are differences of the quantity. For binary values, the number with which the exact interval of the
    same rate lies on one side.
    """
    known, _ = present(values)
    if quantity.kind is ValueKind.BINARY and (not paired or are_turns(known, quantity)):
        span = quantity.high - quantity.low
        if paired:
            up, down = float((known > 0).mean()), float((known < 0).mean())
            return fewest(lambda n: turn_ends(up * n, down * n, n), low / span, high / span, len(known))
        hits = float(shares(known, quantity).mean())
        ends = ((low - quantity.low) / span, (high - quantity.low) / span)
        return fewest(lambda n: rate_ends(math.floor(hits * n), math.ceil(hits * n), n), *ends, len(known))
    mean = float(known.mean())
    return photos_needed(spread_of(known), min(abs(mean - low), abs(mean - high)))


def fewest(interval: Callable[[int], tuple[float, float]], low: float, high: float, known: int) -> float:
    """The fewest photos beyond `known` whose interval lies on one side of both bounds, found by bisection; infinite above
    MOST_PHOTOS."""

    def decides(n: int) -> bool:
        start, stop = interval(n)
        return (start >= low and stop <= high) or stop < low or start > high

    if not decides(MOST_PHOTOS):
        return math.inf
    below, above = known, MOST_PHOTOS
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if decides(middle) else (middle, above)
    return float(above)


def roughly(count: float) -> int:
    """Two leading digits, rounded up: more would be false precision."""
    step = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return math.ceil(count / step) * step


def too_few(photos: int, needed: float) -> str:
    """How many photos it would take, in words."""
    if needed > MOST_PHOTOS:
        return f"{count(photos, 'photo')} cannot tell, and no number of photos would do"
    return f"{photos:,} photo{'s are' if photos > 1 else ' is'} too few; about {roughly(max(needed, photos + 1)):,} needed"

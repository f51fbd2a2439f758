"""From map values to colours: the range, the colour map and the opacity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import matplotlib
import numpy as np
from numpy.typing import NDArray

from xaicli.errors import UsageError, did_you_mean
from xaicli.images.smoothing import legible
from xaicli.sign import Sign

SEQUENTIAL = "inferno"
DIVERGING = "coolwarm"
"""A diverging colour map with a light grey middle."""

LEVELS = 256
SATURATED = 0.005
"""The share of a map's cells that may lie outside the range, since a few extreme pixels of a fine map would make all others
invisible. A map of fewer than 200 cells keeps its full range."""

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Scale:
    """The range of values that the colours span. clipped: some values lie outside and get the last colour."""

    low: float
    high: float
    clipped: bool = False

    @classmethod
    def of(cls, maps: Iterable[Floats], sign: Sign, saturated: float = SATURATED) -> Scale:
        """One range for all the given maps, as they are drawn; symmetric about 0 for signed maps. Non-finite values are
        ignored."""
        limits = [cls.limits(legible(np.asarray(values)), sign, saturated) for values in maps]
        finite = [limit for limit in limits if limit is not None]
        if not finite:
            return cls(0.0, 0.0)
        low, high = min(limit[0] for limit in finite), max(limit[1] for limit in finite)
        clipped = any(limit[2] < low or limit[3] > high for limit in finite)
        return cls(low, high, clipped)

    @staticmethod
    def limits(values: Floats, sign: Sign, saturated: float) -> tuple[float, float, float, float] | None:
        """Range and extremes of one map's finite values: low, high, smallest, largest; None if no value is finite."""
        flat = np.sort(values[np.isfinite(values)].astype(np.float64), axis=None)
        if not flat.size:
            return None
        beyond = int(flat.size * saturated)
        smallest, largest = float(flat[0]), float(flat[-1])
        if sign is Sign.SIGNED:
            high = float(np.sort(np.abs(flat))[-1 - beyond]) or max(-smallest, largest)
            return -high, high, smallest, largest
        high = float(flat[-1 - beyond])
        # If nearly all of a map is one value, the extremes are all that there is to see.
        return smallest, high if high > smallest else largest, smallest, largest

    @property
    def is_constant(self) -> bool:
        return not self.high > self.low

    def fractions(self, values: Floats) -> NDArray[np.float32]:
        """The position of values in the range, clipped to 0..1; all 0.5 if the range is a single value."""
        if self.is_constant:
            return np.full(values.shape, 0.5, dtype=np.float32)
        scaled = (np.asarray(values, dtype=np.float64) - self.low) / (self.high - self.low)
        return np.clip(scaled, 0, 1).astype(np.float32)

    def strengths(self, values: Floats, sign: Sign) -> NDArray[np.float32]:
        """How much values stand out, 0..1: their distance from 0 if signed, else from the lowest value; 0 in a constant map."""
        if self.is_constant:
            return np.zeros(values.shape, dtype=np.float32)
        fractions = self.fractions(values)
        return np.abs(2 * fractions - 1) if sign is Sign.SIGNED else fractions

    def texts(self) -> tuple[str, str]:
        """Both ends as text: with `≥` if values lie beyond, `≈0` if an end is tiny compared with the other."""
        largest = max(abs(self.low), abs(self.high))
        ends = [f"{end:.3g}" if end == 0 or abs(end) >= largest / 1000 else "≈0" for end in (self.low, self.high)]
        low, high = (end.replace("-", "−") for end in ends)
        beyond = self.clipped and not self.is_constant
        return f"≤{low}" if beyond and self.low < 0 else low, f"≥{high}" if beyond else high


def palette(sign: Sign, colormap: str | None = None) -> NDArray[np.uint8]:
    """256 colours (256, 3): matplotlib's map of that name, or the house's for the sign; raises UsageError for an unknown name."""
    return colours(colormap or (DIVERGING if sign is Sign.SIGNED else SEQUENTIAL))


@lru_cache(maxsize=16)
def colours(name: str) -> NDArray[np.uint8]:
    if name not in matplotlib.colormaps:
        hint = did_you_mean(name, list(matplotlib.colormaps))
        raise UsageError(f'no colour map is called "{name}"', expected="a name that matplotlib knows, such as inferno", hint=hint)
    table = matplotlib.colormaps[name](np.linspace(0, 1, LEVELS))
    fixed: NDArray[np.uint8] = np.rint(np.asarray(table)[:, :3] * 255).astype(np.uint8)
    fixed.flags.writeable = False
    return fixed


def coloured(values: Floats, scale: Scale, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours (..., 3) of values."""
    levels = np.rint(scale.fractions(values) * (LEVELS - 1)).astype(np.intp)
    return np.take(table, levels, axis=0)

"""The window of a photo of more than 8 bits: which of its values are black and white."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaicli.errors import InputError, UsageError

DECLARED = "declared"
PERCENTILE, FULL = "percentile", "full"
TAILS = (1.0, 99.0)
"""Percentiles that are black and white under `percentile`."""

SAMPLED = 1 << 22
"""Values that percentiles are taken of, evenly spaced where there are more."""

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
Range = tuple[float, float]


@dataclass(frozen=True)
class Window:
    """`declared`: as the file says, or its type; `full`: all that its bits can hold, of floats and wide integers from the
    smallest value to the largest; `percentile`: from the first to the 99th percentile of each photo; `LOW:HIGH`, in the file's
    own units, after the rescaling that a DICOM file states. Values beyond are cut off."""

    text: str = DECLARED
    limits: Range | None = None

    @classmethod
    def parse(cls, text: str) -> Window:
        """A window as typed; raises UsageError."""
        given = text.strip().lower() if isinstance(text, str) else ""
        if given in (DECLARED, PERCENTILE, FULL):
            return cls(given)
        match = re.fullmatch(rf"({NUMBER}):({NUMBER})", given)
        low, high = (float(match[1]), float(match[2])) if match else (math.nan, math.nan)
        if not math.isfinite(high - low):
            raise UsageError(f"no window {text!r:.60}", expected=f"LOW:HIGH, {PERCENTILE}, {FULL} or {DECLARED}")
        if low == high:
            raise UsageError(f"a window of the one value {low:g}", expected="LOW below HIGH, such as the range of your photos")
        if low > high:
            raise UsageError(f"a window from {low:g} to {high:g}", expected="LOW below HIGH", hint=f"Write {high:g}:{low:g}.")
        # `repr` gives a number back as it is; 40.0 and 40 are one window.
        return cls(":".join(repr(end).removesuffix(".0") for end in (low, high)), (low, high))

    def range_of(self, values: NDArray[Any], declared: Range | None, widest: Range | None) -> Range:
        """What is black and white of a photo's finite values.

        declared: as its file or type says; widest: what its bits can hold. Raises InputError where nothing is declared.
        """
        if self.limits is not None:
            return self.limits
        if self.text == PERCENTILE:
            # `flat` picks numbers of any array without a copy of all.
            low, high = np.percentile(values.flat[:: max(1, values.size // SAMPLED)], TAILS)
            return (float(low), float(high)) if high > low else extremes(values)
        if self.text == FULL:
            return widest or extremes(values)
        if declared is None:
            low, high = extremes(values)
            own = f"{low:g}:{high:g}, or the range of all your photos" if low < high else "LOW:HIGH, the range of all your photos"
            raise InputError(
                f"values from {low:g} to {high:g}, and nothing says which are black and white",
                expected="a window",
                hint=f"Give --window {own}; or --window percentile.",
            )
        return declared


def extremes(values: NDArray[Any]) -> Range:
    return float(values.min()), float(values.max())


def scaled(values: NDArray[Any], limits: Range) -> NDArray[np.float32]:
    """Values in 0..1 of a window, cut off at its ends; where it is one value alone, mid-grey."""
    low, high = limits
    if not high > low:
        return np.full(values.shape, 0.5, dtype=np.float32)
    within: NDArray[np.float32] = ((values.astype(np.float64) - low) / (high - low)).clip(0, 1).astype(np.float32)
    return within

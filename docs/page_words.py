"""Figures and paragraphs as generated pages show them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

Interval = Sequence[float | None]
"""A value, and the ends of its 95 % interval."""


def shown(interval: Interval | None, digits: int) -> str:
    """`0.31 [0.29, 0.33]`; nothing where there is no interval."""
    if interval is None or None in interval:
        return ""
    value, low, high = (f"{number:.{digits}f}" for number in interval)
    return f"{value} [{low}, {high}]"


def percent(interval: Sequence[float]) -> str:
    """A share, in percent."""
    return shown([100 * number for number in interval], 1)


def wrapped(text: str) -> str:
    """A paragraph, or an item of a list, in lines of at most 128 characters."""
    return textwrap.fill(text, 128, subsequent_indent="  " if text.startswith("- ") else "", break_on_hyphens=False)

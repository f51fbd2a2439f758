"""Whether the values of a map are signed, non-negative or only a ranking."""

from __future__ import annotations

import enum


class Sign(enum.Enum):
    """What the sign of a map means."""

    SIGNED = "signed"
    NONNEGATIVE = "non-negative"
    RANK_ONLY = "rank-only"

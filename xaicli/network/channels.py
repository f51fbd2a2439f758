"""From an attribution of each colour channel to one of each pixel."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from xaicli.sign import Sign

ChannelRule = Literal["sum", "abs-sum", "max-abs"]

CHANNELS_HELP = "how colours become one number per pixel: their sum, the sum of magnitudes, or the largest magnitude"


def reduce_channels(values: Tensor, rule: ChannelRule) -> Tensor:
    """(..., 3, H, W) to (..., H, W). Only `sum` keeps signs, and so the total of a method whose values sum to the score."""
    if rule == "sum":
        return values.sum(dim=-3)
    magnitudes = values.abs()
    return magnitudes.sum(dim=-3) if rule == "abs-sum" else magnitudes.amax(dim=-3)


def sign_of(rule: ChannelRule) -> Sign:
    """The sign of maps that were reduced by this rule."""
    return Sign.SIGNED if rule == "sum" else Sign.NONNEGATIVE

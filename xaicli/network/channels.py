"""From an attribution of each channel to one of each pixel."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from xaicli.sign import Sign

ChannelRule = Literal["sum", "abs-sum", "max-abs", "each"]

CHANNEL_MAPS = "channels"
"""What the map of each channel is called among a method's further results: (B, T, C, H, W)."""

CHANNELS_HELP = (
    "how channels become one number per pixel: their sum, the sum of magnitudes, or the largest magnitude; "
    "each: their sum, and a map of each channel beside it"
)


def reduce_channels(values: Tensor, rule: ChannelRule) -> Tensor:
    """(..., C, H, W) to (..., H, W). Only sums keep signs, and so the total of a method whose values sum to the score."""
    if rule in ("sum", "each"):
        return values.sum(dim=-3)
    magnitudes = values.abs()
    return magnitudes.sum(dim=-3) if rule == "abs-sum" else magnitudes.amax(dim=-3)


def channel_maps(values: Tensor, rule: ChannelRule) -> dict[str, Tensor]:
    """The map of each channel, (B, T, C, H, W), as a further result where `each` is asked for."""
    return {CHANNEL_MAPS: values} if rule == "each" else {}


def sign_of(rule: ChannelRule) -> Sign:
    """The sign of maps that were reduced by this rule."""
    return Sign.SIGNED if rule in ("sum", "each") else Sign.NONNEGATIVE

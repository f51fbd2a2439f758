"""From a map's own resolution to that of the model's input: the only place where maps are upsampled for scoring."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from xaicli.float64 import in_float64


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, h, w) at `size` (H, W), bilinear with half-pixel centres (align_corners=False), float32.

    Weights are summed in float64 and rounded once. So between equal neighbours the result is exactly their value: a plateau of
    the map stays a tie of pixels, and rounding errors do not order it.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps.float()
    wide = in_float64(maps)
    return functional.interpolate(wide[:, None], size, mode="bilinear", align_corners=False)[:, 0].float().to(maps.device)


def unit_range(maps: Tensor) -> Tensor:
    """Each map (N, h, w) minus its minimum, divided by its range: 0 to 1. A constant map becomes zeros."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    span = high - low
    return torch.where(span > 0, (maps - low) / torch.where(span > 0, span, 1), 0)

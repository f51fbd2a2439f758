"""From a map's own resolution to that of the model's input: the only place where maps are upsampled for scoring."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from xaicli.float64 import in_float64


def upsample(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps (N, h, w) at `size` (H, W), bilinear with half-pixel centres (align_corners=False), float32; maps (N, t, h, w) of
    sequences at (F, H, W), linear in time too, between the middles of the t parts of the time.

    Weights are summed in float64 and rounded once. So between equal neighbours the result is exactly their value: a plateau of
    the map stays a tie of pixels, and rounding errors do not order it.
    """
    if tuple(maps.shape[1:]) == tuple(size):
        return maps.float()
    wide = in_float64(maps)
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return functional.interpolate(wide[:, None], size, mode=mode, align_corners=False)[:, 0].float().to(maps.device)


def unit_range(maps: Tensor) -> Tensor:
    """Each map (N, ...) minus its minimum, divided by its range: 0 to 1. A constant map becomes zeros."""
    axes = tuple(range(1, maps.ndim))
    low, high = maps.amin(dim=axes, keepdim=True), maps.amax(dim=axes, keepdim=True)
    span = high - low
    return torch.where(span > 0, (maps - low) / torch.where(span > 0, span, 1), 0)

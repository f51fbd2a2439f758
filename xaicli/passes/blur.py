"""Gaussian blur with reflecting borders, bit for bit torchvision's, whose import takes a second and 150 MiB."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def gaussian(side: int, sigma: float, like: Tensor) -> Tensor:
    """A Gaussian window of `side` values (odd) that sums to 1."""
    half = (side - 1) * 0.5
    places = torch.linspace(-half, half, side, dtype=like.dtype, device=like.device)
    heights = torch.exp(-0.5 * (places / sigma).pow(2))
    return heights / heights.sum()


def gaussian_blur(values: Tensor, width: int, height: int, sigma: float) -> Tensor:
    """Floats (..., C, H, W) blurred by a Gaussian window of width x height pixels, both odd."""
    return blurred(values, gaussian(width, sigma, values), gaussian(height, sigma, values))


def blurred(values: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Values (..., C, H, W) filtered by the product of two windows, reflected at the borders."""
    channels, shape = values.shape[-3], values.shape
    window = torch.mm(down[:, None], across[None, :]).expand(channels, 1, len(down), len(across))
    sides = [len(across) // 2, len(across) // 2, len(down) // 2, len(down) // 2]
    padded = functional.pad(values.reshape(-1, *shape[-3:]), sides, mode="reflect")
    return functional.conv2d(padded, window, groups=channels).reshape(shape)

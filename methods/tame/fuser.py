"""The fuser of trainable attention: from several feature maps one map per class, and only for the classes asked for.

    c = Conv1x1(concat_i resize(u_i))        the dense formula, B x N x R x R

Two facts make it cheap and leave it exact. A loss that reads the maps of some classes alone depends on the rows of the weights
that belong to them alone. And a bilinear resize acts on each channel by itself, with weights that sum to one, so that it may
follow the sum over channels: c_k = b_k + sum_i resize(W_ki u_i). So only the rows asked for are taken, at each layer's own
resolution, and N_sel maps are resized in place of all channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Upsampling = Literal["single", "doubling"]


class Fuser(nn.Module):
    """Maps of classes from features u_i (B, C_i, h_i, w_i): a 1 x 1 convolution over all their channels, resized to one size.

    upsampling: by one bilinear resize, or by repeated doubling where the sizes allow it.
    """

    def __init__(self, channels: Sequence[int], classes: int, *, bias: bool = True, upsampling: Upsampling = "single") -> None:
        super().__init__()
        self.channels, self.upsampling = tuple(channels), upsampling
        self.weight = nn.Parameter(torch.empty(classes, sum(channels)))
        self.bias = nn.Parameter(torch.empty(classes)) if bias else None
        # As torch begins a convolution of that many inputs.
        bound = 1 / math.sqrt(sum(channels))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, features: Sequence[Tensor], classes: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps (B, n, R, R') of `classes`: (n,), the same for all photos, or (B, n), some for each."""
        weight = self.weight.index_select(0, classes.flatten()).unflatten(0, classes.shape)
        bias = None if self.bias is None else self.bias[classes]
        return self.fuse(features, weight, bias, size)

    def fuse(self, features: Sequence[Tensor], weight: Tensor, bias: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Maps (B, n, R, R') of rows of weights (n, C) or (B, n, C) and biases (n,) or (B, n)."""
        sums: dict[tuple[int, int], Tensor] = {}
        for rows, feature in zip(weight.split(self.channels, dim=-1), features, strict=True):
            own = (feature.shape[2], feature.shape[3])
            made = (rows @ feature.flatten(2)).unflatten(2, own)
            # Layers of one size are summed before they are resized.
            sums[own] = sums[own].add_(made) if own in sums else made
        fused = self.joined(sums, size)
        return fused if bias is None else fused + bias[..., None, None]

    def joined(self, sums: dict[tuple[int, int], Tensor], size: tuple[int, int]) -> Tensor:
        """The sum of maps of several sizes, each brought to `size`."""
        steps = {own: doublings(own, size) for own in sums}
        if self.upsampling == "doubling" and None not in steps.values():
            # Doubled together: the smallest, then it and the next, and so on.
            total, waiting = None, sorted(sums, reverse=True)
            for left in range(max(steps[own] or 0 for own in sums), -1, -1):
                if total is not None:
                    total = functional.interpolate(total, scale_factor=2, mode="bilinear", align_corners=False)
                while waiting and steps[waiting[-1]] == left:
                    made = sums[waiting.pop()]
                    total = made if total is None else total.add_(made)
            assert total is not None
            return total
        total = None
        for made in sums.values():
            resized = self.resize(made, size)
            total = resized if total is None else total.add_(resized)
        assert total is not None
        return total

    def dense(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Maps (B, N, R, R') of all classes by the formula as it is written."""
        joined = torch.cat([self.resize(feature, size) for feature in features], dim=1)
        return functional.conv2d(joined, self.weight[:, :, None, None], self.bias)

    def resize(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps (B, n, h, w) at `size`, bilinear with half-pixel centres."""
        steps = doublings((maps.shape[2], maps.shape[3]), size) if self.upsampling == "doubling" else None
        for _ in range(steps or 0):
            maps = functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
        if tuple(maps.shape[2:]) == tuple(size):
            return maps
        return functional.interpolate(maps, size, mode="bilinear", align_corners=False)


def doublings(size: tuple[int, int], wanted: tuple[int, int]) -> int | None:
    """How many times `size` must be doubled to become `wanted`; None where that is never so."""
    ratio = wanted[0] // size[0]
    exact = (size[0] * ratio, size[1] * ratio) == tuple(wanted) and ratio & (ratio - 1) == 0 and ratio > 0
    return ratio.bit_length() - 1 if exact else None

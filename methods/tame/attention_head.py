"""The trainable attention of TAME, T-TAME, P-TAME and L-CAM: branches on feature maps of a frozen network, and a fuser.

u_i = relu(BN(Conv1x1(f_i)) + f_i),  c = fuser(u),  training mask a = sigmoid(c)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xaicli.methods.tame.fuser import Fuser, Upsampling


class Branch(nn.Module):
    """One layer's features (B, C, h, w), transformed at their own size; with all weights 0 it is a ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        return (self.norm(self.conv(features)) + features).relu()


class AttentionHead(nn.Module):
    """Class maps (logits, before any sigmoid) from the features of several layers, shallow first.

    channels: of each layer; classes: N; bias: of the fuser; upsampling: how smaller layers are brought to the first one's size;
    largest: the most rows and columns that maps have, None for as many as the first layer has; branches: whether features are
    transformed before the fuser reads them, which L-CAM's are not.
    """

    def __init__(
        self,
        channels: Sequence[int],
        classes: int,
        *,
        bias: bool = True,
        upsampling: Upsampling = "single",
        largest: int | None = None,
        branches: bool = True,
    ) -> None:
        super().__init__()
        self.channels, self.classes, self.largest = tuple(channels), classes, largest
        self.branches = nn.ModuleList(Branch(count) for count in channels if branches)
        self.fuser = Fuser(channels, classes, bias=bias, upsampling=upsampling)

    def forward(self, features: Sequence[Tensor], classes: Tensor) -> Tensor:
        """Maps (B, n, R, R') of `classes`, (n,) for all photos or (B, n), from features (B, C_i, h_i, w_i)."""
        return self.fuser(self.transformed(features), classes, self.size(features))

    def dense(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (B, N, R, R') of all classes, by the formula as it is written."""
        return self.fuser.dense(self.transformed(features), self.size(features))

    def described(self) -> dict[str, Any]:
        """The arguments that build it again, in plain JSON types."""
        fuser = self.fuser
        return {
            "channels": list(self.channels),
            "classes": self.classes,
            "bias": fuser.bias is not None,
            "upsampling": fuser.upsampling,
            "largest": self.largest,
            **({} if self.branches else {"branches": False}),
        }

    def transformed(self, features: Sequence[Tensor]) -> list[Tensor]:
        if not self.branches:
            return list(features)
        return [branch(feature) for branch, feature in zip(self.branches, features, strict=True)]

    def size(self, features: Sequence[Tensor]) -> tuple[int, int]:
        rows, columns = features[0].shape[2:]
        return (rows, columns) if self.largest is None else (min(rows, self.largest), min(columns, self.largest))

    def contrast(self, features: Sequence[Tensor], classes: Tensor, against: Tensor) -> Tensor:
        """Maps (B, T, R, R') of classes (B, T), less those of the classes `against` (B, T) where these are not -1."""
        transformed, size = self.transformed(features), self.size(features)
        maps = self.fuser(transformed, classes, size)
        has_other = against >= 0
        if not bool(has_other.any()):
            return maps
        others = self.fuser(transformed, against.clamp_min(0), size)
        return maps - torch.where(has_other[..., None, None], others, 0.0)

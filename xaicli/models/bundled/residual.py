"""A compact residual network (He et al., 2016) of three stages for small photos: 64 x 64 pixels give features of 8 x 8."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class CompactResNet(nn.Module):
    """Logits (B, classes) of inputs (B, 3, H, W).

    widths: channels of the stages, each at half the side of the one before; blocks: how many each stage has, by default most in
    the last, where they are cheap; strides: of the stem and of each stage. The head is one linear layer over the spatial mean.
    The features after the last stage are non-negative. Strides do not change the weights' shapes. Raises ValueError if widths,
    blocks and strides do not fit in number.
    """

    def __init__(
        self,
        classes: int,
        widths: Sequence[int] = (32, 64, 192),
        blocks: Sequence[int] = (1, 2, 3),
        strides: Sequence[int] = (2, 1, 2, 2),
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, widths[0], 3, stride=strides[0]), nn.BatchNorm2d(widths[0]), nn.ReLU())
        self.stages = nn.Sequential()
        before = widths[0]
        for width, depth, stride in zip(widths, blocks, strides[1:], strict=True):
            parts = [ResidualBlock(before if at == 0 else width, width, stride if at == 0 else 1) for at in range(depth)]
            self.stages.append(nn.Sequential(*parts))
            before = width
        self.head = nn.Linear(before, classes)
        start(self)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.stages(self.stem(inputs)).mean(dim=(2, 3)))
        return logits


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut around them: the identity, or a pooled 1 x 1 convolution if the shape changes.

    Where the width changes and the side does not, the pooling is there too and does nothing, so that names stay.
    """

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1, self.relu1 = convolution(before, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU()
        self.conv2, self.norm2, self.relu2 = convolution(width, width, 3), nn.BatchNorm2d(width), nn.ReLU()
        # Mean pooling before the 1 x 1 convolution keeps what a stride would discard (He et al., 2019, "ResNet-D").
        self.shortcut = nn.Sequential()
        if stride > 1 or before != width:
            pool = nn.AvgPool2d(stride, ceil_mode=True)
            self.shortcut.extend([pool, convolution(before, width, 1), nn.BatchNorm2d(width)])

    def forward(self, features: Tensor) -> Tensor:
        changed = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(features)))))
        result: Tensor = self.relu2(changed + self.shortcut(features))
        return result


def convolution(before: int, after: int, side: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, side, stride, padding=side // 2, bias=False)


@torch.no_grad()
def start(module: nn.Module) -> None:
    """He's initial weights, fan-out; each block begins as the identity (Goyal et al., 2017)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(part, ResidualBlock):
            nn.init.zeros_(part.norm2.weight)

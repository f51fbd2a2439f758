"""Feature importance: the branch by which LFI-CAM weighs the channels of a feature map (Lee et al., ICCV 2021, section 3).

    mask stack M_k = s(F_k) * g; importance w = softmax(GAP(FIN(M))); attention A = s(relu(sum_k w_k F_k))

s brings a channel to the range 0 to 1, g is a small grey picture of the input, FIN four convolutions. Nothing is detached:
gradients pass through all of it into F.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

FEW_VALUES = 1e-8
"""A channel with a smaller range counts as constant."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How a branch is built.

    fin_relu: a ReLU after every second convolution (`pair`), or after `every` one; fin_width: channels inside, None for as many
    as the features have, as published; temperature: of the softmax; zero_rule: `authors` sets to 0 in the mask stack what is
    exactly 0 in the features, which matters only for features below 0; antialias: of the grey picture; detach_map: no gradient
    through the attention; plain: no attention, the convolutions read the features and are added to them.
    """

    fin_relu: Literal["pair", "every"] = "pair"
    fin_width: int | None = None
    temperature: float = 1.0
    zero_rule: Literal["none", "authors"] = "none"
    antialias: bool = False
    detach_map: bool = False
    plain: bool = False


class FeatureImportance(nn.Module):
    """Attention (B, h, w), 0 to 1, of features (B, K, h, w) and the inputs (B, 3, H, W) that they were computed from; of a plain
    branch what is added to the features, (B, K, h, w)."""

    side_branch = True
    """The modules in here read features and are not features themselves, so they are never chosen as a feature layer."""

    def __init__(self, channels: int, importance: Importance = Importance()) -> None:
        super().__init__()
        self.importance = importance
        width = importance.fin_width or channels
        narrower = importance.fin_width is not None
        self.enter = nn.Conv2d(channels, width, 1, bias=False) if narrower else nn.Identity()
        self.fin = nn.Sequential(*convolutions(width, importance.fin_relu))
        self.leave = nn.Linear(width, channels) if narrower else nn.Identity()
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor, inputs: Tensor) -> Tensor:
        if self.importance.plain:
            added: Tensor = self.fin(features)
            return added
        attention = self.attention(self.weights(features, inputs), features)
        return attention.detach() if self.importance.detach_map else attention

    def weights(self, features: Tensor, inputs: Tensor) -> Tensor:
        """The importance of each channel, (B, K), which sums to 1."""
        return (self.scores(features, inputs) / self.importance.temperature).softmax(dim=1)

    def scores(self, features: Tensor, inputs: Tensor) -> Tensor:
        """What the softmax over channels is taken of, (B, K)."""
        own = self.importance
        # Sums over thousands of channels and ranges of small numbers are lost in half precision.
        with torch.autocast(features.device.type, enabled=False):
            exact = features.float()
            grey = thumbnail(inputs.float(), (exact.shape[2], exact.shape[3]), antialias=own.antialias)
            stack = unit_channels(exact, zeros_stay=own.zero_rule == "authors") * grey
        return self.leave(self.fin(self.enter(stack)).mean(dim=(2, 3))).float()

    @staticmethod
    def attention(weights: Tensor, features: Tensor) -> Tensor:
        """The sum of channels weighed by (B, K), rectified and brought to the range 0 to 1: (B, h, w)."""
        with torch.autocast(features.device.type, enabled=False):
            return unit_map(torch.einsum("bk,bkhw->bhw", weights, features.float()).relu())


def convolutions(width: int, relu: Literal["pair", "every"]) -> list[nn.Module]:
    """Four 3 x 3 convolutions of `width` channels, each with batch norm, and their ReLUs."""
    layers: list[nn.Module] = []
    for number in range(4):
        layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
        if relu == "every" or number % 2 == 1:
            layers.append(nn.ReLU(inplace=True))
    return layers


def thumbnail(inputs: Tensor, size: tuple[int, int], *, antialias: bool = False) -> Tensor:
    """The plain mean of the colours of inputs (B, 3, H, W), resized bilinearly: (B, 1, h, w).

    Of normalised inputs, so with values below 0; without `antialias` it samples points, as the authors do.
    """
    grey = inputs.mean(dim=1, keepdim=True)
    return functional.interpolate(grey, size, mode="bilinear", align_corners=False, antialias=antialias)


def unit_channels(features: Tensor, *, zeros_stay: bool = False) -> Tensor:
    """Each channel (..., h, w) minus its minimum, divided by its range; a constant channel becomes 1, or 0 if it is 0.

    zeros_stay: values of exactly 0 stay 0, also in a channel that goes below it. Values and gradients are finite.
    """
    low, span, flat = spread(features)
    scaled = torch.where(flat, (features != 0).to(features), (features - low) / span)
    return torch.where(features == 0, 0.0, scaled) if zeros_stay else scaled


def unit_map(maps: Tensor) -> Tensor:
    """Each map (..., h, w) minus its minimum, divided by its range; a constant map is unchanged."""
    low, span, flat = spread(maps)
    return torch.where(flat, maps, (maps - low) / span)


def spread(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Minimum, range (1 if constant) and whether it is constant, for each (..., h, w), as (..., 1, 1)."""
    low, high = values.amin(dim=(-2, -1), keepdim=True), values.amax(dim=(-2, -1), keepdim=True)
    flat = high - low < FEW_VALUES
    # The division is safe in both branches: a NaN that is not chosen would still spoil the gradient.
    return low, torch.where(flat, 1.0, high - low), flat

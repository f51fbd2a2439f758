"""Eigen-CAM: the pattern that most of a layer's activations share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xaicli.float64 import in_float64
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.classifier import Classifier
from xaicli.network.taps import tap
from xaicli.targets import Targets


@dataclass(frozen=True, kw_only=True)
class EigenCAM(Method):
    """Eigen-CAM: activations projected on their first principal direction; the same for every target.

    `map = relu(X v)`: X (h w, K) holds the K channels of one layer at each place, v is the first right singular vector of X
    (`centred=true`: of X less each channel's mean). Maps are (B, T, h, w) at the layer's resolution, without a unit. No
    gradient is needed. The decomposition leaves the sign of v open: it is chosen so that the map's sum is positive (`centred`:
    so that the map rises with the sum of all channels). Where activations have both signs, as in vision transformers, this may
    be the sign of the background, and the map is no better than a random map.

    `xai explain cat.jpg --method eigen-cam`
    """

    layer: str = param("auto", "feature layer; xai list layers --model SPEC shows the names")
    relu: bool = param(True, "keep the positive part only")
    centred: bool = param(False, "subtract each channel's mean first, as a principal component analysis does")

    name = "eigen-cam"
    paper = "Muhammad and Yeasin, IJCNN 2020, arXiv:2008.00299"
    needs = Needs.FEATURES
    class_specific = False

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE if self.relu else Sign.SIGNED

    def with_negative(self, keep: bool) -> EigenCAM:
        return replace(self, relu=not keep)

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=1)

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        with tap(classifier, self.layer, gradients=False) as features:
            logits = classifier(inputs)
            chosen = targets.resolve(logits)
            maps = torch.stack([first_component(activation, self.centred) for activation in features.activation])
        maps = maps.relu() if self.relu else maps
        return Maps(maps[:, None].repeat(1, targets.count, 1, 1), chosen.detached(), logits)


def first_component(activation: Tensor, centred: bool) -> Tensor:
    """X v, (h, w), where X is the matrix of cells by channels of activations (K, h, w), and v its first right singular vector."""
    if not activation.isfinite().all():
        return activation.sum(dim=0) * torch.nan
    cells = in_float64(activation.flatten(1).T)
    if centred:
        cells = cells - cells.mean(dim=0)
    # X v is also the first left singular vector times the singular value, so the smaller Gram matrix suffices.
    if cells.shape[0] <= cells.shape[1]:
        values, vectors = torch.linalg.eigh(cells @ cells.T)
        projected = vectors[:, -1] * values[-1].clamp_min(0).sqrt()
    else:
        projected = cells @ torch.linalg.eigh(cells.T @ cells)[1][:, -1]
    brightness = in_float64(activation.sum(dim=0).flatten())
    towards = projected @ (brightness - brightness.mean()) if centred else projected.sum()
    return (projected if towards >= 0 else -projected).float().unflatten(0, activation.shape[1:])

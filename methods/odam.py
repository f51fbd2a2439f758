"""ODAM (Zhao and Chan, 2023): gradient times activation for one box, of its score or of one of its sides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from xaicli.errors import UsageError
from xaicli.method import Cost, Maps, Method, Needs, Sign, param
from xaicli.network.box_similarity import FixedBoxes
from xaicli.network.classifier import Classifier
from xaicli.network.layers import FeatureLayer
from xaicli.network.proposals import Proposals
from xaicli.network.taps import gradients_at, tap_many
from xaicli.network.weighted_sum import weighted_sum
from xaicli.passes.upsampling import upsample
from xaicli.targets import Targets, gather

Explained = Literal["score", "left", "top", "right", "bottom"]
SIDES = ("left", "top", "right", "bottom")
JOINED = "+"
"""Between the names of several layers."""


@dataclass(frozen=True, kw_only=True)
class ODAM(Method):
    """ODAM: gradient times activation at every place, for one box: for its score, or for one of its sides.

    `map = relu(sum_k W_k A_k)`, `W = smoothed dY/dA`, multiplied place by place (paper, section 3.1): A_k are the channels of one
    layer, Y is the score of the box's own class, or the place of one side in pixels of the input (`explain=left`). Unlike in
    Grad-CAM the gradient is not averaged over places, since other objects of the class would light up too. Maps are (B, T, h, w)
    at the layer's resolution. Without smoothing, and for the score, that is HiResCAM of the box.

    Of several layers, `layer=A+B`, each box takes the map of the one in which it has the most of its gradient times activation:
    of a feature pyramid the level that it came from; the map is enlarged to the finest of the levels that the photo's boxes came
    from. The score's gradient nearly vanishes where it is nearly 1; the map's shape does not depend on that.
    extras: `largest_gradient` (B, T), the largest magnitude of the gradient.

    `xai explain street.jpg --model fasterrcnn_resnet50_fpn --target box:0 --method odam`
    """

    layer: str = param("auto", "feature layer, or levels of a pyramid joined by +; xai list layers shows the names")
    explain: Explained = param("score", "what of the box is explained")
    smooth: Literal["none", "box", "gaussian"] = param(
        "none", "how the gradient is spread over neighbours; the authors' code does not"
    )
    size: int = param(3, "cells a side over which it is spread, an odd number", ge=1, le=99)
    relu: bool = param(True, "keep only what speaks for the target")

    name = "odam"
    paper = "Zhao and Chan: ODAM, ICLR 2023, arXiv:2304.06354"
    needs = Needs.GRADIENTS | Needs.FEATURES | Needs.BOXES

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size % 2 == 0:
            raise UsageError(f"odam: size={self.size} has no middle", expected="an odd number of cells")

    @property
    def sign(self) -> Sign:
        return Sign.NONNEGATIVE if self.relu else Sign.SIGNED

    def with_negative(self, keep: bool) -> ODAM:
        return replace(self, relu=not keep)

    def cost(self, classifier: Classifier | None = None) -> Cost:
        return Cost(forward=1, backward=1)

    def layers(self, classifier: Classifier) -> tuple[FeatureLayer, ...]:
        """The layers that are read, in the order in which they are named."""
        return tuple(classifier.feature_layer(name) for name in self.layer.split(JOINED))

    def layers_read(self, classifier: Classifier) -> tuple[str, ...]:
        return tuple(map(str, self.layers(classifier)))

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        boxes = classifier.boxes
        if boxes is None:
            raise UsageError(f"{self.name} explains boxes, and none is named", hint="Give --target box:0.")
        made, largest = [], []
        layers = {str(layer): layer for layer in self.layers(classifier)}
        with tap_many(classifier.torch_module, layers) as taps:
            proposals = classifier.proposals(inputs)
            logits = classifier.of_boxes(proposals)
            chosen = targets.resolve(logits)
            features = list(taps.values())
            explained = gather(self.explained(boxes, proposals), chosen.classes, chosen.against)
            for raw in gradients_at(features, explained):
                gradients = [tap.layer.to_grid(one).float() for tap, one in zip(features, raw, strict=True)]
                levels = [
                    weighted_sum(self.spread(gradient), tap.activation, relu=self.relu)
                    for tap, gradient in zip(features, gradients, strict=True)
                ]
                made.append(levels)
                largest.append(torch.stack([one.abs().amax(dim=(1, 2, 3)) for one in gradients]).amax(dim=0))
        extras = {"largest_gradient": torch.stack(largest, dim=1)}
        return Maps(own_levels(made), chosen.detached(), logits.detach(), extras)

    def explained(self, boxes: FixedBoxes, proposals: Proposals) -> Tensor:
        """What is differentiated, of the proposal that is most similar to each of the fixed boxes."""
        place, _ = boxes.match(proposals)
        if self.explain == "score":
            return boxes.confidence(proposals, place)
        rows = torch.arange(len(proposals), device=place.device)[:, None]
        return proposals.boxes[rows, place][..., SIDES.index(self.explain)]

    def spread(self, gradient: Tensor) -> Tensor:
        """The gradient (B, K, h, w), each channel averaged over neighbouring cells, zeros beyond the border."""
        if self.smooth == "none" or self.size == 1:
            return gradient
        row = torch.ones(1, dtype=torch.float64)
        if self.smooth == "box":
            row = torch.ones(self.size, dtype=torch.float64)
        else:
            # Rows of Pascal's triangle: 1 2 1 for three cells.
            for _ in range(self.size - 1):
                row = functional.pad(row, (0, 1)) + functional.pad(row, (1, 0))
        kernel = (row[:, None] * row / row.sum() ** 2).to(gradient)
        weights = kernel.expand(gradient.shape[1], 1, *kernel.shape)
        return functional.conv2d(gradient, weights, padding=self.size // 2, groups=gradient.shape[1])


def own_levels(made: list[list[Tensor]]) -> Tensor:
    """For each of T boxes the map of the level that has the most, from maps (B, h, w) of every level: (B, T, h, w), at the finest
    resolution of those that are taken."""
    if len(made[0]) == 1:
        return torch.stack([levels[0] for levels in made], dim=1)
    mass = torch.stack([torch.stack([one.abs().sum(dim=(1, 2)) for one in levels]) for levels in made])
    best = mass.argmax(dim=1)
    taken = sorted(set(best.flatten().tolist()), key=lambda level: -made[0][level][0].numel())
    size = (made[0][taken[0]].shape[1], made[0][taken[0]].shape[2])
    rows = []
    for levels, own in zip(made, best.tolist(), strict=True):
        rows.append(torch.cat([upsample(levels[level][row : row + 1], size) for row, level in enumerate(own)]))
    return torch.stack(rows, dim=1)

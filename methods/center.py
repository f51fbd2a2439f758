"""A Gaussian in the middle of the picture: the control that any method should beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xaicli.method import Cost, Maps, Method, Sign
from xaicli.network.classifier import Classifier
from xaicli.passes.queue import clean_logits
from xaicli.targets import Targets


@dataclass(frozen=True, kw_only=True)
class Center(Method):
    """Gaussian in the middle of every photo: a control.

    `map(u, v) = exp(-(u^2 + v^2) / 2)`, with u and v the distances from the middle in quarters of the sides. Maps are
    (B, T, H, W) at the input's resolution, above 0 to 1; of sequences (B, T, F, H, W), in the middle of the time too, with the
    square of that distance added. A method that does not beat this control knows no more than that objects are central.

    `xai explain cat.jpg --method center`
    """

    name = "center"
    class_specific = False
    sign = Sign.NONNEGATIVE
    of_frames = True

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """Only the clean pass, in which the photo is decided."""
        return Cost()

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        logits = clean_logits(classifier, inputs)
        frames = classifier.view.frames
        sides = (frames, *inputs.shape[2:]) if frames else inputs.shape[2:]
        axes = [4 * ((torch.arange(side, device=inputs.device) + 0.5) / side - 0.5) for side in sides]
        bump = torch.exp(-0.5 * torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(dim=0))
        return Maps(bump.repeat(len(inputs), targets.count, *[1] * len(sides)), targets.resolve(logits), logits)

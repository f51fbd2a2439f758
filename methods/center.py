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
        y, x = (from_middle(side, inputs) for side in inputs.shape[2:])
        distance = y[:, None] ** 2 + x**2
        if frames:
            distance = from_middle(frames, inputs)[:, None, None] ** 2 + distance
        bump = torch.exp(-0.5 * distance)
        return Maps(bump.repeat(len(inputs), targets.count, *[1] * bump.ndim), targets.resolve(logits), logits)


def from_middle(count: int, like: Tensor) -> Tensor:
    """The distances (count,) of pixels or frames from the middle, in quarters of the side."""
    return 4 * ((torch.arange(count, device=like.device) + 0.5) / count - 0.5)

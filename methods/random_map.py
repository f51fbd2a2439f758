"""Noise: the control that shows the score of a map without any information."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xaicli.method import Cost, Maps, Method, Sign
from xaicli.network.classifier import Classifier
from xaicli.passes.queue import clean_logits
from xaicli.passes.seeds import stream
from xaicli.targets import Targets

SIDE = 7


@dataclass(frozen=True, kw_only=True)
class RandomMap(Method):
    """Noise of 7 x 7 values that knows nothing of the photo: a control.

    `map ~ uniform(0, 1)`, drawn anew for each photo and the same for all its targets. Maps are (B, T, 7, 7), as coarse as those
    of a network's last layer; of sequences (B, T, t, 7, 7) with t seven or the number of frames, if that is less. A method that
    does not beat this control says nothing.

    `xai explain cat.jpg --method random`
    """

    name = "random"
    class_specific = False
    stochastic = True
    of_frames = True
    sign = Sign.NONNEGATIVE

    def cost(self, classifier: Classifier | None = None) -> Cost:
        """Only the clean pass, in which the photo is decided."""
        return Cost()

    def attribute(self, classifier: Classifier, inputs: Tensor, targets: Targets, seeds: Tensor) -> Maps:
        logits = clean_logits(classifier, inputs)
        frames = classifier.view.frames
        shape = (min(SIDE, frames), SIDE, SIDE) if frames else (SIDE, SIDE)
        noise = np.stack([stream(seed, "noise").random(shape, dtype=np.float32) for seed in seeds.tolist()])
        values = torch.from_numpy(noise).to(inputs.device)[:, None].repeat(1, targets.count, *[1] * len(shape))
        return Maps(values, targets.resolve(logits), logits)

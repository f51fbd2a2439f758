"""Named baselines, which replace hidden pixels, in the network's input space."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from xaicli.images.view import View
from xaicli.passes.blur import gaussian_blur

Baseline = Literal["zero", "black", "grey", "white", "mean", "blur"]

BASELINE_HELP = "zero (the data's mean colour), black, grey, white, mean (the photo's own colour), or blur"

BLUR = 1 / 16
"""Standard deviation of the blur as a fraction of the input's shorter side: it removes texture and parts but keeps the colour of
regions."""

SHADES = {"black": 0.0, "grey": 0.5, "white": 1.0}


def baseline_inputs(name: Baseline, view: View, inputs: Tensor) -> Tensor:
    """The baseline (B, 3, H, W) for each preprocessed photo of a batch. zero is 0 after normalisation; black, grey and white are
    pixels of 0, 0.5 and 1."""
    if name == "zero":
        return torch.zeros_like(inputs)
    if name == "mean":
        return inputs.mean(dim=(2, 3), keepdim=True).expand_as(inputs)
    if name == "blur":
        return blurred(inputs)
    return view.normalise(torch.full_like(inputs, SHADES[name]))


def blurred(inputs: Tensor) -> Tensor:
    """Gaussian blur with reflecting borders, so that no colour enters from outside."""
    sigma = BLUR * min(inputs.shape[-2:])
    radius = min(math.ceil(3 * sigma), min(inputs.shape[-2:]) - 1)
    # One axis after the other: a Gaussian is separable, and a window of 85 x 85 pixels takes twenty times as long.
    across = gaussian_blur(inputs, 2 * radius + 1, 1, sigma)
    return gaussian_blur(across, 1, 2 * radius + 1, sigma)

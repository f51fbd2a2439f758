"""The baselines that replace removed pixels when maps are scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from xaicli.images.view import View
from xaicli.later import ndimage
from xaicli.passes.baselines import baseline_inputs
from xaicli.passes.seeds import stream

ScoreBaseline = Literal["zero", "black", "mean", "blur", "noise"]

SCORE_BASELINE_HELP = "zero (the data's mean colour), black, mean (the photo's own colour), blur, or noise"

RISE_SIDE, RISE_SIGMA = 11, 5.0


def score_baselines(kind: ScoreBaseline | Literal["rise-blur"], inputs: Tensor, seeds: Sequence[int], view: View) -> Tensor:
    """The baselines of preprocessed photos (P, 3, H, W), in the same shape.

    zero: 0 after normalisation, the data's mean colour; black: pixels of 0; mean: the photo's own mean colour; blur: the photo
    under a strong Gaussian; noise: pixels uniform in 0..1, drawn from each photo's seed; rise-blur: RISE's own blur.
    """
    if kind == "rise-blur":
        return rise_blur(inputs)
    if kind != "noise":
        return baseline_inputs(kind, view, inputs)
    drawn = np.stack([stream(seed, "ground").random(inputs.shape[1:], dtype=np.float32) for seed in seeds])
    return view.normalise(torch.from_numpy(drawn).to(inputs.device))


def rise_kernel() -> Tensor:
    """The authors' kernel (11, 11): an impulse filtered by SciPy's Gaussian filter. Its reflecting border folds the tails back,
    so the kernel sums to 1 and is nearly flat."""
    impulse = np.zeros((RISE_SIDE, RISE_SIDE))
    impulse[RISE_SIDE // 2, RISE_SIDE // 2] = 1
    return torch.from_numpy(ndimage.gaussian_filter(impulse, RISE_SIGMA)).float()


def rise_blur(inputs: Tensor) -> Tensor:
    """Photos (P, 3, H, W) blurred as RISE's authors blur them: after normalisation, borders padded with zeros."""
    kernel = rise_kernel().to(inputs.device).expand(inputs.shape[1], 1, -1, -1)
    return functional.conv2d(inputs, kernel, padding=RISE_SIDE // 2, groups=inputs.shape[1])

"""The families of baselines, the bandit's arms: each draws a baseline of the shape of a layer's features."""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
import torch
from numpy.random import Generator
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from xaicli.errors import UsageError

Arm = Literal["normal", "uniform", "blur", "constant", "train"]
NoiseScale = Literal["unit", "std"]

BETAS = np.linspace(1e-4, 0.02, 501)
KEPT = float(np.prod(1 - BETAS))
"""Of a diffusion of 500 steps: what is left of the features' variance, 0.00628876."""
BLUR = (3, 50)
"""Of the blur: the smallest and the largest standard deviation, in cells."""


def draw(arm: Arm, features: Tensor, random: Generator, noise: NoiseScale = "unit", bank: Tensor | None = None) -> Tensor:
    """One baseline (K, h, w) for features (K, h, w).

    normal, uniform: `sqrt(a) h + (1 - a) e`, a = 0.00629, e standard normal or uniform in 0 to 1, times the standard deviation of
    the features under `noise=std`; blur: a Gaussian over the places, of 3 to 50 cells; constant: one value a channel, uniform
    between its extremes; train: the features of another photo, of a bank (n, K, h, w).
    """
    if arm == "train":
        if bank is None:
            raise UsageError("bee: the arm train needs features of other photos", hint="Train a prior: xai train bee --data DIR.")
        return bank[int(random.integers(len(bank)))].to(features)
    if arm == "blur":
        return blurred(features, int(random.integers(BLUR[0], BLUR[1] + 1)))
    if arm == "constant":
        low, high = features.amin(dim=(1, 2), keepdim=True), features.amax(dim=(1, 2), keepdim=True)
        share = torch.from_numpy(random.random((features.shape[0], 1, 1), dtype=np.float32)).to(features)
        return (low + share * (high - low)).expand_as(features)
    shape = tuple(features.shape)
    drawn = random.standard_normal(shape, dtype=np.float32) if arm == "normal" else random.random(shape, dtype=np.float32)
    scale = features.std() if noise == "std" else 1.0
    return KEPT**0.5 * features + (1 - KEPT) * scale * torch.from_numpy(drawn).to(features)


def blurred(features: Tensor, sigma: int) -> Tensor:
    """Features (K, h, w) under a Gaussian over rows and columns, reflected at the border."""
    down, across = (torch.from_numpy(filter_matrix(side, sigma)).to(features) for side in features.shape[1:])
    return down @ features @ across.T


@functools.lru_cache(maxsize=256)
def filter_matrix(side: int, sigma: int) -> np.ndarray:
    """The Gaussian filter of a line of `side` cells as a matrix: the border is reflected often, so its window is wide."""
    return np.ascontiguousarray(gaussian_filter1d(np.eye(side), sigma, axis=0), dtype=np.float32)

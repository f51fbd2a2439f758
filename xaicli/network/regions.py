"""Class maps (B, C, H, W), and their mean logits and mean probabilities over a region."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xaicli.outputs import Outputs

SMALLEST_SIDE = 2
"""Minimum cells per side of a class map."""


def is_class_map(tensor: Tensor | np.ndarray) -> bool:
    """Whether an output has the form of a class map."""
    return tensor.ndim == 4 and min(tensor.shape[2:]) >= SMALLEST_SIDE


def two_classes(logits: Tensor) -> Tensor:
    """A class map (B, C, H, W) of at least two classes: a single class with logits x becomes two, (-x / 2, x / 2), whose softmax
    is the sigmoid of x."""
    return logits if logits.shape[1] > 1 else torch.cat([-logits / 2, logits / 2], dim=1)


def of_region(logits: Tensor, region: Tensor, pixels: Outputs) -> Tensor:
    """Mean logits and mean probabilities (B, 2C) of class maps (B, C, H, W) over `region` (H, W), bool, not empty.

    score_c = sum_ij R_ij Z_cij / sum_ij R_ij, and the same of softmax(Z)_cij, or of sigmoid(Z)_cij where `pixels` says so (Nguyen
    et al., XEdgeAI, 2024: the sum there, the mean here, so that regions compare).
    """
    weights = region.to(logits.dtype) / region.sum()
    shares = pixels.probabilities(logits)
    return torch.cat([torch.einsum("bchw,hw->bc", part, weights) for part in (logits, shares)], dim=1)

"""How similar two maps are."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from xaicli.float64 import in_float64
from xaicli.later import distributions
from xaicli.passes.blur import blurred

WINDOW, SIGMA = 11, 1.5
"""Side of the window in pixels (Wang et al., 2004)."""


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Rank correlation (N,) of maps (N, ...), equal values share their mean rank; NaN if a map is constant or not finite."""
    pairs = zip(first.flatten(1), second.flatten(1), strict=True)
    return torch.tensor([rank_correlation(one, other) for one, other in pairs], dtype=torch.float64)


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's correlation of two maps (n,); NaN if one is constant or not finite.

    Ranks are scipy's. Its `spearmanr` takes as long, and gives 0.9999999999999999 for a map and itself, where this gives 1.
    """
    if not bool(first.isfinite().all() and second.isfinite().all()):
        return float("nan")
    ranked = [torch.from_numpy(distributions.rankdata(part.detach().cpu().numpy())) for part in (first, second)]
    one, other = (ranks - ranks.mean() for ranks in ranked)
    scale = one.square().sum() * other.square().sum()
    return float((one * other).sum() / scale.sqrt()) if scale > 0 else float("nan")


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity (N,) of maps (N, H, W) with values in 0..1 (Wang et al., 2004), edges reflected; 1 for equal maps.

    The window is a Gaussian of 11 pixels and sigma 1.5, or smaller for a smaller map.
    """
    one, other = in_float64(first), in_float64(second)
    side = min(WINDOW, *(2 * length - 1 for length in first.shape[1:]))
    places = torch.linspace(-(side // 2), side // 2, side, dtype=one.dtype, device=one.device)
    window = torch.softmax(-((places / (SIGMA * math.sqrt(2))) ** 2), dim=0)

    def mean(values: Tensor) -> Tensor:
        return blurred(values[:, None], window, window)[:, 0]

    mu, nu = mean(one), mean(other)
    first_variance, second_variance = mean(one * one) - mu * mu, mean(other * other) - nu * nu
    covariance = mean(one * other) - mu * nu
    stable, stable_variance = 0.01**2, 0.03**2
    numerator = (2 * mu * nu + stable) * (2 * covariance + stable_variance)
    denominator = (mu * mu + nu * nu + stable) * (first_variance + second_variance + stable_variance)
    return (numerator / denominator).mean(dim=(1, 2)).cpu()

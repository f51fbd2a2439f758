"""Edges of photos by Sobel's filter."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.functional import gaussian_blur

GREY = (0.299, 0.587, 0.114)
SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def edge_magnitude(photo: Tensor, sigma: float, percentile: float) -> Tensor:
    """Edges (B, H, W), 0 to 1, of photos (B, C, H, W) with values in 0..1; a uniform photo has none."""
    weights = photo.new_tensor(GREY) if photo.shape[1] == len(GREY) else photo.new_full((photo.shape[1],), 1 / photo.shape[1])
    grey = (photo * weights[:, None, None]).sum(dim=1, keepdim=True)
    if sigma > 0:
        # Three sigmas, and less than the photo, which is mirrored at its border.
        reach = min(int(3 * sigma + 0.5), min(grey.shape[2:]) - 1)
        grey = gaussian_blur(grey, [2 * reach + 1, 2 * reach + 1], [sigma, sigma])
    across = photo.new_tensor(SOBEL)
    slopes = functional.conv2d(functional.pad(grey, (1, 1, 1, 1), mode="replicate"), torch.stack([across, across.T])[:, None])
    magnitude = slopes.square().sum(dim=1).sqrt()
    # Rounding in a uniform photo is not an edge.
    magnitude = torch.where(magnitude > 1e-5, magnitude, 0)
    # Not the maximum: one bright edge would dim all others.
    full = torch.quantile(magnitude.flatten(1), percentile / 100, dim=1)[:, None, None]
    return torch.where(full > 0, magnitude / torch.where(full > 0, full, 1), 0).clamp(max=1)

"""The form that all class activation maps share: a weighted sum of a layer's channels."""

from __future__ import annotations

from torch import Tensor


def weighted_sum(weights: Tensor, activation: Tensor, *, relu: bool) -> Tensor:
    """Maps (..., h, w) of activations (..., K, h, w), weighted by channel (..., K, 1, 1) or by element (..., K, h, w).

    With `relu`, negative values are set to 0 at the layer's resolution, as the papers define it: so they do not erode the border
    of positive regions when the map is upsampled.
    """
    maps = (weights * activation).sum(dim=-3)
    return maps.relu() if relu else maps

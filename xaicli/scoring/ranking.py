"""The order of pixels by saliency, and how ties are broken.

Rectified maps have large plateaus. Removing these in raster order would remove stripes, which changes a score by as much as
methods differ. So ties are broken by one random order per photo, drawn from the photo's seed and the same for all methods and
metrics.
"""

from __future__ import annotations

import enum
import math

import torch
from torch import Tensor

from xaicli.float64 import in_float64
from xaicli.passes.seeds import stream


class Ties(enum.Enum):
    """Which pixels come first among those of equal saliency."""

    SEEDED = "a random order a photo"
    REVERSED = "the reverse of that order"
    AUTHORS = "highest index first, as an ascending sort that is read from its end"


def ranks(values: Tensor, seeds: tuple[int, ...], ties: Ties = Ties.SEEDED) -> Tensor:
    """The rank of each pixel in descending order of saliency, 0 to HW - 1: (N, H, W) int32 of maps (N, H, W).

    seeds: (N,), one per photo.
    """
    result = torch.empty(values.shape, dtype=torch.int32, device=values.device)
    places = torch.arange(values[0].numel(), dtype=torch.int32, device=values.device) if len(values) else result
    for row, seed in enumerate(seeds):
        first = tie_order(seed, ties, tuple(values.shape[1:])).to(values.device)
        # Adding zero turns -0.0 into 0.0, which some sorts would order.
        order = first[(values[row].flatten()[first] + 0.0).argsort(descending=True, stable=True)]
        result[row].view(-1)[order] = places
    return result


def tie_order(seed: int, ties: Ties, shape: tuple[int, ...]) -> Tensor:
    """The order (HW,) in which pixels of equal saliency follow each other."""
    count = math.prod(shape)
    if ties is Ties.AUTHORS:
        return torch.arange(count).flip(0)
    order = torch.from_numpy(stream(seed, "ties").permutation(count))
    return order.flip(0) if ties is Ties.REVERSED else order


def tied_share(values: Tensor) -> Tensor:
    """For each map (N, H, W), the share of pixels (N,), 0 to 1, with the same value as another pixel."""
    ordered = values.flatten(1).sort(dim=1).values
    same = ordered[:, 1:] == ordered[:, :-1]
    none = same.new_zeros(len(values), 1)
    return in_float64(torch.cat([same, none], dim=1) | torch.cat([none, same], dim=1)).mean(dim=1)

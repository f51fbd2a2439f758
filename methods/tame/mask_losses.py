"""What keeps a learned mask small and smooth: area and variation (Ntrougkas et al., ISM 2022, section III).

Both are taken of each map on its own first, at the maps' own resolution; `over_reference` puts the maps of a batch together. All
in float32 or better: sums over thousands of cells overflow half precision.
"""

from __future__ import annotations

import torch
from torch import Tensor

OFFSET = 0.0005
"""Added before the root, whose slope at 0 would be infinite."""


def area(maps: Tensor, power: float = 0.3) -> Tensor:
    """The mean over cells of (map + 0.0005) ** power, for maps (..., h, w) in 0..1."""
    return (exact(maps) + OFFSET).pow(power).mean(dim=(-2, -1))


def variation(maps: Tensor, border: float = 0.3) -> Tensor:
    """Half the sum of squared differences of neighbours, and of `border` times the squares along the four edges, of maps
    (..., h, w); corners count twice."""
    maps = exact(maps)
    inside = maps.diff(dim=-2).square().sum(dim=(-2, -1)) + maps.diff(dim=-1).square().sum(dim=(-2, -1))
    rows = maps[..., 0, :].square().sum(dim=-1) + maps[..., -1, :].square().sum(dim=-1)
    columns = maps[..., :, 0].square().sum(dim=-1) + maps[..., :, -1].square().sum(dim=-1)
    return (inside + border * (rows + columns)) / 2


def exact(maps: Tensor) -> Tensor:
    return maps if maps.dtype == torch.float64 else maps.float()


def over_reference(each: Tensor, reference: int | None) -> tuple[Tensor, Tensor]:
    """(mean over all maps, sum over the maps of a photo), as a batch of `reference` photos would have them on average.

    each: (B, B), one value for the map that photo i has of the label of photo j. In a batch of R a photo's own map counts 1 in R
    towards the mean, and R maps a photo towards the sum; so that coefficients mean the same for any batch, the photo's own map
    and the others are weighted as they are in a batch of `reference`. None: the batch as it is, as the authors have it. A single
    photo has no others, and its own map stands for them in the mean.
    """
    count = len(each)
    size = count if reference is None else reference
    own = each.diagonal().mean()
    if count == 1:
        return own, own
    others = (each.sum() - each.diagonal().sum()) / (count * (count - 1))
    total = own + (size - 1) * others
    return total / size, total

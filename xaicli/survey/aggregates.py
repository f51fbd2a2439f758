"""The maps of one method over the photos of one class, summed up while they come."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xaicli.attribution import Attribution
from xaicli.description import weights_of
from xaicli.network.channels import CHANNEL_MAPS
from xaicli.scoring.similarity import rank_correlation
from xaicli.survey.finding import Mask, rounded
from xaicli.survey.locality import aligned, channel_profile, decay, mean_radius, share_within
from xaicli.survey.map_grids import Floats, resampled
from xaicli.survey.measures import energy
from xaicli.survey.moments import RunningMoments

NEAR = 1 / 4
"""Near is within a quarter of the side."""


@dataclass(eq=False)
class MapAggregate:
    """Running statistics of maps on a grid (side, side), in the units of the method, per cell of even area.

    absolute, signed: of |A| and of A; around: of |A| moved so that the object's middle is in the middle; channels: of the mean
    |A| of each channel; position: of each map's rank correlation with the control `center`; on_object, area: of the share of the
    map on the marked object, and of the object's share of the view; zero: maps without any value, which are left out.
    """

    method: str
    target: str
    side: int
    normalize: bool = False
    zero: int = 0
    absolute: RunningMoments = field(init=False)
    signed: RunningMoments = field(init=False)
    around: RunningMoments = field(init=False)
    channels: RunningMoments | None = None
    position: RunningMoments = field(default_factory=RunningMoments)
    on_object: RunningMoments = field(default_factory=RunningMoments)
    area: RunningMoments = field(default_factory=RunningMoments)

    def __post_init__(self) -> None:
        self.absolute, self.signed, self.around = (RunningMoments((self.side, self.side)) for _ in range(3))

    @property
    def n(self) -> int:
        return self.absolute.n

    def add(self, attribution: Attribution, mask: Mask | None = None, anchor: Mask | None = None) -> None:
        """One more map. mask: where the object is in the view, at any resolution; anchor: what to align to instead, such as the
        target's region."""
        values = np.asarray(attribution.values, dtype=np.float64)
        total = float(np.abs(values).sum())
        if not math.isfinite(total) or total == 0:
            self.zero += 1
            return
        scale = values.size / total if self.normalize else 1.0
        grid = regridded(np.abs(values) * scale, self.side)
        self.absolute.add(grid)
        self.signed.add(regridded(values * scale, self.side))
        correlation = rank_correlation(torch.from_numpy(grid.ravel()), torch.from_numpy(center_map(self.side).ravel()))
        if not math.isnan(correlation):
            self.position.add(correlation)
        self.add_channels(attribution.extras.get(CHANNEL_MAPS), scale)
        place = middle_of(mask if mask is not None else anchor, self.side)
        if place is not None:
            self.around.add(aligned(grid, place))
        weights = weights_of(values, attribution.sign)
        if mask is not None and mask.any() and weights.sum() > 0:
            self.on_object.add(energy(weights, mask))
            self.area.add(float(mask.mean()))

    def add_channels(self, maps: NDArray[Any] | None, scale: float) -> None:
        if maps is not None:
            means = np.abs(maps.astype(np.float64)).mean(axis=(1, 2)) * scale
            if self.channels is None:
                self.channels = RunningMoments(means.shape)
            self.channels.add(means)

    @property
    def profile(self) -> Floats | None:
        """The share of each channel; None if the method has no map of each channel."""
        if self.channels is None or not self.channels.mean.sum() > 0:
            return None
        return channel_profile(self.channels.mean[:, None, None])

    def record(self) -> dict[str, Any]:
        """The statistics as a plain record.

        position: rank correlation of the mean map with `center`, and that of single maps on average; radius, near: mean distance
        from the middle of the view, in sides, and the share within a quarter of the side; spread: the mean standard deviation
        over the mean; object radius, object near: the same around the object.
        """
        row: dict[str, Any] = {"method": self.method, "class": self.target, "photos": self.n, "zero": self.zero}
        if not self.n:
            return row
        mean, middle = self.absolute.mean, ((self.side - 1) / 2, (self.side - 1) / 2)
        together = rank_correlation(torch.from_numpy(mean.ravel()), torch.from_numpy(center_map(self.side).ravel()))
        found = {
            "position": None if math.isnan(together) else together,
            "single": float(self.position.mean) if self.position.n else None,
            "radius": mean_radius(mean, middle) / self.side,
            "near": share_within(mean, middle, NEAR * self.side),
            "spread": float(self.absolute.std.mean() / mean.mean()) if self.n > 1 else None,
            **self.around_object(),
        }
        row |= {name: rounded(value) for name, value in found.items()}
        if (profile := self.profile) is not None:
            row |= {"channels": [rounded(float(share)) for share in profile], "decay": rounded(decay(profile))}
        return row

    def around_object(self) -> dict[str, float | None]:
        known: dict[str, float | None] = {"object radius": None, "object near": None, "on object": None, "area": None}
        if self.around.n and self.around.mean.sum() > 0:
            place = (self.side // 2, self.side // 2)
            known["object radius"] = mean_radius(self.around.mean, place) / self.side
            known["object near"] = share_within(self.around.mean, place, NEAR * self.side)
        if self.on_object.n:
            known |= {"on object": float(self.on_object.mean), "area": float(self.area.mean)}
        return known


def regridded(values: Floats, side: int) -> Floats:
    """A map (h, w) on a grid (side, side): the mean over the area of each cell."""
    return resampled(values, (side, side)) * (side * side / values.size)


def center_map(side: int) -> Floats:
    """The control `center` on a grid: `exp(-(u^2 + v^2) / 2)`, u and v in quarters of the sides."""
    places = 4 * ((np.arange(side) + 0.5) / side - 0.5)
    bump: Floats = np.exp(-0.5 * (places[:, None] ** 2 + places[None, :] ** 2))
    return bump


def middle_of(mask: Mask | None, side: int) -> tuple[int, int] | None:
    """The cell of a grid in which the middle of a region's bounding box lies; None without a region."""
    if mask is None or not mask.any():
        return None
    edges = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    middles = [(found[0] + found[-1] + 1) / 2 / length for found, length in zip(edges, mask.shape, strict=True)]
    row, column = (min(side - 1, int(middle * side)) for middle in middles)
    return row, column

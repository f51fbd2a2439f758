"""Pointing games: whether a map points at the object that people marked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import torch
from torch import Tensor

from xaicli.float64 import in_float64
from xaicli.metric import MAGNITUDES, Direction, Metric, Scores, Sign, ValueKind, param
from xaicli.scoring.case import Case


@dataclass(frozen=True, kw_only=True)
class PointingGame(Metric):
    """Whether the map's largest value lies on the target, or near it: 1 or 0.

    `1 if distance(argmax of the map, marked region) <= tolerance else 0`, in pixels of the model's view, on the upsampled map
    (H, W). Where several pixels are largest, the value is the share of them that hit, the expected rate of a random choice. The
    mean over photos is the hit rate; higher is better. The authors take the mean over classes: group by target for it.

    `xai score photos/ --method grad-cam --metric pointing-game --truth boxes.csv`
    """

    name = "pointing-game"
    direction = Direction.HIGHER
    range = (0.0, 1.0)
    kind = ValueKind.BINARY
    needs_truth = True
    paper = "Zhang et al.: Top-down neural attention by excitation backprop, ECCV 2016, section 4.1, arXiv 1608.00507"

    tolerance: int = param(15, "pixels of the model's input", ge=0, le=10_000)

    def score(self, case: Case) -> Scores:
        largest = case.upsampled == case.upsampled.amax(dim=(1, 2), keepdim=True)
        near = within(case.truth, self.tolerance)
        return Scores((largest & near).sum(dim=(1, 2)) / largest.sum(dim=(1, 2)))


def within(masks: Tensor, distance: int) -> Tensor:
    """Pixels (N, H, W) bool whose centres lie within that many pixels of a set pixel's centre."""
    reached = [scipy.ndimage.distance_transform_edt(~mask) <= distance for mask in masks.cpu().numpy()]
    return torch.from_numpy(np.stack(reached)).to(masks.device)


@dataclass(frozen=True, kw_only=True)
class EnergyPointingGame(Metric):
    """Share of the map's mass that lies on the target, 0 to 1.

    `sum of the map on the marked region / sum of the map`, on the upsampled map (H, W). Higher is better. The read-out `area`
    is what a map without any information would get. Maps must be non-negative: where values cancel, a share of their sum means
    nothing.

    `xai score photos/ --method grad-cam --metric energy-pointing-game --truth boxes.csv`
    """

    name = "energy-pointing-game"
    aliases = ("ebpg",)
    direction = Direction.HIGHER
    range = (0.0, 1.0)
    needs_truth = True
    signs = frozenset({Sign.NONNEGATIVE})
    readouts = {"area": "share of the model's view that the target covers"}
    paper = "Wang et al.: Score-CAM, CVPR workshops 2020, section 4.3, arXiv 1910.01279"

    def score(self, case: Case) -> Scores:
        maps = in_float64(case.upsampled)
        inside = (maps * case.truth.to(maps.device)).sum(dim=(1, 2)) / maps.sum(dim=(1, 2))
        return Scores(inside, {"area": in_float64(case.truth).mean(dim=(1, 2))})


@dataclass(frozen=True, kw_only=True)
class PositiveShare(Metric):
    """Share of the map's positive values that lies on the target, 0 to 1.

    `sum of max(map, 0) on the marked region / sum of max(map, 0)`, on the upsampled map (H, W). Higher is better. The read-out
    `area` is what a map without any information would get. On a mosaic of photos of different classes, with the quarter of the
    class as the marked region, it is the grid pointing game. A map without positive values has no score.

    `xai score photos/ --method grad-cam --metric positive-share --truth boxes.csv`
    """

    name = "positive-share"
    aliases = ("grid-pointing-game",)
    direction = Direction.HIGHER
    range = (0.0, 1.0)
    needs_truth = True
    signs = MAGNITUDES
    readouts = {"area": "share of the model's view that the target covers"}
    paper = "Böhle, Fritz, Schiele: Convolutional dynamic alignment networks, CVPR 2021, section 4, arXiv 2104.00032"

    def score(self, case: Case) -> Scores:
        maps = in_float64(case.upsampled).clamp_min(0)
        inside = (maps * case.truth.to(maps.device)).sum(dim=(1, 2)) / maps.sum(dim=(1, 2))
        return Scores(inside, {"area": in_float64(case.truth).mean(dim=(1, 2))})

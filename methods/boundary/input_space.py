"""The nearest point on the boundary in the space of inputs, by linearising and projecting again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FLAT = 1e-12
"""A squared gradient below this counts as zero."""


@dataclass(frozen=True, eq=False)
class Arrival:
    """The end of the projection. point: like the photo, (3, H, W); rival: the class at the boundary; steps: taken; arrived: False
    where the gradient vanished or the steps ran out; slope and start: the gradient of the rival's margin at the photo itself, and
    that margin."""

    point: Tensor
    rival: int
    steps: int
    arrived: bool
    slope: Tensor
    start: float


def nearest_boundary(
    margins: Callable[[Tensor], Tensor], photo: Tensor, rivals: list[int], steps: int, tolerance: float
) -> Arrival:
    """Project a photo (3, H, W) on the nearest boundary: `x <- x - f_k grad f_k / |grad f_k|^2` for the rival k of least
    `|f_k| / |grad f_k|`, until `|f_k|` is at most `tolerance` of what it was (Moosavi-Dezfooli et al., CVPR 2016, no overshoot).

    margins: of an input (1, 3, H, W), the margin of the target over each rival (K,), with a graph.
    """
    point, chosen, arrived = photo, 0, False
    start: Tensor | None = None
    slopes: list[Tensor] = []
    for step in range(steps + 1):
        at = point.detach().clone().requires_grad_(True)
        margin = margins(at[None])
        gradients = [torch.autograd.grad(one, at, retain_graph=True)[0] for one in margin]
        margin = margin.detach()
        if start is None:
            start, slopes = margin, gradients
        squares = torch.stack([gradient.square().sum() for gradient in gradients])
        if bool((squares < FLAT).all()) or not bool(squares.isfinite().all()):
            break
        lengths = torch.where(squares < FLAT, torch.inf, margin.abs() / squares.clamp_min(FLAT).sqrt())
        chosen = int(lengths.argmin())
        arrived = bool(margin[chosen].abs() <= tolerance * start[chosen].abs())
        if arrived or step == steps:
            break
        point = point - (margin[chosen] / squares[chosen]) * gradients[chosen]
    assert start is not None
    return Arrival(point.detach(), rivals[chosen], step, arrived, slopes[chosen], float(start[chosen]))

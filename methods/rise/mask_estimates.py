"""Saliency from the scores of randomly masked copies: S(l) = E[f M(l)] / E[M(l)] and its error.

Masks are drawn again from their seed instead of being kept, chunk by chunk, so that memory does not grow with their number.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xaicli.methods.rise.mask_laws import MaskLaw

Estimator = Literal["naive", "center", "regress"]

GROUPS = 8
"""The error is computed between this many groups of units."""

FOLDS = 5
RIDGE = 1e-3


@dataclass(frozen=True, eq=False)
class Sample:
    """The record of N masks: their law, their seed, and the score (N,) float64 of each for one target."""

    law: MaskLaw
    seed: int
    scores: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def units(self) -> Tensor:
        """The unit (N,) of each mask."""
        return torch.arange(len(self)) // self.law.unit

    def chunks(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """The place of each chunk's masks among all, their grids (n, cells) and their shifts (n, 2)."""
        for start in range(0, len(self), self.law.chunk):
            part = slice(start, min(start + self.law.chunk, len(self)))
            drawn = self.law.draw(self.seed, start // self.law.chunk)
            length = part.stop - part.start
            yield part, drawn.bits[:length], drawn.shifts[:length]

    def summed(self, weights: Tensor, groups: Tensor, count: int) -> Tensor:
        """Sums of masks by group, weighted: (count, height, width)."""
        grid = self.law.grid
        parts = (grid.sums(bits, shifts, weights[part], groups[part], count) for part, bits, shifts in self.chunks())
        total = next(parts)
        for more in parts:
            total += more
        return grid.enlarge(total)


@dataclass(frozen=True, eq=False)
class MapEstimate:
    """A map (height, width) in units of the score, its relative error, and the standard error (height, width) of each pixel.

    The relative error is the root of noise over signal: the mean variance of a pixel's estimate over what is left of the
    variance between pixels without it; beyond all bounds where nothing is left. Errors are NaN below eight units.
    """

    values: Tensor
    error: float
    standard_error: Tensor


def estimate(sample: Sample, estimator: Estimator) -> MapEstimate:
    """The map of one photo under one target.

    naive: sum of f M over N p, as the authors have it. center: the same on f less the mean score of the other units, which
    leaves the expectation as it is; with independent masks that is the mean score plus the sample covariance over p. regress: on
    f less a linear prediction from the grid, fitted on other units; that lowers the variance of antithetic pairs another 1.7
    times on the bundled networks and 1.2 times on MobileNetV2 (1,024 masks, `python -m benchmarks rise-variance`).
    """
    weights, base = centred(sample, estimator)
    groups, sizes = grouped(sample)
    sums = sample.summed(weights, groups, len(sizes))
    values = base + sums.sum(dim=0) / (len(sample) * sample.law.mean)
    if len(sizes) < GROUPS:
        return MapEstimate(values, float("nan"), torch.full_like(values, float("nan")))
    parts = [base + each / (size * sample.law.mean) for each, size in zip(sums, sizes.tolist(), strict=True)]
    variance = torch.stack(parts).var(dim=0) / len(parts)
    noise = float(variance.mean())
    signal = float(values.var(unbiased=False)) - noise
    return MapEstimate(values, (noise / max(signal, sys.float_info.min)) ** 0.5, variance.sqrt())


def grouped(sample: Sample) -> tuple[Tensor, Tensor]:
    """The group (N,) of each mask, whole units dealt out in turn, and the sizes of the groups; one group where units are few."""
    groups = sample.units % GROUPS if int(sample.units[-1]) + 1 >= GROUPS else torch.zeros_like(sample.units)
    return groups, groups.bincount()


def centred(sample: Sample, estimator: Estimator) -> tuple[Tensor, Tensor]:
    """Weights (N,) of the masks, and the map to which their sum is added."""
    if estimator == "regress":
        return regressed(sample)
    if estimator == "naive" or int(sample.units[-1]) == 0:
        return sample.scores, sample.scores.new_zeros(())
    # The constant of a unit is the mean score of all others. It does not depend on the unit itself, so there is no bias.
    units = sample.units
    sizes = units.bincount()
    sums = torch.zeros(len(sizes), dtype=torch.float64).index_add_(0, units, sample.scores)
    others = ((sample.scores.sum() - sums) / (len(sample) - sizes))[units]
    return sample.scores - others, others.mean()


def regressed(sample: Sample) -> tuple[Tensor, Tensor]:
    """Residuals of a cross-fitted linear prediction h(g) = a + b.(g - p), and the exact saliency of the prediction.

    Seen from one fold the prediction, fitted on the others, is a fixed function, so that nothing is biased: a poor fit only
    leaves more variance. E[h M(l)] / p = a + (1 - p) E[M_b(l)], where M_b is b enlarged as a mask is: cells are independent.
    """
    law, p = sample.law, sample.law.mean
    folds = sample.units % FOLDS
    sizes = folds.bincount()
    if len(sizes) == 1:
        return sample.scores, sample.scores.new_zeros(())
    fits = predictions(sample, folds, sizes)
    weights = torch.empty_like(sample.scores)
    for part, bits, _ in sample.chunks():
        residual = sample.scores[part] - (design(bits, p) * fits[folds[part]]).sum(dim=1)
        # The mean over folds of each fold's mean.
        weights[part] = residual * len(sample) / (len(sizes) * sizes[folds[part]])
    slopes = fits[:, 1:].reshape(-1, *law.grid.cells).mean(dim=0)
    return weights, fits[:, 0].mean() + (1 - p) * law.grid.mean(slopes)


def predictions(sample: Sample, folds: Tensor, sizes: Tensor) -> Tensor:
    """Ridge fits (folds, 1 + cells) of the scores, each on the complement of its fold; the constant is not penalised."""
    p, width = sample.law.mean, 1 + sample.law.grid.count
    products = torch.zeros(len(sizes), width, width + 1, dtype=torch.float64)
    for part, bits, _ in sample.chunks():
        rows = design(bits, p)
        joined = torch.cat([rows, sample.scores[part][:, None]], dim=1)
        for fold in range(len(sizes)):
            mine = folds[part] == fold
            products[fold] += rows[mine].T @ joined[mine]
    others = products.sum(dim=0) - products
    ridge = torch.ones(width, dtype=torch.float64)
    ridge[0] = 0
    penalty = (RIDGE * p * (1 - p) * (len(sample) - sizes))[:, None, None] * ridge.diag()
    fits: Tensor = torch.linalg.solve(others[:, :, :width] + penalty, others[:, :, width])
    return fits


def design(bits: Tensor, p: float) -> Tensor:
    """The regressors (n, 1 + cells) of grids: a constant, and each cell less its mean."""
    return torch.cat([bits.new_ones((len(bits), 1), dtype=torch.float64), bits.double() - p], dim=1)

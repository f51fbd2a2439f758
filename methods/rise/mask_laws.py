"""Laws by which random grids and shifts are drawn.

Each mask alone follows the same law whatever the sampling: cells open independently with probability p, shift uniform. So each
mean over masks is unbiased. What differs is how the masks of one unit depend on each other; units are independent, and the
error of an estimate is read from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.quasirandom import SobolEngine

from xaicli.methods.rise.masks import MaskGrid
from xaicli.passes.seeds import stream

Sampling = Literal["iid", "antithetic", "balanced", "sobol", "stratified"]

CHUNK = 256
"""Masks a chunk at most: each is drawn from a stream of its own, so that any part can be drawn again."""

POINTS = 64
"""Masks a unit of the sobol and stratified samplings: eight units, which an error needs, make 512 masks."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Grids (N, cells) and shifts (N, 2) int64; the grids are bool."""

    bits: Tensor
    shifts: Tensor


@dataclass(frozen=True)
class MaskLaw:
    """How grids and shifts are drawn.

    p: probability of an open cell; of several, the units take one after the other. sampling: `iid`; `antithetic`, pairs of a
    grid and its complement at one shift; `balanced`, small blocks at one shift in which each cell is open equally often;
    `sobol`, scrambled Sobol points; `stratified`, by the number of open cells.
    """

    grid: MaskGrid
    p: tuple[float, ...] = (0.5,)
    sampling: Sampling = "antithetic"

    @property
    def mean(self) -> float:
        """The expected mask, the same at every pixel."""
        return math.fsum(self.p) / len(self.p)

    @property
    def unit(self) -> int:
        """Masks that depend on each other."""
        if self.sampling == "balanced":
            # The smallest block in which each cell can be open in a share p of the masks exactly.
            return next((size for size in range(8, 16) if all(abs(p * size - round(p * size)) < 1e-9 for p in self.p)), 16)
        return {"iid": 1, "antithetic": 2}.get(self.sampling, POINTS)

    @property
    def even(self) -> bool:
        """Whether the masks of each unit add up to the same at every pixel, so that coverage has no noise."""
        if self.sampling == "antithetic":
            return set(self.p) == {0.5}
        shares = {p * self.unit for p in self.p}
        return self.sampling == "balanced" and len(shares) == 1 and all(abs(share - round(share)) < 1e-9 for share in shares)

    @property
    def chunk(self) -> int:
        """Masks of one call of `draw`: whole units."""
        return self.unit * (CHUNK // self.unit)

    def draw(self, seed: int, chunk: int) -> Drawn:
        """The masks number `chunk * self.chunk` onwards of a photo; the same whatever was drawn before."""
        rng = stream(seed, "masks", chunk)
        units = self.chunk // self.unit
        number = chunk * units + np.arange(units)
        p = np.asarray(self.p)[number % len(self.p)]
        draw = {
            "iid": self.draw_iid,
            "antithetic": self.draw_antithetic,
            "balanced": self.draw_balanced,
            "sobol": self.draw_sobol,
            "stratified": self.draw_stratified,
        }[self.sampling]
        bits, shifts = draw(rng, p[:, None, None])
        cells = bits.reshape(self.chunk, self.grid.count)
        return Drawn(torch.from_numpy(cells), torch.from_numpy(shifts.reshape(self.chunk, 2)))

    # Each of the following: p (units, 1, 1) to bits (units, unit, cells) and shifts (units, unit, 2).

    def draw_iid(self, rng: np.random.Generator, p: NDArray) -> tuple[NDArray, NDArray]:
        return rng.random((len(p), 1, self.grid.count)) < p, self.shifts(rng, len(p), 1)

    def draw_antithetic(self, rng: np.random.Generator, p: NDArray) -> tuple[NDArray, NDArray]:
        uniform = rng.random((len(p), 1, self.grid.count))
        shifts = self.shifts(rng, len(p), 1)
        return np.concatenate([uniform, 1 - uniform], axis=1) < p, np.repeat(shifts, 2, axis=1)

    def draw_balanced(self, rng: np.random.Generator, p: NDArray) -> tuple[NDArray, NDArray]:
        shape = (len(p), self.unit, self.grid.count)
        places = rng.random(shape).argsort(axis=1)
        offset = rng.random((len(p), 1, self.grid.count))
        return (places + offset) / self.unit < p, np.repeat(self.shifts(rng, len(p), 1), self.unit, axis=1)

    def draw_sobol(self, rng: np.random.Generator, p: NDArray) -> tuple[NDArray, NDArray]:
        dimension = self.grid.count + 2
        seeds = rng.integers(2**62, size=len(p)).tolist()
        engines = [SobolEngine(dimension, scramble=True, seed=seed) for seed in seeds]  # type: ignore[no-untyped-call]
        points = np.stack([engine.draw(self.unit, dtype=torch.float64).numpy() for engine in engines])
        # Points are fractions of 2**30; a uniform offset below that fills the gaps.
        points = (points + rng.random(points.shape) * 2.0**-30).clip(max=np.nextafter(1, 0))
        return points[..., :-2] < p, (points[..., -2:] * self.grid.cell).astype(np.int64)

    def draw_stratified(self, rng: np.random.Generator, p: NDArray) -> tuple[NDArray, NDArray]:
        count = self.grid.count
        # Strata in random order, so that a part of a unit is no different from the whole.
        strata = rng.permuted(np.tile(np.arange(self.unit), (len(p), 1)), axis=1)
        uniform = (strata + rng.random((len(p), 1))) / self.unit
        opened = np.stack([np.searchsorted(binomial(count, value), row) for value, row in zip(p.ravel(), uniform, strict=True)])
        order = rng.random((len(p), self.unit, count)).argsort(axis=2).argsort(axis=2)
        return order < opened[..., None], self.shifts(rng, len(p), self.unit)

    def shifts(self, rng: np.random.Generator, units: int, each: int) -> NDArray:
        return rng.integers(self.grid.cell, size=(units, each, 2))


def binomial(count: int, p: float) -> NDArray:
    """Distribution function of the binomial law at 0 to count - 1 (above lies count)."""
    k = np.arange(count)
    log_ways = [math.lgamma(count + 1) - math.lgamma(i + 1) - math.lgamma(count - i + 1) for i in k]
    return np.cumsum(np.exp(np.asarray(log_ways) + k * math.log(p) + (count - k) * math.log1p(-p)))

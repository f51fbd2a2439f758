"""Laws by which random grids and shifts are drawn.

Each mask alone follows the same law under every sampling: cells open independently with probability p, shift uniform. So each
mean over masks is unbiased. What differs is how the masks of one unit depend on each other; units are independent, and the
error of an estimate is read from them.

A sampling is here because it lowers the variance of a map at equal masks (`python -m benchmarks rise-variance`). With 1,024
masks on two photos, against independent masks and the paper's estimate, it was lower by these factors, on the bundled `tiny`, on
`tiny-vit` and on MobileNetV2: antithetic pairs 2.3, 2.0 and 3.8; balanced blocks 2.9, 2.2 and 5.4. Scrambled Sobol points and
strata of the number of open cells did no better than balanced blocks and are not offered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xaicli.methods.rise.masks import MaskGrid
from xaicli.passes.seeds import stream

Sampling = Literal["iid", "antithetic", "balanced"]

CHUNK = 256
"""Maximum masks per chunk. Each chunk is drawn from a stream of its own, so that any part can be drawn again."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Grids (N, cells) and shifts (N, 2) int64; the grids are bool."""

    bits: Tensor
    shifts: Tensor


@dataclass(frozen=True)
class MaskLaw:
    """How grids and shifts are drawn.

    p: probability of an open cell; of several, the units take one after the other. sampling: `iid`, independent masks;
    `antithetic`, pairs of a grid and its complement at one shift; `balanced`, small blocks at one shift in which each cell is
    open equally often.
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
        return 2 if self.sampling == "antithetic" else 1

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
        """The masks of a photo from number `chunk * self.chunk` on; they do not depend on what was drawn before."""
        rng = stream(seed, "masks", chunk)
        units = self.chunk // self.unit
        number = chunk * units + np.arange(units)
        p = np.asarray(self.p)[number % len(self.p)]
        draw = {"iid": self.draw_iid, "antithetic": self.draw_antithetic, "balanced": self.draw_balanced}[self.sampling]
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

    def shifts(self, rng: np.random.Generator, units: int, each: int) -> NDArray:
        return rng.integers(self.grid.cell, size=(units, each, 2))

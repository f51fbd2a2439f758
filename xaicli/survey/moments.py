"""Mean and spread of arrays that come one by one, in constant memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class RunningMoments:
    """The mean and standard deviation of arrays of one shape, in float64 (Welford, 1962)."""

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.n = 0
        self.mean: Floats = np.zeros(shape)
        self.squares: Floats = np.zeros(shape)

    def add(self, values: NDArray[np.floating] | float) -> None:
        """One more array."""
        self.n += 1
        change = np.asarray(values, dtype=np.float64) - self.mean
        self.mean = self.mean + change / self.n
        self.squares = self.squares + change * (values - self.mean)

    @property
    def std(self) -> Floats:
        """The standard deviation of the arrays (n - 1 in the denominator); 0 of a single one."""
        spread: Floats = np.sqrt(self.squares / max(1, self.n - 1))
        return spread

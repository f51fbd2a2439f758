"""The mean curve under each score, with the interval of the mean at every point."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaicli.later import special
from xaicli.results.intervals import LEVEL
from xaicli.results.store import Store


@dataclass(frozen=True, eq=False)
class MeanCurve:
    """n curves of one definition and model on one grid: x, their mean, and half the width of its interval, (K,) each."""

    definition: str
    model: str
    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    half: NDArray[np.float64]
    n: int


def mean_curves(store: Store) -> list[MeanCurve]:
    """One curve for each definition and model, on the grid that most of its rows have (small photos have fewer points)."""
    sums: dict[tuple[str, str, bytes], Sums] = {}
    for (definition, model, x), group in itertools.groupby(store.raw_curves(), key=lambda entry: entry[:3]):
        at = sums.setdefault((definition, model, x), Sums(len(x) // 4))
        while block := list(itertools.islice(group, 10_000)):
            at.add(np.frombuffer(b"".join(y for *_, y in block), dtype="<f4").reshape(len(block), -1))
    best: dict[tuple[str, str], MeanCurve] = {}
    for (definition, model, x), found in sums.items():
        known = best.get((definition, model))
        if known is None or found.n > known.n:
            grid = np.frombuffer(x, dtype="<f4").astype(np.float64)
            best[definition, model] = MeanCurve(definition, model, grid, found.mean, found.half, found.n)
    return list(best.values())


class Sums:
    """Running sums of curves of K points."""

    def __init__(self, points: int) -> None:
        self.n = 0
        self.total = np.zeros(points)
        self.squares = np.zeros(points)

    def add(self, curves: NDArray[Any]) -> None:
        self.n += len(curves)
        self.total += curves.sum(axis=0, dtype=np.float64)
        self.squares += np.square(curves, dtype=np.float64).sum(axis=0)

    @property
    def mean(self) -> NDArray[np.float64]:
        return self.total / self.n

    @property
    def half(self) -> NDArray[np.float64]:
        if self.n < 2:
            return np.full(len(self.total), np.nan)
        variance = np.maximum(self.squares / self.n - self.mean**2, 0.0) * self.n / (self.n - 1)
        return np.sqrt(variance / self.n) * float(special.stdtrit(self.n - 1, (1 + LEVEL) / 2))


def plain(values: NDArray[np.float64], digits: int = 4) -> list[float | None]:
    """Numbers for JSON, rounded to what a drawing shows; None if missing."""
    return [None if math.isnan(value) else float(f"{value:.{digits}g}") for value in values.tolist()]

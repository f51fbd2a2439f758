"""The bands of a photo in 0..1, made from its numbers part by part when they are asked for, so that few exist at a time.

Every result is that of the whole photo at once: numbers are scaled one by one, and Pillow too resizes rows before columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xaicli.images.window import Range, scaled

AT_A_TIME = 1 << 20
"""Numbers that are scaled at a time."""

Bands = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ScaledBands:
    """Bands (C, H, W) in 0..1. values: the photo's numbers; limits: those that are black and white; inverted: the first is white;
    shares: of each of `values` in the one band that all are mixed to, or () where each is a band."""

    values: NDArray[Any]
    limits: Range
    inverted: bool = False
    shares: tuple[float, ...] = ()

    def __len__(self) -> int:
        return 1 if self.shares else len(self.values)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self), *self.values.shape[1:])

    def __getitem__(self, at: int) -> Bands:
        """A whole band (H, W)."""
        band = np.empty(self.shape[1:], np.float32)
        for rows in strips(band.shape):
            band[rows] = self.rows(at, rows)
        return band

    def __iter__(self) -> Iterator[Bands]:
        return (self[at] for at in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.stack(list(self)).astype(dtype or np.float32)

    def rows(self, at: int, rows: slice) -> Bands:
        """Some rows of a band."""
        if self.shares:
            parts = [replace(self, shares=()).rows(part, rows) for part in range(len(self.values))]
            return np.tensordot(np.array(self.shares, np.float32), np.stack(parts), axes=1)
        made = scaled(self.values[at, rows], self.limits)
        return np.subtract(1, made, out=made) if self.inverted else made

    def repeated(self, count: int) -> ScaledBands:
        """The first band `count` times."""
        return replace(self, values=np.broadcast_to(self.values[:1], (count, *self.values.shape[1:])))


@dataclass(frozen=True, eq=False)
class Band:
    """One band as a view asks it of a picture."""

    bands: ScaledBands
    at: int

    @property
    def size(self) -> tuple[int, int]:
        _, height, width = self.bands.shape
        return width, height

    def whole(self) -> Image.Image:
        return Image.fromarray(self.bands[self.at])

    def resize(self, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
        """As Pillow resizes the whole band: first the rows, some at a time, then the columns of what they gave."""
        narrow = Image.new("F", (size[0], self.size[1]))
        for rows in strips(self.bands.shape[1:]):
            part = Image.fromarray(self.bands.rows(self.at, rows))
            narrow.paste(part.resize((size[0], part.height), resample), (0, rows.start))
        return narrow.resize(size, resample)


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of an array (H, W), some at a time, from the first to the last."""
    height, width = shape
    step = max(1, AT_A_TIME // width)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def picture_of_rows(bands: Bands | ScaledBands, at: int, rows: slice) -> Bands:
    """Some rows of a band, of an array too."""
    return bands.rows(at, rows) if isinstance(bands, ScaledBands) else bands[at, rows]

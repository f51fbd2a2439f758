"""Overlapping slices of a photo: where they lie, how they are enlarged, how maps of them are folded back into one."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from xaicli.errors import UsageError

Divisor = Literal["count", "authors", "weighted"]
"""What a folded sum is divided by: the slices that cover a pixel, one more than that, or the sum of their weights."""


@dataclass(frozen=True)
class Slicing:
    """Slices of `crop` (rows, columns) pixels of inputs of `size` (H, W), at all pairs of the starts `rows` and `columns`."""

    size: tuple[int, int]
    crop: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Top and left of each slice, row by row."""
        return list(itertools.product(self.rows, self.columns))

    @property
    def canvas(self) -> tuple[int, int]:
        """How far the slices reach: (H, W), or by the authors' starts a few pixels less or more."""
        return self.rows[-1] + self.crop[0], self.columns[-1] + self.crop[1]

    def bands(self, photo: Tensor, width: int) -> Tensor:
        """A photo (C, H, W) cut into columns alone, enlarged to `width`: rows (columns * H, width * C), one band of H rows for
        each start, which slices one above the other share."""
        places, weights = self.taps(1, self.columns, width)
        columns = weighted_rows(photo.permute(2, 1, 0).flatten(1), places, weights)
        return columns.view(len(self.columns), width, self.size[0], -1).transpose(1, 2).flatten(2).flatten(0, 1)

    def slices(self, bands: Tensor, numbers: Sequence[int], size: tuple[int, int]) -> Tensor:
        """Slices of these numbers of the photo of these bands, enlarged to `size`: (n, C, *size), channels last in memory.
        Bicubic without antialias, as the authors do; what overshoots the range of the photo stays."""
        rows, columns = zip(*(divmod(number, len(self.columns)) for number in numbers), strict=True)
        places, weights = self.taps(0, [self.rows[row] for row in rows], size[0])
        places = places + torch.tensor(columns).repeat_interleave(size[0])[:, None] * self.size[0]
        return weighted_rows(bands, places, weights).view(len(numbers), *size, -1).permute(0, 3, 1, 2)

    def taps(self, axis: int, starts: Sequence[int], count: int) -> tuple[Tensor, Tensor]:
        """Each of the `count` pixels of an enlarged part is a weighted sum of four pixels along an axis.

        Returns their places and weights, (starts * count, 4) each.
        """
        parts = [(start, taps(min(self.crop[axis], self.size[axis] - start), count)) for start in starts]
        return torch.cat([start + places for start, (places, _) in parts]), torch.cat([weights for _, (_, weights) in parts])

    def fold(self, maps: Tensor, weights: Tensor, divisor: Divisor = "count") -> Tensor:
        """One map (T, *canvas) of the maps (S, T, h, w) of all slices at any resolution, each times its weight (S, T).

        Where slices overlap their maps are averaged; sums are in float32.
        """
        pieces = functional.interpolate(maps.float(), self.crop, mode="bilinear", align_corners=False)
        total = pieces.new_zeros((maps.shape[1], *self.canvas))
        below = torch.zeros_like(total)
        for piece, weight, (top, left) in zip(pieces, weights.float()[:, :, None, None], self.corners, strict=True):
            place = (slice(None), slice(top, top + self.crop[0]), slice(left, left + self.crop[1]))
            total[place] += weight * piece
            below[place] += weight if divisor == "weighted" else 1
        below = below + 1 if divisor == "authors" else torch.where(below == 0, 1.0, below)
        return total / below

    def stretch(self, folded: Tensor) -> Tensor:
        """Maps (T, *canvas) at the size of the inputs, (T, H, W)."""
        if self.canvas == self.size:
            return folded
        return functional.interpolate(folded[None], self.size, mode="bilinear", align_corners=False)[0]


def evenly_spread(size: tuple[int, int], crop: tuple[int, int], count: tuple[int, int]) -> Slicing:
    """`count` (rows, columns) slices from edge to edge, every pixel covered; raises UsageError where they do not cover it."""
    starts = []
    for whole, part, many in zip(size, crop, count, strict=True):
        if part > whole or many * part < whole:
            raise UsageError(
                f"{many} slices of {part} pixels do not cover {whole}",
                expected=f"at least {math.ceil(whole / part)} of them, or a crop of at least {math.ceil(whole / many)} pixels",
            )
        starts.append(tuple(round_half_up(i * (whole - part) / (many - 1)) if many > 1 else 0 for i in range(many)))
    return Slicing(size, crop, starts[0], starts[1])


def authors_starts(size: tuple[int, int], crop: tuple[int, int], count: tuple[int, int]) -> Slicing:
    """The authors' starts: a stride of floor((H - c + 2) / (n - 1)), exact for 6 slices of 124 of 224 pixels; else the last slice
    ends a few pixels before or beyond the border."""
    starts = []
    for whole, part, many in zip(size, crop, count, strict=True):
        stride = (whole - part + 2) // (many - 1) if many > 1 else 0
        if part > whole or (many - 1) * stride >= whole:
            raise UsageError(f"{many} slices of {part} pixels cannot be laid out on {whole} by the authors' stride of {stride}")
        starts.append(tuple(i * stride for i in range(many)))
    return Slicing(size, crop, starts[0], starts[1])


def weighted_rows(rows: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """Sums (m, N) of rows (n, N): those at `places` (m, 4), times their weights.

    A weighted sum of a bag of rows is many times as fast as torch's interpolation, or a product with the matrix of weights.
    """
    return functional.embedding_bag(places.to(rows.device), rows, per_sample_weights=weights.to(rows), mode="sum")


@functools.lru_cache(maxsize=16)
def taps(old: int, new: int) -> tuple[Tensor, Tensor]:
    """Of which of `old` values, and by what weights, each of `new` bicubically interpolated ones is the sum: (new, 4) each; where
    there are no four, some weights are 0."""
    with torch.inference_mode(False), torch.no_grad():
        # Along the other axis of the identity nothing changes.
        matrix = functional.interpolate(torch.eye(old)[None, None], (new, old), mode="bicubic", align_corners=False)[0, 0]
        places = matrix.abs().topk(min(4, old), dim=1).indices
        missing = (0, 4 - places.shape[1])
        return functional.pad(places, missing), functional.pad(matrix.gather(1, places), missing)


def round_half_up(value: float) -> int:
    return math.floor(value + 0.5)

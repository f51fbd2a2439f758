"""Layouts of feature tensors, and how each becomes a grid (B, K, h, w).

A vision transformer's tokens are laid out on the grid of its patch embedding, after or before further tokens (class,
distillation, registers). The grid is measured where the patches are made, so that non-square inputs keep their rows. Changing the
corners of the input proves a layout (`xaicli.network.corners`).
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from xaicli.errors import RunError
from xaicli.words import count as counted

MOST_PREFIX_TOKENS = 64
MOST_FURTHER_TOKENS = 160
"""Beside patches that a convolution made: a detector may have a hundred tokens for its boxes."""
Side = Literal["input", "output"]
"""Of a module: what it receives, or what it returns."""


class Axes(enum.Enum):
    """The order of a feature tensor's axes."""

    CHANNELS_FIRST = "channels-first"
    CHANNELS_LAST = "channels-last"
    TOKENS = "tokens"
    TOKENS_FIRST = "tokens-first"


@dataclass(frozen=True)
class Layout:
    """How a tensor of features is laid out.

    axes: (B, K, h, w), (B, h, w, K), (B, prefix + h*w + trailing, K), or the latter with the batch second; grid: (h, w) at the
    size the layout was measured at; prefix, trailing: how many tokens come before and after the patches; frames: of features over
    time, (B, K, t, h, w), (B, t, h, w, K) or tokens of all of them, how many parts of it there are, else 0.
    """

    axes: Axes
    grid: tuple[int, int]
    prefix: int = 0
    trailing: int = 0
    frames: int = 0

    @property
    def channel_axis(self) -> int:
        return 1 if self.axes is Axes.CHANNELS_FIRST else -1

    def to_grid(self, tensor: Tensor) -> Tensor:
        """Features, or their gradients, as (B, K, h, w): row-major, patches alone; those over time as (B, K t, h, w). Raises
        RunError if they do not fit."""
        if self.frames:
            return self.volumes(tensor).flatten(1, 2)
        tokens = self.axes in (Axes.TOKENS, Axes.TOKENS_FIRST)
        if tensor.ndim != (3 if tokens else 4):
            raise RunError(f"a feature layer gave a tensor of shape {tuple(tensor.shape)}", expected=self.axes.value)
        if self.axes is Axes.CHANNELS_FIRST:
            return tensor
        if self.axes is Axes.CHANNELS_LAST:
            return tensor.permute(0, 3, 1, 2)
        rows, columns = self.grid
        sequence = tensor.transpose(0, 1) if self.axes is Axes.TOKENS_FIRST else tensor
        if sequence.shape[1] != self.prefix + rows * columns + self.trailing:
            raise RunError(
                f"a feature layer gave {counted(sequence.shape[1], 'token')}",
                expected=f"{self.prefix + self.trailing} further tokens and {rows} x {columns} patches",
                hint="Inputs must have the size of the classifier's view.",
            )
        patches = sequence[:, self.prefix : self.prefix + rows * columns]
        return patches.unflatten(1, self.grid).permute(0, 3, 1, 2)

    def volumes(self, tensor: Tensor) -> Tensor:
        """Features over time, or their gradients, as (B, K, t, h, w)."""
        if tensor.ndim != (3 if self.axes is Axes.TOKENS else 5):
            raise RunError(f"a feature layer gave a tensor of shape {tuple(tensor.shape)}", expected="features over time")
        if self.axes is Axes.TOKENS:
            count = self.frames * self.grid[0] * self.grid[1]
            if tensor.shape[1] != self.prefix + count:
                raise RunError(
                    f"a feature layer gave {counted(tensor.shape[1], 'token')}", expected=f"{self.prefix + count} of them"
                )
            return tensor[:, self.prefix :].unflatten(1, (self.frames, *self.grid)).permute(0, 4, 1, 2, 3)
        return tensor if self.axes is Axes.CHANNELS_FIRST else tensor.permute(0, 4, 1, 2, 3)


def token_layout(tokens: int, patches: tuple[int, int] | None) -> Layout | None:
    """The layout of a sequence of `tokens`, given the grid of patches that the network's own embedding made.

    More tokens than patches means prefix tokens; fewer means that patches were merged two by two, as hierarchical networks do.
    None if neither fits.
    """
    if patches is None:
        return None
    rows, columns = patches
    if 0 <= tokens - rows * columns <= MOST_FURTHER_TOKENS:
        return Layout(Axes.TOKENS, (rows, columns), tokens - rows * columns)
    while rows * columns > tokens and rows * columns > 1:
        rows, columns = -(-rows // 2), -(-columns // 2)
    return Layout(Axes.TOKENS, (rows, columns)) if rows * columns == tokens else None


def square_patches(tokens: int, size: tuple[int, int]) -> Layout | None:
    """The layout of a sequence of `tokens` whose patches were not made by a convolution: the largest number of square patches
    that tile an input of `size`. None if none fit."""
    shared = math.gcd(*size)
    for side in (side for side in range(1, shared + 1) if shared % side == 0):
        rows, columns = size[0] // side, size[1] // side
        if 0 <= tokens - rows * columns <= MOST_PREFIX_TOKENS:
            return Layout(Axes.TOKENS, (rows, columns), tokens - rows * columns)
    return None

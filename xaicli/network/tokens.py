"""Layouts of feature tensors, and how each becomes a grid (B, K, h, w).

A vision transformer's tokens are laid out on the grid that its own patch embedding gave, after the prefix tokens (class,
distillation, registers). The grid is measured where the patches are made, never taken from a square root of the token count, so
that non-square inputs keep their rows.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from torch import Tensor

from xaicli.errors import RunError

MOST_PREFIX_TOKENS = 64


class Axes(enum.Enum):
    """The order of a feature tensor's axes."""

    CHANNELS_FIRST = "channels-first"
    CHANNELS_LAST = "channels-last"
    TOKENS = "tokens"


@dataclass(frozen=True)
class Layout:
    """How a tensor of features is laid out.

    axes: (B, K, h, w), (B, h, w, K) or (B, prefix + h*w, K); grid: (h, w) at the size the layout was measured at; prefix: how
    many tokens stand before the patches.
    """

    axes: Axes
    grid: tuple[int, int]
    prefix: int = 0

    @property
    def channel_axis(self) -> int:
        return 1 if self.axes is Axes.CHANNELS_FIRST else -1

    def to_grid(self, tensor: Tensor) -> Tensor:
        """Features, or their gradients, as (B, K, h, w): row-major, without prefix tokens. Raises RunError where they misfit."""
        if tensor.ndim != (3 if self.axes is Axes.TOKENS else 4):
            raise RunError(f"a feature layer gave a tensor of shape {tuple(tensor.shape)}", expected=self.axes.value)
        if self.axes is Axes.CHANNELS_FIRST:
            return tensor
        if self.axes is Axes.CHANNELS_LAST:
            return tensor.permute(0, 3, 1, 2)
        rows, columns = self.grid
        if tensor.shape[1] != self.prefix + rows * columns:
            raise RunError(
                f"a feature layer gave {tensor.shape[1]} tokens",
                expected=f"{self.prefix} prefix tokens and {rows} x {columns} patches",
                hint="Inputs must have the size of the classifier's view.",
            )
        return tensor[:, self.prefix :].unflatten(1, self.grid).permute(0, 3, 1, 2)


def token_layout(tokens: int, patches: tuple[int, int] | None) -> Layout | None:
    """The layout of a sequence of `tokens`, given the grid of patches that the network's own embedding made.

    What is more than the patches are prefix tokens; what is fewer are patches merged two by two, as hierarchical networks do.
    None where neither fits.
    """
    if patches is None:
        return None
    rows, columns = patches
    if 0 <= tokens - rows * columns <= MOST_PREFIX_TOKENS:
        return Layout(Axes.TOKENS, (rows, columns), tokens - rows * columns)
    while rows * columns > tokens and rows * columns > 1:
        rows, columns = -(-rows // 2), -(-columns // 2)
    return Layout(Axes.TOKENS, (rows, columns)) if rows * columns == tokens else None

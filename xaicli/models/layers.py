"""The feature layer of a network: found by itself, or named; and the list of all layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from xaicli.errors import UsageError
from xaicli.models.tokens import Layout

Side = Literal["input", "output"]


@dataclass(frozen=True, eq=False)
class FeatureLayer:
    """A module and the side of it where features are read.

    name: its dotted path in the network; layout: how the tensor there becomes a grid; rectified: the network applies a functional
    ReLU to this output, and features are taken after it; call: which call counts where the module is used more than once.
    """

    name: str
    module: nn.Module
    side: Side
    layout: Layout
    rectified: bool = False
    call: int | None = None

    def __str__(self) -> str:
        return self.name if self.side == "output" else f"{self.name}:{self.side}"

    def to_grid(self, tensor: Tensor) -> Tensor:
        """Features as the layer gives them, or their gradients, as (B, K, h, w)."""
        return self.layout.to_grid(tensor)


def default_layer(module: nn.Module, size: tuple[int, int]) -> FeatureLayer:
    """The layer that explains this network best, at inputs of `size` (height, width)."""
    raise UsageError("no feature layer was found")


def named_layer(module: nn.Module, name: str, size: tuple[int, int]) -> FeatureLayer:
    """The layer of that name: a dotted path, negative indices allowed, `:input` or `:output` after it."""
    raise UsageError(f'no layer "{name}"')

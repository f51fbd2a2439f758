"""A fixed input for passes that look at the network itself, not at a photo."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Enter = Callable[[Tensor], Tensor]
"""How inputs (B, C, H, W) become what a network takes: sequences have a form of their own."""


def as_it_is(inputs: Tensor) -> Tensor:
    return inputs


def noise(module: nn.Module, size: tuple[int, int], channels: int = 3) -> Tensor:
    """A fixed input (1, C, H, W): coarse and fine noise, on the network's device and in its precision."""
    generator = torch.Generator().manual_seed(0)
    fine = torch.randn(1, channels, *size, generator=generator)
    coarse = torch.randn(1, channels, 8, 8, generator=generator)
    inputs = nn.functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False) + 0.3 * fine
    parameter = next((tensor for tensor in module.parameters() if tensor.is_floating_point()), None)
    return inputs if parameter is None else inputs.to(parameter.device, parameter.dtype)

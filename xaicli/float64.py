"""Double precision on any device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

HAVE_IT = ("cpu", "cuda")
"""Device types that have float64; from others (Apple's) a tensor is moved to the processor first."""


def in_float64(tensor: Tensor) -> Tensor:
    """The tensor in float64, on its device if that supports it, else on the processor."""
    return tensor.double() if tensor.device.type in HAVE_IT else tensor.cpu().double()

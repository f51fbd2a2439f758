"""Whether code wrote into tensors that it was given to read, found by a copy.

torch's own count of writes misses those through `.data` and through `.numpy()`, which shares the memory. A copy misses none: for
16 photos of 64 x 64, making and comparing it takes about a thousandth of a Grad-CAM pass of the bundled network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def copies_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def written(tensors: Mapping[str, Tensor], copies: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that differ from their copies, which were made before."""
    return [name for name, tensor in tensors.items() if differ(tensor.detach(), copies[name])]


def differ(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors differ; NaN is equal to NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return True
    return not one.equal(other) and bool(((one != other) & ((one == one) | (other == other))).any())

"""The state of a network: what tells that it has changed, and the hash of its numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

State: TypeAlias = tuple[object, ...]

SAMPLED = 32
"""About how many numbers of each tensor are compared one by one."""


def state_of(module: nn.Module) -> State:
    """What is compared to tell that a network has changed: modules, their kinds and hooks; identity, version, norm and some
    numbers of each weight and buffer."""
    parts = list(module.modules())
    kinds = [(id(part), type(part), len(part._forward_hooks), len(part._forward_pre_hooks)) for part in parts]
    owned = [tensor for part in parts for own in (part._parameters, part._buffers) for tensor in own.values()]
    tensors = [tensor.detach() for tensor in owned if tensor is not None]
    versions = [(id(tensor), 0 if tensor.is_inference() else tensor._version) for tensor in owned if tensor is not None]
    # Writing through `.data` does not change the version, so norms are compared too, and some numbers: other signs or another
    # order leave a norm as it is. As text and bytes, since NaN is not equal to itself.
    floating = [tensor for tensor in tensors if tensor.is_floating_point()]
    norms = torch._foreach_norm(floating) if floating else ()
    return (*kinds, *versions, *(float(norm).hex() for norm in norms), *(content(sampled(tensor)) for tensor in floating))


def sampled(tensor: Tensor) -> Tensor:
    """Some of a tensor's numbers, at equal distances."""
    return tensor.reshape(-1)[:: max(1, tensor.numel() // SAMPLED)]


def hash_of_state(state: Mapping[str, Any]) -> tuple[list[list[Any]], str]:
    """Names and shapes of the tensors of a state, in the order of their names, and the SHA-256 of their numbers as float32."""
    hasher = hashlib.sha256()
    tensors: list[list[Any]] = []
    for name, tensor in sorted(state.items()):
        if isinstance(tensor, Tensor):
            tensors.append([name, list(tensor.shape)])
            hasher.update(content(tensor))
    return tensors, hasher.hexdigest()


def content(tensor: Tensor) -> bytes:
    """A tensor's numbers as bytes: floating ones as float32, so that a file in half precision and its cast to float32 are the
    same."""
    plain = tensor.detach().cpu()
    if plain.is_complex():
        plain = torch.view_as_real(plain)
    if plain.is_quantized:
        plain = plain.dequantize()
    if plain.is_floating_point():
        plain = plain.to(torch.float32)
    return plain.contiguous().numpy().tobytes()

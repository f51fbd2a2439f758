"""Fingerprints: what a model is, by content, whatever file or device it lies in."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from xaicli.images.view import View
from xaicli.stamps import stamp


def module_fingerprint(module: nn.Module, view: View) -> str:
    """16 hex digits over architecture (class, names and shapes of the state), weights as float32, and view; of no device."""
    hasher = hashlib.sha256()
    tensors = []
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, Tensor):
            tensors.append([name, list(tensor.shape)])
            hasher.update(content(tensor))
    architecture = [type(module).__name__, tensors]
    return stamp({"architecture": architecture, "weights": hasher.hexdigest(), "view": view.as_dict()})


def content(tensor: Tensor) -> bytes:
    """A tensor's numbers as bytes: floating ones as float32, so that a file in half precision and its cast are one."""
    plain = tensor.detach().cpu()
    if plain.is_complex():
        plain = torch.view_as_real(plain)
    if plain.is_quantized:
        plain = plain.dequantize()
    if plain.is_floating_point():
        plain = plain.to(torch.float32)
    return plain.contiguous().numpy().tobytes()


def file_fingerprint(file_hash: str, view: View) -> str:
    """16 hex digits over a black box's files and its view."""
    return stamp({"file": file_hash, "view": view.as_dict()})

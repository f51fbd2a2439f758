"""Fingerprints: identify a model by content, independent of its file and device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xaicli.images.view import View
from xaicli.network.state import hash_of_state
from xaicli.stamps import stamp


def module_fingerprint(module: nn.Module, view: View) -> str:
    """16 hex digits over architecture (class, names and shapes of the state), weights as float32, and view; independent of the
    device."""
    tensors, weights = hash_of_state(module.state_dict())
    return stamp({"architecture": [type(module).__name__, tensors], "weights": weights, "view": view.as_dict()})


def file_fingerprint(file_hash: str, view: View) -> str:
    """16 hex digits over a black box's files and its view."""
    return stamp({"file": file_hash, "view": view.as_dict()})


Account = list[int | str]
"""A coarse account of what a network computes."""

STEP = 0.25
"""The step of that account; rounding differences between processors are ten thousand times smaller."""


def computed(outputs: Tensor) -> Account:
    """A coarse account of outputs (B, ...) of fixed inputs: for each photo the spread, on a scale of powers of two, and the
    correlation of its outputs with a fixed pattern. It changes if the same weights are used by another forward(), but not on
    another processor."""
    values = outputs.detach().flatten(1).cpu().double()
    if not bool(values.isfinite().all()):
        return ["not finite"]
    spread = values.std(dim=1, correction=0) if values.shape[1] > 1 else values[:, 0].abs()
    centred = values - values.mean(dim=1, keepdim=True)
    pattern = torch.cos(1.7 * torch.arange(values.shape[1], dtype=torch.float64) + 0.3)
    agreement = (centred * pattern).sum(dim=1) / (spread * pattern.norm()).clamp_min(1e-12)
    account = torch.stack([spread.clamp_min(1e-12).log2(), agreement], dim=1)
    return [round(number / STEP) for number in account.flatten().tolist()]


def network_fingerprint(weights: str, account: Account) -> str:
    """16 hex digits over a network's weights, architecture and view, and what it computes."""
    return stamp({"weights": weights, "computes": account})

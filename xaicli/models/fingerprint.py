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

STEP = 1 / 16
"""The step of that account; rounding differences between processors are thousands of times smaller."""
NEGLIGIBLE = 1e-3
"""A spread below this share of the largest output says nothing: rounding would decide what is seen of it."""


def computed(outputs: Tensor) -> Account:
    """A coarse account of outputs (2, ...) of two fixed inputs: for each of the two, and for their difference, the spread, on a
    scale of powers of two, and the correlation of the outputs with two fixed patterns.

    It changes if the same weights are used by another forward(), but not on another processor. The difference says most: of the
    outputs themselves a bias may be nearly all.
    """
    values = outputs.detach().flatten(1).cpu().double()
    if not bool(values.isfinite().all()):
        return ["not finite"]
    largest = values.abs().max().clamp_min(1e-12)
    values = torch.cat([values, values[:1] - values[1:]])
    many = values.shape[1] > 1
    centred = values - values.mean(dim=1, keepdim=True) if many else values
    spread = centred.square().mean(dim=1).sqrt()
    places = torch.arange(values.shape[1], dtype=torch.float64)
    patterns = [torch.cos(pace * places + start) for pace, start in ((1.7, 0.3), (2.31, 1.3))] if many else []
    agreement = [centred @ pattern / (spread * pattern.norm()).clamp_min(1e-12) for pattern in patterns]
    account = torch.stack([spread.clamp_min(1e-12).log2(), *agreement], dim=1)
    account[spread < NEGLIGIBLE * largest] = 0
    return [round(number / STEP) for number in account.flatten().tolist()]


def network_fingerprint(weights: str, account: Account) -> str:
    """16 hex digits over a network's weights, architecture and view, and what it computes."""
    return stamp({"weights": weights, "computes": account})

"""A user's network, borrowed: in eval mode, its parameters frozen, and given back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from xaicli.errors import InputError


@contextmanager
def borrowed(module: nn.Module, *, frozen: bool = True) -> Iterator[None]:
    """Evaluation mode and gradients enabled, whatever the caller's modes are; parameters frozen, so that no graph reaches them.

    Flags are set one by one, not through `eval()` and `train()`, which networks override. All is restored, also on an exception.
    Raises InputError where parameters were created under `torch.inference_mode`, which no gradient can pass.
    """
    parameters = list(module.parameters())
    if any(tensor.is_inference() for tensor in parameters):
        raise InputError(
            "the network's parameters were created under torch.inference_mode, and no gradient passes them",
            expected="parameters created outside of it",
            hint="Build the network first, then enter inference mode.",
        )
    training = [part for part in module.modules() if part.training]
    trainable = [tensor for tensor in parameters if tensor.requires_grad] if frozen else []
    try:
        for part in training:
            part.training = False
        for tensor in trainable:
            tensor.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for part in training:
            part.training = True
        for tensor in trainable:
            tensor.requires_grad_(True)

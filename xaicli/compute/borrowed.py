"""A user's network, borrowed for gradients: in eval mode, its parameters frozen, and given back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from xaicli.compute.modes import eval_mode
from xaicli.errors import InputError


@contextmanager
def borrowed(module: nn.Module, *, frozen: bool = True) -> Iterator[None]:
    """Evaluation mode, gradients enabled and full precision, whatever the caller's modes are; parameters frozen, so that no graph
    reaches them.

    All is restored, also on an exception. Raises InputError where parameters were created under `torch.inference_mode`, which no
    gradient can pass.
    """
    parameters = list(module.parameters())
    if any(tensor.is_inference() for tensor in parameters):
        raise InputError(
            "the network's parameters were created under torch.inference_mode, and no gradient passes them",
            expected="parameters created outside of it",
            hint="Build the network first, then enter inference mode.",
        )
    trainable = [tensor for tensor in parameters if tensor.requires_grad] if frozen else []
    with ExitStack() as stack:
        stack.enter_context(eval_mode(module))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {tensor.device.type for tensor in parameters}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        try:
            for tensor in trainable:
                tensor.requires_grad_(False)
            yield
        finally:
            for tensor in trainable:
                tensor.requires_grad_(True)

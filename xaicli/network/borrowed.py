"""A user's network, borrowed for gradients: in eval mode, its parameters frozen, and given back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from xaicli.errors import InputError
from xaicli.network.modes import switched_off


@contextmanager
def borrowed(module: nn.Module, *, frozen: bool = True) -> Iterator[None]:
    """Evaluation mode, gradients enabled and full precision, whatever the caller's modes are; parameters frozen, so that no graph
    reaches them.

    All is restored, also on an exception. Raises InputError where parameters were created under `torch.inference_mode`, which no
    gradient can pass.
    """
    # One walk of the network for both: in a batch of few photos it takes as long as a layer.
    parts = list(module.modules())
    parameters = [tensor for part in parts for tensor in part._parameters.values() if tensor is not None]
    if any(tensor.is_inference() for tensor in parameters):
        raise InputError(
            "the network's parameters were created under torch.inference_mode, and no gradient passes them",
            expected="parameters created outside of it",
            hint="Build the network first, then enter inference mode.",
        )
    with ExitStack() as stack:
        stack.enter_context(switched_off(parts, "training"))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {tensor.device.type for tensor in parameters}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(switched_off(parameters if frozen else (), "requires_grad"))
        yield

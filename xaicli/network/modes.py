"""The modes of a network during a `with` block (evaluation, or ready for gradients), restored afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from xaicli.errors import InputError


@contextmanager
def eval_mode(*modules: nn.Module | None) -> Iterator[None]:
    """Turn dropout and batch statistics off inside.

    Each submodule's mode is restored afterwards, also on an exception. A black box (None) has no modes.
    """
    with switched_off((part for module in modules if module is not None for part in module.modules()), "training"):
        yield


@contextmanager
def switched_off(owners: Iterable[nn.Module | Tensor], flag: Literal["training", "requires_grad"]) -> Iterator[None]:
    """Set a flag of each owner to False inside, and restore it afterwards, also on an exception.

    Flags are set one by one, never through `train()` or `eval()`, which networks override (frozen batch norm, merged adapters).
    """
    on = [owner for owner in owners if getattr(owner, flag)]
    try:
        for owner in on:
            setattr(owner, flag, False)
        yield
    finally:
        for owner in on:
            setattr(owner, flag, True)


@contextmanager
def attribution_mode(module: nn.Module, *, frozen: bool = True) -> Iterator[None]:
    """Evaluation mode, gradients enabled and full precision, whatever the caller's modes are; parameters frozen, so that no graph
    reaches them.

    Everything is restored, also on an exception. Raises InputError where parameters were created under `torch.inference_mode`:
    no gradient passes those.
    """
    # One walk over the modules for both flags: with few photos a walk takes as long as a layer.
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

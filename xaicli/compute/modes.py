"""Evaluation mode for the length of a `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(module: nn.Module | None) -> Iterator[None]:
    """Dropout and batch statistics are off inside; afterwards each submodule has the mode it had, also when something raises.

    Flags are set one by one, never through `train()` or `eval()`, which networks override (frozen batch norm, merged adapters).
    A black box (None) has no modes.
    """
    training = [part for part in module.modules() if part.training] if module is not None else []
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True

"""Evaluation mode for the length of a `with` block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from torch import Tensor, nn


@contextmanager
def eval_mode(module: nn.Module | None) -> Iterator[None]:
    """Dropout and batch statistics are off inside; afterwards each submodule has the mode it had, also when something raises.

    A black box (None) has no modes.
    """
    with switched_off(module.modules() if module is not None else (), "training"):
        yield


@contextmanager
def switched_off(owners: Iterable[nn.Module | Tensor], flag: Literal["training", "requires_grad"]) -> Iterator[None]:
    """The flag of each owner is False inside, and afterwards what it was, also when something raises.

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

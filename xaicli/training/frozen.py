"""Networks that are only used while something else is trained: not one bit of them changes, nor their modes and gradients."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn

from xaicli.errors import RunError
from xaicli.network.modes import eval_mode, switched_off
from xaicli.network.state import content


@contextmanager
def frozen(modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Put networks into evaluation mode without gradients of parameters; all is restored afterwards.

    Raises RunError if a parameter or buffer has changed, since what was trained inside would then explain a network that no
    longer exists.
    """
    before = {name: digest(module) for name, module in modules.items()}
    parameters = [tensor for module in modules.values() for tensor in module.parameters()]
    with eval_mode(*modules.values()), switched_off(parameters, "requires_grad"):
        yield
    changed = [name for name, module in modules.items() if digest(module) != before[name]]
    if changed:
        raise RunError(f"training changed the frozen network {changed[0]}", expected="its weights and buffers as they were")


def digest(module: nn.Module) -> str:
    """A hash over the names and bytes of all parameters and buffers, including unsaved ones."""
    hasher = hashlib.sha256()
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hasher.update(content(tensor))
    return hasher.hexdigest()

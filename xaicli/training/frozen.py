"""Networks that are only used while something else is trained: no mode, no gradient, not one bit of them changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from torch import nn

from xaicli.errors import RunError
from xaicli.models.fingerprint import content
from xaicli.network.modes import eval_mode


@contextmanager
def frozen(modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Evaluation mode, no gradients of parameters; all restored afterwards.

    Raises RunError where a parameter or buffer is not bit for bit what it was: then what was trained inside explains a network
    that is no more.
    """
    before = {name: digest(module) for name, module in modules.items()}
    trainable = [tensor for module in modules.values() for tensor in module.parameters() if tensor.requires_grad]
    with ExitStack() as stack:
        for module in modules.values():
            stack.enter_context(eval_mode(module))
        try:
            for tensor in trainable:
                tensor.requires_grad_(False)
            yield
        finally:
            for tensor in trainable:
                tensor.requires_grad_(True)
    changed = [name for name, module in modules.items() if digest(module) != before[name]]
    if changed:
        raise RunError(f"training changed the frozen network {changed[0]}", expected="its weights and buffers as they were")


def digest(module: nn.Module) -> str:
    """A hash over the names and bytes of all parameters and buffers, those that are not saved too."""
    hasher = hashlib.sha256()
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hasher.update(content(tensor))
    return hasher.hexdigest()

"""`nn.MultiheadAttention` of a frozen network in bfloat16 on the processor, without its slow product.

A layer of batches first (B, N, D) transposes its input and multiplies it by its weights. For a transposed input and weights
without gradients torch takes a batched product, which in bfloat16 is a hundred times slower on some processors than the plain
one. Here the input is laid out in memory so that it is contiguous after the transposition; its values are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

READ = ("query", "key", "value")


@contextmanager
def contiguous_inside(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Lay out what the attention layers of these networks are given, for the time of the `with`."""
    layers = {part for module in modules for part in module.modules() if isinstance(part, nn.MultiheadAttention)}
    with ExitStack() as stack:
        for layer in layers:
            if layer.batch_first:
                stack.callback(layer.register_forward_pre_hook(laid_out, with_kwargs=True).remove)
        yield


def laid_out(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call, with query, key and value in the order tokens, batch in memory; equal ones stay one tensor."""
    made: dict[int, Tensor] = {}

    def laid(given: Any) -> Any:
        if not isinstance(given, Tensor) or given.ndim != 3:
            return given
        if id(given) not in made:
            made[id(given)] = given.transpose(0, 1).contiguous().transpose(0, 1)
        return made[id(given)]

    positional = tuple(laid(given) if at < len(READ) else given for at, given in enumerate(args))
    return positional, {name: laid(given) if name in READ else given for name, given in kwargs.items()}

"""The tensor inside what a module receives or returns: a tensor, a tuple that begins with one, or a mapping that holds one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from xaicli.network.tokens import Side


def first_tensor(value: Any) -> Tensor | None:
    """The tensor itself, or the first one in a tuple, list or mapping; None where there is none."""
    if isinstance(value, Tensor):
        return value
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return next((item for item in items if isinstance(item, Tensor)), None)


def replace_first_tensor(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`value` with its first tensor changed; all else, and the type of `value`, stays."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        key = next((key for key, item in value.items() if isinstance(item, Tensor)), None)
        if key is None:
            return value
        changed: Any = copy.copy(value)
        changed[key] = change(value[key])
        return changed
    if not isinstance(value, tuple | list):
        return value
    index = next((at for at, item in enumerate(value) if isinstance(item, Tensor)), None)
    if index is None:
        return value
    items = [change(item) if at == index else item for at, item in enumerate(value)]
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def change_first_argument(
    args: tuple[Any, ...], kwargs: dict[str, Any], change: Callable[[Tensor], Tensor]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with their first tensor changed, whether it is given by position or by name."""
    if first_tensor(args) is not None:
        return replace_first_tensor(args, change), kwargs
    return args, replace_first_tensor(kwargs, change)


@contextmanager
def altering(module: nn.Module, side: Side, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Inside the `with`, the first tensor that a module receives (`input`) or returns (`output`) is changed."""
    if side == "input":
        hook = module.register_forward_pre_hook(
            lambda _, args, kwargs: change_first_argument(args, kwargs, change), with_kwargs=True
        )
    else:
        hook = module.register_forward_hook(lambda _, args, output: replace_first_tensor(output, change))
    try:
        yield
    finally:
        hook.remove()

"""A device that has no float64, as Apple's have none, and answers with an exception.

It is imitated: tensors on it are computed by the processor, and any float64 among them raises.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
NO_FLOAT64 = "the device has no float64"


class OnDevice(Tensor):
    """A tensor that says it lies on `DEVICE`; `inner` holds its numbers."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        made = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype, device=DEVICE
        )
        made.inner = inner
        return made

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({self.inner!r})"

    def tolist(self) -> Any:
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


class Without64(TorchDispatchMode):
    """Within, tensors can be made on `DEVICE`, but for those of float64."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    device = kwargs.get("device")
    there = any(isinstance(value, OnDevice) for value in given)
    if device is not None:
        there = torch.device(device).type == DEVICE.type
        kwargs = {**kwargs, "device": torch.device("cpu")} if there else kwargs
    if not there and not any(isinstance(value, OnDevice) for value in given):
        return func(*args, **kwargs)
    inner_args, inner_kwargs = tree_map(unwrap, (args, kwargs))
    with torch.inference_mode(False), torch.no_grad():
        result = func(*inner_args, **inner_kwargs)
    owners = {id(value.inner): value for value in given if isinstance(value, OnDevice)}
    return tree_map(lambda value: wrap(value, owners) if there else value, result)


def unwrap(value: Any) -> Any:
    return value.inner if isinstance(value, OnDevice) else value


def wrap(value: Any, owners: dict[int, OnDevice]) -> Any:
    if not isinstance(value, Tensor):
        return value
    if value.dtype in (torch.float64, torch.complex128):
        # No TypeError: operators take one for a sign that the other operand shall try.
        raise RuntimeError(NO_FLOAT64)
    return owners[id(value)] if id(value) in owners else OnDevice(value)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The device; on it autocast is no subject, and there is no inference mode."""
    own, of_list = torch.autocast, torch.tensor

    def autocast(kind: str, *args: Any, **settings: Any) -> Any:
        return contextlib.nullcontext() if kind == DEVICE.type else own(kind, *args, **settings)

    def tensor(data: Any, *, device: Any = None, **settings: Any) -> Tensor:
        made = of_list(data, **settings)
        return made if device is None else made.to(device)

    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr(torch, "tensor", tensor)
    monkeypatch.setattr(torch, "inference_mode", lambda on=True: torch.no_grad() if on else contextlib.nullcontext())
    with Without64():
        yield DEVICE

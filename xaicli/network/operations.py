"""What a network computes, read off one pass: each operation, and the module inside which it ran.

Rules and hooks reach modules alone. A ReLU called as a function, a module called twice, a GELU: rules pass over them
without a word, and the map that comes out is of another network. Here they are found, whatever the network is written in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation on tensors that depend on the photo. name: torch's own, `convolution`; module, path: the innermost
    module that ran it; operands: how many of its inputs depend on the photo."""

    name: str
    module: nn.Module
    path: str
    operands: int

    def __str__(self) -> str:
        kind = type(self.module).__name__
        return f"{self.name} in {self.path} ({kind})" if self.path else f"{self.name} in {kind}"


@dataclass(eq=False)
class Observed:
    """One pass: the network's output, its operations in order, and how often each module was called."""

    output: Any = None
    operations: list[Operation] = field(default_factory=list)
    calls: Counter[nn.Module] = field(default_factory=Counter)
    paths: dict[nn.Module, str] = field(default_factory=dict)

    def outside(self, kinds: tuple[type[nn.Module], ...]) -> Iterable[Operation]:
        """Operations that no module of exactly these types ran."""
        return (operation for operation in self.operations if type(operation.module) not in kinds)

    def called(self, kinds: tuple[type[nn.Module], ...]) -> list[nn.Module]:
        """Modules of exactly these types that took part."""
        return [module for module in self.calls if type(module) in kinds]


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes operations as torch dispatches them, below autograd, so that functions, methods and scripted code are seen
    alike."""

    def __init__(self, observed: Observed, running: list[nn.Module]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.observed = observed
        self.running = running

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operands = sum(isinstance(value, Tensor) and value.requires_grad for value in tree_leaves((args, kwargs)))
        if operands:
            module = self.running[-1]
            name = func._schema.name.removeprefix("aten::").removesuffix("_")
            if name == "div" and isinstance(args[1], Tensor) and args[1].requires_grad:
                name = "quotient"
            self.observed.operations.append(Operation(name, module, self.observed.paths.get(module, ""), operands))
        return func(*args, **kwargs)


def observe(network: nn.Module, photos: Tensor) -> Observed:
    """Pass photos (B, 3, H, W) and note what happens; the output has no graph.

    Sets hooks on `network` for the length of the call; its parameters must be frozen, since what depends on the photo is
    told by its gradient: pass a twin.
    """
    observed = Observed(paths={module: path for path, module in network.named_modules()})
    running: list[nn.Module] = [network]

    def enter(module: nn.Module, inputs: object) -> None:
        running.append(module)
        observed.calls[module] += 1

    def leave(module: nn.Module, inputs: object, output: object) -> None:
        running.pop()

    handles = []
    try:
        for module in network.modules():
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        with torch.inference_mode(False), torch.enable_grad():
            # A copy of the leaf: networks may change their input in place.
            entering = photos.detach().clone().requires_grad_(True).clone()
            with Watch(observed, running):
                output = network(entering)
        observed.output = output.detach() if isinstance(output, Tensor) else output
    finally:
        for handle in handles:
            handle.remove()
    observed.operations = [operation for operation in observed.operations if operation.name not in BOOKKEEPING]
    return observed


def words(text: str) -> list[str]:
    return text.split()


BOOKKEEPING = frozenset({"detach", "alias", "lift_fresh", "view_as"})

ROUTING = frozenset(
    words(
        """view _unsafe_view reshape _reshape_alias flatten permute transpose t slice select narrow split split_with_sizes
        split_with_sizes_copy unbind cat stack clone copy contiguous _to_copy to expand repeat squeeze unsqueeze roll flip unfold
        as_strided constant_pad_nd pixel_shuffle pixel_unshuffle channel_shuffle"""
    )
)
"""Operations that only move numbers about."""

LINEAR = ROUTING | frozenset(
    words(
        """convolution _convolution mkldnn_convolution cudnn_convolution linear addmm mm bmm baddbmm matmul mv add sub rsub neg
        sum mean mul div batch_norm native_batch_norm _native_batch_norm_legit_no_training _batch_norm_no_update cudnn_batch_norm
        miopen_batch_norm avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool2d mkldnn_adaptive_avg_pool2d upsample_bilinear2d
        _upsample_bilinear2d_aa upsample_nearest2d"""
    )
)
"""Operations that are linear, up to a constant, in one operand that depends on the photo; sums and routes in any number
of them."""

SUMS = ROUTING | {"add", "sub", "rsub"}

MAX_POOLING = frozenset(words("max_pool2d max_pool2d_with_indices mkldnn_max_pool2d adaptive_max_pool2d"))

NORMS = frozenset(words("native_layer_norm native_group_norm"))
"""Norms by the photo's own mean and deviation, which are not linear."""

SOFTMAX = frozenset(words("_softmax _log_softmax"))


def is_linear(operation: Operation) -> bool:
    """Whether differences of inputs pass the operation unchanged in kind: a product of two that depend on the photo is
    not linear."""
    return operation.name in LINEAR and (operation.operands == 1 or operation.name in SUMS)

"""One pass through a network, watched: its modules' calls in order, its operations, and who reads which tensor.

    with observing(module) as seen:
        module(photos)
    [call.path for call in seen.calls]

All that looks at a pass uses this: the layers and their tensors (`dry_run`), what may be folded into one operation
(`convolution_chains`), which operations a rule has to cover (`operations`), what ended before a layer (Ablation-CAM).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from xaicli.network.dispatch import DispatchWatch
from xaicli.network.nested import first_tensor

BOOKKEEPING = frozenset({"detach", "alias", "lift_fresh", "view_as"})
"""Operations of torch that compute nothing."""


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
class Call:
    """One call of a module. path: its dotted name, empty for the network itself; repeated: run again during the backward pass, as
    checkpointed parts are.

    If tensors are numbered: received, returned: the numbers of the first tensor that it received and of the first that it
    returned; reads: how many operations had read that one when the call ended.
    """

    module: nn.Module
    path: str
    repeated: bool = False
    received: int | None = None
    returned: int | None = None
    reads: int = 0


@dataclass(eq=False)
class Observed:
    """What was seen of a pass. calls: in the order in which they began; ended: in the order in which they ended; operations: in
    order; reads: how many operations read a tensor, by its number; hooked: modules with the user's hooks."""

    paths: dict[nn.Module, str]
    hooked: frozenset[nn.Module]
    output: Any = None
    has_graph: bool = True
    """Whether a gradient leads from the output to the photo; set by `observe`."""
    calls: list[Call] = field(default_factory=list)
    ended: list[Call] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    reads: Counter[int] = field(default_factory=Counter)
    running: list[Call] = field(default_factory=list)
    forward: bool = True
    """To be set to False before a backward pass, so that parts that run again then are not counted."""
    numbers: dict[int, int] = field(default_factory=dict)
    """Numbers of tensors by identity, during the pass alone, while all of them are kept alive."""

    @property
    def times(self) -> Counter[nn.Module]:
        """How often each module was called."""
        return Counter(call.module for call in self.calls)

    def outside(self, kinds: tuple[type[nn.Module], ...]) -> Iterable[Operation]:
        """Operations that no module of exactly these types ran."""
        return (operation for operation in self.operations if type(operation.module) not in kinds)

    def called(self, kinds: tuple[type[nn.Module], ...]) -> list[nn.Module]:
        """Modules of exactly these types that took part."""
        return [module for module in self.times if type(module) in kinds]


Before = Callable[[Call, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]] | None]
"""Called as a module begins; may return other arguments."""
After = Callable[[Call, tuple[Any, ...], dict[str, Any], Any], Any]
"""Called as a module ends, with its arguments and its output; may return another output, None for the same."""


@contextmanager
def observing(
    network: nn.Module, *, before: Before | None = None, after: After | None = None, operations: bool = False
) -> Iterator[Observed]:
    """Note what the network does in the passes inside the `with`, during which it has hooks.

    operations: also note operations, and number the tensors that modules receive and return; those tensors are kept until the
    end.
    """
    hooked = frozenset(part for part in network.modules() if part._forward_hooks or part._forward_pre_hooks)
    seen = Observed({part: path for path, part in network.named_modules()}, hooked)
    kept: list[Tensor] = []

    def number(tensor: Tensor | None) -> int | None:
        if tensor is None or not operations:
            return None
        if id(tensor) not in seen.numbers:
            kept.append(tensor)
        return seen.numbers.setdefault(id(tensor), len(seen.numbers))

    def enter(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = Call(part, seen.paths[part], repeated=not seen.forward)
        seen.running.append(call)
        if seen.forward:
            seen.calls.append(call)
            call.received = number(argument(args, kwargs))
        return before(call, args, kwargs) if before is not None else None

    def leave(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        call = Call(part, seen.paths[part], repeated=not seen.forward)
        # If a module raised and its caller went on, the calls inside it never ended: drop them too.
        while seen.running and (call := seen.running.pop()).module is not part:
            pass
        if seen.forward:
            seen.ended.append(call)
            call.returned = number(first_tensor(output))
            call.reads = 0 if call.returned is None else seen.reads[call.returned]
        return after(call, args, kwargs, output) if after is not None else None

    with ExitStack() as stack:
        for part in seen.paths:
            if isinstance(part, torch.jit.ScriptModule):
                # It accepts no hooks; its operations count as its caller's.
                continue
            stack.callback(part.register_forward_pre_hook(enter, with_kwargs=True).remove)
            stack.callback(part.register_forward_hook(leave, with_kwargs=True).remove)
        stack.enter_context(Watch(seen) if operations else contextlib.nullcontext())
        stack.callback(seen.numbers.clear)
        yield seen


def argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The first tensor that a module is given, by position or by name."""
    taken = first_tensor(args)
    return first_tensor(kwargs) if taken is None else taken


class Watch(DispatchWatch):
    """Notes operations as torch dispatches them, below autograd, so that functions, methods and scripted code are all seen."""

    def __init__(self, observed: Observed) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.observed = observed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        seen = self.observed
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        for tensor in tensors:
            if id(tensor) in seen.numbers:
                seen.reads[seen.numbers[id(tensor)]] += 1
        operands = sum(tensor.requires_grad for tensor in tensors)
        name = func._schema.name.removeprefix("aten::").removesuffix("_")
        if operands and name not in BOOKKEEPING and seen.running:
            if name == "div" and isinstance(args[1], Tensor) and args[1].requires_grad:
                name = "quotient"
            call = seen.running[-1]
            seen.operations.append(Operation(name, call.module, call.path, operands))
        return func(*args, **kwargs)


def observe(network: nn.Module, photos: Tensor) -> Observed:
    """Pass photos (B, 3, H, W) with a graph and note what happens; the output has no graph.

    The network's parameters must be frozen, since a tensor counts as depending on the photo if it requires a gradient: pass a
    twin.
    """
    with observing(network, operations=True) as seen, torch.inference_mode(False), torch.enable_grad():
        # A copy of the leaf: networks may change their input in place.
        output = network(photos.detach().clone().requires_grad_(True).clone())
        tensor = first_tensor(output)
        seen.has_graph = tensor is None or tensor.requires_grad
        seen.output = output.detach() if isinstance(output, Tensor) else output
    return seen

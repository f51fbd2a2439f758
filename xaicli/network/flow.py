"""What one pass shows of a network: which convolution's output is read by one batch norm or activation and by nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU)


class Chain(NamedTuple):
    """Names of a convolution, of the batch norm that alone reads its output, and of the activation that alone reads that; empty
    where there is none."""

    convolution: str
    norm: str = ""
    activation: str = ""


@dataclass(eq=False)
class Flow:
    """Outputs of convolutions and norms by identity: who made them, which modules were given them, how many operations read them.

    These outputs are kept until the pass is over, so that no other tensor takes their identity.
    """

    parts: dict[str, nn.Module] = field(default_factory=dict)
    makers: dict[int, str] = field(default_factory=dict)
    takers: dict[int, list[str]] = field(default_factory=dict)
    reads: Counter[int] = field(default_factory=Counter)
    overwritten: set[int] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    kept: list[Tensor] = field(default_factory=list)

    @contextmanager
    def observed(self, module: nn.Module | None) -> Iterator[None]:
        """Within, what the network does is noted; its hooks are gone afterwards."""
        named = module.named_modules() if module is not None else ()
        self.parts = {name: part for name, part in named if plain(part)}
        handles = [part.register_forward_hook(self.note(name)) for name, part in self.parts.items()]
        try:
            with Reading(self.reads):
                yield
        finally:
            self.kept.clear()
            for handle in handles:
                handle.remove()

    def note(self, name: str) -> Any:
        def hook(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self.calls[name] += 1
            if not isinstance(part, nn.Conv2d) and inputs:
                self.takers.setdefault(id(inputs[0]), []).append(name)
                if output is inputs[0] and self.reads[id(output)] == 1:
                    # An activation that works in place, before anything else has read: all that follows reads its result.
                    self.overwritten.add(id(output))
            if not isinstance(part, ACTIVATIONS):
                self.born(name, output)

        return hook

    def born(self, name: str, output: Tensor) -> None:
        """Note who made a tensor; what was noted under its identity was another's, which is gone."""
        self.makers[id(output)] = name
        self.takers.pop(id(output), None)
        self.reads[id(output)] = 0
        self.overwritten.discard(id(output))
        self.kept.append(output)

    def chains(self) -> list[Chain]:
        """Each convolution with what alone reads it, modules that were called once."""
        after = {}
        for tensor, maker in self.makers.items():
            takers = self.takers.get(tensor, [])
            alone = tensor in self.overwritten or (len(takers) == 1 and self.reads[tensor] == 1)
            if alone and self.calls[maker] == self.calls[takers[0]] == 1:
                after[maker] = takers[0]
        found = []
        for name, part in self.parts.items():
            if isinstance(part, nn.Conv2d) and name in after:
                norm = after[name] if isinstance(self.parts[after[name]], nn.BatchNorm2d) else ""
                last = after.get(norm, "") if norm else after[name]
                activation = last if isinstance(self.parts.get(last), ACTIVATIONS) else ""
                found.append(Chain(name, norm, activation))
        return found


class Reading(TorchDispatchMode):
    """Counts the operations that read each tensor, by identity."""

    def __init__(self, reads: Counter[int]) -> None:
        super().__init__()
        self.reads = reads

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_leaves((args, kwargs or {})):
            if isinstance(tensor, Tensor):
                self.reads[id(tensor)] += 1
        return function(*args, **(kwargs or {}))


def plain(part: nn.Module) -> bool:
    """A convolution, batch norm or activation and nothing more: no subclass, no hook, no forward of its own."""
    known = type(part) in (nn.Conv2d, *ACTIVATIONS) or (type(part) is nn.BatchNorm2d and part.running_mean is not None)
    return known and not part._forward_hooks and not part._forward_pre_hooks and "forward" not in vars(part)

"""A twin of a network with its batch norms folded into the convolutions before them: the same logits in less time.

In evaluation mode a batch norm is a scale and a shift a channel, which the convolution's weights can hold. Where the
convolution's output is read by nothing else, which one pass shows operation by operation, the twin computes the same numbers
but for rounding.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xaicli.compute.modes import eval_mode
from xaicli.compute.twin import replace_module, twin_of
from xaicli.errors import XaiError

if TYPE_CHECKING:
    from xaicli.models.classifier import Classifier


def folded(classifier: Classifier, photo: Tensor) -> tuple[Tensor, Classifier]:
    """Logits (1, C) of `photo` (1, 3, H, W) from the network itself, and the classifier over its folded twin: the same classifier
    where there is nothing to fold. The network is left alone; the twin holds copies of its convolutions' weights."""
    module = classifier.module
    flow = Flow()
    with flow.observed(module), eval_mode(module), torch.inference_mode(), torch.autocast(photo.device.type, enabled=False):
        logits = classifier(photo).clone()
    pairs = flow.pairs()
    if module is None or classifier.forward is not module or not pairs:
        return logits, classifier
    try:
        twin = twin_of(module, classifier.name)
    except XaiError:
        return logits, classifier
    parts = dict(twin.named_modules())
    for convolution, norm in pairs:
        fold(twin, parts[convolution], parts[norm])
    return logits, dataclasses.replace(classifier, forward=twin, module=twin)


@dataclass(eq=False)
class Flow:
    """One pass: which convolution made a tensor, which module was given it, and how many operations read it.

    Tensors are kept until the pass is over, so that none takes another's identity.
    """

    parts: dict[str, nn.Module] = field(default_factory=dict)
    makers: dict[int, str] = field(default_factory=dict)
    takers: dict[int, list[str]] = field(default_factory=dict)
    reads: Counter[int] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    kept: list[Tensor] = field(default_factory=list)

    @contextmanager
    def observed(self, module: nn.Module | None) -> Iterator[None]:
        """Within, what the network does is noted; its hooks are gone afterwards."""
        named = module.named_modules() if module is not None else ()
        self.parts = {name: part for name, part in named if plain(part)}
        handles = [part.register_forward_hook(self.note(name)) for name, part in self.parts.items()]
        try:
            with Reading(self):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def note(self, name: str) -> Any:
        def hook(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self.calls[name] += 1
            if isinstance(part, nn.Conv2d):
                self.makers[id(output)] = name
                self.kept.append(output)
            elif inputs:
                self.takers.setdefault(id(inputs[0]), []).append(name)

        return hook

    def pairs(self) -> list[tuple[str, str]]:
        """Convolutions and the batch norms that alone read their output, each called once."""
        found = []
        for tensor, maker in self.makers.items():
            takers = self.takers.get(tensor, [])
            if len(takers) == 1 and self.reads[tensor] == 1 and self.calls[maker] == self.calls[takers[0]] == 1:
                found.append((maker, takers[0]))
        self.kept.clear()
        return found


class Reading(TorchDispatchMode):
    """Counts the operations that read each tensor."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_leaves((args, kwargs or {})):
            if isinstance(tensor, Tensor):
                self.flow.reads[id(tensor)] += 1
        return function(*args, **(kwargs or {}))


def plain(part: nn.Module) -> bool:
    """A convolution or batch norm and nothing more: no subclass, no hook, no forward of its own."""
    known = type(part) is nn.Conv2d or (type(part) is nn.BatchNorm2d and part.running_mean is not None)
    return known and not part._forward_hooks and not part._forward_pre_hooks and "forward" not in vars(part)


def fold(twin: nn.Module, convolution: nn.Module, norm: nn.Module) -> None:
    """Put a convolution's batch norm into its weights, computed in float64, and nothing in the norm's place."""
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.inference_mode(False), torch.no_grad():
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        shift = -norm.running_mean.double() * scale
        if norm.affine:
            scale, shift = scale * norm.weight.double(), shift * norm.weight.double() + norm.bias.double()
        weight = convolution.weight.double() * scale.view(-1, 1, 1, 1)
        if convolution.bias is not None:
            shift = shift + convolution.bias.double() * scale
        kind = convolution.weight.dtype
        convolution.weight = nn.Parameter(weight.to(kind, memory_format=torch.channels_last), requires_grad=False)
        convolution.bias = nn.Parameter(shift.to(kind), requires_grad=False)
    replace_module(twin, norm, nn.Identity())

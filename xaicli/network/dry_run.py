"""A dry run: a forward and a backward pass on noise, to see what each layer receives and returns and where gradients arrive."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from xaicli.errors import RunError
from xaicli.network.flow import Flow, Place, flow_of
from xaicli.network.layouts import find_candidates
from xaicli.network.modes import attribution_mode
from xaicli.network.named_run import NamedRun, RunWatch
from xaicli.network.nested import change_first_argument, first_tensor, replace_first_tensor
from xaicli.network.noise import Enter, as_it_is, noise
from xaicli.network.observe import Call, argument, observing
from xaicli.network.tokens import Side
from xaicli.network.trace import LayerTrace, NetworkTrace

WEIGHTED = (nn.Conv2d, nn.Conv3d, nn.Linear)


class Recorder:
    """Notes the tensors of a dry run. run: of a layer that runs several times, the run that counts; of others the last does.

    Each tensor is handed on as a copy, as a tap does, so that its gradient is what a tap would read: a module that returns a map
    and its mean may have no gradient at the map itself.
    """

    def __init__(self, run: NamedRun | None = None) -> None:
        self.watch = RunWatch(run)
        self.layers: dict[str, LayerTrace] = {}
        self.latest: dict[tuple[str, Side], object] = {}
        self.leaves: list[Tensor] = []
        self.grids: list[tuple[int, int]] = []
        self.volumes: list[tuple[int, int, int]] = []
        self.begun: dict[nn.Module, float] = {}
        self.work = 0.0
        self.nodes: dict[Place, Any] = {}
        self.numbers = WeakTensorKeyDictionary()
        self.count = 0
        self.with_gradients = True
        """Whether the module that ended last ran with gradients."""

    def before(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not seen_as_layer(call):
            return None
        self.watch.begins(call)
        self.begun[call.module] = self.work
        return change_first_argument(args, kwargs, lambda tensor: self.handed_on(call, "input", tensor))

    def after(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if not seen_as_layer(call):
            return None
        if not call.repeated:
            self.with_gradients = torch.is_grad_enabled()
            self.note(call, argument(args, kwargs), first_tensor(output))
        return replace_first_tensor(output, lambda tensor: self.handed_on(call, "output", tensor))

    def note(self, call: Call, received: Tensor | None, returned: Tensor | None) -> None:
        if isinstance(call.module, nn.Conv2d) and returned is not None:
            self.grids.append((returned.shape[-2], returned.shape[-1]))
        if isinstance(call.module, nn.Conv3d) and returned is not None:
            self.volumes.append((returned.shape[-3], returned.shape[-2], returned.shape[-1]))
        self.work += multiplications(call.module, returned)
        layer = self.layers.pop(call.path, None) or LayerTrace(call.path, call.module)
        self.layers[call.path] = layer
        layer.calls += 1
        if not self.watch.counts(call):
            return
        layer.patches = tuple(dict.fromkeys(reversed(self.grids)))
        layer.volumes = tuple(dict.fromkeys(reversed(self.volumes)))
        layer.behind = {"input": self.begun[call.module], "output": self.work}
        tensors: dict[Side, Tensor | None] = {"input": received, "output": returned}
        layer.shapes = {side: tensor.shape for side, tensor in tensors.items() if tensor is not None}
        layer.numbers = {side: self.number(tensor) for side, tensor in tensors.items() if tensor is not None}

    def handed_on(self, call: Call, side: Side, tensor: Tensor) -> Tensor:
        """A copy of the tensor. If no graph leads to it, one begins here, so that frozen parts of a network are seen too."""
        if not tensor.is_floating_point():
            return tensor
        with torch.enable_grad():
            start = tensor
            if not tensor.requires_grad:
                start = tensor.detach().clone().requires_grad_()
                self.leaves.append(start)
            handed = start * 1
        if not call.repeated:
            if self.watch.counts(call):
                # The hook alone is kept: the tensor itself lives no longer than the network needs it.
                self.latest[call.path, side] = mark = object()
                handed.register_hook(self.noting_reach(call.path, side, mark))
            if side == "output":
                self.nodes[call.path, self.layers[call.path].calls - 1] = handed.grad_fn
        self.numbers[handed] = self.number(tensor)
        return handed

    def flow(self, output: Tensor) -> Flow:
        """Which layers feed which, and the logits."""
        weighted = {place for place in self.nodes if isinstance(self.layers[place[0]].module, WEIGHTED)}
        return flow_of(self.nodes, weighted, output.grad_fn)

    def close(self) -> None:
        """Let go of the graph: the hooks of its nodes lead back here, a circle that is never collected."""
        self.nodes.clear()

    def number(self, tensor: Tensor) -> int:
        if tensor not in self.numbers:
            self.numbers[tensor] = self.count
            self.count += 1
        return int(self.numbers[tensor])

    def note_gradients(self, output: Tensor) -> None:
        """Run backward once from a fixed mixture of all outputs, so that no single class decides, and note where the gradient
        arrives."""
        if not self.leaves or not output.requires_grad:
            return
        generator = torch.Generator().manual_seed(1)
        weights = torch.randn(output.shape, generator=generator).to(output)
        torch.autograd.grad((output * weights).sum(), self.leaves, allow_unused=True)

    def take_for_reached(self) -> None:
        """Of a network without gradients, as an exported one that was cut, every layer's grid counts."""
        for layer in self.layers.values():
            layer.reached = {(side, layout) for side, layouts in layer.candidates.items() for layout in layouts}

    def noting_reach(self, path: str, side: Side, mark: object) -> Callable[[Tensor | None], None]:
        """A hook that notes where a gradient arrives, in the call of a layer that counts."""

        def hook(gradient: Tensor | None) -> None:
            layer = self.layers.get(path)
            # Where an operation behind the layer has no derivative, as quantised ones, there is no gradient.
            if gradient is None or layer is None or self.latest[path, side] is not mark:
                return
            for layout in layer.candidates.get(side, ()):
                if bool(layout.to_grid(gradient).any()):
                    layer.reached.add((side, layout))

        return hook


def seen_as_layer(call: Call) -> bool:
    return bool(call.path) and not isinstance(call.module, torch.jit.ScriptModule)


def dry_run(
    module: nn.Module,
    size: tuple[int, int],
    channels: int = 3,
    read: Callable[[Any], Tensor | None] = first_tensor,
    enter: Enter = as_it_is,
    run: NamedRun | None = None,
) -> NetworkTrace:
    """Run fixed noise of `size` (height, width) and so many channels through the network and return what it shows; read: the
    logits of its output; enter, run: as in the trace. Raises RunError if the network returns no tensor."""
    recorder = Recorder(run)
    watched = observing(module, before=recorder.before, after=recorder.after)
    with closing(recorder), attribution_mode(module), watched as seen:
        output = read(module(enter(noise(module, size, channels))))
        seen.forward = False
        if output is None:
            raise RunError("the network returns no tensor", expected="logits (photos, classes)")
        find_candidates(recorder.layers, size, recorder.latest)
        flow = recorder.flow(output)
        if getattr(module, "gradient_free", False):
            recorder.take_for_reached()
        else:
            recorder.note_gradients(output)
    for layer in recorder.layers.values():
        layer.behind = {side: 1 - before / max(recorder.work, 1.0) for side, before in layer.behind.items()}
    begun = tuple(dict.fromkeys(call.path for call in seen.calls))
    return NetworkTrace(
        module,
        size,
        recorder.layers,
        begun,
        recorder.with_gradients,
        channels=channels,
        flow=flow,
        enter=enter,
        run=run,
        of_run=partial(dry_run, module, size, channels, read, enter),
    )


def multiplications(part: nn.Module, output: Tensor | None) -> float:
    """The multiplications of a convolution or linear layer, which are most of a network's work; what a part of an exported
    network says of itself."""
    if (counted := getattr(part, "counted_work", None)) is not None:
        return float(counted)
    if output is None or not isinstance(part, WEIGHTED):
        return 0.0
    return float(output.numel() * part.weight[0].numel())

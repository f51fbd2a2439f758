"""A dry run: a forward and a backward pass on noise that show what each layer takes and gives, and where gradients arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd
from torch.utils.weak import WeakTensorKeyDictionary

from xaicli.errors import RunError
from xaicli.network.corners import Movement, watch_corners
from xaicli.network.modes import attribution_mode
from xaicli.network.nested import change_first_argument, first_tensor, replace_first_tensor
from xaicli.network.noise import noise
from xaicli.network.observe import Call, argument, observing
from xaicli.network.tokens import Axes, Layout, Side, square_patches, token_layout

SIDES: tuple[Side, ...] = ("input", "output")

IMAGE_SHAPED = (
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.BatchNorm2d,
    nn.InstanceNorm2d,
    nn.GroupNorm,
    _MaxPoolNd,
    _AvgPoolNd,
    _AdaptiveAvgPoolNd,
    _AdaptiveMaxPoolNd,
)


@dataclass(eq=False)
class LayerTrace:
    """What one module took and gave in its last call.

    shapes: of the tensors, by side, "input" and "output"; numbers: which tensor each was, the same number for the same tensor;
    candidates: by side, layouts that its shape allows, the likeliest first; reached: which of them have a gradient on their grid;
    convolved: sides where convolutions, or what else works on pictures, take or give the tensor;
    behind: by side, the share of the network's work that follows, 0 to 1; patches: grids of all convolutions that ran before.
    """

    name: str
    module: nn.Module
    calls: int = 0
    shapes: dict[Side, torch.Size] = field(default_factory=dict)
    numbers: dict[Side, int] = field(default_factory=dict)
    candidates: dict[Side, tuple[Layout, ...]] = field(default_factory=dict)
    reached: set[tuple[Side, Layout]] = field(default_factory=set)
    convolved: set[Side] = field(default_factory=set)
    behind: dict[Side, float] = field(default_factory=dict)
    patches: tuple[tuple[int, int], ...] = ()


@dataclass(eq=False)
class NetworkTrace:
    """What the dry run of a network showed at inputs of `size` (height, width).

    layers: every module that ran but the network itself, by name, in the order in which they ended; begun: all that ran by name,
    in the order in which they first began; has_graph: whether the outputs have a gradient at all.
    """

    module: nn.Module
    size: tuple[int, int]
    layers: dict[str, LayerTrace]
    begun: tuple[str, ...]
    has_graph: bool = True
    movements: dict[tuple[int, int], dict[tuple[str, Side, Layout], Movement]] = field(default_factory=dict, repr=False)

    def layout(self, layer: LayerTrace, side: Side) -> Layout | None:
        """The layout of a layer's grid: the first that moves where the input changes; None where there is none."""
        return next((layout for layout in layer.candidates.get(side, ()) if not self.misplaced(layer, side, layout)), None)

    def misplaced(self, layer: LayerTrace, side: Side, layout: Layout) -> str:
        """What speaks against a layout, in words; empty where each corner of the input moves its own corner of the grid.

        All layers whose layouts have one grid are looked at in one pass.
        """
        if max(layout.grid) < 2:
            return "it has one cell"
        if layout.grid not in self.movements:
            wanted = {
                (other.name, side): fitting
                for other in self.layers.values()
                for side in SIDES
                if (fitting := [one for one in other.candidates.get(side, ()) if one.grid == layout.grid])
            }
            self.movements[layout.grid] = watch_corners(self.module, self.size, wanted)
        movement = self.movements[layout.grid].get((layer.name, side, layout))
        return "its shape changes with the number of photos" if movement is None else movement.misplaced(side in layer.convolved)

    def reaches_logits(self, layer: LayerTrace, side: Side) -> bool:
        """Whether the gradient on the grid (further tokens left out) is anywhere non-zero, where the layer is tapped."""
        layout = self.layout(layer, side)
        return layout is not None and (side, layout) in layer.reached


class Recorder:
    """Notes the tensors of a dry run.

    Each is handed on as a copy, as a tap does, so that its gradient is what a tap would read: a module that returns a map and its
    mean may have none at the map.
    """

    def __init__(self) -> None:
        self.layers: dict[str, LayerTrace] = {}
        self.tensors: dict[tuple[str, Side], Tensor] = {}
        self.leaves: list[Tensor] = []
        self.grids: list[tuple[int, int]] = []
        self.begun: dict[nn.Module, float] = {}
        self.work = 0.0
        self.numbers = WeakTensorKeyDictionary()
        self.count = 0
        self.with_gradients = True
        """Whether the module that ended last ran with gradients."""

    def before(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not seen_as_layer(call):
            return None
        self.begun[call.module] = self.work
        return change_first_argument(args, kwargs, lambda tensor: self.handed_on(call, "input", tensor))

    def after(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if not seen_as_layer(call):
            return None
        if not call.repeated:
            self.with_gradients = torch.is_grad_enabled()
            self.note(call, first_tensor(output), argument(args, kwargs))
        return replace_first_tensor(output, lambda tensor: self.handed_on(call, "output", tensor))

    def note(self, call: Call, given: Tensor | None, taken: Tensor | None) -> None:
        if isinstance(call.module, nn.Conv2d) and given is not None:
            self.grids.append((given.shape[-2], given.shape[-1]))
        self.work += multiplications(call.module, given)
        layer = self.layers.pop(call.path, None) or LayerTrace(call.path, call.module)
        self.layers[call.path] = layer
        layer.calls += 1
        layer.patches = tuple(dict.fromkeys(reversed(self.grids)))
        layer.behind = {"input": self.begun[call.module], "output": self.work}
        tensors: dict[Side, Tensor | None] = {"input": taken, "output": given}
        layer.shapes = {side: tensor.shape for side, tensor in tensors.items() if tensor is not None}
        layer.numbers = {side: self.number(tensor) for side, tensor in tensors.items() if tensor is not None}

    def handed_on(self, call: Call, side: Side, tensor: Tensor) -> Tensor:
        """A copy of the tensor, in a graph of its own where none leads to it: frozen parts of a network are seen too."""
        if not tensor.is_floating_point():
            return tensor
        with torch.enable_grad():
            start = tensor
            if not tensor.requires_grad:
                start = tensor.detach().clone().requires_grad_()
                self.leaves.append(start)
            kept = start * 1
            handed = kept * 1
        if not call.repeated:
            self.tensors[call.path, side] = kept
        self.numbers[handed] = self.number(tensor)
        return handed

    def number(self, tensor: Tensor) -> int:
        if tensor not in self.numbers:
            self.numbers[tensor] = self.count
            self.count += 1
        return int(self.numbers[tensor])

    def note_gradients(self, output: Tensor) -> None:
        """One backward pass from a fixed mixture of all outputs, so that no one class decides: where it arrives is noted."""
        if not self.leaves or not output.requires_grad:
            return
        for (path, side), tensor in self.tensors.items():
            layer = self.layers.get(path)
            if layer is not None and layer.candidates.get(side):
                tensor.register_hook(noting_reach(layer, side))
        self.tensors.clear()
        generator = torch.Generator().manual_seed(1)
        weights = torch.randn(output.shape, generator=generator).to(output)
        torch.autograd.grad((output * weights).sum(), self.leaves, allow_unused=True)


def noting_reach(layer: LayerTrace, side: Side) -> Any:
    def hook(gradient: Tensor | None) -> None:
        if gradient is None:
            # An operation behind the layer has no derivative, as quantised ones.
            return
        for layout in layer.candidates[side]:
            if bool(layout.to_grid(gradient).any()):
                layer.reached.add((side, layout))

    return hook


def seen_as_layer(call: Call) -> bool:
    return bool(call.path) and not isinstance(call.module, torch.jit.ScriptModule)


def dry_run(module: nn.Module, size: tuple[int, int]) -> NetworkTrace:
    """What one pass of a fixed noise of `size` (height, width) shows. Raises RunError where the network returns no tensor."""
    recorder = Recorder()
    with attribution_mode(module), observing(module, before=recorder.before, after=recorder.after) as seen:
        output = first_tensor(module(noise(module, size)))
        seen.forward = False
        if output is None:
            raise RunError("the network returns no tensor", expected="logits (photos, classes)")
        fill_candidates(recorder.layers, size, recorder.tensors)
        recorder.note_gradients(output)
    for layer in recorder.layers.values():
        layer.behind = {side: 1 - before / max(recorder.work, 1.0) for side, before in layer.behind.items()}
    begun = tuple(dict.fromkeys(call.path for call in seen.calls))
    return NetworkTrace(module, size, recorder.layers, begun, recorder.with_gradients)


def multiplications(part: nn.Module, given: Tensor | None) -> float:
    """How many multiplications a convolution or linear layer took, the bulk of a network's work."""
    if given is None or not isinstance(part, nn.Conv2d | nn.Linear):
        return 0.0
    return float(given.numel() * part.weight[0].numel())


def fill_candidates(layers: dict[str, LayerTrace], size: tuple[int, int], floating: Iterable[tuple[str, Side]]) -> None:
    """Say of every tensor how it may be laid out: by what takes and gives it first, then by its size."""
    evidence: dict[int, Axes] = {}
    for layer, side, shape in shapes_of(layers.values()):
        axes = axes_of(layer.module)
        if axes is not None and len(shape) == 4:
            evidence.setdefault(layer.numbers[side], axes)
    sequences = {shape[1] for layer, _, shape in shapes_of(layers.values()) if len(shape) == 3 and on_patches(shape[1], layer)}
    known = set(floating)
    for layer, side, shape in shapes_of(layers.values()):
        if (layer.name, side) not in known:
            continue
        if len(shape) == 3:
            layer.candidates[side] = token_layouts(shape, layer, size)
        elif len(shape) == 4 and shape[0] == 1 and not is_attention(shape, layer.module, sequences):
            axes = evidence.get(layer.numbers[side]) or axes_within(layer, shape, layers)
            layer.candidates[side] = image_layouts(shape, axes, size)
            if axes is Axes.CHANNELS_FIRST:
                layer.convolved.add(side)


def shapes_of(layers: Iterable[LayerTrace]) -> Iterator[tuple[LayerTrace, Side, torch.Size]]:
    return ((layer, side, shape) for layer in layers for side, shape in layer.shapes.items())


def image_layouts(shape: torch.Size, axes: Axes | None, size: tuple[int, int]) -> tuple[Layout, ...]:
    """Layouts of a tensor of four axes: in the order that the modules at it demand; where none does, either one, the last only if
    it has the proportions of the input."""
    first, last = Layout(Axes.CHANNELS_FIRST, (shape[2], shape[3])), Layout(Axes.CHANNELS_LAST, (shape[1], shape[2]))
    if axes is not None:
        return (first,) if axes is Axes.CHANNELS_FIRST else (last,)
    alike = 0.5 < (last.grid[0] * size[1]) / (last.grid[1] * size[0]) < 2
    return (first, last) if alike else (first,)


def is_attention(shape: torch.Size, module: nn.Module, sequences: set[int]) -> bool:
    """Whether what a single operation (a softmax, a dropout, a norm of queries) takes or gives is (1, heads, tokens, ...) or
    (1, tokens, heads, ...): not a grid."""
    single = not isinstance(module, IMAGE_SHAPED) and not any(True for _ in module.children())
    return single and not sequences.isdisjoint(shape[1:3])


def axes_of(module: nn.Module) -> Axes | None:
    """The order of axes that a module demands of a four-dimensional tensor; None where it takes any."""
    if isinstance(module, IMAGE_SHAPED):
        return Axes.CHANNELS_FIRST
    if isinstance(module, nn.LayerNorm):
        # Layer norms of the kind called LayerNorm2d, or told so by an attribute, permute on their own.
        first = type(module).__name__.endswith("2d") or getattr(module, "data_format", "") == "channels_first"
        return Axes.CHANNELS_FIRST if first else Axes.CHANNELS_LAST
    return Axes.CHANNELS_LAST if isinstance(module, nn.Linear) else None


def axes_within(layer: LayerTrace, shape: torch.Size, layers: dict[str, LayerTrace]) -> Axes | None:
    """The order of axes of the first module inside `layer` that takes or gives this shape; None where there is no such."""
    for name, inner in layers.items():
        axes = axes_of(inner.module)
        if axes and name.startswith(f"{layer.name}.") and shape in inner.shapes.values():
            return axes
    return None


def token_layouts(shape: torch.Size, layer: LayerTrace, size: tuple[int, int]) -> tuple[Layout, ...]:
    """Tokens on the grid of the convolution before them that leaves the fewest over; of several, the latest; where no convolution
    made patches, on squares that tile the input. The batch may stand second, and further tokens behind the patches."""
    if 1 not in shape[:2]:
        return ()
    axes = Axes.TOKENS if shape[0] == 1 else Axes.TOKENS_FIRST
    tokens = shape[1] if axes is Axes.TOKENS else shape[0]
    found = on_patches(tokens, layer) or square_patches(tokens, size)
    if found is None:
        return ()
    before = Layout(axes, found.grid, found.prefix)
    return (before, Layout(axes, found.grid, 0, found.prefix)) if found.prefix else (before,)


def on_patches(tokens: int, layer: LayerTrace) -> Layout | None:
    """Tokens on the grid of a convolution that ran before."""
    fitting = [layout for patches in layer.patches if (layout := token_layout(tokens, patches)) is not None]
    return min(fitting, key=lambda layout: layout.prefix, default=None)

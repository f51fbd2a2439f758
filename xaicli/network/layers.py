"""The feature layer of a network, found automatically or by name, and the list of all layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn
from torch.fx import GraphModule

from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.network.families import known_family
from xaicli.network.named_run import NamedRun
from xaicli.network.tokens import Axes, Layout, Side
from xaicli.network.trace import LayerTrace, NetworkTrace

LIST_THEM = "See xai list layers --model SPEC."
ANOTHER_METHOD = "or use a method that reads no layer: rise."
ONCE = f"Name a layer that runs once (NAME@layer=PATH; xai list layers --model SPEC), {ANOTHER_METHOD}"
ENCODERS = ("backbone", "encoder")
"""The names that networks with class maps give to the part that makes features."""


@dataclass(frozen=True, eq=False)
class FeatureLayer:
    """A module and the side of it where features are read.

    name: its dotted path in the network; layout: how the tensor there becomes a grid; channels: K; behind: the share of the
    network's work that follows, 0 to 1; rectified: the network applies a functional ReLU to this output, and features are taken
    after it; call: which call counts where the module runs more than once.
    """

    name: str
    module: nn.Module
    side: Side
    layout: Layout
    channels: int
    behind: float = 1.0
    rectified: bool = False
    call: int | None = None

    def __str__(self) -> str:
        """The layer in the form in which it is named."""
        side = "" if self.side == "output" else f":{self.side}"
        return f"{self.name}{side}" if self.call is None else f"{self.name}{side}#{self.call}"

    def to_grid(self, tensor: Tensor) -> Tensor:
        """Features as the layer gives them, or their gradients, as (B, K, h, w)."""
        return self.layout.to_grid(tensor)


class LayerRow(NamedTuple):
    """One line of `xai list layers`: name, kind of module, shape of its output, its grid (None without one), and whether it is
    the default."""

    name: str
    kind: str
    shape: tuple[int, ...]
    grid: tuple[int, int] | None
    default: bool


Cuts = Callable[[], list[LayerRow]]
"""Finds the tensors at which an exported network can be cut into features and what follows them."""


def default_layer(trace: NetworkTrace, *, encoder: bool = False) -> FeatureLayer:
    """The layer that explains this network best.

    It is the layer in its family's row; without one, the last layer with a grid of 2 x 2 cells or more, preferably one that runs
    once. A layer counts only if it has a gradient to the logits and a grid that moves where the input changes. encoder: search
    the network's encoder alone, if it has one. Raises InputError if no layer fits.
    """
    if not trace.has_graph:
        raise InputError(
            "no gradient passes the network: its forward pass runs under torch.no_grad",
            hint="Remove that, or use a method that needs the forward pass alone.",
        )
    prefix, places = known_family(trace.module)
    for place in places:
        name = find_path(trace.module, join(prefix, place.path))
        if name in trace.layers and usable(trace, trace.layers[name], place.side):
            call = None if trace.layers[name].calls == 1 else -1
            return feature_layer(trace, trace.layers[name], place.side, rectified=place.rectified, call=call)
    inside = encoders(trace.module) if encoder else ("",)
    features = [layer for layer in last_features(trace) if f"{layer.name}.".startswith(inside)]
    for once in (True, False):
        fitting = (layer for layer in features if (layer.calls == 1) is once and usable(trace, layer, "output"))
        if (layer := last_of_encoder(fitting, inside)) is not None:
            return feature_layer(trace, layer, "output", call=None if once else -1)
    if isinstance(trace.module, GraphModule):
        raise InputError(
            "the network is a graph of operations without layers, as torch.export makes it",
            hint="Load the network it was exported from, or use a method that reads no layer: integrated-gradients, rise.",
        )
    raise no_layer(trace, features)


def no_layer(trace: NetworkTrace, features: Iterable[LayerTrace]) -> InputError:
    """The refusal of a network none of whose features fits; features: the last first. It says why the last one with a grid does
    not."""
    found = "no layer of this network has a spatial grid and a gradient to the logits"
    expected = "a convolutional network or a vision transformer with weights that are not all zero"
    hint = f"Name a layer (NAME@layer=PATH), {ANOTHER_METHOD}"
    last = next((one for one in features if any(min(layout.grid) >= 2 for layout in one.candidates["output"])), None)
    if last is not None and (refused := refusal(trace, last, "output")) is not None:
        found = f"{found}: {refused.found}"
        if last.calls > 1:
            expected, hint = "a layer that runs once, on which the logits depend", ONCE
    return InputError(found, expected=expected, hint=hint)


def last_features(trace: NetworkTrace) -> Iterator[LayerTrace]:
    """The layers whose outputs are a network's features, the last first; whether their grids and gradients are sound is not
    checked."""
    blocks, aside = repeated_blocks(trace.module), side_branches(trace.module)
    of_tokens = tuple(f"{name}." for name in blocks if name in trace.layers and gives_tokens(trace.layers[name]))
    for layer in reversed(trace.layers.values()):
        if not f"{layer.name}.".startswith(aside) and is_feature(layer, blocks, of_tokens):
            yield layer


def last_of_encoder(fitting: Iterator[LayerTrace], inside: tuple[str, ...]) -> LayerTrace | None:
    """The first of layers, the last first; of an encoder its own last layer, unless the encoder gives just that: what it gives
    first may be an early stage, for the skips of a decoder."""
    layer = next(fitting, None)
    if layer is None or f"{layer.name}." not in inside:
        return layer
    last = next(fitting, None)
    return layer if last is None or last.shapes.get("output") == layer.shapes.get("output") else last


def named_layer(trace: NetworkTrace, name: str) -> FeatureLayer:
    """The layer of that name: a dotted path, negative indices allowed (`layer4.-1`); `:input` for what enters it (default
    `:output`); `#CALL` where the module runs more than once (`relu#0`, the first; by default the last).

    Raises UsageError if there is no such layer, if it has no spatial grid, if its grid does not move with the input, or if its
    gradient does not reach the logits.
    """
    match = re.fullmatch(r"([^:#]+)(?::(input|output))?(?:#(-?\d+))?", name.strip())
    if match is None:
        raise UsageError(f'"{name}" is not a layer', expected="a dotted path, then :input or :output if wanted", hint=LIST_THEM)
    path = find_path(trace.module, match[1])
    if path is None:
        known = [known for known, _ in trace.module.named_modules() if known]
        raise UsageError(f'no layer "{match[1]}"', hint=f"{did_you_mean(match[1], known)} {LIST_THEM}".strip())
    side: Side = "input" if match[2] == "input" else "output"
    layer = trace.layers.get(path)
    if layer is None:
        raise UsageError(f"layer {path} does not run in a forward pass of its own", hint=LIST_THEM)
    call = int(match[3]) if match[3] is not None else None
    if call is None and layer.calls > 1:
        call = -1
    if call is not None and not -layer.calls <= call < layer.calls:
        raise UsageError(f"layer {path} runs {layer.calls} times in one pass; there is no call {call}")
    if call is not None and call not in (-1, layer.calls - 1) and trace.of_run is not None:
        trace = trace.of_run(NamedRun(path, call % layer.calls))
        layer = trace.layers[path]
    refuse_unusable(trace, layer, side)
    prefix, places = known_family(trace.module)
    rectified = {find_path(trace.module, join(prefix, place.path)) for place in places if place.rectified}
    return feature_layer(trace, layer, side, rectified=side == "output" and path in rectified, call=call)


def refuse_unusable(trace: NetworkTrace, layer: LayerTrace, side: Side) -> None:
    """Raise UsageError unless a layer has a grid of more than one cell that moves with the input, and a gradient that reaches the
    logits."""
    if (refused := refusal(trace, layer, side)) is not None:
        raise refused


def refusal(trace: NetworkTrace, layer: LayerTrace, side: Side) -> UsageError | None:
    """What speaks against reading features at a layer; None if nothing does. Of a layer that runs several times in a pass the
    run of the trace is judged, by default the last, and the refusal says so."""
    once = layer.calls == 1
    judged = "its last run" if trace.run is None or trace.run.path != layer.name else f"its run #{trace.run.number}"
    of_run = "" if once else f"layer {layer.name} runs {layer.calls} times in one pass, and in {judged} "
    hint = LIST_THEM if once else ONCE
    candidates = [layout for layout in layer.candidates.get(side, ()) if max(layout.grid) >= 2]
    if not candidates:
        shape = layer.shapes.get(side)
        found = "no tensor" if shape is None else f"shape {tuple(shape)}"
        return UsageError(f"{of_run}layer {layer.name} has no spatial grid: its {side} has {found}", hint=hint)
    layout = trace.layout(layer, side)
    if layout is None:
        rows, columns = candidates[0].grid
        why = trace.misplaced(layer, side, candidates[0])
        return UsageError(
            f"{of_run}the {side} of layer {layer.name} is not a picture of {rows} x {columns} cells: {why}", hint=hint
        )
    if not trace.reaches_logits(layer, side):
        better = ""
        if layout.axes is Axes.TOKENS and side == "output" and trace.reaches_logits(layer, "input"):
            better = f"The head reads the class token alone; its input has one: layer={layer.name}:input."
        found = f"the gradient at layer {layer.name}:{side} is zero: no path leads from its grid to the logits"
        return UsageError(f"{of_run}{found}", hint=better or hint)
    return None


def list_layers(trace: NetworkTrace, *, encoder: bool = False) -> list[LayerRow]:
    """Every layer that runs, in the network's order of modules; encoder: as in `default_layer`."""
    try:
        default = default_layer(trace, encoder=encoder).name
    except InputError:
        default = ""
    rows = []
    for name, part in trace.module.named_modules():
        layer = trace.layers.get(name)
        if layer is None or "output" not in layer.shapes:
            continue
        layout = layer_grid(trace, layer)
        rows.append(LayerRow(name, type(part).__name__, tuple(layer.shapes["output"]), layout, name == default))
    return rows


def layer_grid(trace: NetworkTrace, layer: LayerTrace) -> tuple[int, int] | None:
    """The grid of a layer's output; a grid of one cell counts too, since it cannot be misplaced."""
    candidates = layer.candidates.get("output", ())
    if candidates and max(candidates[0].grid) < 2:
        return candidates[0].grid
    layout = trace.layout(layer, "output")
    return None if layout is None else layout.grid


def feature_layer(
    trace: NetworkTrace, layer: LayerTrace, side: Side, *, rectified: bool = False, call: int | None = None
) -> FeatureLayer:
    layout = trace.layout(layer, side)
    assert layout is not None
    channels, behind = layer.shapes[side][layout.channel_axis], layer.behind[side]
    return FeatureLayer(layer.name, layer.module, side, layout, channels, behind, rectified, call)


def usable(trace: NetworkTrace, layer: LayerTrace, side: Side) -> bool:
    """Whether a layer has a grid of 2 x 2 cells or more that moves with the input, and a gradient to the logits."""
    if not any(min(layout.grid) >= 2 and (side, layout) in layer.reached for layout in layer.candidates.get(side, ())):
        return False
    layout = trace.layout(layer, side)
    return layout is not None and min(layout.grid) >= 2 and (side, layout) in layer.reached


def gives_tokens(layer: LayerTrace) -> bool:
    return any(layout.axes in (Axes.TOKENS, Axes.TOKENS_FIRST) for layout in layer.candidates.get("output", ()))


def is_feature(layer: LayerTrace, blocks: set[str], of_tokens: tuple[str, ...]) -> bool:
    """Whether a layer's output is a network's features, not an intermediate result inside a transformer's block.

    The features of a transformer are the outputs of its blocks, and of a norm beside or directly inside a block. The norm
    matters: after a layer norm nothing depends on a token's length, so before it gradient times activation sums to zero for each
    token, and such maps are rounding errors. With a [class] token head, the norm before the last block's attention is thus the
    last place where patches matter; with a pooled head, the norm before the pool. A convolution inside a block that gives tokens,
    one of `of_tokens`, makes keys, values or a part of them.
    """
    candidates = layer.candidates.get("output", ())
    if not candidates:
        return False
    parent = layer.name.rpartition(".")[0]
    is_norm = "norm" in type(layer.module).__name__.lower()
    inside = any(layer.name.startswith(f"{block}.") for block in blocks)
    if candidates[0].axes is Axes.CHANNELS_FIRST:
        return not layer.name.startswith(of_tokens)
    return layer.name in blocks or (is_norm and (not inside or parent in blocks))


def join(prefix: str, path: str) -> str:
    return f"{prefix}.{path}" if prefix else path


def find_path(module: nn.Module, path: str) -> str | None:
    """The dotted path without negative indices; None if it leads nowhere."""
    names: list[str] = []
    for step in path.split("."):
        children = [name for name, _ in module.named_children()]
        if re.fullmatch(r"-\d+", step) and int(step[1:]) <= len(children):
            step = children[int(step)]
        if step not in children:
            return None
        names.append(step)
        module = module.get_submodule(step)
    return ".".join(names)


def side_branches(module: nn.Module) -> tuple[str, ...]:
    """Names, each followed by a dot, of parts that read features and have none themselves: they declare `side_branch = True`."""
    return tuple(f"{name}." for name, part in module.named_modules() if name and getattr(part, "side_branch", False) is True)


def encoders(module: nn.Module) -> tuple[str, ...]:
    """Names, each followed by a dot, of the encoders of a network that gives a class map; the whole network if nothing is named
    so. The outputs of layers after the encoder are nearly the class map itself, which explains nothing beyond the prediction."""
    found = [name for name, _ in module.named_modules() if name.rpartition(".")[2] in ENCODERS]
    return tuple(f"{name}." for name in found) or ("",)


def repeated_blocks(module: nn.Module) -> set[str]:
    """Names of the modules that are in a list with others of their class: a transformer's blocks."""
    blocks: set[str] = set()
    for name, part in module.named_modules():
        if not isinstance(part, nn.ModuleList | nn.Sequential):
            continue
        children = dict(part.named_children())
        kinds = [type(child) for child in children.values()]
        blocks |= {join(name, key) for key, child in children.items() if kinds.count(type(child)) > 1 and any(child.children())}
    return blocks

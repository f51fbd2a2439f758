"""The feature layer of a network: found by itself, or named; and the list of all layers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor, nn

from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.network.dry_run import Seen, dry_run
from xaicli.network.families import known_family
from xaicli.network.tokens import Axes, Layout

Side = Literal["input", "output"]

LIST_THEM = "See xai list layers --model SPEC."


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
        """The layer as it can be named again."""
        side = "" if self.side == "output" else f":{self.side}"
        return f"{self.name}{side}" if self.call is None else f"{self.name}{side}#{self.call}"

    def to_grid(self, tensor: Tensor) -> Tensor:
        """Features as the layer gives them, or their gradients, as (B, K, h, w)."""
        return self.layout.to_grid(tensor)


class LayerRow(NamedTuple):
    """One line of `xai list layers`: name, kind of module, shape of its output, its grid (None where there is none), default?"""

    name: str
    kind: str
    shape: tuple[int, ...]
    grid: tuple[int, int] | None
    default: bool


def default_layer(module: nn.Module, size: tuple[int, int]) -> FeatureLayer:
    """The layer that explains this network best, at inputs of `size` (height, width).

    The place that its family's row names, else the last layer with a grid of 2 x 2 cells or more; in both cases only with a
    gradient to the logits. Raises InputError where there is none.
    """
    return choose_default(module, dry_run(module, size))


def choose_default(module: nn.Module, seen: dict[str, Seen]) -> FeatureLayer:
    prefix, places = known_family(module)
    for place in places:
        name = find_path(module, join(prefix, place.path))
        if name in seen and usable(seen[name], place.side):
            return feature_layer(seen[name], place.side, rectified=place.rectified)
    blocks, aside = repeated_blocks(module), side_branches(module)
    for entry in reversed(seen.values()):
        if f"{entry.name}.".startswith(aside):
            continue
        if entry.calls == 1 and usable(entry, "output") and is_feature(entry, blocks):
            return feature_layer(entry, "output")
    raise InputError(
        "no layer of this network has a spatial grid and a gradient to the logits",
        expected="a convolutional network or a vision transformer with weights that are not all zero",
        hint="Name a layer (NAME@layer=PATH), or use a method that needs the forward pass alone.",
    )


def named_layer(module: nn.Module, name: str, size: tuple[int, int]) -> FeatureLayer:
    """The layer of that name: a dotted path, negative indices allowed (`layer4.-1`); `:input` for what enters it (default
    `:output`); `#CALL` where the module runs more than once (`relu#-1`, the last).

    Raises UsageError where there is no such layer, where it has no spatial grid, or where its gradient does not reach the logits.
    """
    match = re.fullmatch(r"([^:#]+)(?::(input|output))?(?:#(-?\d+))?", name.strip())
    if match is None:
        raise UsageError(f'"{name}" is no layer', expected="a dotted path, then :input or :output if wanted", hint=LIST_THEM)
    path = find_path(module, match[1])
    if path is None:
        known = [known for known, _ in module.named_modules() if known]
        raise UsageError(f'no layer "{match[1]}"', hint=f"{did_you_mean(match[1], known)} {LIST_THEM}".strip())
    side: Side = "input" if match[2] == "input" else "output"
    entry = dry_run(module, size).get(path)
    check_usable(path, side, entry)
    assert entry is not None
    call = int(match[3]) if match[3] is not None else None
    if call is None and entry.calls > 1:
        raise UsageError(
            f"layer {path} runs {entry.calls} times in one pass",
            expected="to be told which of them counts",
            hint=f"Write layer={name.strip()}#-1 for the last.",
        )
    if call is not None and not -entry.calls <= call < entry.calls:
        raise UsageError(f"layer {path} runs {entry.calls} times in one pass; there is no call {call}")
    prefix, places = known_family(module)
    rectified = {find_path(module, join(prefix, place.path)) for place in places if place.rectified}
    return feature_layer(entry, side, rectified=side == "output" and path in rectified, call=call)


def check_usable(path: str, side: Side, entry: Seen | None) -> None:
    """Raise UsageError unless a layer ran, has a grid of more than one cell, and a gradient that reaches the logits."""
    if entry is None:
        raise UsageError(f"layer {path} does not run in a forward pass of its own", hint=LIST_THEM)
    tensor, layout = entry.tensors.get(side), entry.layouts.get(side)
    if layout is None or max(layout.grid) < 2:
        shape = "no tensor" if tensor is None else f"shape {tuple(tensor.shape)}"
        raise UsageError(f"layer {path} has no spatial grid: its {side} has {shape}", hint=LIST_THEM)
    if not entry.reaches_logits(side):
        better = ""
        if layout.axes is Axes.TOKENS and side == "output" and entry.reaches_logits("input"):
            better = f"The head reads the class token alone; its input has one: layer={path}:input."
        found = f"the gradient at layer {path}:{side} is zero: no path leads from its grid to the logits"
        raise UsageError(found, hint=better or LIST_THEM)


def list_layers(module: nn.Module, size: tuple[int, int]) -> list[LayerRow]:
    """Every layer that runs, in the order in which the network holds them."""
    seen = dry_run(module, size)
    try:
        default = choose_default(module, seen).name
    except InputError:
        default = ""
    rows = []
    for name, part in module.named_modules():
        entry = seen.get(name)
        tensor = entry.tensors["output"] if entry else None
        if entry is None or tensor is None:
            continue
        layout = entry.layouts.get("output")
        rows.append(LayerRow(name, type(part).__name__, tuple(tensor.shape), layout.grid if layout else None, name == default))
    return rows


def feature_layer(entry: Seen, side: Side, *, rectified: bool = False, call: int | None = None) -> FeatureLayer:
    layout, tensor = entry.layouts[side], entry.tensors[side]
    assert layout is not None
    assert tensor is not None
    channels, behind = tensor.shape[layout.channel_axis], entry.behind[side]
    return FeatureLayer(entry.name, entry.module, side, layout, channels, behind, rectified, call)


def usable(entry: Seen, side: Side) -> bool:
    layout = entry.layouts.get(side)
    return layout is not None and min(layout.grid) >= 2 and entry.reaches_logits(side)


def is_feature(entry: Seen, blocks: set[str]) -> bool:
    """Whether what a layer gives is a network's features, not an intermediate result of a transformer's block.

    Features of a transformer are what its blocks give, and what a norm beside or directly inside a block makes of it. The norm
    counts: behind a layer norm nothing depends on a token's length, so that before it, for each token, gradient times activation
    sums to zero, and maps of the kind are rounding errors. Under a [class] token head the norm that enters the last block's
    attention is thus the last place where patches matter; under a pooled head the norm before the pool.
    """
    layout = entry.layouts["output"]
    assert layout is not None
    parent = entry.name.rpartition(".")[0]
    is_norm = "norm" in type(entry.module).__name__.lower()
    inside = any(entry.name.startswith(f"{block}.") for block in blocks)
    return layout.axes is Axes.CHANNELS_FIRST or entry.name in blocks or (is_norm and (not inside or parent in blocks))


def join(prefix: str, path: str) -> str:
    return f"{prefix}.{path}" if prefix else path


def find_path(module: nn.Module, path: str) -> str | None:
    """The real dotted path for one that may hold negative indices; None where it leads nowhere."""
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
    """Names, with a dot behind, of parts that look at features and have none themselves: they say `side_branch = True`."""
    return tuple(f"{name}." for name, part in module.named_modules() if name and getattr(part, "side_branch", False) is True)


def repeated_blocks(module: nn.Module) -> set[str]:
    """Names of the modules that stand in a row with others of their class: a transformer's blocks."""
    blocks: set[str] = set()
    for name, part in module.named_modules():
        if not isinstance(part, nn.ModuleList | nn.Sequential):
            continue
        children = dict(part.named_children())
        kinds = [type(child) for child in children.values()]
        blocks |= {join(name, key) for key, child in children.items() if kinds.count(type(child)) > 1 and any(child.children())}
    return blocks

"""The layers that trainable attention reads: a few stages of a network, shallow first, known by its family or found."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Literal

from torch import nn

from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.network.layers import FeatureLayer, default_layer, feature_layer, find_path, repeated_blocks
from xaicli.network.tokens import Axes, Side
from xaicli.network.trace import LayerTrace, NetworkTrace

ViTTap = Literal["ln1", "block_out"]

SMALLEST_GRID = 2


def find_stages(trace: NetworkTrace, count: int = 3, vit_tap: ViTTap = "ln1") -> tuple[FeatureLayer, ...]:
    """Up to `count` layers of a network, shallow first, none after its feature layer.

    In a convolutional network these are the last layers of each resolution: the last stages of a ResNet, the pools that end the
    blocks of a VGG. In a transformer they are the last blocks: the output of their first layer norm (`ln1`), or their own output
    (`block_out`). Raises InputError if no layer has a grid.
    """
    last = default_layer(trace)
    if last.layout.axes is Axes.TOKENS:
        return blocks(trace, last, count, vit_tap)
    pools = pools_of(trace)
    if pools:
        return tuple(feature_layer(trace, layer, "output") for layer in pools[-count:])
    return resolutions(trace, last, count)


def pools_of(trace: NetworkTrace) -> list[LayerTrace]:
    """The max pools that end the blocks of a VGG; none for other networks."""
    inside = [f"{name}." if name else "" for name, part in trace.module.named_modules() if type(part).__name__ == "VGG"]
    own = [layer for layer in trace.layers.values() if inside and layer.name.startswith(inside[0])]
    return [layer for layer in own if isinstance(layer.module, nn.MaxPool2d) and grid_of(trace, layer)]


def resolutions(trace: NetworkTrace, last: FeatureLayer, count: int) -> tuple[FeatureLayer, ...]:
    """The last layer of each resolution up to the feature layer, which represents its own resolution."""
    found: dict[tuple[int, int], FeatureLayer] = {}
    for layer in trace.layers.values():
        if layer.name == last.name:
            break
        grid = grid_of(trace, layer)
        if grid and layer.calls == 1 and like(trace, layer, last) and not before_a_stride(trace, layer):
            found[grid] = feature_layer(trace, layer, "output")
    found[last.layout.grid] = last
    return tuple(sorted(found.values(), key=lambda layer: -layer.layout.grid[0] * layer.layout.grid[1])[-count:])


def like(trace: NetworkTrace, layer: LayerTrace, last: FeatureLayer) -> bool:
    """Whether a layer's grid is a picture (not tokens) with the same proportions as the feature layer's."""
    layout = trace.layout(layer, "output")
    assert layout is not None
    (rows, columns), (height, width) = layout.grid, last.layout.grid
    return layout.axes in (Axes.CHANNELS_FIRST, Axes.CHANNELS_LAST) and 0.5 < (rows * width) / (columns * height) < 2


def before_a_stride(trace: NetworkTrace, layer: LayerTrace) -> bool:
    """Whether a layer is an intermediate step of a part that halves the resolution: it comes before the stride inside that
    part."""
    names, own = layer.name.split("."), grid_of(trace, layer)
    for depth in range(1, len(names)):
        part = trace.layers.get(".".join(names[:depth]))
        entered, left = (grid_of(trace, part, "input"), grid_of(trace, part)) if part is not None else (None, None)
        if entered and left and left != own and entered[0] <= 2 * left[0] + 1:
            return True
    return False


def blocks(trace: NetworkTrace, last: FeatureLayer, count: int, vit_tap: ViTTap) -> tuple[FeatureLayer, ...]:
    """The last blocks of a transformer, each with the grid of its feature layer."""
    names = repeated_blocks(trace.module)
    alike = [layer for layer in trace.layers.values() if grid_of(trace, layer) == last.layout.grid]
    whole = [layer for layer in alike if layer.name in names]
    if not whole:
        return (last,)
    found = []
    for block in whole[-count:]:
        norms = [layer for layer in alike if layer.name.startswith(f"{block.name}.") and isinstance(layer.module, nn.LayerNorm)]
        found.append(norms[0] if vit_tap == "ln1" and norms else block)
    return tuple(feature_layer(trace, layer, "output") for layer in found)


def grid_of(trace: NetworkTrace, layer: LayerTrace, side: Side = "output") -> tuple[int, int] | None:
    """The grid of a layer, if it has `SMALLEST_GRID` cells or more each way."""
    if all(min(layout.grid) < SMALLEST_GRID for layout in layer.candidates.get(side, ())):
        return None
    layout = trace.layout(layer, side)
    return layout.grid if layout is not None and min(layout.grid) >= SMALLEST_GRID else None


def named_stages(trace: NetworkTrace, names: Sequence[str]) -> tuple[FeatureLayer, ...]:
    """Layers by name, `PATH` or `PATH:input`, in the order given, shallow first. Unlike a feature layer they need no gradient.

    Raises UsageError if a layer does not exist, runs more than once, or has no grid.
    """
    rectified = ""
    with contextlib.suppress(InputError):
        last = default_layer(trace)
        rectified = last.name if last.rectified else ""
    found = []
    for name in names:
        path, _, side = name.strip().partition(":")
        layer = trace.layers.get(find_path(trace.module, path) or "")
        hint = "See xai list layers --model SPEC."
        if layer is None or side not in ("", "input", "output"):
            raise UsageError(f'no layer "{name}"', hint=f"{did_you_mean(path, trace.layers)} {hint}".strip())
        if layer.calls > 1:
            raise UsageError(f"layer {name} runs {layer.calls} times in one pass", expected="layers that run once", hint=hint)
        where: Side = "input" if side == "input" else "output"
        if grid_of(trace, layer, where) is None:
            raise UsageError(f"layer {name} has no spatial grid of {SMALLEST_GRID} x {SMALLEST_GRID} or more", hint=hint)
        found.append(feature_layer(trace, layer, where, rectified=where == "output" and layer.name == rectified))
    return tuple(found)

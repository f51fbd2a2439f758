"""Which axes of a layer's tensors may be rows, columns, channels or tokens, by the modules that receive and return them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd

from xaicli.network.tokens import Axes, Layout, Side, square_patches, token_layout
from xaicli.network.trace import LayerTrace

IMAGE_SHAPED = (
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose2d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm2d,
    nn.GroupNorm,
    _MaxPoolNd,
    _AvgPoolNd,
    _AdaptiveAvgPoolNd,
    _AdaptiveMaxPoolNd,
)


def find_candidates(layers: dict[str, LayerTrace], size: tuple[int, int], floating: Iterable[tuple[str, Side]]) -> None:
    """Find the possible layouts of every tensor, by the modules that receive and return it first, then by its size."""
    evidence: dict[int, Axes] = {}
    for layer, side, shape in shapes_of(layers.values()):
        axes = axes_of(layer.module)
        if axes is not None and len(shape) in (4, 5):
            evidence.setdefault(layer.numbers[side], axes)
    sequences = {shape[1] for layer, _, shape in shapes_of(layers.values()) if len(shape) == 3 and on_patches(shape[1], layer)}
    known = set(floating)
    for layer, side, shape in shapes_of(layers.values()):
        if (layer.name, side) not in known:
            continue
        if len(shape) == 3:
            layer.candidates[side] = volume_tokens(shape, layer) or token_layouts(shape, layer, size)
        elif len(shape) == 4 and shape[0] == 1 and not is_attention(shape, layer.module, sequences):
            axes = evidence.get(layer.numbers[side]) or axes_within(layer, shape, layers)
            layer.candidates[side] = image_layouts(shape, axes, size)
            if axes is Axes.CHANNELS_FIRST:
                layer.convolved.add(side)
        elif len(shape) == 5 and shape[0] == 1:
            axes = evidence.get(layer.numbers[side]) or axes_within(layer, shape, layers)
            layer.candidates[side] = volume_layouts(shape, axes)
            if axes is Axes.CHANNELS_FIRST:
                layer.convolved.add(side)


def shapes_of(layers: Iterable[LayerTrace]) -> Iterator[tuple[LayerTrace, Side, torch.Size]]:
    return ((layer, side, shape) for layer in layers for side, shape in layer.shapes.items())


def image_layouts(shape: torch.Size, axes: Axes | None, size: tuple[int, int]) -> tuple[Layout, ...]:
    """Possible layouts of a tensor with four axes: the one that its modules demand. If none demands one, channels first, and
    channels last too if that grid has the proportions of the input."""
    first, last = Layout(Axes.CHANNELS_FIRST, (shape[2], shape[3])), Layout(Axes.CHANNELS_LAST, (shape[1], shape[2]))
    if axes is not None:
        return (first,) if axes is Axes.CHANNELS_FIRST else (last,)
    alike = 0.5 < (last.grid[0] * size[1]) / (last.grid[1] * size[0]) < 2
    return (first, last) if alike else (first,)


def volume_layouts(shape: torch.Size, axes: Axes | None) -> tuple[Layout, ...]:
    """Possible layouts of a tensor over time, with five axes: the one that its modules demand, or both."""
    first = Layout(Axes.CHANNELS_FIRST, (shape[3], shape[4]), frames=shape[2])
    last = Layout(Axes.CHANNELS_LAST, (shape[2], shape[3]), frames=shape[1])
    return (first, last) if axes is None else (first,) if axes is Axes.CHANNELS_FIRST else (last,)


def is_attention(shape: torch.Size, module: nn.Module, sequences: set[int]) -> bool:
    """Whether the tensor of a single operation (a softmax, a dropout, a norm of queries) is (1, heads, tokens, ...) or (1,
    tokens, heads, ...), which is no grid."""
    single = not isinstance(module, IMAGE_SHAPED) and not any(True for _ in module.children())
    return single and not sequences.isdisjoint(shape[1:3])


def axes_of(module: nn.Module) -> Axes | None:
    """The order of axes that a module demands of a four-dimensional tensor; None if it accepts any."""
    if isinstance(module, IMAGE_SHAPED):
        return Axes.CHANNELS_FIRST
    if isinstance(module, nn.LayerNorm):
        # Layer norms named LayerNorm2d, or with an attribute that says so, permute the axes themselves.
        first = type(module).__name__.endswith("2d") or getattr(module, "data_format", "") == "channels_first"
        return Axes.CHANNELS_FIRST if first else Axes.CHANNELS_LAST
    return Axes.CHANNELS_LAST if isinstance(module, nn.Linear) else None


def axes_within(layer: LayerTrace, shape: torch.Size, layers: dict[str, LayerTrace]) -> Axes | None:
    """The order of axes of the first module inside `layer` that receives or returns this shape; None if there is none."""
    for name, inner in layers.items():
        axes = axes_of(inner.module)
        if axes and name.startswith(f"{layer.name}.") and shape in inner.shapes.values():
            return axes
    return None


def token_layouts(shape: torch.Size, layer: LayerTrace, size: tuple[int, int]) -> tuple[Layout, ...]:
    """Possible layouts of tokens. Their grid is that of an earlier convolution, the one with the fewest tokens left over (the
    latest of several); without such a convolution, square patches that tile the input. The batch may be the second axis, and
    further tokens may follow the patches, all of them or all but the first."""
    if 1 not in shape[:2]:
        return ()
    axes = Axes.TOKENS if shape[0] == 1 else Axes.TOKENS_FIRST
    tokens = shape[1] if axes is Axes.TOKENS else shape[0]
    found = on_patches(tokens, layer) or square_patches(tokens, size)
    if found is None:
        return ()
    before = Layout(axes, found.grid, found.prefix)
    behind = [Layout(axes, found.grid, first, found.prefix - first) for first in (0, 1) if first < found.prefix]
    return (before, *behind)


def volume_tokens(shape: torch.Size, layer: LayerTrace) -> tuple[Layout, ...]:
    """The layout of tokens (1, N, K) on the volume of an earlier convolution over time, behind a class token or none."""
    fitting = (
        Layout(Axes.TOKENS, (rows, columns), shape[1] - times * rows * columns, frames=times)
        for times, rows, columns in layer.volumes
        if shape[1] - times * rows * columns in (0, 1)
    )
    found = next(fitting, None) if shape[0] == 1 else None
    return () if found is None else (found,)


def on_patches(tokens: int, layer: LayerTrace) -> Layout | None:
    """The layout of tokens on the grid of an earlier convolution; None if no grid fits."""
    fitting = [layout for patches in layer.patches if (layout := token_layout(tokens, patches)) is not None]
    return min(fitting, key=lambda layout: layout.prefix, default=None)

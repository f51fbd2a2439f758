"""The layers that trainable attention reads: some stages of a network, shallow first, by its family or found."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Literal

from torch import nn

from xaicli.errors import InputError, UsageError, did_you_mean
from xaicli.network.dry_run import Seen, dry_run
from xaicli.network.layers import FeatureLayer, choose_default, feature_layer, find_path, repeated_blocks
from xaicli.network.tokens import Axes

ViTTap = Literal["ln1", "block_out"]

SMALLEST_GRID = 2


def find_stages(module: nn.Module, size: tuple[int, int], count: int = 3, vit_tap: ViTTap = "ln1") -> tuple[FeatureLayer, ...]:
    """Up to `count` layers of a network at inputs of `size`, shallow first, none behind its feature layer.

    Of a convolutional network the last layer of each resolution: of a ResNet its last stages; of a VGG the pools that end its
    blocks. Of a transformer the last blocks: what their first layer norm gives (`ln1`), or what they give (`block_out`). Raises
    InputError where there is no layer with a grid.
    """
    seen = dry_run(module, size)
    last = choose_default(module, seen)
    if last.layout.axes is Axes.TOKENS:
        return blocks(module, seen, last, count, vit_tap)
    pools = pools_of(module, seen)
    if pools:
        return tuple(feature_layer(entry, "output") for entry in pools[-count:])
    return resolutions(seen, last, count)


def pools_of(module: nn.Module, seen: dict[str, Seen]) -> list[Seen]:
    """The max pools that end the blocks of a VGG; none for other networks."""
    inside = [f"{name}." if name else "" for name, part in module.named_modules() if type(part).__name__ == "VGG"]
    own = [entry for entry in seen.values() if inside and entry.name.startswith(inside[0])]
    return [entry for entry in own if isinstance(entry.module, nn.MaxPool2d) and gridded(entry)]


def resolutions(seen: dict[str, Seen], last: FeatureLayer, count: int) -> tuple[FeatureLayer, ...]:
    """The last layer of each resolution up to the feature layer, which stands for its own."""
    found: dict[tuple[int, int], FeatureLayer] = {}
    for entry in seen.values():
        if entry.name == last.name:
            break
        if entry.calls == 1 and gridded(entry) and like(entry, last) and not before_a_stride(entry, seen):
            grid = grid_of(entry, "output")
            found[grid] = feature_layer(entry, "output")
    found[last.layout.grid] = last
    return tuple(sorted(found.values(), key=lambda layer: -layer.layout.grid[0] * layer.layout.grid[1])[-count:])


def like(entry: Seen, last: FeatureLayer) -> bool:
    """Whether a layer's grid is a picture's, of the same proportions as the feature layer's, and not tokens or heads."""
    layout = entry.layouts["output"]
    assert layout is not None
    (rows, columns), (height, width) = layout.grid, last.layout.grid
    return layout.axes is not Axes.TOKENS and 0.5 < (rows * width) / (columns * height) < 2


def before_a_stride(entry: Seen, seen: dict[str, Seen]) -> bool:
    """Whether a layer is an intermediate step of a part that halves the resolution: it stands before the stride in there."""
    names = entry.name.split(".")
    for depth in range(1, len(names)):
        part = seen.get(".".join(names[:depth]))
        if part is None or not gridded(part) or not gridded(part, "input"):
            continue
        entered, left = grid_of(part, "input"), grid_of(part, "output")
        if left != grid_of(entry, "output") and entered[0] <= 2 * left[0] + 1:
            return True
    return False


def blocks(module: nn.Module, seen: dict[str, Seen], last: FeatureLayer, count: int, vit_tap: ViTTap) -> tuple[FeatureLayer, ...]:
    """The last blocks of a transformer, each with the grid of its feature layer."""
    names = repeated_blocks(module)
    whole = [entry for entry in seen.values() if entry.name in names and on_its_grid(entry, last)]
    if not whole:
        return (last,)
    found = []
    for block in whole[-count:]:
        norms = [
            entry
            for entry in seen.values()
            if entry.name.startswith(f"{block.name}.") and isinstance(entry.module, nn.LayerNorm) and on_its_grid(entry, last)
        ]
        found.append(norms[0] if vit_tap == "ln1" and norms else block)
    return tuple(feature_layer(entry, "output") for entry in found)


def on_its_grid(entry: Seen, last: FeatureLayer) -> bool:
    return gridded(entry) and grid_of(entry, "output") == last.layout.grid


def gridded(entry: Seen, side: str = "output") -> bool:
    layout = entry.layouts.get(side)
    return layout is not None and min(layout.grid) >= SMALLEST_GRID


def grid_of(entry: Seen, side: str) -> tuple[int, int]:
    layout = entry.layouts[side]
    assert layout is not None
    return layout.grid


def named_stages(module: nn.Module, names: Sequence[str], size: tuple[int, int]) -> tuple[FeatureLayer, ...]:
    """Layers by name, `PATH` or `PATH:input`, shallow first as they are given. Other than a feature layer they need no gradient.

    Raises UsageError where a layer is not there, runs more than once, or has no grid.
    """
    seen = dry_run(module, size)
    rectified = ""
    with contextlib.suppress(InputError):
        last = choose_default(module, seen)
        rectified = last.name if last.rectified else ""
    found = []
    for name in names:
        path, _, side = name.strip().partition(":")
        real = find_path(module, path)
        entry = seen.get(real or "")
        hint = "See xai list layers --model SPEC."
        if entry is None or side not in ("", "input", "output"):
            raise UsageError(f'no layer "{name}"', hint=f"{did_you_mean(path, seen)} {hint}".strip())
        if entry.calls > 1:
            raise UsageError(f"layer {name} runs {entry.calls} times in one pass", expected="layers that run once", hint=hint)
        where: Literal["input", "output"] = "input" if side == "input" else "output"
        if not gridded(entry, where):
            raise UsageError(f"layer {name} has no spatial grid of {SMALLEST_GRID} x {SMALLEST_GRID} or more", hint=hint)
        found.append(feature_layer(entry, where, rectified=where == "output" and entry.name == rectified))
    return tuple(found)

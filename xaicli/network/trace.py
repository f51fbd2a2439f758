"""What a dry run shows of a network: what each layer received and returned, and how its grid is laid out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from xaicli.network.corners import Movement, watch_corners
from xaicli.network.flow import Flow
from xaicli.network.named_run import NamedRun
from xaicli.network.noise import Enter, as_it_is
from xaicli.network.tokens import Layout, Side

SIDES: tuple[Side, ...] = ("input", "output")


@dataclass(eq=False)
class LayerTrace:
    """What one module received and returned in its last call, or in the run that the trace is of.

    shapes: of the tensors, by side, "input" and "output"; numbers: which tensor each was, the same number for the same tensor;
    candidates: by side, layouts that its shape allows, the likeliest first; reached: which of them have a gradient on their grid;
    convolved: sides whose tensor a convolution or another module for pictures receives or returns; behind: by side, the share of
    the network's work that follows, 0 to 1; patches: grids of all convolutions that ran before, volumes: (t, h, w)
    of those over time.
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
    volumes: tuple[tuple[int, int, int], ...] = ()


@dataclass(eq=False)
class NetworkTrace:
    """What the dry run of a network showed at inputs of `size` (height, width) and so many `channels`.

    layers: every module that ran except the network itself, by name, in the order in which they ended; begun: the names of all
    modules that ran, in the order in which they first began; has_graph: whether the outputs have a gradient at all; flow: which
    layers feed which; enter: how inputs reach the network; run: of one layer that runs several times, the run by which it is
    judged, None for the last of each; of_run: the trace of another run.
    """

    module: nn.Module
    size: tuple[int, int]
    layers: dict[str, LayerTrace]
    begun: tuple[str, ...]
    has_graph: bool = True
    movements: dict[tuple[int, int], dict[tuple[str, Side, Layout], Movement]] = field(default_factory=dict, repr=False)
    channels: int = 3
    flow: Flow = field(default_factory=Flow, repr=False)
    enter: Enter = as_it_is
    run: NamedRun | None = None
    of_run: Callable[[NamedRun], NetworkTrace] | None = field(default=None, repr=False)

    def layout(self, layer: LayerTrace, side: Side) -> Layout | None:
        """The layout of a layer's grid: the first candidate that moves where the input changes; None if none does."""
        return next((layout for layout in layer.candidates.get(side, ()) if not self.misplaced(layer, side, layout)), None)

    def misplaced(self, layer: LayerTrace, side: Side, layout: Layout) -> str:
        """What speaks against a layout, in words; empty if each corner of the input moves its own corner of the grid.

        One pass serves all layers whose layouts have the same grid.
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
            self.movements[layout.grid] = watch_corners(self.module, self.size, wanted, self.channels, self.enter, self.run)
        movement = self.movements[layout.grid].get((layer.name, side, layout))
        return "its shape changes with the number of photos" if movement is None else movement.misplaced(side in layer.convolved)

    def reaches_logits(self, layer: LayerTrace, side: Side) -> bool:
        """Whether the gradient at the layer is non-zero anywhere on its grid (further tokens left out)."""
        layout = self.layout(layer, side)
        return layout is not None and (side, layout) in layer.reached

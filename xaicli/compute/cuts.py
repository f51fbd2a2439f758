"""Cuts of a network: modules behind which a change of a box of the photo has reached a patch of the features and no further."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

Box = tuple[int, int, int, int]
"""Top, bottom, left, right in pixels, the second and fourth exclusive."""

PROBE = 16
"""Side of the block of NaN pixels, and the largest stride of a cut."""

PASTING = 0.02
"""What one more cut costs, in whole passes."""


@dataclass(frozen=True)
class Reach:
    """Along one axis: pixels of the photo, cells at a cut, pixels a cell; and how many cells before the first and after the
    last cell of a changed stretch are changed too."""

    side: int
    cells: int
    stride: int
    before: int
    after: int

    def changed(self, start: int, stop: int) -> tuple[int, int]:
        """The cells that a change of pixels `start` to `stop` reaches."""
        return max(0, start // self.stride - self.before), min(self.cells, -(-stop // self.stride) + self.after)

    def needed(self, start: int, stop: int) -> tuple[int, int]:
        """The cells over which a crop must lie for the changed ones to come out right; its end may pass the photo's."""
        first, last = self.changed(start, stop)
        return max(0, first - self.after), last + self.before

    def length(self, stretches: Sequence[tuple[int, int]]) -> int:
        """Pixels of a crop that is long enough for each stretch, such that crops can end where the photo ends."""
        longest = max((last - first) * self.stride for first, last in (self.needed(*stretch) for stretch in stretches))
        return self.side - max(0, self.side - longest) // self.stride * self.stride

    def begin(self, start: int, stop: int, length: int) -> int:
        """The pixel at which a crop of `length` pixels begins: that of a cell's first."""
        return min(self.needed(start, stop)[0], (self.side - length) // self.stride) * self.stride

    def cells_of(self, length: int) -> int:
        """The cells that a crop of `length` pixels has here."""
        return self.cells - (self.side - length) // self.stride


@dataclass(frozen=True, eq=False)
class Cut:
    """A module at which patches are pasted, and the height and width, in pixels, of the crops that lead up to it. work: of
    the network up to here, as a part of the whole."""

    module: nn.Module
    rows: Reach
    columns: Reach
    size: tuple[int, int]
    work: float

    @property
    def area(self) -> float:
        """The crops' part of the photo."""
        return self.size[0] * self.size[1] / (self.rows.side * self.columns.side)

    def corner(self, box: Box) -> tuple[int, int]:
        """Top and left of a box's crop, in pixels."""
        return self.rows.begin(box[0], box[1], self.size[0]), self.columns.begin(box[2], box[3], self.size[1])


def cost(cuts: Sequence[Cut]) -> float:
    """What a local pass is expected to cost, of a whole one."""
    done, total = 0.0, PASTING * len(cuts)
    for cut in cuts:
        total += (cut.work - done) * cut.area
        done = cut.work
    return total + 1 - done


def cheapest(found: Sequence[Cut]) -> tuple[Cut, ...]:
    """The cuts, of those in the order of the network, whose passes cost least."""
    best: list[tuple[Cut, ...]] = [()]
    for cut in found:
        # Of all choices that end in this cut the cheapest goes on: what follows depends on the last cut alone.
        best.append(min(((*cuts, cut) for cuts in best), key=cost))
    return min(best, key=cost)


def find_cuts(network: nn.Module, run: Callable[[Tensor], Tensor], photo: Tensor, boxes: Sequence[Box]) -> list[Cut]:
    """Cuts in the order of the network, by one pass of the photo with a block of NaN in its middle."""
    middle = [side // 2 // PROBE * PROBE for side in photo.shape[1:]]
    spoilt = photo.clone()
    spoilt[:, middle[0] : middle[0] + PROBE, middle[1] : middle[1] + PROBE] = torch.nan
    outputs: list[tuple[nn.Module, Tensor, int]] = []
    with ExitStack() as stack:
        counter = stack.enter_context(FlopCounterMode(display=False))

        def note(module: nn.Module, given: object, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                outputs.append((module, output[0].isnan().any(dim=0), counter.get_total_flops()))

        for module in chain(network):
            stack.callback(module.register_forward_hook(note).remove)
        run(spoilt[None])
    total = max(1, counter.get_total_flops())
    cuts = []
    for module, cells, done in outputs:
        rows = reach(cells.any(dim=1), photo.shape[1], middle[0])
        columns = reach(cells.any(dim=0), photo.shape[2], middle[1])
        if rows is None or columns is None or [other for other, _, _ in outputs].count(module) > 1:
            continue
        size = rows.length([box[:2] for box in boxes]), columns.length([box[2:] for box in boxes])
        cuts.append(Cut(module, rows, columns, size, done / total))
    return cuts


def chain(module: nn.Module) -> Iterator[nn.Module]:
    """Modules that a network runs one after the other: its own, and those of sequences among them."""
    children = list(module.children())
    for child in children:
        yield child
        if isinstance(child, nn.Sequential) or len(children) == 1:
            yield from chain(child)


def reach(spoilt: Tensor, side: int, at: int) -> Reach | None:
    """How far a block of NaN that begins at pixel `at` has spread along one axis of cells; None where it met a border, so
    that no more is known than that."""
    cells = len(spoilt)
    stride = 2 ** max(0, round(math.log2(side / cells)))
    found = spoilt.nonzero()[:, 0].tolist()
    if not found or stride > PROBE or found[0] == 0 or found[-1] == cells - 1:
        return None
    before, after = at // stride - found[0], found[-1] + 1 - (at + PROBE) // stride
    return Reach(side, cells, stride, max(0, before), max(0, after))

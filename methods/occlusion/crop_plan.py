"""Where crops around a hidden box begin and end, from the photo to the modules at which they are pasted back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from xaicli.network.observe import Call, observing

Box = tuple[int, int, int, int]
"""Top, bottom, left, right in pixels, the second and fourth exclusive."""

PROBE = 16
"""Side of the block of NaN pixels, and the largest stride of a paste point."""

PASTING = 0.02
"""The cost of a further paste point, in whole passes."""


@dataclass(frozen=True)
class ReceptiveField:
    """How far a change of pixels spreads at a paste point, along one axis.

    cells: of the feature map there; stride: pixels per cell; before, after: how many cells before the first and after the last
    cell of a changed stretch are changed too. Where the photo itself is cropped, pixels are the cells.
    """

    cells: int
    stride: int
    before: int
    after: int

    def changed(self, start: int, stop: int) -> tuple[int, int]:
        """The cells that a change of pixels `start` to `stop` reaches."""
        return max(0, start // self.stride - self.before), min(self.cells, -(-stop // self.stride) + self.after)


@dataclass(frozen=True)
class CropAxis:
    """Crops along one axis of the features at one paste point, all `length` cells long, that lead to the next, of `field`.

    ratio: cells here for one there, which depends on no more than `lead` cells before the first of these, and `trail` from
    the first on.
    """

    field: ReceptiveField
    cells: int
    ratio: int
    lead: int
    trail: int
    length: int

    @classmethod
    def between(cls, here: ReceptiveField, there: ReceptiveField, stretches: Sequence[tuple[int, int]]) -> CropAxis:
        """Crops that are long enough for each stretch of changed pixels."""
        ratio = there.stride // here.stride
        # Reaches are rounded to whole cells; that the true ones differ by whole cells as well makes these bounds exact enough.
        lead = max(0, there.after * ratio - here.after)
        trail = max(ratio, (there.before + 1) * ratio - here.before)
        axis = cls(there, here.cells, ratio, lead, trail, 0)
        longest = max((there.changed(*stretch)[1] - 1) * ratio + trail - axis.wanted(*stretch) * ratio for stretch in stretches)
        # Such that a crop can begin with a cell there and end where all ends.
        return replace(axis, length=here.cells - max(0, here.cells - longest) // ratio * ratio)

    def wanted(self, start: int, stop: int) -> int:
        """The latest cell of the next paste point at which the crop of a stretch may begin."""
        return max(0, self.field.changed(start, stop)[0] - -(-self.lead // self.ratio))

    def begin(self, start: int, stop: int) -> int:
        """The cell of this paste point at which the crop of a stretch begins."""
        return min(self.wanted(start, stop), (self.cells - self.length) // self.ratio) * self.ratio


@dataclass(frozen=True, eq=False)
class PastePoint:
    """A module at whose output patches are pasted. work: of the network up to here, as a part of the whole."""

    module: nn.Module
    rows: ReceptiveField
    columns: ReceptiveField
    work: float


@dataclass(frozen=True, eq=False)
class CropStage:
    """The way from one paste point, or from the photo, to the next on crops of one size."""

    point: PastePoint
    rows: CropAxis
    columns: CropAxis

    @classmethod
    def between(cls, here: tuple[ReceptiveField, ReceptiveField], point: PastePoint, boxes: Sequence[Box]) -> CropStage:
        rows = CropAxis.between(here[0], point.rows, sorted({box[:2] for box in boxes}))
        return cls(point, rows, CropAxis.between(here[1], point.columns, sorted({box[2:] for box in boxes})))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the crops, in the cells they are taken from."""
        return self.rows.length, self.columns.length

    @property
    def area(self) -> float:
        """The crops' part of the whole."""
        return self.size[0] * self.size[1] / (self.rows.cells * self.columns.cells)

    def corner(self, box: Box) -> tuple[int, int]:
        """Top and left of a box's crop, in the cells it is taken from."""
        return self.rows.begin(box[0], box[1]), self.columns.begin(box[2], box[3])


def cost(stages: Sequence[CropStage]) -> float:
    """The expected cost of a pass in these stages, relative to a whole pass."""
    done, total = 0.0, PASTING * len(stages)
    for stage in stages:
        total += (stage.point.work - done) * stage.area
        done = stage.point.work
    return total + 1 - done


def cheapest(points: Sequence[PastePoint], size: tuple[int, int], boxes: Sequence[Box]) -> tuple[CropStage, ...]:
    """The stages, over some of the paste points in the network's order, in which copies of photos of `size` cost least."""
    best: list[tuple[CropStage, ...]] = [()]
    for point in points:
        # Only the cheapest way to this point continues: what follows depends on the last point alone.
        ways = [(*way, CropStage.between(end_of(way, size), point, boxes)) for way in best if leads_on(way, point)]
        best.append(min(ways, key=cost))
    return min(best, key=cost)


def end_of(way: Sequence[CropStage], size: tuple[int, int]) -> tuple[ReceptiveField, ReceptiveField]:
    """Where the next crops are taken: at the last paste point, or from the photo, where pixels are the cells."""
    if way:
        return way[-1].point.rows, way[-1].point.columns
    return ReceptiveField(size[0], 1, 0, 0), ReceptiveField(size[1], 1, 0, 0)


def leads_on(way: Sequence[CropStage], point: PastePoint) -> bool:
    """Whether cells do not become smaller from the last point to this one."""
    return not way or (way[-1].point.rows.stride <= point.rows.stride and way[-1].point.columns.stride <= point.columns.stride)


def find_paste_points(network: nn.Module, run: Callable[[Tensor], Tensor], photo: Tensor) -> list[PastePoint]:
    """Paste points in the order of the network, by one pass of the photo (3, H, W) with a block of NaN in its middle."""
    middle = [side // 2 // PROBE * PROBE for side in photo.shape[1:]]
    spoilt = photo.clone()
    spoilt[:, middle[0] : middle[0] + PROBE, middle[1] : middle[1] + PROBE] = torch.nan
    outputs: list[tuple[nn.Module, Tensor, int]] = []
    links = set(chain(network))
    counter = FlopCounterMode(display=False)

    def note(call: Call, args: object, kwargs: object, output: Any) -> None:
        if call.module in links and isinstance(output, Tensor) and output.ndim == 4:
            outputs.append((call.module, output[0].isnan().any(dim=0), counter.get_total_flops()))

    with counter, observing(network, after=note) as seen:
        run(spoilt[None])
    total = max(1, counter.get_total_flops())
    points = []
    for module, cells, done in outputs:
        rows = receptive_field(cells.any(dim=1), photo.shape[1], middle[0])
        columns = receptive_field(cells.any(dim=0), photo.shape[2], middle[1])
        if rows and columns and seen.times[module] == 1:
            points.append(PastePoint(module, rows, columns, done / total))
    return points


def chain(module: nn.Module) -> Iterator[nn.Module]:
    """Modules that a network runs one after the other: its own, and those of sequences among them."""
    children = list(module.children())
    for child in children:
        yield child
        if isinstance(child, nn.Sequential) or len(children) == 1:
            yield from chain(child)


def receptive_field(spoilt: Tensor, side: int, at: int) -> ReceptiveField | None:
    """How far a block of NaN that begins at pixel `at` has spread along one axis of cells; None where it met a border, so
    that no more is known than that."""
    cells = len(spoilt)
    stride = 2 ** max(0, round(math.log2(side / cells)))
    found = spoilt.nonzero()[:, 0].tolist()
    if not found or stride > PROBE or found[0] == 0 or found[-1] == cells - 1:
        return None
    before, after = at // stride - found[0], found[-1] + 1 - (at + PROBE) // stride
    return ReceptiveField(cells, stride, before, after) if min(before, after) >= 0 else None

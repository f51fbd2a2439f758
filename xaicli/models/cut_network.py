"""An exported network in two parts: what leads to one of its tensors, and what follows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xaicli.errors import UsageError, did_you_mean
from xaicli.network.layers import LayerRow
from xaicli.network.tokens import square_patches
from xaicli.untrusted import is_file

AUTO = "auto"
JOINED = "+"
"""Between the files of two parts that were exported apart: first the one that makes features, then the head."""
LIST_THEM = "See xai list layers --model SPEC."
SMALLEST_GRID = 2


class CutNetwork(nn.Module):
    """An exported network whose features at one tensor can be read and replaced, without gradients.

    features: photos (B, C, H, W) to the tensor (B, ...); head: the tensor and the photos to what the network returns. tensor:
    its name, which is that of the first part as a layer, with `_` for the characters that have a meaning in names of layers.
    work: how many operations each part has.

    The head is also given the photos, since an operation that follows the tensor may read them: their size, or a branch that
    passes the tensor by.
    """

    gradient_free = True
    """Says that features are read without gradients: `xaicli.network.dry_run` looks for a grid alone."""

    def __init__(
        self,
        tensor: str,
        features: Callable[[Tensor], Tensor],
        head: Callable[[Tensor, Tensor], Any],
        work: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        super().__init__()
        self.layer = re.sub(r"[.:#]", "_", tensor)
        while hasattr(self, self.layer) or self.layer == "head":
            self.layer += "_"
        self.add_module(self.layer, CutPart(features, work[0]))
        self.head = CutPart(head, work[1])
        self.eval()

    def forward(self, photos: Tensor) -> Any:
        return self.head(self.get_submodule(self.layer)(photos), photos)


class CutPart(nn.Module):
    """One of the two parts. counted_work: how many operations it has, for the estimate of costs."""

    def __init__(self, run: Callable[..., Any], work: float) -> None:
        super().__init__()
        self.run, self.counted_work = run, work

    def forward(self, *tensors: Tensor) -> Any:
        with torch.no_grad():
            return self.run(*tensors)


@dataclass(frozen=True)
class ExportedTensor:
    """A tensor inside an exported network, in the order in which they are made.

    operation: that makes it; shape: for one photo; picture: a convolution, a pool or the like makes or reads it, so that it is
    (photos, channels, rows, columns) for sure.
    """

    name: str
    operation: str
    shape: tuple[int, ...]
    picture: bool = False

    def grid(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """Its grid for photos of `size` (height, width); None if it has none of 2 x 2 cells or more."""
        if len(self.shape) == 4:
            rows, columns = self.shape[2:]
        elif len(self.shape) == 3 and (layout := square_patches(self.shape[1], size)) is not None:
            rows, columns = layout.grid
        else:
            return None
        return (rows, columns) if min(rows, columns) >= SMALLEST_GRID else None


@dataclass(frozen=True)
class Tensors:
    """The tensors of an exported network, in their order. size: (height, width) of its photos; attention: names of the tensors
    that hold attention."""

    found: tuple[ExportedTensor, ...]
    size: tuple[int, int]
    attention: frozenset[str] = frozenset()

    def named(self, name: str, network: str) -> str:
        """The tensor of that name, or for `auto` the default; raises UsageError."""
        if name == AUTO:
            if self.default:
                return self.default
            found = "is a transformer" if self.attention else "has no tensor that is a picture for sure"
            raise UsageError(f"{network} {found}, and layer=auto finds no place to cut it", hint=LIST_THEM)
        known = [tensor.name for tensor in self.found]
        if name not in known:
            raise UsageError(f'{network} has no tensor "{name}"', hint=f"{did_you_mean(name, known)} {LIST_THEM}".strip())
        return name

    @property
    def default(self) -> str:
        """The last tensor that is a picture; empty where there is none, or where attention follows it."""
        for tensor in reversed(self.found):
            if tensor.name in self.attention:
                return ""
            if tensor.picture and tensor.grid(self.size):
                return tensor.name
        return ""

    def rows(self) -> list[LayerRow]:
        """Those that have a grid, for `xai list layers`."""
        default = self.default
        with_grid = ((tensor, tensor.grid(self.size)) for tensor in self.found)
        return [
            LayerRow(tensor.name, tensor.operation, tensor.shape, grid, tensor.name == default)
            for tensor, grid in with_grid
            if grid is not None
        ]


def pictures(of_pictures: str, one_by_one: str, operations: Iterable[tuple[str, Sequence[str], Sequence[str]]]) -> frozenset[str]:
    """Names of the tensors that are pictures for sure.

    of_pictures: operations on pictures (convolutions, pools), joined by spaces; one_by_one: those that change each number for
    itself; operations: of the network in order, each with the names that it reads and those that it makes. What an operation on
    pictures reads first, or makes, is a picture; numbers changed one by one stay one.
    """
    of_places, of_numbers = set(of_pictures.split()), set(one_by_one.split())
    found: set[str] = set()
    for kind, read, made in operations:
        if kind in of_places:
            found.update([*read[:1], *made])
        elif kind in of_numbers and found.intersection(read):
            found.update(made)
    return frozenset(found)


def two_files(name: str) -> tuple[Path, Path] | None:
    """The files of a network that was exported in two parts, `FEATURES+HEAD`; None for one file."""
    if JOINED not in name or is_file(Path(name).expanduser()):
        return None
    first, _, second = name.partition(JOINED)
    return Path(first).expanduser(), Path(second).expanduser()

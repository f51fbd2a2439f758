"""Programs saved by torch.export: what they accept, and how a batch passes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xaicli.errors import InputError, UsageError
from xaicli.models.accepted_batches import in_batches
from xaicli.models.program_input import Accepted
from xaicli.words import count

MOST = 2**20
"""A maximum batch size above this counts as unlimited."""


@dataclass(frozen=True)
class ExportSignature:
    """What a program accepts: minimum and maximum photos per batch (None: any), its type, and which photos."""

    least: int
    most: int | None
    dtype: torch.dtype
    accepted: Accepted

    @property
    def size(self) -> tuple[int, int] | None:
        return self.accepted.size

    @property
    def channels(self) -> int:
        return self.accepted.channels or 3


@dataclass(frozen=True, eq=False)
class ProgramPart:
    """A program, or a part of one, as a function. dtypes: of its inputs; least, most: photos per pass; device: where it runs."""

    network: Any
    dtypes: tuple[torch.dtype, ...]
    least: int
    most: int | None
    device: torch.device

    def __call__(self, *given: Tensor) -> Any:
        """The output (B, ...) for a batch of each input, on the device of the photos, the last of them."""
        pairs = zip(given, self.dtypes, strict=True)
        moved = [tensor.to(self.device, kind) for tensor, kind in pairs]
        rows = torch.arange(len(given[-1]), device=self.device)
        # An index makes a copy: programs may write into what they are given.
        output = in_batches(lambda part: self.network(*(tensor[part] for tensor in moved)), rows, self.least, self.most)
        return output.to(given[-1].device) if isinstance(output, Tensor) else output


def signature_of(program: Any, file: Path) -> ExportSignature:
    """What the program accepts; raises InputError if that is not a batch of photos."""
    names = program.graph_signature.user_inputs
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    wanted = "one input of photos (batch, channels, height, width)"
    if len(values) != 1 or not isinstance(values[0], Tensor) or values[0].ndim != 4:
        raise InputError(
            f"{file.name} takes {count(len(names), 'input')}, {', '.join(map(str, names)) or 'none'}", expected=wanted
        )
    value = values[0]
    batch, channels, height, width = value.shape
    if not value.is_floating_point():
        raise InputError(f"{file.name} takes {value.dtype} of shape {list(map(str, value.shape))}", expected=wanted)
    least, most = bounds(program, batch)
    size = (int(height), int(width)) if fixed(height) and fixed(width) else None
    return ExportSignature(least, most, value.dtype, Accepted(size, fixed(channels)))


def fixed(side: Any) -> int | None:
    return side if isinstance(side, int) else None


def bounds(program: Any, batch: Any) -> tuple[int, int | None]:
    """Minimum and maximum photos per batch."""
    if isinstance(batch, int):
        return batch, batch
    stated = program.range_constraints.get(batch.node.expr)
    least = int(stated.lower) if stated is not None and int_like(stated.lower) else 1
    most = int(stated.upper) if stated is not None and int_like(stated.upper) else None
    return max(1, least), most if most is not None and most < MOST else None


def int_like(bound: Any) -> bool:
    return bool(getattr(bound, "is_Integer", False)) or isinstance(bound, int)


def on_device(program: Any, device: torch.device) -> Any:
    """The program's network on `device`, constants too."""
    if device.type == "cpu":
        return program.module()
    try:
        from torch.export.passes import move_to_device_pass
    except ImportError as error:
        raise UsageError(f"this torch cannot move an exported program to {device}", expected="--device cpu") from error
    return move_to_device_pass(program, device).module()

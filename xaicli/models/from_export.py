"""`FILE.pt2`: a program that torch.export saved, run as a black box.

Such a program has no visible layers, and its parameters may be constants, so it counts as a black box even if gradients could
flow. For methods that need gradients, load the network from which it was exported.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xaicli.errors import InputError, UsageError
from xaicli.models.accepted_batches import in_batches
from xaicli.models.from_onnx import view_for
from xaicli.models.model_request import LoadedModel, Request
from xaicli.models.weights import first_bytes
from xaicli.stamps import sha256_file

WANTED = "a program saved by torch.export"
ARCHIVE = b"PK"
"""The first bytes of such a file."""

MOST = 2**20
"""A maximum batch size above this counts as unlimited."""


@dataclass(frozen=True)
class ExportSignature:
    """What a program accepts: minimum and maximum photos per batch (None: any), height and width (None: any), its type and
    channels."""

    least: int
    most: int | None
    size: tuple[int, int] | None
    dtype: torch.dtype
    channels: int = 3


def load(request: Request) -> LoadedModel:
    """The classifier in an exported program, with 224 pixels per side or the program's fixed size; ImageNet's mean and
    deviation."""
    file = Path(request.name).expanduser()
    request.refuse_weights("an exported program")
    request.refuse_flag(f"Write {request.name}.")
    if not first_bytes(file, WANTED).startswith(ARCHIVE):
        raise InputError(f"{file} is not an exported program", expected=WANTED)
    if not request.trust:
        raise UsageError(f"loading {file.name} can run code", hint="Where you trust it, add --trust.")
    request.notice(f"{file.name} is a program saved by torch.export: loading it can run code")
    program = read(file)
    signature = signature_of(program, file)
    network = on_device(program, request.device)

    def forward(inputs: Tensor) -> Any:
        return in_batches(lambda part: network(part.to(signature.dtype)), inputs, signature.least, signature.most)

    view = view_for(signature.size, signature.channels)
    return LoadedModel(request.canonical("", file.name), view, forward=forward, content=sha256_file(file))


def read(file: Path) -> Any:
    with quiet():
        try:
            return torch.export.load(file)
        # torch reports a damaged or foreign program by many types of exceptions, none of them its own.
        except Exception as error:
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise InputError(
                f"{file} is not an exported program that this torch ({torch.__version__}) can load: {reason}",
                hint="Export it again with this version: torch.export.save(torch.export.export(model, (inputs,)), FILE).",
            ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings of torch.export: the error that follows says the same in one line."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


def signature_of(program: Any, file: Path) -> ExportSignature:
    """What the program accepts; raises InputError if that is not a batch of photos."""
    names = program.graph_signature.user_inputs
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    wanted = "one input of photos (batch, channels, height, width)"
    if len(values) != 1 or not isinstance(values[0], Tensor) or values[0].ndim != 4:
        raise InputError(f"{file.name} takes {len(names)} inputs, {', '.join(map(str, names)) or 'none'}", expected=wanted)
    value = values[0]
    batch, channels, height, width = value.shape
    if not value.is_floating_point():
        raise InputError(f"{file.name} takes {value.dtype} of shape {list(map(str, value.shape))}", expected=wanted)
    least, most = bounds(program, batch)
    size = (int(height), int(width)) if fixed(height) and fixed(width) else None
    return ExportSignature(least, most, size, value.dtype, fixed(channels) or 3)


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

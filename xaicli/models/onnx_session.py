"""ONNX networks in onnxruntime: sessions, what they accept, and one pass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaicli.errors import InputError, RunError
from xaicli.models.accepted_batches import in_batches
from xaicli.passes.runtimes import session_options

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
FEW = 32
"""Maximum channels if the other axis may have any length."""


@dataclass(frozen=True)
class OnnxSignature:
    """What a graph accepts: name and type of its input, the batch (None: any), height and width (None: any), the order of axes,
    its channels."""

    name: str
    dtype: Any
    batch: int | None
    size: tuple[int, int] | None
    channels_last: bool
    output: str
    channels: int

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """Of its input, for photos of `size`: as many as a pass takes."""
        photos = self.batch or 1
        return (photos, *size, self.channels) if self.channels_last else (photos, self.channels, *size)


@dataclass(frozen=True, eq=False)
class OnnxPart:
    """A session as a function. inputs: their names, the photos last; batch: the photos of a pass, None: any; file: that errors
    name; output: the name of the output that counts, empty where there is only one."""

    session: Any
    inputs: tuple[str, ...]
    batch: int | None
    file: Path
    channels_last: bool = False
    output: str = ""

    def __call__(self, *given: Tensor) -> Any:
        """The output (B, ...) for a batch of each input, on the device of the photos; what the graph does not read is left
        out."""
        *others, photos = given
        laid_out = [*others, photos.permute(0, 2, 3, 1) if self.channels_last else photos]
        kinds = {entry.name: TYPES[entry.type] for entry in self.session.get_inputs()}
        fed = {
            name: np.ascontiguousarray(one.detach().cpu().numpy(), dtype=kinds[name])
            for name, one in zip(self.inputs, laid_out, strict=True)
            if name in kinds
        }

        def forward(rows: Tensor) -> Tensor:
            return self.run({name: array[rows.numpy()] for name, array in fed.items()})

        rows = torch.arange(len(photos))
        return in_batches(forward, rows, self.batch or 1, self.batch).to(photos.device)

    def run(self, arrays: dict[str, Any]) -> Tensor:
        """The output for arrays by name; raises RunError."""
        try:
            (output,) = self.session.run([self.output] if self.output else None, arrays)
        # onnxruntime's errors derive directly from Exception.
        except Exception as error:
            shapes = ", ".join("x".join(map(str, array.shape)) for array in arrays.values())
            raise RunError(f"{self.file.name} failed on inputs of shape {shapes}: {reason_of(error)}") from error
        return torch.from_numpy(np.asarray(output))


def open_session(onnxruntime: ModuleType, file: Path, device: torch.device, model: bytes | None = None) -> Any:
    """A session on the CPU or with CUDA; the same inputs give the same bytes. model: a part of what is in the file."""
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    try:
        return onnxruntime.InferenceSession(model or str(file), session_options(onnxruntime), providers=providers)
    # onnxruntime's errors derive directly from Exception; usually the file is not an ONNX model.
    except Exception as error:
        raise InputError(
            f"{file} is not an ONNX model that onnxruntime can run: {reason_of(error)}", hint="Export it again."
        ) from error


def signature_of(session: Any, file: Path) -> OnnxSignature:
    """The graph's input and output; raises InputError unless it maps a batch of photos to logits."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    wanted = "one input of photos (batch, channels, height, width) in floating point"
    if len(inputs) != 1:
        raise InputError(f"{file.name} has {len(inputs)} inputs ({', '.join(entry.name for entry in inputs)})", expected=wanted)
    entry = inputs[0]
    if entry.type not in TYPES:
        raise InputError(f"the input {entry.name} of {file.name} is {entry.type}", expected=wanted)
    shape = [side if isinstance(side, int) and side > 0 else None for side in entry.shape]
    if len(shape) != 4:
        raise InputError(f"the input {entry.name} of {file.name} has the shape {list(entry.shape)}", expected=wanted)
    channels, channels_last = channels_of(shape[1], shape[3])
    height, width = shape[1:3] if channels_last else shape[2:4]
    size = (height, width) if height and width else None
    return OnnxSignature(entry.name, TYPES[entry.type], shape[0], size, channels_last, output_of(outputs, file), channels)


def channels_of(first: int | None, last: int | None) -> tuple[int, bool]:
    """The number of channels, and whether their axis is the last: the axis of length three, or the one that is unlikely as a side
    of a picture. None: an axis of any length."""
    if first == 3 or last == 3:
        return 3, first != 3
    if first is None:
        return (3, False) if last is None or last > FEW else (last, True)
    return (last, True) if last is not None and last < first else (first, False)


def output_of(outputs: list[Any], file: Path) -> str:
    """The name of the output with the logits: the only one, or the one called `logits`."""
    names = [str(entry.name) for entry in outputs]
    if len(names) == 1:
        return names[0]
    if "logits" in names:
        return "logits"
    raise InputError(
        f"{file.name} has the outputs {', '.join(names)}", expected="one, or one called logits", hint="Export only the logits."
    )


def reason_of(error: Exception) -> str:
    """The message of onnxruntime, without its codes and paths."""
    text = " ".join(str(error).split()).rpartition("] : ")[2]
    return (text.partition(" failed:")[2] or text.partition(" : ")[2] or text)[:200]

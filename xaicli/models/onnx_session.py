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
from xaicli.models.program_input import PHOTOS, ProgramInput, logits_among
from xaicli.passes.runtimes import session_options
from xaicli.words import count

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


@dataclass(frozen=True)
class OnnxSignature(ProgramInput):
    """What a graph accepts, and names: of its input, with its type, and of its output."""

    name: str
    dtype: Any
    output: str


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
    if len(inputs) != 1:
        raise InputError(
            f"{file.name} has {count(len(inputs), 'input')} ({', '.join(entry.name for entry in inputs)})", expected=PHOTOS
        )
    entry = inputs[0]
    if entry.type not in TYPES:
        raise InputError(f"the input {entry.name} of {file.name} is {entry.type}", expected=PHOTOS)
    names = [str(output.name) for output in outputs]
    accepts = vars(ProgramInput.of(entry.shape, entry.name, file))
    return OnnxSignature(**accepts, name=entry.name, dtype=TYPES[entry.type], output=names[logits_among(names, file)])


def reason_of(error: Exception) -> str:
    """The message of onnxruntime, without its codes and paths."""
    text = " ".join(str(error).split()).rpartition("] : ")[2]
    return (text.partition(" failed:")[2] or text.partition(" : ")[2] or text)[:200]

"""`onnx:FILE`: a network run by onnxruntime, a black box that needs no more than its forward pass."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaicli.errors import InputError, RunError, UsageError
from xaicli.images.view import IMAGENET_MEAN, IMAGENET_STD, View
from xaicli.models.accepted_batches import in_batches
from xaicli.models.model_request import LoadedModel, Request
from xaicli.packages import require
from xaicli.passes.device import sensible_threads
from xaicli.stamps import sha256_file
from xaicli.untrusted import LARGEST_WEIGHTS, is_file, is_folder, read

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
LOCATION = re.compile(rb"\x0a\x08location\x12([\x80-\xff]?[\x01-\x7f])")
"""How ONNX, in protocol buffers, writes the name of a file that holds weights: its length in base 128 follows, then the name."""
USUAL_SHARE = 256 / 224
FEW = 32
"""Channels at most where the other axis may have any length."""


@dataclass(frozen=True)
class OnnxSignature:
    """What a graph takes: name and type of its input, the batch (None: any), height and width (None: any), the order of axes, its
    channels."""

    name: str
    dtype: Any
    batch: int | None
    size: tuple[int, int] | None
    channels_last: bool
    output: str
    channels: int


def load(request: Request) -> LoadedModel:
    """The classifier in an ONNX file, with 224 pixels a side, or the size that its graph fixes; ImageNet's mean and deviation."""
    onnxruntime = require("onnxruntime", "onnx")
    file = Path(request.name).expanduser()
    request.refuse_weights("an ONNX file")
    request.refuse_flag(f"Write onnx:{request.name}.")
    if not is_file(file):
        raise InputError(f"there is no file {file}" if not is_folder(file) else f"{file} is a folder", expected="onnx:FILE")
    device = device_for(onnxruntime, request)
    session = open_session(onnxruntime, file, device)
    signature = signature_of(session, file)

    def forward(inputs: Tensor) -> Any:
        return in_batches(lambda part: run(session, signature, part, file), inputs, signature.batch or 1, signature.batch)

    name, content = request.canonical("onnx", file.name), content_of(file)
    return LoadedModel(name, view_for(signature.size, signature.channels), forward=forward, content=content, device=device)


def device_for(onnxruntime: ModuleType, request: Request) -> torch.device:
    """The device that was asked for; the CPU where any will do and this onnxruntime knows no other. Raises UsageError."""
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if request.device.type == "cpu" or (request.device.type == "cuda" and has_cuda):
        return request.device
    if request.any_device:
        return torch.device("cpu")
    hint = "Or type: pip install onnxruntime-gpu" if request.device.type == "cuda" else ""
    raise UsageError(f"this onnxruntime has no {request.device.type}", expected="--device cpu", hint=hint)


def open_session(onnxruntime: ModuleType, file: Path, device: torch.device) -> Any:
    """A session on the CPU, or with CUDA where the device is one; the same inputs give the same bytes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = sensible_threads()
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=providers)
    # onnxruntime's errors derive from Exception alone; a file that is no ONNX model is the usual one.
    except Exception as error:
        raise InputError(
            f"{file} is not an ONNX model that onnxruntime can run: {reason_of(error)}", hint="Export it again."
        ) from error


def signature_of(session: Any, file: Path) -> OnnxSignature:
    """What the graph takes and gives; raises InputError where that is no batch of photos in, logits out."""
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
    """How many channels there are, and whether their axis is the last: three, or the axis that a picture is not likely to have as
    a side. None: an axis of any length."""
    if first == 3 or last == 3:
        return 3, first != 3
    if first is None:
        return (3, False) if last is None or last > FEW else (last, True)
    return (last, True) if last is not None and last < first else (first, False)


def output_of(outputs: list[Any], file: Path) -> str:
    """The name of the output that holds the logits: the only one, or the one called `logits`."""
    names = [str(entry.name) for entry in outputs]
    if len(names) == 1:
        return names[0]
    if "logits" in names:
        return "logits"
    raise InputError(
        f"{file.name} has the outputs {', '.join(names)}", expected="one, or one called logits", hint="Export only the logits."
    )


def run(session: Any, signature: OnnxSignature, inputs: Tensor, file: Path) -> Tensor:
    """Raw outputs of inputs (B, 3, H, W), on their device."""
    array = (inputs.permute(0, 2, 3, 1) if signature.channels_last else inputs).detach().cpu().numpy()
    try:
        (output,) = session.run([signature.output], {signature.name: np.ascontiguousarray(array, dtype=signature.dtype)})
    # onnxruntime's errors derive from Exception alone.
    except Exception as error:
        shape = "x".join(map(str, array.shape))
        raise RunError(f"{file.name} failed on inputs of shape {shape}: {reason_of(error)}") from error
    return torch.from_numpy(np.asarray(output)).to(inputs.device)


def reason_of(error: Exception) -> str:
    """What onnxruntime says, without its codes and paths."""
    text = " ".join(str(error).split()).rpartition("] : ")[2]
    return (text.partition(" failed:")[2] or text.partition(" : ")[2] or text)[:200]


def view_for(size: tuple[int, int] | None, channels: int = 3) -> View:
    """The usual view, or one of the size that a program fixes, its resize in the usual proportion; of other channels than three
    mean and deviation are 0 and 1."""
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((0.0,) * channels, (1.0,) * channels)
    if size is None:
        return View(mean=mean, std=std)
    height, width = (round(side * USUAL_SHARE) for side in size)
    square = size[0] == size[1]
    return View(height if square else (height, width), size[0] if square else size, mean=mean, std=std)


def content_of(file: Path) -> str:
    """A hash of the model and of the files beside it that hold its weights."""
    parts = [sha256_file(file)]
    parts += [
        sha256_file(file.parent / name)
        for name in external_files(read(file, "an ONNX file", LARGEST_WEIGHTS))
        if is_file(file.parent / name)
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def external_files(content: bytes) -> list[str]:
    """The files beside a model in which its weights lie, by name."""
    spans = (
        (found.end(), sum((byte & 127) << 7 * at for at, byte in enumerate(found[1]))) for found in LOCATION.finditer(content)
    )
    return sorted({content[start : start + length].decode("utf-8", "replace") for start, length in spans})

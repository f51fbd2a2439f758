"""`onnx:FILE`: a network run by onnxruntime, as a black box with nothing but its forward pass."""

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
"""The protocol buffer tag before the name of an external weights file in ONNX; the length in base 128 follows, then the name."""
USUAL_SHARE = 256 / 224
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


def load(request: Request) -> LoadedModel:
    """The classifier in an ONNX file, with 224 pixels per side or the graph's fixed size; ImageNet's mean and deviation."""
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
    """The requested device; the CPU if any device will do and this onnxruntime has no other. Raises UsageError."""
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if request.device.type == "cpu" or (request.device.type == "cuda" and has_cuda):
        return request.device
    if request.any_device:
        return torch.device("cpu")
    hint = "Or type: pip install onnxruntime-gpu" if request.device.type == "cuda" else ""
    raise UsageError(f"this onnxruntime has no {request.device.type}", expected="--device cpu", hint=hint)


def open_session(onnxruntime: ModuleType, file: Path, device: torch.device) -> Any:
    """A session on the CPU or with CUDA; the same inputs give the same bytes."""
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


def run(session: Any, signature: OnnxSignature, inputs: Tensor, file: Path) -> Tensor:
    """Raw outputs of inputs (B, 3, H, W), on their device."""
    array = (inputs.permute(0, 2, 3, 1) if signature.channels_last else inputs).detach().cpu().numpy()
    try:
        (output,) = session.run([signature.output], {signature.name: np.ascontiguousarray(array, dtype=signature.dtype)})
    # onnxruntime's errors derive directly from Exception.
    except Exception as error:
        shape = "x".join(map(str, array.shape))
        raise RunError(f"{file.name} failed on inputs of shape {shape}: {reason_of(error)}") from error
    return torch.from_numpy(np.asarray(output)).to(inputs.device)


def reason_of(error: Exception) -> str:
    """The message of onnxruntime, without its codes and paths."""
    text = " ".join(str(error).split()).rpartition("] : ")[2]
    return (text.partition(" failed:")[2] or text.partition(" : ")[2] or text)[:200]


def view_for(size: tuple[int, int] | None, channels: int = 3) -> View:
    """The usual view, or one of a program's fixed size, with the resize in the usual proportion; mean and deviation are 0 and 1
    unless there are three channels."""
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((0.0,) * channels, (1.0,) * channels)
    if size is None:
        return View(mean=mean, std=std)
    height, width = (round(side * USUAL_SHARE) for side in size)
    square = size[0] == size[1]
    return View(height if square else (height, width), size[0] if square else size, mean=mean, std=std)


def content_of(file: Path) -> str:
    """A hash of the model and of the external files with its weights."""
    parts = [sha256_file(file)]
    parts += [
        sha256_file(file.parent / name)
        for name in external_files(read(file, "an ONNX file", LARGEST_WEIGHTS))
        if is_file(file.parent / name)
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def external_files(content: bytes) -> list[str]:
    """The names of external files beside a model that hold its weights."""
    spans = (
        (found.end(), sum((byte & 127) << 7 * at for at, byte in enumerate(found[1]))) for found in LOCATION.finditer(content)
    )
    return sorted({content[start : start + length].decode("utf-8", "replace") for start, length in spans})

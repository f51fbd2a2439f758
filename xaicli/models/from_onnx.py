"""`onnx:FILE`: a network run by onnxruntime, as a black box with nothing but its forward pass."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from types import ModuleType

import torch

from xaicli.errors import UsageError
from xaicli.images.view import IMAGENET_MEAN, IMAGENET_STD, View
from xaicli.models.cut_network import JOINED, CutNetwork, two_files
from xaicli.models.cut_onnx import cut_at, of_two_files, tensors_of
from xaicli.models.model_request import LoadedModel, Request
from xaicli.models.onnx_session import OnnxPart, OnnxSignature, open_session, signature_of
from xaicli.models.program_input import existing
from xaicli.packages import require
from xaicli.stamps import sha256_file, stamp
from xaicli.untrusted import LARGEST_WEIGHTS, is_file, read

LOCATION = re.compile(rb"\x0a\x08location\x12([\x80-\xff]?[\x01-\x7f])")
"""The protocol buffer tag before the name of an external weights file in ONNX; the length in base 128 follows, then the name."""
USUAL_SHARE = 256 / 224


def load(request: Request) -> LoadedModel:
    """The classifier in an ONNX file, with 224 pixels per side or the graph's fixed size; ImageNet's mean and deviation.

    A black box, unless it was cut: `@layer=TENSOR` after its name, or two files `FEATURES+HEAD`.
    """
    onnxruntime = require("onnxruntime", "onnx")
    request.refuse_weights("an ONNX file")
    request.refuse_flag(f"Write onnx:{request.name}.")
    files = tuple(existing(str(name), "onnx:FILE") for name in two_files(request.name) or (request.name,))
    device = device_for(onnxruntime, request)
    if len(files) == 2:
        request.refuse_layer("a network in two files, which is cut already")
        network, signature = of_two_files(onnxruntime, files, device)
        return loaded(request, files, signature, device, module=network)
    (file,) = files
    session = open_session(onnxruntime, file, device)
    signature = signature_of(session, file)
    if request.layer:
        tensor = tensors_of(onnxruntime, file, device).named(request.layer, file.name)
        return loaded(request, files, signature, device, module=cut_at(onnxruntime, file, tensor, device))
    whole = OnnxPart(session, (signature.name,), signature.batch, file, signature.channels_last, signature.output)
    return loaded(request, files, signature, device, forward=whole)


def loaded(
    request: Request,
    files: tuple[Path, ...],
    signature: OnnxSignature,
    device: torch.device,
    *,
    module: CutNetwork | None = None,
    forward: OnnxPart | None = None,
) -> LoadedModel:
    """The source's answer, of a network that was cut or of a black box."""
    onnxruntime = require("onnxruntime", "onnx")
    contents = [content_of(file) for file in files]
    return LoadedModel(
        request.canonical("onnx", JOINED.join(file.name for file in files)),
        view_for(signature.size, signature.channels),
        module=module,
        forward=forward,
        content=contents[0] if len(contents) == 1 else stamp(contents),
        layer="auto" if module is None else module.layer,
        device=device,
        accepts=signature.accepted,
        cuts=(lambda: tensors_of(onnxruntime, files[0], device).rows()) if len(files) == 1 else None,
    )


def device_for(onnxruntime: ModuleType, request: Request) -> torch.device:
    """The requested device; the CPU if any device will do and this onnxruntime has no other. Raises UsageError."""
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if request.device.type == "cpu" or (request.device.type == "cuda" and has_cuda):
        return request.device
    if request.any_device:
        return torch.device("cpu")
    hint = "Or type: pip install onnxruntime-gpu" if request.device.type == "cuda" else ""
    raise UsageError(f"this onnxruntime has no {request.device.type}", expected="--device cpu", hint=hint)


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

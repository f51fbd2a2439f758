"""`tflite:FILE.tflite`: a network in TensorFlow Lite's format (LiteRT), as a black box with nothing but its forward pass."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaicli.errors import InputError, RunError, UsageError
from xaicli.models.accepted_batches import in_batches
from xaicli.models.from_onnx import view_for
from xaicli.models.model_request import LoadedModel, Request
from xaicli.models.program_input import PHOTOS, ProgramInput, existing, logits_among
from xaicli.packages import require
from xaicli.passes.device import sensible_threads
from xaicli.stamps import sha256_file
from xaicli.untrusted import LARGEST_WEIGHTS, read
from xaicli.words import count

RUNTIMES = ("ai_edge_litert", "tflite_runtime")
"""Packages with an interpreter; the first that is installed is used."""
MARK = b"TFL3"
"""The bytes 4 to 8 of every such file."""
FAILURES = (RuntimeError, ValueError, OverflowError)
"""What an interpreter raises for files and inputs that it cannot use."""


@dataclass(frozen=True)
class Port:
    """An input or output of a program: how numbers `real = scale * (stored - zero)` are stored; scale 0: as they are."""

    index: int
    name: str
    dtype: Any
    scale: float = 0.0
    zero: int = 0

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Port:
        scale, zero = entry["quantization"]
        return cls(entry["index"], str(entry["name"]), np.dtype(entry["dtype"]), float(scale), int(zero))

    @property
    def is_floating(self) -> bool:
        return bool(np.issubdtype(self.dtype, np.floating))

    def stored(self, real: np.ndarray) -> np.ndarray:
        if self.is_floating:
            return np.ascontiguousarray(real, dtype=self.dtype)
        limits = np.iinfo(self.dtype)
        return np.clip(np.round(real / self.scale) + self.zero, limits.min, limits.max).astype(self.dtype)

    def real(self, stored: np.ndarray) -> np.ndarray:
        """In float32, as a copy: the interpreter writes into the same memory again."""
        if self.is_floating:
            return np.array(stored, dtype=np.float32)
        return ((stored.astype(np.float32) - self.zero) * self.scale).astype(np.float32)


@dataclass(eq=False)
class TfliteNetwork:
    """An interpreter as a function of photos (B, C, H, W). batch: for which it has memory now."""

    interpreter: Any
    accepts: ProgramInput
    taken: Port
    given: Port
    file: Path
    batch: int = field(default=0)

    def __call__(self, photos: Tensor) -> Tensor:
        laid_out = photos.permute(0, 2, 3, 1) if self.accepts.channels_last else photos
        return in_batches(self.run, laid_out.detach(), self.accepts.batch or 1, self.accepts.batch).to(photos.device)

    def run(self, photos: Tensor) -> Tensor:
        """The outputs (B, ...); raises RunError."""
        array = self.taken.stored(photos.cpu().numpy())
        try:
            if self.batch != len(array):
                with nothing_on_stderr():
                    self.interpreter.resize_tensor_input(self.taken.index, array.shape)
                    self.interpreter.allocate_tensors()
                self.batch = len(array)
            self.interpreter.set_tensor(self.taken.index, array)
            self.interpreter.invoke()
        except FAILURES as error:
            shape = "x".join(map(str, array.shape))
            raise RunError(f"{self.file.name} failed on inputs of shape {shape}: {reason_of(error)}") from error
        return torch.from_numpy(self.given.real(self.interpreter.get_tensor(self.given.index)))


def load(request: Request) -> LoadedModel:
    """The network in a .tflite file, for photos of 224 pixels or the size that it fixes; ImageNet's mean and deviation. Inputs
    and outputs of eight or sixteen bits are converted by the scales in the file."""
    interpreter_of = interpreter_class()
    request.refuse_weights("a TensorFlow Lite file")
    request.refuse_flag(f"Write tflite:{request.name}.")
    if request.device.type != "cpu" and not request.any_device:
        raise UsageError(f"TensorFlow Lite networks run on the processor, not on {request.device.type}", expected="--device cpu")
    file = existing(request.name, "tflite:FILE.tflite")
    if read(file, "a TensorFlow Lite network", LARGEST_WEIGHTS)[4:8] != MARK:
        raise InputError(f"{file.name} is not a TensorFlow Lite network", expected="a .tflite file")
    try:
        with nothing_on_stderr():
            interpreter = interpreter_of(model_path=str(file), num_threads=sensible_threads())
            interpreter.allocate_tensors()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    except FAILURES as error:
        raise InputError(
            f"{file.name} is not a network that TensorFlow Lite can run: {reason_of(error)}", hint="Export it again."
        ) from error
    if len(inputs) != 1:
        raise InputError(f"{file.name} has {count(len(inputs), 'input')}", expected=PHOTOS)
    ports = [port_of(entry, file) for entry in (inputs[0], *outputs)]
    fixed, stated = inputs[0]["shape"], inputs[0].get("shape_signature", inputs[0]["shape"])
    accepts = ProgramInput.of([int(side) for side in (stated if len(stated) == len(fixed) else fixed)], ports[0].name, file)
    place = 1 + logits_among([port.name for port in ports[1:]], file)
    return LoadedModel(
        request.canonical("tflite", file.name),
        view_for(accepts.size, accepts.channels),
        forward=TfliteNetwork(interpreter, accepts, ports[0], ports[place], file),
        content=sha256_file(file),
        device=torch.device("cpu"),
        accepts=accepts.accepted,
    )


def interpreter_class() -> Any:
    """The interpreter of the first runtime that is installed; raises InputError, which says what to install."""
    package = next((name for name in RUNTIMES if importlib.util.find_spec(name) is not None), RUNTIMES[0])
    require(package, "tflite")
    return require(f"{package}.interpreter", "tflite").Interpreter


def port_of(entry: dict[str, Any], file: Path) -> Port:
    """An input or output; raises InputError for numbers that are neither floating nor scaled."""
    port = Port.of(entry)
    if not port.is_floating and not (np.issubdtype(port.dtype, np.integer) and port.scale > 0):
        raise InputError(f"{port.name} of {file.name} is {port.dtype} without a scale", expected=PHOTOS)
    return port


@contextlib.contextmanager
def nothing_on_stderr() -> Iterator[None]:
    """Silence what the runtime's C code prints when it prepares a network; what matters, it raises."""
    try:
        kept = os.dup(2)
    except OSError:
        # It was closed by whoever started us.
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def reason_of(error: Exception) -> str:
    """The runtime's message, without the places in its code and its advice on delegates."""
    text = " ".join(str(error).split())
    return (text.rpartition("was not true.")[2].strip() or text)[:200]

"""`openvino:FILE.xml`: a network in OpenVINO's format, run on the processor, as a black box with nothing but its forward pass."""

from __future__ import annotations

import re
from dataclasses import dataclass
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
from xaicli.passes.runtimes import ONE_LENGTH, is_of_one_length, openvino_core
from xaicli.stamps import sha256_file, stamp
from xaicli.untrusted import is_file, read
from xaicli.words import count

TYPES = {"f32": np.float32, "f16": np.float16, "f64": np.float64}
HEAD = re.compile(rb"""<net\s[^>]*\bversion=["']\d+["']""")
"""How the description of a network begins. Other files are not given to OpenVINO, which would try the readers of all formats."""
LARGEST_DESCRIPTION = 1 << 30
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
"""The same inputs give the same bytes, in full precision."""


@dataclass(frozen=True, eq=False)
class OpenVinoNetwork:
    """A compiled network as a function of photos (B, C, H, W); dtype: of its input; output: the place of the logits."""

    compiled: Any
    accepts: ProgramInput
    dtype: Any
    output: int
    file: Path

    def __call__(self, photos: Tensor) -> Tensor:
        laid_out = photos.permute(0, 2, 3, 1) if self.accepts.channels_last else photos
        return in_batches(self.run, laid_out.detach(), self.accepts.batch or 1, self.accepts.batch).to(photos.device)

    def run(self, photos: Tensor) -> Tensor:
        """The outputs (B, ...); raises RunError."""
        array = np.ascontiguousarray(photos.cpu().numpy(), dtype=self.dtype)
        try:
            outputs = self.compiled([array])
        except RuntimeError as error:
            shape = "x".join(map(str, array.shape))
            raise RunError(f"{self.file.name} failed on inputs of shape {shape}: {reason_of(error)}") from error
        # A copy: OpenVINO writes the next outputs into the same memory.
        return torch.from_numpy(np.array(outputs[self.output]))


def load(request: Request) -> LoadedModel:
    """The network in FILE.xml, with the weights in FILE.bin beside it, for photos of 224 pixels or the size that it fixes;
    ImageNet's mean and deviation."""
    require("openvino", "openvino")
    request.refuse_weights("an OpenVINO file")
    request.refuse_flag(f"Write openvino:{request.name}.")
    if request.device.type != "cpu" and not request.any_device:
        raise UsageError(f"OpenVINO networks run on the processor here, not on {request.device.type}", expected="--device cpu")
    file = existing(request.name, "openvino:FILE.xml")
    if HEAD.search(read(file, "an OpenVINO network", LARGEST_DESCRIPTION)[: 1 << 12]) is None:
        raise InputError(f"{file.name} is not an OpenVINO network", expected="the .xml file that openvino.save_model wrote")
    weights = file.with_suffix(".bin")
    try:
        core = openvino_core()
        network = core.read_model(str(file))
        compiled = core.compile_model(network, "CPU", {**SETTINGS, "INFERENCE_NUM_THREADS": sensible_threads()})
    except RuntimeError as error:
        hint = "Export it again." if is_file(weights) else f"Its weights belong beside it, in {weights.name}."
        raise InputError(f"{file.name} is not a network that OpenVINO can run: {reason_of(error)}", hint=hint) from error
    accepts, dtype = input_of(network, file)
    if accepts.batch is None and is_of_one_length(network):
        found = f"{file.name} says that it takes any number of photos, and holds another number as a constant"
        raise InputError(found, hint=f"Mend the network's code ({ONE_LENGTH}) and export it again.")
    names = [next(iter(sorted(output.get_names())), f"output {at}") for at, output in enumerate(network.outputs)]
    contents = [sha256_file(part) for part in (file, weights) if is_file(part)]
    return LoadedModel(
        request.canonical("openvino", file.name),
        view_for(accepts.size, accepts.channels),
        forward=OpenVinoNetwork(compiled, accepts, dtype, logits_among(names, file), file),
        content=stamp(contents),
        device=torch.device("cpu"),
        accepts=accepts.accepted,
    )


def input_of(network: Any, file: Path) -> tuple[ProgramInput, Any]:
    """What the network accepts, and the type of its numbers; raises InputError unless it is one batch of photos."""
    if len(network.inputs) != 1:
        raise InputError(f"{file.name} has {count(len(network.inputs), 'input')}", expected=PHOTOS)
    (only,) = network.inputs
    shape, kind = only.get_partial_shape(), only.element_type.get_type_name()
    if shape.rank.is_dynamic:
        raise InputError(f"the input of {file.name} has no fixed number of axes", expected=PHOTOS)
    if kind not in TYPES:
        raise InputError(f"the input of {file.name} is {kind}", expected=PHOTOS)
    name = next(iter(sorted(only.get_names())), "of photos")
    return ProgramInput.of([None if side.is_dynamic else side.get_length() for side in shape], name, file), TYPES[kind]


def reason_of(error: Exception) -> str:
    """OpenVINO's message, without the places in its code."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return (said[-1] if said else " ".join(lines))[:200]

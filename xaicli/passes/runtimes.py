"""OpenVINO and ONNX Runtime: what they run ONNX programs with, on the processor, in as many threads as torch."""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xaicli.errors import RunError
from xaicli.network.onnx_program import INPUT
from xaicli.packages import require, version_of
from xaicli.passes.device import sensible_threads

Passes = Callable[[Tensor], Tensor]
"""Outputs (B, ...) float32 of inputs (B, C, H, W), without gradients."""


@dataclass(frozen=True)
class Runtime:
    """A package that runs ONNX programs. dtypes: in which it computes; begin: makes passes of a program in one of them."""

    name: str
    extra: str
    dtypes: tuple[torch.dtype, ...]
    begin: Callable[[bytes, torch.dtype], Passes]

    @property
    def version(self) -> str:
        return f"{self.name} {version_of(self.name)}"

    def require(self) -> None:
        """Raise InputError, which names the extra, unless the package and `onnx`, which conversion needs, are installed."""
        for package in (self.name, "onnx"):
            require(package, self.extra)


@functools.cache
def installed(name: str) -> bool:
    """Whether a runtime and `onnx` can be found; neither is imported."""
    return all(importlib.util.find_spec(package) is not None for package in (name, "onnx"))


OTHER_LENGTH = 3
"""Another number of inputs than networks are traced with."""
ONE_LENGTH = "len(x) is one, x.shape[0] is not"


@functools.cache
def openvino_core() -> Any:
    """The process's only OpenVINO core.

    Each core gives the thread that makes it another stack for signals and takes it back when the core is freed. Of two cores
    freed in the order in which they were made, the second leaves a freed stack behind, and the next signal ends the process.
    """
    return require("openvino", "openvino").Core()


def with_openvino(program: bytes, dtype: torch.dtype) -> Passes:
    """Passes in float32, or with products in bf16."""
    settings = {
        "INFERENCE_PRECISION_HINT": "f32" if dtype == torch.float32 else "bf16",
        "INFERENCE_NUM_THREADS": sensible_threads(),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Several processes would be pinned to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    core = openvino_core()
    network = core.read_model(program)
    if is_of_one_length(network):
        raise RunError(f"its code takes the number of inputs for a constant ({ONE_LENGTH})")
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    in_turn = threading.Lock()

    def run(inputs: Tensor) -> Tensor:
        with in_turn:
            # A copy: the next pass writes to the same place.
            return torch.from_numpy(request.infer([as_array(inputs)], share_inputs=True)[0].copy())

    return run


def is_of_one_length(network: Any) -> bool:
    """Whether the shapes in a network (of OpenVINO) fit together for one number of inputs alone: its Python code had that number
    as a constant while it was exported. OpenVINO itself does not look; it reads beyond its memory, and may end the process."""
    copy = network.clone()
    shape = copy.input(0).partial_shape
    shape[0] = OTHER_LENGTH
    try:
        copy.reshape(shape)
    except RuntimeError:
        return True
    return False


def with_onnxruntime(program: bytes, dtype: torch.dtype) -> Passes:
    """Passes in float32."""
    onnxruntime = require("onnxruntime", "onnx")
    session = onnxruntime.InferenceSession(program, session_options(onnxruntime), providers=["CPUExecutionProvider"])

    def run(inputs: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {INPUT: as_array(inputs)})[0])

    return run


def session_options(onnxruntime: Any) -> Any:
    """The options of a session whose passes give the same bytes each time, in as many threads as torch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = sensible_threads()
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    # What fails is raised as well; below this, ONNX Runtime also prints it.
    options.log_severity_level = 4
    return options


def as_array(inputs: Tensor) -> Any:
    return inputs.detach().contiguous().numpy()


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime("openvino", "openvino", (torch.float32, torch.bfloat16), with_openvino),
        Runtime("onnxruntime", "onnx", (torch.float32,), with_onnxruntime),
    )
}
"""Runtimes by name, the faster first (`python -m benchmarks engines`)."""

"""A torch network as an ONNX program: the same outputs for inputs of one size, any number of them at once."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xaicli.errors import RunError
from xaicli.network.classifier import Classifier
from xaicli.network.dispatch import DispatchWatch
from xaicli.network.modes import eval_mode
from xaicli.network.noise import noise
from xaicli.network.raw_output import read_outputs
from xaicli.untrusted import LARGEST_WEIGHTS, read

READING = frozenset({"_local_scalar_dense", "is_nonzero", "equal"})
"""Operations by which Python reads a number out of a tensor: a program would keep the number that it read while it was made."""
UNTRACED = "Converting a tensor to a (NumPy array|Python list)"
"""torch's warning that it does not see what a network computes."""
INPUT, OUTPUT = "inputs", "outputs"


class ReadingOutputs(nn.Module):
    """The network with its outputs read from what it returns: (B, C), or (B, C, H, W) of a class map, float32."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.network, self.name, self.output_name = classifier.torch_module, classifier.name, classifier.output_name

    def forward(self, inputs: Tensor) -> Tensor:
        return read_outputs(self.network(inputs), len(inputs), self.name, self.output_name)


def onnx_program(classifier: Classifier, size: tuple[int, int], channels: int) -> bytes:
    """The network as an ONNX program for inputs (B, channels, *size), traced on noise; its input is called `inputs`, its output
    `outputs`. Raises RunError for a network whose Python code decides by numbers, and whatever torch raises where it has no
    counterpart for an operation."""
    network, photo = ReadingOutputs(classifier), noise(classifier.torch_module, size, channels)
    photos = torch.cat([photo, photo.flip(3)])
    batches = {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}
    with eval_mode(network), torch.inference_mode(False), torch.no_grad(), torch.autocast(photo.device.type, enabled=False):
        refuse_reading(network, photos.clone())
        with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="xai-onnx-") as folder:
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=UNTRACED)
            file = Path(folder) / "network.onnx"
            with plain_attention():
                torch.onnx.export(
                    network, (photos,), file, dynamo=False, input_names=[INPUT], output_names=[OUTPUT], dynamic_axes=batches
                )
            return read(file, "a network in ONNX", LARGEST_WEIGHTS)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Inside the `with`, torch's own attention layers run operation by operation: ONNX has no counterpart of their fast path."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def refuse_reading(network: nn.Module, photos: Tensor) -> None:
    """Raise RunError if the network reads numbers out of tensors, by which it may decide what to compute."""
    with NumbersRead() as seen:
        network(photos)
    if seen.found:
        raise RunError("its code decides by numbers that it reads from tensors")


class NumbersRead(DispatchWatch):
    """Whether numbers are read out of tensors inside the `with`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found |= func._schema.name.removeprefix("aten::") in READING
        return func(*args, **(kwargs or {}))

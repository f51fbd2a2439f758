"""A network compiled by `torch.compile`: made once for each size of inputs, trusted after a check; on a GPU as CUDA graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xaicli.errors import RunError, XaiError
from xaicli.network.classifier import Classifier
from xaicli.network.folding import folded
from xaicli.network.raw_output import read_outputs
from xaicli.network.twin import twin_of
from xaicli.passes.converted import checked, for_trial, made_once, own_outputs
from xaicli.passes.layout import fastest_layout
from xaicli.passes.runtimes import Passes

COMPILE = "compile"
SHOWN = "torch.compile"
"""What the engine is called in records and in lines to the user."""
DEVICES = frozenset({"cpu", "cuda"})
BACKEND = "inductor"


def compiled(classifier: Classifier, inputs: Tensor, dtype: torch.dtype) -> Passes | None:
    """Passes in `dtype` of the classifier's compiled network, for inputs like these (B, C, H, W); None, with one line of why,
    where it is not one graph, where there is no compiler, or where it gives other outputs.

    They give the outputs as the network returns them. One graph runs batches of any length; it is made once while the network
    is unchanged.
    """
    return made_once(classifier, SHOWN, inputs, dtype, lambda: begun(classifier, inputs, dtype), warn=True)


def begun(classifier: Classifier, inputs: Tensor, dtype: torch.dtype) -> Passes:
    """Passes that were checked."""
    tried, graphs = for_trial(inputs), has_graphs(inputs.device)
    expected, tolerance = own_outputs(classifier, tried, dtype)
    layout = fastest_layout(classifier, dtype)

    def passes_of(network: nn.Module, dtype: torch.dtype) -> Passes:
        passes = Compiled(one_graph(network, graphs=graphs), dtype, graphs, layout, classifier.name, classifier.output_name)
        # torch replays a CUDA graph from the third time on: first it warms up, then it records.
        for _ in range(2 if graphs else 0):
            passes(tried)
            passes(tried[:1])
        checked(passes, tried, expected, tolerance)
        return passes

    network = plain_twin(classifier, tried[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return passes_of(network, dtype)
        except XaiError:
            raise
        # A compiler may raise anything on a foreign network.
        except Exception as error:
            if not isinstance(error, torch._dynamo.exc.Unsupported):
                raise RunError(reason_of(error)) from error
            try:
                # Its operations say themselves what they compute in.
                return passes_of(exported(network, tried, dtype), torch.float32)
            except Exception:
                raise RunError(reason_of(error)) from error


def has_graphs(device: torch.device) -> bool:
    """Whether passes on a device run as CUDA graphs."""
    return device.type == "cuda"


def plain_twin(classifier: Classifier, photo: Tensor) -> nn.Module:
    """A copy of the network, batch norms folded where they can be, in operations that every backend knows. A copy, so that the
    network itself can be freed."""
    _, twin = folded(classifier, photo.clone(), fuses=False)
    return twin_of(classifier.torch_module, classifier.name) if twin is classifier else twin.torch_module


def exported(network: nn.Module, inputs: Tensor, dtype: torch.dtype) -> nn.Module:
    """The operations of one pass in `dtype`, for batches of two inputs or more: torch's exporter runs the network's Python code,
    where its compiler reads it, and so gets through what the compiler cannot read, such as hooks that stand for the length of a
    pass. Raises where the code decides by numbers in tensors or by the number of inputs."""
    batches = {0: torch.export.Dim("batch", min=2)}
    half = dtype != torch.float32
    with torch.no_grad(), torch.autocast(inputs.device.type, dtype=dtype if half else None, enabled=half):
        program = torch.export.export(network, (inputs.clone(),), dynamic_shapes=(batches,), strict=False)
        # This replaces what autocast does by operations that do it.
        return program.run_decompositions({}).module()


def one_graph(network: nn.Module, *, graphs: bool) -> Callable[[Tensor], object]:
    """The network as one compiled graph, compiled in its first pass. graphs: run as CUDA graphs, as in mode `reduce-overhead`.

    Its kernels are not chosen by the clock where this torch can do without. Nothing that was compiled before changes it: torch
    keeps what it made by the code of a function, makes sizes dynamic that changed there, and gives up after the eighth; so this
    function has code of its own.
    """

    def whole(inputs: Tensor) -> object:
        return network(inputs)

    whole.__code__ = whole.__code__.replace()
    if BACKEND != "inductor":
        return torch.compile(whole, fullgraph=True, dynamic=False, backend=BACKEND)
    known = torch._inductor.list_options()
    options: dict[str, str | int | bool | Callable[..., Any]] = {"triton.cudagraphs": graphs}
    if "deterministic" in known:
        options["deterministic"] = True
    return torch.compile(whole, fullgraph=True, dynamic=False, options=options)


@dataclass(frozen=True, eq=False)
class Compiled:
    """Passes of a compiled network. They hold nothing of the network itself, which ends before them.

    run: the compiled network; dtype: what it computes in; graphs: as CUDA graphs; layout: of its inputs; name, output_name: the
    classifier's.
    """

    run: Callable[[Tensor], object]
    dtype: torch.dtype
    graphs: bool
    layout: torch.memory_format
    name: str
    output_name: str

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs (B, ...) of inputs (B, C, H, W), which are not changed."""
        half, count = self.dtype != torch.float32, len(inputs)
        autocast = torch.autocast(inputs.device.type, dtype=self.dtype if half else None, enabled=half)
        with torch.inference_mode(False), torch.no_grad(), autocast:
            filling = inputs[:1].expand(length(count, graphs=self.graphs) - count, -1, -1, -1)
            # Always a new tensor: the network may write into it.
            batch = torch.cat([inputs, filling]).contiguous(memory_format=self.layout)
            torch._dynamo.mark_dynamic(batch, 0)
            outputs = read_outputs(self.run(batch), len(batch), self.name, self.output_name)
            # A copy: the next run of a CUDA graph writes to the same place.
            return outputs[:count].clone()


def length(count: int, *, graphs: bool) -> int:
    """How long a batch of `count` inputs is made: two at least, since torch compiles a batch of one apart. For CUDA graphs, one
    of each length, the next power of two, which full batches are by themselves."""
    return max(2, 1 << (count - 1).bit_length() if graphs else count)


def reason_of(error: Exception) -> str:
    """What torch's compiler says in its first line; of a backend that failed, what that backend says."""
    cause = getattr(error, "inner_exception", error)
    return next(iter(str(cause).splitlines()), "")[:120] or type(cause).__name__

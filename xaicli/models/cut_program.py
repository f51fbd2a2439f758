"""A program of torch.export cut in two at one of its tensors, or exported in two files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_unflatten

from xaicli.errors import InputError
from xaicli.models.cut_network import CutNetwork, ExportedTensor, Tensors, pictures
from xaicli.models.exported_program import ExportSignature, ProgramPart, bounds, on_device
from xaicli.words import count

OF_PICTURES = (
    "conv2d convolution conv_transpose2d batch_norm _native_batch_norm_legit_no_training group_norm max_pool2d "
    "avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d max_pool2d_with_indices pixel_shuffle"
)
ONE_BY_ONE = (
    "relu relu6 hardtanh clamp clamp_min clamp_max leaky_relu elu sigmoid hardsigmoid hardswish silu mish gelu "
    "tanh add sub mul div cat dropout clone alias contiguous getitem"
)
ATTENTION = frozenset({"softmax", "_softmax", "scaled_dot_product_attention"})
USUAL_SIDE = 224


def functional(program: Any) -> Any:
    """The program without operations that write into their inputs: a cut beside such a one would see what follows it."""
    return program.run_decompositions({})


def tensors_of(program: Any, signature: ExportSignature) -> Tensors:
    """The tensors of a program."""
    plain = functional(program)
    nodes = [node for node in plain.graph.nodes if node.op == "call_function"]
    kinds = [operation(node) for node in nodes]
    read = [[one.name for one in node.all_input_nodes] for node in nodes]
    sure = pictures(OF_PICTURES, ONE_BY_ONE, ((kind, of, [node.name]) for kind, of, node in zip(kinds, read, nodes, strict=True)))
    size = signature.size or (USUAL_SIDE, USUAL_SIDE)
    found = []
    for kind, node in zip(kinds, nodes, strict=True):
        value = node.meta.get("val")
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim not in (3, 4):
            continue
        shape = [side if isinstance(side, int) else None for side in value.shape[1:]]
        if None not in shape:
            found.append(ExportedTensor(node.name, kind, (1, *map(int, value.shape[1:])), node.name in sure))
    attention = frozenset(tensor.name for tensor in found if tensor.operation in ATTENTION)
    return Tensors(tuple(found), size, attention)


def operation(node: fx.Node) -> str:
    """What a node does, in torch's word: `relu` for aten.relu.default and aten.relu_.default."""
    name = str(getattr(node.target, "_opname", None) or getattr(node.target, "__name__", node.target))
    return name.removesuffix("_")


def cut_program(program: Any, tensor: str, signature: ExportSignature, device: torch.device) -> CutNetwork:
    """The program, cut at a tensor of it."""
    plain = functional(program)
    cut = next(node for node in plain.graph.nodes if node.name == tensor)
    kind = cut.meta["val"].dtype
    network, spec = on_device(plain, device), plain.call_spec.out_spec
    # The program's own module names its nodes as its graph does.
    (node,) = (node for node in network.graph.nodes if node.name == tensor)
    first, second = features_of(network, node), head_of(network, node)
    limits = signature.least, signature.most, device
    features = ProgramPart(first, (signature.dtype,), *limits)
    head = ProgramPart(lambda *given: tree_unflatten(list(second(*given)), spec), (kind, signature.dtype), *limits)
    return CutNetwork(tensor, features, head, (work(first.graph), work(second.graph)))


def features_of(network: fx.GraphModule, cut: fx.Node) -> fx.GraphModule:
    """Photos to the tensor: all up to the node that makes it."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in network.graph.nodes:
        copies[node] = graph.node_copy(node, lambda of: copies[of])
        if node is cut:
            break
    graph.output(copies[cut])
    return module_of(network, graph)


def head_of(network: fx.GraphModule, cut: fx.Node) -> fx.GraphModule:
    """The tensor and the photos to all outputs, a flat tuple."""
    graph = fx.Graph()
    copies = {cut: graph.placeholder("features_at_the_cut")}
    outputs = graph.graph_copy(network.graph, copies)
    graph.output(tuple(outputs) if isinstance(outputs, Sequence) else (outputs,))
    return module_of(network, graph)


def module_of(network: fx.GraphModule, graph: fx.Graph) -> fx.GraphModule:
    """A graph over the weights of the network, without what its outputs do not need."""
    made = fx.GraphModule(network, graph)
    made.graph.eliminate_dead_code()
    made.recompile()
    return made


def work(graph: fx.Graph) -> float:
    return float(sum(node.op == "call_function" for node in graph.nodes))


def of_two_programs(
    first: Any, second: Any, signature: ExportSignature, device: torch.device, files: tuple[Path, Path]
) -> CutNetwork:
    """The network that was exported in two programs; raises InputError where the second takes anything but the features."""
    names = second.graph_signature.user_inputs
    values = [node.meta.get("val") for node in second.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(values) != 1 or not isinstance(values[0], Tensor):
        raise InputError(
            f"{files[1].name} takes {count(len(names), 'input')}", expected="one, the features that the first file gives"
        )
    features = ProgramPart(on_device(first, device), (signature.dtype,), signature.least, signature.most, device)
    head = ProgramPart(on_device(second, device), (values[0].dtype,), *bounds(second, values[0].shape[0]), device)
    return CutNetwork("features", features, lambda given, photos: head(given))

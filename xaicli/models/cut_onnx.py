"""An ONNX network cut in two at one of its tensors, or exported in two files: Recipro-CAM and its kin then run without torch's
layers.

The second part is the graph in which the tensor is an input: operations that follow it may still read the photo, whose path past
the tensor stays whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xaicli.errors import InputError
from xaicli.models.cut_network import CutNetwork, ExportedTensor, Tensors, pictures
from xaicli.models.onnx_session import TYPES, OnnxPart, OnnxSignature, open_session, signature_of
from xaicli.packages import require
from xaicli.words import count

OF_PICTURES = (
    "Conv ConvTranspose BatchNormalization InstanceNormalization MaxPool AveragePool GlobalAveragePool "
    "GlobalMaxPool LpPool Resize Upsample DepthToSpace SpaceToDepth"
)
ONE_BY_ONE = (
    "Relu Clip LeakyRelu PRelu Elu Selu Sigmoid HardSigmoid HardSwish Mish Gelu Softplus Tanh Erf Add Sub Mul Div "
    "Concat Identity Dropout Cast Pad"
)
ATTENTION = frozenset({"Softmax", "Attention", "MultiHeadAttention"})
USUAL_SIDE = 224


def tensors_of(runtime: Any, file: Path, device: torch.device) -> Tensors:
    """The tensors of an ONNX file, found in one pass of empty photos in which all of them are outputs."""
    model = read(file)
    session = open_session(runtime, file, device)
    signature = signature_of(session, file)
    size = signature.size or (USUAL_SIDE, USUAL_SIDE)
    nodes = list(model.graph.node)
    own = {entry.name for entry in model.graph.output}
    names = [name for node in nodes for name in node.output if name]
    helper = require("onnx", "onnx").helper
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in own)
    every = open_session(runtime, file, device, serialized(model, file))
    photos = np.zeros(signature.shape(size), dtype=signature.dtype)
    values = dict(zip([entry.name for entry in every.get_outputs()], every.run(None, {signature.name: photos}), strict=True))
    sure = pictures(OF_PICTURES, ONE_BY_ONE, ((node.op_type, list(node.input), list(node.output)) for node in nodes))
    makers = {name: node.op_type for node in nodes for name in node.output}
    found = [
        ExportedTensor(name, makers[name], (1, *values[name].shape[1:]), name in sure)
        for name in names
        if isinstance(values.get(name), np.ndarray) and values[name].dtype.kind == "f" and values[name].ndim in (3, 4)
    ]
    attention = (tensor.name for tensor in found if tensor.operation in ATTENTION)
    return Tensors(tuple(found), size, frozenset(attention))


def cut_at(runtime: Any, file: Path, tensor: str, device: torch.device) -> CutNetwork:
    """The network of a file, cut at a tensor of it."""
    signature = signature_of(open_session(runtime, file, device), file)
    whole = read(file)
    first = pruned(whole, [tensor])
    features = part(runtime, first, (signature.name,), signature, file, device)
    kind = features.session.get_outputs()[0].type
    if kind not in TYPES:
        raise InputError(f"the tensor {tensor} of {file.name} is {kind}", expected="a tensor in floating point")
    second = pruned(with_input(whole, tensor, TYPES[kind]), [signature.output])
    head = part(runtime, second, (tensor, signature.name), signature, file, device)
    return CutNetwork(tensor, features, head, (len(first.graph.node), len(second.graph.node)))


def of_two_files(runtime: Any, files: tuple[Path, Path], device: torch.device) -> tuple[CutNetwork, OnnxSignature]:
    """The network that was exported in two files, and what it accepts; raises InputError where they do not fit each other."""
    first, second = (open_session(runtime, file, device) for file in files)
    signature = signature_of(first, files[0])
    entries = second.get_inputs()
    if len(entries) != 1 or entries[0].type not in TYPES:
        raise InputError(
            f"{files[1].name} has the inputs {', '.join(entry.name for entry in entries)}",
            expected="one, the features that the first file gives",
        )
    if len(second.get_outputs()) != 1:
        raise InputError(f"{files[1].name} has {count(len(second.get_outputs()), 'output')}", expected="one, the logits")
    entry = entries[0]
    features = OnnxPart(first, (signature.name,), signature.batch, files[0], signature.channels_last)
    batch = entry.shape[0] if entry.shape and isinstance(entry.shape[0], int) and entry.shape[0] > 0 else None
    head = OnnxPart(second, (entry.name,), batch, files[1])
    return CutNetwork(signature.output, features, lambda given, photos: head(given)), signature


def read(file: Path) -> Any:
    """The graph of a file, with the weights that lie beside it."""
    onnx = require("onnx", "onnx")
    try:
        return onnx.load(str(file))
    # What onnx raises for a damaged file has no common type.
    except Exception as error:
        raise InputError(f"{file} is not an ONNX model: {' '.join(str(error).split())[:160]}", hint="Export it again.") from error


def serialized(model: Any, file: Path) -> bytes:
    try:
        return model.SerializeToString()  # type: ignore[no-any-return]
    # A protocol buffer ends at two gigabytes; its error has no common type.
    except Exception as error:
        raise InputError(
            f"{file.name} is too large to be cut", hint="Export its two parts: --model onnx:FEATURES.onnx+HEAD.onnx"
        ) from error


def part(
    runtime: Any, model: Any, inputs: tuple[str, ...], signature: OnnxSignature, file: Path, device: torch.device
) -> OnnxPart:
    session = open_session(runtime, file, device, serialized(model, file))
    return OnnxPart(session, inputs, signature.batch, file, signature.channels_last)


def with_input(model: Any, tensor: str, dtype: Any) -> Any:
    """The graph in which a tensor is an input, and no longer made."""
    onnx = require("onnx", "onnx")
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for node in made.graph.node:
        for at, name in enumerate(node.output):
            if name == tensor:
                node.output[at] = f"{tensor} before the cut"
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    made.graph.input.append(onnx.helper.make_tensor_value_info(tensor, kind, None))
    return made


def pruned(model: Any, outputs: Sequence[str]) -> Any:
    """The graph with those outputs, and no more than they need; inputs stay where something reads them."""
    onnx = require("onnx", "onnx")
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    kept = leading_to(graph.node, outputs)
    read = {name for node in kept for name in read_by(node)} | set(outputs)
    weights = [weight for weight in graph.initializer if weight.name in read]
    inputs = [entry for entry in graph.input if entry.name in read]
    for field in ("node", "initializer", "input", "output", "value_info"):
        del getattr(graph, field)[:]
    graph.node.extend(kept)
    graph.initializer.extend(weights)
    graph.input.extend(inputs)
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in outputs)
    return made


def leading_to(nodes: Iterable[Any], tensors: Iterable[str]) -> list[Any]:
    """The nodes, in order, that tensors need."""
    wanted, kept = set(tensors), []
    for node in reversed(list(nodes)):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted |= read_by(node)
    return kept[::-1]


def read_by(node: Any) -> set[str]:
    """The names that a node reads, in its branches too."""
    branches = [branch for attribute in node.attribute for branch in (attribute.g, *attribute.graphs)]
    return {*node.input}.union(*(read_by(inner) for branch in branches for inner in branch.node))

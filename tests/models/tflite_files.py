"""TensorFlow Lite files made by hand, by the schema of the format: linear over the mean colour of photos with channels last."""

import numpy as np
import pytest

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
flatbuffers = pytest.importorskip("flatbuffers")

RNG = np.random.default_rng(4)
WEIGHT = RNG.standard_normal((3, 5)).astype(np.float32)


def tensor(name, shape, buffer, kind=None, signature=None, scale=None):
    made = schema.TensorT()
    made.name, made.shape, made.buffer = name, list(shape), buffer
    made.type = schema.TensorType.FLOAT32 if kind is None else kind
    made.shapeSignature = None if signature is None else list(signature)
    if scale is not None:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [scale[0]], [scale[1]]
    return made


def operator(code, inputs, outputs, options_type, options):
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code, list(inputs), list(outputs)
    made.builtinOptionsType, made.builtinOptions = options_type, options
    return made


def code(which):
    made = schema.OperatorCodeT()
    made.builtinCode = made.deprecatedBuiltinCode = which
    made.version = 1
    return made


def buffer(values=None):
    made = schema.BufferT()
    made.data = None if values is None else np.frombuffer(values.tobytes(), np.uint8)
    return made


def written(graph, codes, buffers):
    model = schema.ModelT()
    model.version, model.description = 3, "net"
    model.operatorCodes, model.buffers, model.subgraphs = [code(which) for which in codes], [buffer(), *buffers], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def mean_colour(shape=(1, 8, 8, 3), signature=None, outputs=("logits",)):
    """The mean over height and width, and a linear layer for each output."""
    mean, linear, kinds = schema.ReducerOptionsT(), schema.FullyConnectedOptionsT(), schema.BuiltinOptions
    mean.keepDims = False
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("photos", shape, 0, signature=signature),
        tensor("axes", (2,), 1, schema.TensorType.INT32),
        tensor("mean", (shape[0], 3), 0),
        tensor("weight", (5, 3), 2),
        *(tensor(name, (shape[0], 5), 0) for name in outputs),
    ]
    graph.operators = [operator(0, [0, 1], [2], kinds.ReducerOptions, mean)]
    graph.operators += [operator(1, [2, 3, -1], [4 + at], kinds.FullyConnectedOptions, linear) for at in range(len(outputs))]
    graph.inputs, graph.outputs = [0], [4 + at for at in range(len(outputs))]
    codes = schema.BuiltinOperator.MEAN, schema.BuiltinOperator.FULLY_CONNECTED
    return written(graph, codes, [buffer(np.array([1, 2], np.int32)), buffer(WEIGHT.T.copy())])


def in_eight_bits(scale=(0.05, 3)):
    """The mean over height and width in eight bits: of each channel."""
    mean = schema.ReducerOptionsT()
    mean.keepDims = False
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("photos", (1, 8, 8, 3), 0, schema.TensorType.INT8, scale=scale),
        tensor("axes", (2,), 1, schema.TensorType.INT32),
        tensor("colours", (1, 3), 0, schema.TensorType.INT8, scale=scale),
    ]
    graph.operators = [operator(0, [0, 1], [2], schema.BuiltinOptions.ReducerOptions, mean)]
    graph.inputs, graph.outputs = [0], [2]
    return written(graph, [schema.BuiltinOperator.MEAN], [buffer(np.array([1, 2], np.int32))])

"""A VGG whose convolutions all have whole multiples of 32 channels."""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_MULTIPLE = 32


def widened(model: bytes) -> bytes:
    """``model``, a chain of convolutions, pools and linear layers, with more channels: whole multiples of 32.

    Weights, biases and scales are repeated until there are enough.
    """
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
    graph = root.subgraphs[0]
    first = graph.tensors[graph.inputs[0]]
    _reshape(root, first, [*first.shape[:3], _more(first.shape[3])])
    for operator in graph.operators:
        x, *constants = (graph.tensors[number] for number in operator.inputs)
        (y,) = (graph.tensors[number] for number in operator.outputs)
        code = root.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        if kind == schema.BuiltinOperator.CONV_2D:
            weights, bias = constants
            filters = _more(weights.shape[0])
            _reshape(root, weights, [filters, *weights.shape[1:3], x.shape[3]])
            _reshape(root, bias, [filters])
            _reshape(root, y, [*y.shape[:3], filters])
        elif kind == schema.BuiltinOperator.FULLY_CONNECTED:
            _reshape(root, constants[0], [constants[0].shape[0], x.shape[1]])
        elif kind == schema.BuiltinOperator.RESHAPE:
            _reshape(root, y, [1, int(np.prod(x.shape))])
            root.buffers[constants[0].buffer].data = np.array([-1, y.shape[1]], np.int32).view(np.uint8)
        elif len(x.shape) == 4:
            _reshape(root, y, [*y.shape[:3], x.shape[3]])
    builder = flatbuffers.Builder(len(model))
    builder.Finish(root.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _more(channels: int) -> int:
    return -(-channels // _MULTIPLE) * _MULTIPLE


def _reshape(root: schema.ModelT, tensor: schema.TensorT, shape: Sequence[int]) -> None:
    quantization = tensor.quantization
    if quantization is not None and quantization.scale is not None and len(quantization.scale) == tensor.shape[0] > 1:
        quantization.scale = np.resize(quantization.scale, shape[0])
        quantization.zeroPoint = np.resize(quantization.zeroPoint, shape[0])
    data = root.buffers[tensor.buffer].data
    if data is not None and len(data):
        item = len(data) // int(np.prod(tensor.shape))
        root.buffers[tensor.buffer].data = np.resize(data, int(np.prod(shape)) * item)
    tensor.shape = np.array(shape, np.int32)
    if tensor.shapeSignature is not None:
        tensor.shapeSignature = np.array([-1, *shape[1:]], np.int32)

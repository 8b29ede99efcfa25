"""TFLite models with filterlets pruned at random, to see how cost follows the work."""

from __future__ import annotations

import numpy as np
import tflite

LEAST_CHANNELS = 32


def prune(model: bytes, share: float, seed: int = 0, channels: int = LEAST_CHANNELS) -> bytes:
    """``model`` with ``share`` of all filterlets of its 2-D convolutions set to zero.

    Int8 weights are symmetric, so zero is zero.

    Args:
        model: a TFLite file with int8 weights.
        share: 0 to 1, of the filterlets of each layer.
        channels: convolutions of fewer input channels stay as they are.
    """
    data = bytearray(model)
    root, random = tflite.Model.GetRootAs(data), np.random.default_rng(seed)
    graph = root.Subgraphs(0)
    for number in _convolution_weights(root, graph):
        tensor = graph.Tensors(number)
        shape = tensor.ShapeAsNumpy()
        if shape[3] >= channels:
            weights = root.Buffers(tensor.Buffer()).DataAsNumpy().reshape(-1, shape[3])  # a view of data
            weights[random.permutation(len(weights))[: round(share * len(weights))]] = 0
    return bytes(data)


def _convolution_weights(root: tflite.Model, graph: tflite.SubGraph) -> set[int]:
    """Numbers of the tensors that hold weights of CONV_2D."""
    operators = (graph.Operators(i) for i in range(graph.OperatorsLength()))
    return {o.Inputs(1) for o in operators if _code(root, o) == tflite.BuiltinOperator.CONV_2D}


def _code(root: tflite.Model, operator: tflite.Operator) -> int:
    code = root.OperatorCodes(operator.OpcodeIndex())
    return max(code.BuiltinCode(), code.DeprecatedBuiltinCode())

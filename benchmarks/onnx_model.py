"""TFLite models of the example models' kind as ONNX, for ONNX Runtime.

Activations become u8, which its kernels for x86-64 are best at: everything is offset by 128.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

_OFFSET = 128
"""From i8 to u8."""

_CONTRIBUTED = "com.microsoft"
"""Domain of operators that only ONNX Runtime has."""

_TO_PIXELS, _TO_CHANNELS = (0, 2, 3, 1), (0, 3, 1, 2)
"""From NCHW to NHWC, and back."""

_OPSET, _IR_VERSION = 17, 8


def onnx_model(model: bytes) -> bytes:
    """``model``, int8 with per-channel weights, as an ONNX model from u8 to u8 of the same shapes.

    Raises:
        ValueError: it has an operator, or an activation, that is not known here.
    """
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model))
    graph = _Graph(root)
    for operator in root.subgraphs[0].operators:
        graph.add(operator)
    return graph.finish()


class _Graph:
    """An ONNX graph in the making: tensors with four dimensions are NCHW."""

    def __init__(self, root: schema.ModelT) -> None:
        self._root, self._tensors = root, root.subgraphs[0].tensors
        self._inputs, self._outputs = root.subgraphs[0].inputs, root.subgraphs[0].outputs
        self._nodes, self._constants = list[onnx.NodeProto](), list[onnx.TensorProto]()
        self._names = {int(number): f"t{number}" for number in range(len(self._tensors))}
        for number in self._inputs:
            self._names[number] = self._node("Transpose", [f"t{number}"], perm=_TO_CHANNELS)

    def add(self, operator: schema.OperatorT) -> None:
        code = self._root.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        (output,), options = operator.outputs, operator.builtinOptions
        inputs = [number for number in operator.inputs if self._constant(number) is None]
        x = self._names[inputs[0]]
        self._check_activation(getattr(options, "fusedActivationFunction", 0), output)
        if kind == schema.BuiltinOperator.CONV_2D:
            result = self._conv(operator, x)
        elif kind == schema.BuiltinOperator.FULLY_CONNECTED:
            weights, bias = operator.inputs[1:]
            operands = [x, *self._scale(inputs[0]), *self._weights(weights), self._array(self._constant(bias))]
            result = self._node("QGemm", [*operands, *self._scale(output)], _CONTRIBUTED, transB=1)
        elif kind == schema.BuiltinOperator.ADD:
            operands = [each for number in inputs for each in (self._names[number], *self._scale(number))]
            result = self._node("QLinearAdd", [*operands, *self._scale(output)], _CONTRIBUTED)
        elif kind == schema.BuiltinOperator.MAX_POOL_2D:
            result = self._node("MaxPool", [x], **_window(options))
        elif kind == schema.BuiltinOperator.AVERAGE_POOL_2D:
            operands = [x, *self._scale(inputs[0]), *self._scale(output)]
            result = self._node("QLinearAveragePool", operands, _CONTRIBUTED, **_window(options))
        elif kind == schema.BuiltinOperator.RESHAPE:
            pixels = self._node("Transpose", [x], perm=_TO_PIXELS) if len(self._shape(inputs[0])) == 4 else x
            result = self._node("Reshape", [pixels, self._array(np.array(self._shape(output), np.int64))])
        elif kind == schema.BuiltinOperator.SOFTMAX:
            operands = [x, *self._scale(inputs[0]), *self._scale(output)]
            result = self._node("QLinearSoftmax", operands, _CONTRIBUTED, axis=-1, opset=13)
        else:
            raise ValueError(f"operator {kind} of TFLite is not known here")
        self._names[output] = result

    def finish(self) -> bytes:
        for number in self._outputs:
            kind, attributes = (
                ("Transpose", {"perm": _TO_PIXELS}) if len(self._shape(number)) == 4 else ("Identity", {})
            )
            self._node(kind, [self._names[number]], result=f"t{number}", **attributes)
        ends = [
            [helper.make_tensor_value_info(f"t{n}", TensorProto.UINT8, self._shape(n)) for n in numbers]
            for numbers in (self._inputs, self._outputs)
        ]
        graph = helper.make_graph(self._nodes, "model", *ends, initializer=self._constants)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIBUTED, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION).SerializeToString()

    def _shape(self, number: int) -> list[int]:
        return [int(size) for size in self._tensors[number].shape]

    def _conv(self, operator: schema.OperatorT, x: str) -> str:
        source, weights, bias = operator.inputs
        (output,), options = operator.outputs, operator.builtinOptions
        strides, dilations = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
        pads = [0, 0, 0, 0]
        if options.padding == schema.Padding.SAME:
            for axis in (0, 1):
                reach = (self._tensors[weights].shape[1 + axis] - 1) * dilations[axis] + 1
                before, after = self._tensors[source].shape[1 + axis], self._tensors[output].shape[1 + axis]
                padding = max(0, (after - 1) * strides[axis] + reach - before)
                pads[axis], pads[2 + axis] = padding // 2, padding - padding // 2
        operands = [x, *self._scale(source), *self._weights(weights), *self._scale(output)]
        operands.append(self._array(self._constant(bias)))
        return self._node("QLinearConv", operands, strides=strides, dilations=dilations, pads=pads)

    def _weights(self, number: int) -> list[str]:
        """Values, output channels and then input channels first; scales and zero points."""
        values, scale = self._constant(number), np.asarray(self._tensors[number].quantization.scale, np.float32)
        values = values.transpose(_TO_CHANNELS) if values.ndim == 4 else values
        return [self._array(each) for each in (np.ascontiguousarray(values), scale, np.zeros(len(scale), np.int8))]

    def _scale(self, number: int) -> list[str]:
        quantization = self._tensors[number].quantization
        scale, zero_point = np.float32(quantization.scale[0]), np.uint8(quantization.zeroPoint[0] + _OFFSET)
        return [self._array(np.asarray(each)) for each in (scale, zero_point)]

    def _check_activation(self, activation: int, output: int) -> None:
        """A ReLU clamps nothing where zero is the smallest number."""
        smallest = self._tensors[output].quantization.zeroPoint[0] == -_OFFSET
        if activation and not (activation == schema.ActivationFunctionType.RELU and smallest):
            raise ValueError(f"activation {activation} of TFLite is not known here")

    def _constant(self, number: int) -> np.ndarray | None:
        tensor = self._tensors[number]
        data = self._root.buffers[tensor.buffer].data
        if data is None or not len(data):
            return None
        dtype = {schema.TensorType.INT8: np.int8, schema.TensorType.INT32: np.int32}[tensor.type]
        return np.asarray(data, np.uint8).view(dtype).reshape(tensor.shape)

    def _array(self, values: np.ndarray | None) -> str:
        assert values is not None
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def _node(
        self, kind: str, inputs: Sequence[str], domain: str = "", result: str | None = None, **attributes: object
    ) -> str:
        result = result or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [result], domain=domain, **attributes))
        return result


def _window(options: schema.Pool2DOptionsT) -> dict[str, object]:
    if options.padding != schema.Padding.VALID:
        raise ValueError("padding of a pool is not known here")
    return {
        "kernel_shape": (options.filterHeight, options.filterWidth),
        "strides": (options.strideH, options.strideW),
    }

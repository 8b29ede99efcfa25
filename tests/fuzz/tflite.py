"""The same networks as TFLite models: the importer and all behind it against LiteRT's kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtmm_mlir.dialect.ops import Geometry
from tests.fuzz import litert
from tests.fuzz.networks import Network, Node, geometry

if litert.INSTALLED:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    Op = schema.BuiltinOperator
    Kind = schema.BuiltinOptions


@dataclass(frozen=True)
class _Value:
    """A tensor of the model: its number, shape [N, H, W, C], scale and zero point."""

    index: int
    shape: tuple[int, ...]
    scale: float
    zero_point: int


def representable(network: Network) -> bool:
    """Whether the importer has all of it: convolutions in groups are left out, which TFLite tools split."""
    shapes = network.shapes()
    return not any(
        node.kind == "conv" and node.options["groups"] not in (1, shapes[node.sources[0]][2]) for node in network.nodes
    )


def write(networks: Sequence[Network]) -> bytes:
    """A model with an input and an output per network.

    Weights, masks, scales and zero points come from the networks' seeds; plans, forms and extreme scales of their
    convolutions have no counterpart here.
    """
    model = _Model()
    for network in networks:
        _Writer(model, network).write()
    return model.bytes()


class _Model:
    """A flatbuffer in the making."""

    def __init__(self) -> None:
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self._codes: list[int] = []
        self._buffers = [schema.BufferT()]

    def tensor(
        self, shape: Sequence[int], dtype: type, scales: Sequence[float] = (), zero_point: int = 0, axis: int = 0,
        data: np.ndarray | None = None,
    ) -> int:  # fmt: skip
        """The number of a new tensor; a constant where it has ``data``."""
        tensor = schema.TensorT()
        tensor.shape = list(shape)
        tensor.type = schema.TensorType.INT8 if dtype is np.int8 else schema.TensorType.INT32
        tensor.name = f"t{len(self.graph.tensors)}".encode()
        tensor.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data, dtype).tobytes(), np.uint8)
            tensor.buffer = len(self._buffers)
            self._buffers.append(buffer)
        if len(scales):
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.asarray(scales, np.float32)
            tensor.quantization.zeroPoint = np.full(len(scales), zero_point, np.int64)
            tensor.quantization.quantizedDimension = axis
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, code: int, inputs: Sequence[int], output: int, kind: int = 0, options: Any = None) -> None:
        if code not in self._codes:
            self._codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.index(code)
        operator.inputs, operator.outputs = list(inputs), [output]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self.graph.operators.append(operator)

    def bytes(self) -> bytes:
        model = schema.ModelT()
        model.version, model.description = 3, b"random networks"
        model.subgraphs, model.buffers = [self.graph], self._buffers
        model.operatorCodes = []
        for code in self._codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
            model.operatorCodes.append(entry)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _options(kind: type, **fields: Any) -> Any:
    options = kind()
    for name, value in fields.items():
        assert hasattr(options, name), name
        setattr(options, name, value)
    return options


class _Writer:
    """Adds one network to a model."""

    def __init__(self, model: _Model, network: Network) -> None:
        self._model, self._network = model, network
        self._random = np.random.default_rng(network.seed)

    def write(self) -> None:
        values = [self._value((self._network.batch, *self._network.shape), self._between(0.01, 0.02))]
        self._model.graph.inputs.append(values[0].index)
        for node in self._network.nodes:
            values.append(getattr(self, f"_{node.kind}")(node, [values[source] for source in node.sources]))
        self._model.graph.outputs.append(values[-1].index)

    def _between(self, low: float, high: float) -> float:
        return float(self._random.uniform(low, high))

    def _value(self, shape: tuple[int, ...], scale: float, zero_point: int | None = None) -> _Value:
        if zero_point is None:
            zero_point = int(self._random.choice((-128, 127, 0, self._random.integers(-128, 128))))
        index = self._model.tensor(shape, np.int8, [scale], zero_point)
        return _Value(index, shape, float(np.float32(scale)), zero_point)

    def _like(self, x: _Value, shape: tuple[int, ...]) -> _Value:
        return self._value(shape, x.scale, x.zero_point)

    def _reshape(self, x: _Value, shape: tuple[int, ...]) -> _Value:
        y = self._like(x, shape)
        target = self._model.tensor([len(shape)], np.int32, data=np.array(shape))
        options = _options(schema.ReshapeOptionsT, newShape=list(shape))
        self._model.operator(Op.RESHAPE, [x.index, target], y.index, Kind.ReshapeOptions, options)
        return y

    def _padded(self, x: _Value, pads: Sequence[int]) -> _Value:
        if not any(pads):
            return x
        n, h, w, c = x.shape
        top, bottom, left, right = pads
        y = self._like(x, (n, h + top + bottom, w + left + right, c))
        amounts = self._model.tensor([4, 2], np.int32, data=np.array([0, 0, top, bottom, left, right, 0, 0]))
        self._model.operator(Op.PAD, [x.index, amounts], y.index, Kind.PadOptions, schema.PadOptionsT())
        return y

    def _conv(self, node: Node, sources: list[_Value]) -> _Value:
        x = sources[0]
        g = geometry(node, x.shape[1:])  # type: ignore[arg-type]
        weights = self._random.integers(-127, 128, (g.f, g.kh, g.kw, g.group_channels))
        weights[self._random.random((g.f, g.kh, g.kw)) >= node.options["kept"]] = 0
        weights.reshape(g.f, g.kh * g.kw, -1)[:, node.options.get("pruned", [])] = 0
        if node.options.get("read", 1.0) < 1:
            weights[..., self._random.random(g.group_channels) >= node.options["read"]] = 0
        linear = (g.h, g.w, g.kh, g.kw) == (1, 1, 1, 1) and not any(g.pads) and g.groups == 1
        scales = np.exp2(self._random.uniform(-9, -6, 1 if linear else g.f)).astype(np.float32)
        sums = 40 * 73 * np.sqrt(g.kh * g.kw * g.group_channels)
        bias = self._random.integers(-int(sums), int(sums) + 1, g.f)
        y = self._value((x.shape[0], *g.output_shape[1:]), x.scale * float(np.median(scales)) * sums / 60)
        biases = self._model.tensor([g.f], np.int32, x.scale * scales, data=bias)
        activation = {None: 0, 0: schema.ActivationFunctionType.RELU}.get((node.options["clamp"] or [None])[0], 3)
        if linear:
            return self._linear(x, weights, scales, biases, activation, y)
        padded = self._padded(x, g.pads)
        window = {
            "padding": schema.Padding.VALID, "strideH": g.strides[0], "strideW": g.strides[1],
            "dilationHFactor": g.dilations[0], "dilationWFactor": g.dilations[1],
            "fusedActivationFunction": activation,
        }  # fmt: skip
        self._convolve(g, padded, weights, scales, biases, window, y)
        return y

    def _convolve(
        self, g: Geometry, x: _Value, weights: np.ndarray, scales: np.ndarray, biases: int, window: Any, y: _Value
    ) -> None:
        if g.groups == 1:
            kernel = self._model.tensor(weights.shape, np.int8, scales, axis=0, data=weights)
            options = _options(schema.Conv2DOptionsT, **window)
            code, kind = Op.CONV_2D, Kind.Conv2DOptions
        else:
            moved = weights.transpose(3, 1, 2, 0)
            kernel = self._model.tensor(moved.shape, np.int8, scales, axis=3, data=moved)
            options = _options(schema.DepthwiseConv2DOptionsT, **window, depthMultiplier=g.f // g.c)
            code, kind = Op.DEPTHWISE_CONV_2D, Kind.DepthwiseConv2DOptions
        self._model.operator(code, [x.index, kernel, biases], y.index, kind, options)

    def _linear(
        self, x: _Value, weights: np.ndarray, scales: np.ndarray, biases: int, activation: int, y: _Value
    ) -> _Value:
        n, c, f = x.shape[0], x.shape[3], len(weights)
        rows, result = self._reshape(x, (n, c)), self._like(y, (n, f))
        kernel = self._model.tensor([f, c], np.int8, scales, data=weights)
        options = _options(schema.FullyConnectedOptionsT, fusedActivationFunction=activation)
        inputs = [rows.index, kernel, biases]
        self._model.operator(Op.FULLY_CONNECTED, inputs, result.index, Kind.FullyConnectedOptions, options)
        return self._reshape(result, y.shape)

    def _pool(self, code: int, node: Node, x: _Value) -> _Value:
        g = geometry(node, x.shape[1:])  # type: ignore[arg-type]
        y = self._like(x, (x.shape[0], *g.output_shape[1:]))
        options = _options(
            schema.Pool2DOptionsT, padding=schema.Padding.VALID, strideH=g.strides[0], strideW=g.strides[1],
            filterHeight=g.kh, filterWidth=g.kw,
        )  # fmt: skip
        self._model.operator(code, [self._padded(x, g.pads).index], y.index, Kind.Pool2DOptions, options)
        return y

    def _max_pool(self, node: Node, sources: list[_Value]) -> _Value:
        return self._pool(Op.MAX_POOL_2D, node, sources[0])

    def _average_pool(self, node: Node, sources: list[_Value]) -> _Value:
        return self._pool(Op.AVERAGE_POOL_2D, node, sources[0])

    def _add(self, node: Node, sources: list[_Value]) -> _Value:
        y = self._value(sources[0].shape, self._between(0.7, 1.5) * max(x.scale for x in sources))
        inputs = [x.index for x in sources]
        self._model.operator(Op.ADD, inputs, y.index, Kind.AddOptions, schema.AddOptionsT())
        return y

    def _concat(self, node: Node, sources: list[_Value]) -> _Value:
        axis = node.options["axis"] + 1
        first = sources[0]
        same = [x if x == first else self._requantized(x, first) for x in sources]
        shape = list(first.shape)
        shape[axis] = sum(x.shape[axis] for x in sources)
        y = self._like(first, tuple(shape))
        options = _options(schema.ConcatenationOptionsT, axis=axis)
        self._model.operator(Op.CONCATENATION, [x.index for x in same], y.index, Kind.ConcatenationOptions, options)
        return y

    def _requantized(self, x: _Value, like: _Value) -> _Value:
        y = self._like(like, x.shape)
        self._model.operator(Op.QUANTIZE, [x.index], y.index, Kind.QuantizeOptions, schema.QuantizeOptionsT())
        return y

    def _clamp(self, node: Node, sources: list[_Value]) -> _Value:
        # With a simple ratio of scales there were ties, which the importer's and LiteRT's ReLU round differently.
        # A zero point of 127 would make all constant, see networks.py.
        zero_point = int(self._random.integers(-128, 64))
        y = self._value(sources[0].shape, self._between(0.5, 1.5) * sources[0].scale, zero_point)
        self._model.operator(Op.RELU, [sources[0].index], y.index)
        return y

    def _flatten(self, node: Node, sources: list[_Value]) -> _Value:
        n, h, w, c = sources[0].shape
        return self._reshape(sources[0], (n, 1, 1, h * w * c))

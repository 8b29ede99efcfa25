"""A network with its numbers: MLIR that computes it, and what it must compute, in plain numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect import reference
from dtmm_mlir.dialect.context import create_context
from dtmm_mlir.dialect.ops import Geometry, Rescale
from tests.fuzz.networks import Network, Node, geometry

RUNS = 2
"""Inferences per network."""

_ELEMENTS = {"int8": "i8", "int32": "i32"}
_EXTREME_SUMS = (-(2**31), -(2**31) + 128, -(2**30), -1, 0, 1, 2**30 - 1, 2**30, 2**31 - 129, 2**31 - 1)
_EXTREME_MULTIPLIERS = (0, 1, 2**30, 2**30 + 1, 2**31 - 1)


@dataclass(frozen=True)
class Value:
    """An SSA value and what it holds.

    Attributes:
        name: with its ``%``.
        array: [runs * batch, ...] of all inferences.
        type: of one inference.
    """

    name: str
    array: np.ndarray
    type: str


@dataclass(frozen=True)
class Realized:
    """A network, written down.

    Attributes:
        body: lines of MLIR from ``%NAMEx`` to ``result``.
        argument, result: types, and the name of the result.
        x, expected: [runs, batch, H, W, C] int8, or int32 for sums as a result.
    """

    body: list[str]
    argument: Value
    result: Value
    x: np.ndarray
    expected: np.ndarray


def realize(network: Network, name: str) -> Realized:
    """Chooses the numbers of ``network``; the SSA names of its values start with ``name``."""
    writer = _Writer(network, name)
    for node in network.nodes:
        writer.add(node)
    last = writer.values[-1]

    def runs(value: Value) -> np.ndarray:
        return value.array.reshape(RUNS, network.batch, *value.array.shape[1:])

    return Realized(writer.lines, writer.values[0], last, runs(writer.values[0]), runs(last))


def build_module(networks: Sequence[Realized]) -> ir.Module:
    """``@main`` with an argument and a result per network."""
    arguments = ", ".join(f"{n.argument.name}: {n.argument.type}" for n in networks)
    types = ", ".join(n.result.type for n in networks)
    names = ", ".join(n.result.name for n in networks)
    body = "\n".join(line for n in networks for line in n.body)
    text = f"func.func @main({arguments}) -> ({types}) {{\n{body}\nreturn {names} : {types}\n}}\n"
    return ir.Module.parse(text, create_context())


def requantization(kind: str, sums: np.ndarray, random: np.random.Generator) -> Rescale:
    """A scale per channel of the last axis.

    Args:
        kind: "double" and "single" spread the sums over i8 with that rounding, "wide" with scales far apart, so that
            shifts lie on both sides of 31; "extreme-double" and "extreme-single" take any multipliers and shifts.
    """
    filters = sums.shape[-1]
    zero_point = int(random.choice((-128, 127, 0, random.integers(-128, 128))))
    rounding = "single" if kind.endswith("single") else "double"
    if kind.startswith("extreme"):
        multiplier = random.choice(_EXTREME_MULTIPLIERS, filters).astype(np.int32)
        lowest = random.choice((2, 32))
        shift = random.integers(lowest, 63, filters).astype(np.int8)
        return Rescale(multiplier, shift, zero_point, rounding)  # type: ignore[arg-type]
    spread = np.maximum(np.abs(sums.astype(np.int64)).reshape(-1, filters).mean(0), 4)
    scale = 60 / spread * random.uniform(0.7, 1.4, filters)
    if kind == "wide":
        scale *= np.exp2(random.integers(-3, 8, filters))
    return _quantized(scale, zero_point, rounding)


def _quantized(scale: np.ndarray, zero_point: int, rounding: str) -> Rescale:
    mantissa, exponent = np.frexp(scale)
    multiplier = np.minimum(np.round(mantissa * 2.0**31), 2**31 - 1).astype(np.int32)
    shift = np.clip(31 - exponent, 2, 62).astype(np.int8)
    return Rescale(multiplier, shift, zero_point, rounding)  # type: ignore[arg-type]


def average(x: np.ndarray, g: Geometry, zero_points: tuple[int, int]) -> np.ndarray:
    """``tosa.avg_pool2d`` of int8 (TOSA 1.0, section "avg_pool2d"): padding is not counted.

    Args:
        zero_points: of input and output.
    """
    one = np.ones((g.c, g.kh, g.kw, 1), np.int8)
    none = np.zeros(g.c, np.int32)
    sums = reference.convolve(x, one, none, g, zero_points[0]).astype(np.int64)
    count = reference.convolve(np.ones_like(x), one, none, g, 0).astype(np.int64)
    extra = np.array([int(n - 1).bit_length() for n in count.reshape(-1)]).reshape(count.shape)
    multiplier = (((1 << 30) + 1) << extra) // count
    shift = 30 + extra
    scaled = (sums * multiplier + (np.int64(1) << (shift - 1))) >> shift
    return np.clip(scaled + zero_points[1], -128, 127).astype(np.int8)


def maximum(x: np.ndarray, g: Geometry) -> np.ndarray:
    """``tosa.max_pool2d`` of int8."""
    top, bottom, left, right = g.pads
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=-128)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (g.kh, g.kw), (1, 2))
    return windows[:, :: g.strides[0], :: g.strides[1]].max((-1, -2))


class _Writer:
    """Adds one node after the other."""

    def __init__(self, network: Network, name: str) -> None:
        self.lines: list[str] = []
        self.values: list[Value] = []
        self._name, self._count = name, 0
        self._batch = network.batch
        self._random = np.random.default_rng(network.seed)
        shape = (RUNS * network.batch, *network.shape)
        x = self._random.integers(-128, 128, shape)
        extreme = self._random.random() < 0.2
        x = self._random.choice((-128, 127), shape) if extreme else x
        self.values.append(Value(f"%{name}x", x.astype(np.int8), self._type(x.astype(np.int8))))

    def add(self, node: Node) -> None:
        """Appends the result of ``node`` to ``values``."""
        sources = [self._narrow(self.values[source]) for source in node.sources]
        self.values.append(getattr(self, f"_{node.kind}")(node, *sources))

    # Text.

    def _type(self, array: np.ndarray) -> str:
        """Of one inference of a value with all inferences."""
        shape = (self._batch, *array.shape[1:])
        return f"tensor<{'x'.join(map(str, shape))}x{_ELEMENTS[array.dtype.name]}>"

    def _fresh(self) -> str:
        self._count += 1
        return f"%{self._name}v{self._count}"

    def _op(self, name: str, operands: Sequence[tuple[str, str]], attributes: str, type: str) -> tuple[str, str]:
        """An op in generic form; operands and result are names and types."""
        result = self._fresh()
        names, types = (", ".join(column) for column in zip(*operands, strict=True)) if operands else ("", "")
        self.lines.append(f'{result} = "{name}"({names}) {{{attributes}}} : ({types}) -> {type}')
        return result, type

    def _constant(self, array: np.ndarray, name: str = "tosa.const") -> tuple[str, str]:
        element = _ELEMENTS[array.dtype.name]
        type = f"tensor<{'x'.join(map(str, array.shape))}x{element}>"
        data = f'dense<"0x{np.ascontiguousarray(array).tobytes().hex().upper()}"> : {type}'
        return self._op(name, [], f"{'values' if name == 'tosa.const' else 'value'} = {data}", type)

    def _scalar(self, number: int, dtype: type = np.int8) -> tuple[str, str]:
        return self._constant(np.array([number], dtype))

    def _shape(self, numbers: Sequence[int]) -> tuple[str, str]:
        values = f"dense<{list(numbers)}> : tensor<{len(numbers)}xindex>"
        return self._op("tosa.const_shape", [], f"values = {values}", f"!tosa.shape<{len(numbers)}>")

    # Requantization.

    def _rescaled(self, value: Value, rescale: Rescale, zero_point: int = 0, dtype: type = np.int8) -> Value:
        """``tosa.rescale`` to integers of ``dtype``."""
        array = reference.requantize(value.array.astype(np.int64) - zero_point, rescale)
        limits = np.iinfo(dtype)
        array = np.clip(array, limits.min, limits.max).astype(dtype)
        operands = [
            (value.name, value.type),
            self._constant(rescale.multiplier),
            self._constant(rescale.shift),
            self._scalar(zero_point, value.array.dtype.type),
            self._scalar(rescale.output_zero_point, dtype),
        ]
        attributes = (
            "input_unsigned = false, output_unsigned = false, scale32 = true, "
            f"per_channel = {str(len(rescale.multiplier) > 1).lower()}, "
            f"rounding_mode = #tosa.rounding_mode<{rescale.rounding.upper()}_ROUND>"
        )
        return Value(*self._named(self._op("tosa.rescale", operands, attributes, self._type(array)), array))

    def _named(self, result: tuple[str, str], array: np.ndarray) -> tuple[str, np.ndarray, str]:
        return result[0], array, result[1]

    def _narrow(self, value: Value) -> Value:
        """Sums as int8, which is what all nodes take."""
        if value.array.dtype == np.int8:
            return value
        sums = value.array.astype(np.int64)
        scale = np.full(1, 100 / max(4, int(np.abs(sums).max())))
        return self._rescaled(value, _quantized(scale, 3, "double"))

    # The kinds of nodes.

    def _conv(self, node: Node, x: Value) -> Value:
        o, random = node.options, self._random
        g = replace(geometry(node, x.array.shape[1:]), n=len(x.array))
        mask = random.random((g.f, g.kh, g.kw, 1)) < o["kept"]
        mask.reshape(g.f, -1)[:, o.get("pruned", [])] = False
        if o.get("read", 1.0) < 1:
            mask = mask & (random.random(g.group_channels) < o["read"])
        weights = (random.integers(-128, 128, (g.f, g.kh, g.kw, g.group_channels)) * mask).astype(np.int8)
        bias = random.integers(-3000, 3000, g.f).astype(np.int32)
        extreme = o["scale"].startswith("extreme")
        if extreme or (o["large_bias"] and o["form"] == "filterlet" and o["scale"] == "none"):
            bias = random.choice(_EXTREME_SUMS, g.f).astype(np.int32)
        zero_point = int(random.choice((-128, 127, 0, random.integers(-128, 128))))
        sums = reference.convolve(x.array, weights, bias, g, zero_point)
        rescale = None if o["scale"] == "none" else requantization(o["scale"], sums, random)
        clamp = tuple(o["clamp"]) if o["clamp"] and rescale else None
        expected = reference.conv_2d(x.array, weights, bias, g, zero_point, rescale, clamp)
        write = {"filterlet": self._filterlet, "tosa": self._tosa, "linalg": self._linalg}[o["form"]]
        return write(node, x, g, weights, bias, zero_point, rescale, clamp, sums, expected)

    def _filterlet(self, node, x, g, weights, bias, zero_point, rescale, clamp, sums, expected) -> Value:  # type: ignore[no-untyped-def]
        def array(kind: str, numbers: Sequence[int]) -> str:
            return f"array<{kind}: {', '.join(map(str, numbers))}>"

        attributes = [
            f"strides = {array('i64', g.strides)}",
            f"dilations = {array('i64', g.dilations)}",
            f"pads = {array('i64', g.pads)}",
            f"groups = {g.groups} : i64",
            f"input_zero_point = {zero_point} : i32",
            f"clamp = [{clamp[0]} : i32, {clamp[1]} : i32]" if clamp else "clamp",
            f"rescale = {{multiplier = {array('i32', rescale.multiplier)}, shift = {array('i8', rescale.shift)}, "
            f'output_zero_point = {rescale.output_zero_point} : i32, rounding = "{rescale.rounding}"}}'
            if rescale
            else "rescale",
        ]
        if node.options["plan"]:
            fields = node.options["plan"].items()
            plan = ", ".join(f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v} : i64" for k, v in fields)
            attributes.append(f"plan = {{{plan}}}")
        constants = [self._constant(a, "arith.constant") for a in (weights, bias)]
        result = self._op(
            "filterlet.conv_2d", [(x.name, x.type), *constants], ", ".join(attributes), self._type(expected)
        )
        return Value(*self._named(result, expected))

    def _tosa(self, node, x, g, weights, bias, zero_point, rescale, clamp, sums, expected) -> Value:  # type: ignore[no-untyped-def]
        name = "tosa.conv2d" if g.groups == 1 else "tosa.depthwise_conv2d"
        if g.groups > 1:
            weights = weights.reshape(g.c, g.f // g.c, g.kh, g.kw).transpose(2, 3, 0, 1)
        operands = [(x.name, x.type), self._constant(weights), self._constant(bias)]
        operands += [self._scalar(zero_point), self._scalar(0)]
        lists = {"pad": g.pads, "stride": g.strides, "dilation": g.dilations}
        attributes = ", ".join(f"{key} = array<i64: {', '.join(map(str, v))}>" for key, v in lists.items())
        result = self._op(name, operands, f"acc_type = i32, {attributes}", self._type(sums))
        return self._tail(Value(*self._named(result, sums)), rescale, clamp)

    def _tail(self, sums: Value, rescale: Rescale, clamp: tuple[int, int] | None) -> Value:
        result = self._rescaled(sums, rescale)
        return self._clamped(result, *clamp) if clamp else result

    def _linalg(self, node, x, g, weights, bias, zero_point, rescale, clamp, sums, expected) -> Value:  # type: ignore[no-untyped-def]
        kind = "conv_2d_nhwc_hwcf" if g.groups == 1 else "depthwise_conv_2d_nhwc_hwcm"
        order = (1, 2, 3, 0)
        if g.groups > 1:
            weights, order = weights.reshape(g.c, g.f // g.c, g.kh, g.kw), (2, 3, 0, 1)
        w, wt = self._constant(weights.transpose(order), "arith.constant")
        padded, pt = self._padded(x, g, zero_point)
        start = [self._batch, g.oh, g.ow, g.f] if g.groups == 1 else [self._batch, g.oh, g.ow, g.c, g.f // g.c]
        st = f"tensor<{'x'.join(map(str, start))}xi32>"
        empty, zero, zp, initial, result = (self._fresh() for _ in range(5))
        self.lines += [f"{empty} = tensor.empty() : {st}", f"{zero} = arith.constant 0 : i32"]
        self.lines.append(f"{zp} = arith.constant {zero_point} : i32")
        if g.groups == 1:
            b, bt = self._constant(bias, "arith.constant")
            self.lines.append(
                f"{initial} = linalg.broadcast ins({b} : {bt}) outs({empty} : {st}) dimensions = [0, 1, 2]"
            )
        else:  # the depthwise form has no bias
            sums = sums - bias
            self.lines.append(f"{initial} = linalg.fill ins({zero} : i32) outs({empty} : {st}) -> {st}")
        strides, dilations = (f"dense<[{a}, {b}]> : tensor<2xi64>" for a, b in (g.strides, g.dilations))
        self.lines.append(
            f"{result} = linalg.{kind}_q {{strides = {strides}, dilations = {dilations}}} "
            f"ins({padded}, {w}, {zp}, {zero} : {pt}, {wt}, i32, i32) outs({initial} : {st}) -> {st}"
        )
        type = self._type(sums)
        if g.groups > 1:
            flat = self._fresh()
            self.lines.append(f"{flat} = tensor.collapse_shape {result} [[0], [1], [2], [3, 4]] : {st} into {type}")
            result = flat
        return self._tail(Value(result, sums, type), rescale, clamp)

    def _padded(self, x: Value, g: Geometry, zero_point: int) -> tuple[str, str]:
        if not any(g.pads):
            return x.name, x.type
        top, bottom, left, right = g.pads
        type = f"tensor<{self._batch}x{g.h + top + bottom}x{g.w + left + right}x{g.c}xi8>"
        value, result = self._fresh(), self._fresh()
        self.lines += [
            f"{value} = arith.constant {zero_point} : i8",
            f"{result} = tensor.pad {x.name} low[0, {top}, {left}, 0] high[0, {bottom}, {right}, 0] {{",
            f"^bb0(%a: index, %b: index, %c: index, %d: index):\ntensor.yield {value} : i8\n}} : {x.type} to {type}",
        ]
        return result, type

    def _window(self, g: Geometry) -> str:
        lists = {"kernel": (g.kh, g.kw), "stride": g.strides, "pad": g.pads}
        return ", ".join(f"{key} = array<i64: {', '.join(map(str, v))}>" for key, v in lists.items())

    def _max_pool(self, node: Node, x: Value) -> Value:
        g = replace(geometry(node, x.array.shape[1:]), n=len(x.array))
        array = maximum(x.array, g)
        result = self._op("tosa.max_pool2d", [(x.name, x.type)], self._window(g), self._type(array))
        return Value(*self._named(result, array))

    def _average_pool(self, node: Node, x: Value) -> Value:
        g = replace(geometry(node, x.array.shape[1:]), n=len(x.array))
        zero_points = tuple(int(z) for z in self._random.integers(-128, 128, 2))
        array = average(x.array, g, zero_points)  # type: ignore[arg-type]
        operands = [(x.name, x.type), *(self._scalar(z) for z in zero_points)]
        attributes = f"acc_type = i32, {self._window(g)}"
        return Value(*self._named(self._op("tosa.avg_pool2d", operands, attributes, self._type(array)), array))

    def _add(self, node: Node, a: Value, b: Value) -> Value:
        """TFLite's: both sides with 20 bits more, then the sum as int8."""
        rounding = node.options["rounding"]
        wide = []
        for side in (a, b):
            rescale = _quantized(np.array([2.0**20 * self._random.uniform(0.05, 1)]), 0, rounding)
            wide.append(self._rescaled(side, rescale, int(self._random.integers(-128, 128)), np.int32))
        array = wide[0].array + wide[1].array
        operands = [(side.name, side.type) for side in wide]
        sums = Value(*self._named(self._op("tosa.add", operands, "", self._type(array)), array))
        scale = np.array([2.0**-20 * self._random.uniform(0.3, 2)])
        return self._rescaled(sums, _quantized(scale, int(self._random.integers(-128, 128)), rounding))

    def _concat(self, node: Node, *sources: Value) -> Value:
        axis = node.options["axis"] + 1
        array = np.concatenate([source.array for source in sources], axis)
        operands = [(source.name, source.type) for source in sources]
        return Value(*self._named(self._op("tosa.concat", operands, f"axis = {axis} : i32", self._type(array)), array))

    def _clamp(self, node: Node, x: Value) -> Value:
        return self._clamped(x, node.options["low"], node.options["high"])

    def _clamped(self, x: Value, low: int, high: int) -> Value:
        attributes = f"min_val = {low} : i8, max_val = {high} : i8"
        array = np.clip(x.array, low, high)
        return Value(*self._named(self._op("tosa.clamp", [(x.name, x.type)], attributes, x.type), array))

    def _flatten(self, node: Node, x: Value) -> Value:
        array = x.array.reshape(len(x.array), 1, 1, -1)
        shape = self._shape([self._batch, *array.shape[1:]])
        return Value(*self._named(self._op("tosa.reshape", [(x.name, x.type), shape], "", self._type(array)), array))

"""TOSA ops at the current insertion point, NHWC, static shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import tosa

from dtmm_mlir.dialect.constants import dense

ROUNDING = "SINGLE_ROUND"
"""torch rounds once, TFLite twice; what is left against torch is its rounding of ties to even."""


def shape_of(value: ir.Value) -> list[int]:
    """Shape of a ranked tensor."""
    return list(ir.RankedTensorType(value.type).shape)


def element_of(value: ir.Value) -> ir.Type:
    """Element type of a ranked tensor."""
    return ir.RankedTensorType(value.type).element_type


def tensor_type(shape: Sequence[int], element: ir.Type | int) -> ir.RankedTensorType:
    """``tensor<shape x element>``; an int stands for a signless integer of that width."""
    if isinstance(element, int):
        element = ir.IntegerType.get_signless(element)
    return ir.RankedTensorType.get(list(shape), element)


def constant(array: np.ndarray) -> ir.Value:
    """``tosa.const``."""
    attribute = dense(array)
    return tosa.ConstOp(attribute, results=[attribute.type]).result


def scalar(value: float, element: ir.Type) -> ir.Value:
    """``tosa.const`` of shape ``[1]``."""
    dtype = {"f32": np.float32, "i8": np.int8, "i32": np.int32}[str(element)]
    return constant(np.array([value], dtype))


def const_shape(sizes: Sequence[int]) -> ir.Value:
    """``tosa.const_shape``."""
    values = ir.DenseElementsAttr.get(np.array(sizes, np.int64), type=ir.IndexType.get(), shape=[len(sizes)])
    return tosa.ConstShapeOp(ir.Type.parse(f"!tosa.shape<{len(sizes)}>"), values).result


def reshape(value: ir.Value, shape: Sequence[int]) -> ir.Value:
    """``tosa.reshape``, nothing where the shape is right already."""
    if shape_of(value) == list(shape):
        return value
    return tosa.ReshapeOp(value, const_shape(shape), results=[tensor_type(shape, element_of(value))]).result


def transpose(value: ir.Value, order: Sequence[int]) -> ir.Value:
    """``tosa.transpose``; a reshape where only dimensions of size 1 move."""
    shape = shape_of(value)
    result = [shape[axis] for axis in order]
    moved = [axis for axis in order if shape[axis] != 1]
    if moved == sorted(moved):
        return reshape(value, result)
    attribute = ir.DenseI32ArrayAttr.get(list(order))
    return tosa.TransposeOp(tensor_type(result, element_of(value)), value, attribute).result


def slice_of(value: ir.Value, start: Sequence[int], size: Sequence[int]) -> ir.Value:
    """``tosa.slice``, nothing where it keeps everything."""
    if shape_of(value) == list(size):
        return value
    return tosa.SliceOp(tensor_type(size, element_of(value)), value, const_shape(start), const_shape(size)).result


def pad(value: ir.Value, amounts: Sequence[tuple[int, int]], fill: float) -> ir.Value:
    """``tosa.pad`` by ``amounts`` (before, after) per dimension."""
    if not any(map(any, amounts)):
        return value
    shape = [size + before + after for size, (before, after) in zip(shape_of(value), amounts, strict=True)]
    flat = [amount for both in amounts for amount in both]
    element = element_of(value)
    return tosa.PadOp(tensor_type(shape, element), value, const_shape(flat), scalar(fill, element)).result


def concat(values: Sequence[ir.Value], axis: int) -> ir.Value:
    """``tosa.concat``."""
    if len(values) == 1:
        return values[0]
    shape = shape_of(values[0])
    shape[axis] = sum(shape_of(value)[axis] for value in values)
    return tosa.ConcatOp(list(values), axis, results=[tensor_type(shape, element_of(values[0]))]).result


def clamp(value: ir.Value, low: float, high: float) -> ir.Value:
    """``tosa.clamp``; nothing where int8 keeps the bounds by itself."""
    element = element_of(value)
    if isinstance(element, ir.IntegerType):
        low, high = max(low, -128), min(high, 127)
        if (low, high) == (-128, 127):
            return value
        bounds = [ir.IntegerAttr.get(element, int(min(bound, 127))) for bound in (low, max(high, -128))]
    else:
        bounds = [ir.FloatAttr.get(element, bound) for bound in (low, high)]
    return tosa.ClampOp(value.type, value, *bounds).result


def multipliers(scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``scale`` as ``multiplier * 2**-shift``: int32 multipliers of 31 significant bits, int8 shifts in 2..62.

    Raises:
        ValueError: a scale is 2**29 or more, which no shift can express.
    """
    multiplier, shift = np.zeros(scale.size, np.int32), np.full(scale.size, 31, np.int8)
    for index, value in enumerate(scale):
        if value <= 0:
            continue
        fraction, exponent = math.frexp(value)
        mantissa = round(fraction * 2**31)
        if mantissa == 2**31:
            mantissa, exponent = mantissa // 2, exponent + 1
        if exponent > 29:
            raise ValueError(f"rescale by {value} is out of range")
        excess = max(31 - exponent - 62, 0)
        multiplier[index], shift[index] = mantissa >> excess, min(31 - exponent, 62)
    return multiplier, shift


def rescale(value: ir.Value, scale: np.ndarray | float, zero_point: int, new_zero_point: int, width: int) -> ir.Value:
    """``tosa.rescale`` to an integer of ``width`` bits: ``(value - zero_point) * scale + new_zero_point``.

    Args:
        value: i8 or i32 tensor.
        scale: one real for the tensor or one per channel (last dimension).
        zero_point: of ``value``; 0 for i32.
        new_zero_point: of the result; 0 for i32.
        width: 8 or 32.
    """
    multiplier, shift = multipliers(np.atleast_1d(np.asarray(scale, np.float64)))
    result = tensor_type(shape_of(value), width)
    rounding = ir.Attribute.parse(f"#tosa.rounding_mode<{ROUNDING}>")
    zero_points = scalar(zero_point, element_of(value)), scalar(new_zero_point, result.element_type)
    return tosa.RescaleOp(
        result,
        value,
        constant(multiplier),
        constant(shift),
        *zero_points,
        True,
        rounding,
        len(multiplier) > 1,
        False,
        False,
    ).result


def _array(values: Sequence[int]) -> ir.DenseI64ArrayAttr:
    return ir.DenseI64ArrayAttr.get([int(value) for value in values])


def _accumulator(element: ir.Type) -> ir.Type:
    return ir.IntegerType.get_signless(32) if isinstance(element, ir.IntegerType) else element


def conv_2d(
    value: ir.Value,
    weight: np.ndarray,
    bias: np.ndarray,
    zero_point: int,
    padding: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    output: Sequence[int],
    depthwise: bool = False,
) -> ir.Value:
    """``tosa.conv2d`` i8 -> i32 or f32 -> f32, or ``tosa.depthwise_conv2d``.

    Args:
        value: input, NHWC.
        weight: OHWI, or HWCM for a depthwise convolution; of ``value``'s type.
        bias: one per output channel; int32 or f32.
        zero_point: of the input; 0 for f32.
        padding: top, bottom, left, right.
        stride: along H, W.
        dilation: along H, W.
        output: height and width of the result.
        depthwise: whether every channel has filters of its own.
    """
    element = element_of(value)
    accumulator = _accumulator(element)
    result = tensor_type([shape_of(value)[0], *output, bias.size], accumulator)
    build = tosa.DepthwiseConv2DOp if depthwise else tosa.Conv2DOp
    return build(
        result,
        value,
        constant(weight),
        constant(bias),
        scalar(zero_point, element),
        scalar(0, element),
        _array(padding),
        _array(stride),
        _array(dilation),
        ir.TypeAttr.get(accumulator),
    ).result


def max_pool(
    value: ir.Value, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], output: Sequence[int]
) -> ir.Value:
    """``tosa.max_pool2d``, NHWC; padding is never chosen as the maximum."""
    batch, _, _, channels = shape_of(value)
    result = tensor_type([batch, *output, channels], element_of(value))
    return tosa.MaxPool2dOp(result, value, _array(kernel), _array(stride), _array(padding)).result


def average_pool(
    value: ir.Value,
    zero_point: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    output: Sequence[int],
) -> ir.Value:
    """``tosa.avg_pool2d``, NHWC, input and result with one quantization; padding is not counted."""
    batch, _, _, channels = shape_of(value)
    element = element_of(value)
    zeros = scalar(zero_point, element), scalar(zero_point, element)
    result = tensor_type([batch, *output, channels], element)
    accumulator = ir.TypeAttr.get(_accumulator(element))
    return tosa.AvgPool2dOp(result, value, *zeros, _array(kernel), _array(stride), _array(padding), accumulator).result


def reduce(value: ir.Value, axis: int, maximum: bool = False) -> ir.Value:
    """Sum or maximum along ``axis``, which stays with size 1."""
    shape = shape_of(value)
    shape[axis] = 1
    build = tosa.ReduceMaxOp if maximum else tosa.ReduceSumOp
    return build(value, axis, results=[tensor_type(shape, element_of(value))]).result


def cast(value: ir.Value, element: ir.Type | int) -> ir.Value:
    """``tosa.cast``."""
    return tosa.CastOp(tensor_type(shape_of(value), element), value).result


def unary(op: type, value: ir.Value) -> ir.Value:
    """An elementwise op of one operand."""
    return op(value.type, value).result


def binary(op: type, left: ir.Value, right: ir.Value) -> ir.Value:
    """An elementwise op of two operands of one rank; dimensions of size 1 are broadcast."""
    shape = [max(sizes) for sizes in zip(shape_of(left), shape_of(right), strict=True)]
    extra = [constant(np.zeros(1, np.int8))] if op is tosa.MulOp else []
    return op(tensor_type(shape, element_of(left)), left, right, *extra).result

"""Groups of float ops between dequantize and quantize as integer TOSA.

==> every group is computed in i32 and rescaled once to i8, so that it differs from torch by at most one step:
    convolution and linear  i8 x i8 -> i32 accumulators, one multiplier per output channel
    add, subtract           operands rescaled to i32 with 20 bits of head-room
    multiply                i32 product
    mean, average pool      i32 sum
    other functions of one element  a table of 256 entries, exact
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import tosa

from dtmm_mlir.dialect.constants import defining_op
from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.torch_to_tosa import build
from dtmm_mlir.passes.torch_to_tosa.convolution import convolve, linear_input, linear_parameters
from dtmm_mlir.passes.torch_to_tosa.functions import TABLES, evaluate
from dtmm_mlir.passes.torch_to_tosa.layout import Tensor, aligned, axis_of, reshaped, to_torch_order
from dtmm_mlir.passes.torch_to_tosa.movement import CONCATENATION, MOVEMENTS, concatenate, is_activation, move
from dtmm_mlir.passes.torch_to_tosa.operands import (
    DEQUANTIZE,
    QUANTIZE,
    Quantization,
    Weight,
    literal,
    name_of,
    python_value,
    quantization,
    shape_of,
    weight,
)
from dtmm_mlir.passes.torch_to_tosa.window import (
    AVERAGE_POOLS,
    CONVOLUTIONS,
    LINEARS,
    POINTWISE,
    Window,
    average_pool_window,
    convolution_window,
    fitted,
)

_HEAD_ROOM = 2.0**20
_ADDITIONS = ("aten.add.Tensor", "aten.sub.Tensor")


class IntegerForms:
    """Integer forms of the ops of one function.

    Args:
        tensors: the i8 tensors made so far, by torch value: arguments and results of quantize ops.
    """

    def __init__(self, tensors: dict[ir.Value, Tensor]) -> None:
        self._tensors = tensors
        self._exact: dict[ir.Value, Tensor | None] = {}
        self._groups: dict[str, Callable[[ir.Operation, Quantization], Tensor]] = {
            **dict.fromkeys(CONVOLUTIONS, self._convolution),
            **dict.fromkeys(LINEARS, self._linear),
            **dict.fromkeys(_ADDITIONS, self._addition),
            **dict.fromkeys(AVERAGE_POOLS, self._average_pool),
            **dict.fromkeys(TABLES, self._table),
            "aten.mul.Tensor": self._product,
            "aten.mean.dim": self._mean,
            CONCATENATION: self._concatenation,
        }

    def quantize(self, op: ir.Operation) -> Tensor:
        """The i8 tensor that a ``quantize_per_tensor`` op makes.

        Raises:
            PassError: an op it depends on has no integer form.
        """
        target, low, high = quantization(op)
        tensor = self._quantized(op, op.operands[0], target)
        return tensor.with_value(build.clamp(tensor.value, low, high))

    def _quantized(self, user: ir.Operation, value: ir.Value, target: Quantization) -> Tensor:
        """``value`` stored with ``target``. Quantizing commutes with moving, selecting and bounding elements."""
        op = defining_op(value)
        if op is None:
            if self._tensors[value].quantization is None:
                raise _no_integer_form(None, user)
            return requantized(self._tensors[value], target)
        name = name_of(op)
        with op.location:
            if name in self._groups:
                return self._groups[name](op, target)
            if is_activation(name):
                return move(op, self._quantized(op, op.operands[0], target))
            exact = self._exact_tensor(value)
            if exact is not None:
                return requantized(exact, target)
            if name in MOVEMENTS:
                return move(op, self._quantized(op, op.operands[0], target))
        raise _no_integer_form(op, user)

    def _exact_tensor(self, value: ir.Value) -> Tensor | None:
        """The i8 tensor whose dequantization ``value`` is; ``None`` where there is none."""
        if value in self._exact:
            return self._exact[value]
        op = defining_op(value)
        tensor = None
        if op is not None and name_of(op) == DEQUANTIZE and op.operands[0] in self._tensors:
            tensor = dataclasses.replace(self._tensors[op.operands[0]], quantization=quantization(op)[0])
        elif op is not None and name_of(op) in MOVEMENTS:
            tensor = self._exact_tensor(op.operands[0])
            if tensor is not None:
                with op.location:
                    tensor = move(op, tensor)
        self._exact[value] = tensor
        return tensor

    def _operand(self, op: ir.Operation, index: int) -> Tensor:
        return self._exact_operand(op, op.operands[index])

    def _exact_operand(self, op: ir.Operation, value: ir.Value) -> Tensor:
        tensor = self._exact_tensor(value)
        if tensor is None:
            raise _no_integer_form(defining_op(value), op)
        return tensor

    def _convolution(self, op: ir.Operation, target: Quantization) -> Tensor:
        window, groups = convolution_window(op)
        kernel = weight(op, op.operands[1])
        return self._accumulate(op, self._operand(op, 0), kernel, op.operands[2], window, groups, target)

    def _linear(self, op: ir.Operation, target: Quantization) -> Tensor:
        kernel, bias = linear_parameters(op)
        tensor = self._exact_operand(op, linear_input(op))
        return self._accumulate(op, tensor, kernel, bias, POINTWISE, 1, target)

    def _accumulate(
        self,
        op: ir.Operation,
        tensor: Tensor,
        kernel: Weight,
        bias: ir.Value | None,
        window: Window,
        groups: int,
        target: Quantization,
    ) -> Tensor:
        source = tensor.quantization
        assert source is not None
        if kernel.scale is None:
            raise PassError(
                op,
                "its weight is float32 inside a quantized network; annotate it in the quantizer, "
                "so that input, weight and output are int8",
            )
        scale, stored_bias = _accumulator_scale(op, kernel, bias, source.scale, target.scale)

        def finish(accumulator: ir.Value, channels: slice) -> ir.Value:
            return _rescale(op, accumulator, scale[channels] / target.scale, 0, target.zero_point, 8)

        result = convolve(op, tensor, kernel.values, stored_bias, source.zero_point, window, groups, finish)
        return dataclasses.replace(result, quantization=target)

    def _addition(self, op: ir.Operation, target: Quantization) -> Tensor:
        sign = -1 if name_of(op) == "aten.sub.Tensor" else 1
        if python_value(op, 2) not in (None, 1):
            raise PassError(op, f"alpha={python_value(op, 2)} has no integer form; multiply separately")
        left, right = aligned([self._operand(op, 0), self._operand(op, 1)])
        common = 2 * max(_parameters(left).scale, _parameters(right).scale)
        terms = [
            _rescale(op, item.value, _parameters(item).scale / common * _HEAD_ROOM, _parameters(item).zero_point, 0, 32)
            for item in (left, right)
        ]
        total = build.binary(tosa.AddOp if sign > 0 else tosa.SubOp, *terms)
        value = _rescale(op, total, common / (_HEAD_ROOM * target.scale), 0, target.zero_point, 8)
        return Tensor(value, shape_of(op.results[0]), target, left.flattened)

    def _product(self, op: ir.Operation, target: Quantization) -> Tensor:
        factors = aligned([self._operand(op, 0), self._operand(op, 1)])
        wide = [_rescale(op, item.value, 1.0, _parameters(item).zero_point, 0, 32) for item in factors]
        scale = _parameters(factors[0]).scale * _parameters(factors[1]).scale / target.scale
        value = _rescale(op, build.binary(tosa.MulOp, *wide), scale, 0, target.zero_point, 8)
        return Tensor(value, shape_of(op.results[0]), target, factors[0].flattened)

    def _mean(self, op: ir.Operation, target: Quantization) -> Tensor:
        tensor = self._operand(op, 0)
        dimensions = python_value(op, 1) or list(range(len(tensor.shape)))
        return reshaped(_mean_of(op, tensor, dimensions, target), shape_of(op.results[0]))

    def _average_pool(self, op: ir.Operation, target: Quantization) -> Tensor:
        tensor = self._operand(op, 0)
        source = _parameters(tensor)
        window, counts_padding = average_pool_window(op)
        if tuple(window.output) == (0, 0) and window.kernel == tensor.shape[2:] and not any(window.padding):
            return _mean_of(op, tensor, [2, 3], target)
        value = tensor.value
        if counts_padding and any(window.padding):
            top, bottom, left, right = window.padding
            value = build.pad(value, [(0, 0), (top, bottom), (left, right), (0, 0)], source.zero_point)
            window = dataclasses.replace(window, padding=(0, 0, 0, 0))
        if any(window.padding) and source != target:
            raise PassError(
                op, "a padded average pool must keep the quantization of its input; share it in the quantizer"
            )
        value, window = fitted(op, value, window)
        if source == target:
            pooled = build.average_pool(
                value, source.zero_point, window.kernel, window.stride, window.padding, window.output
            )
        else:
            pooled = _summed_pool(op, value, source, window, target)
        return Tensor(pooled, shape_of(op.results[0]), target)

    def _concatenation(self, op: ir.Operation, target: Quantization) -> Tensor:
        parts = list(defining_op(op.operands[0]).operands)
        return concatenate(op, [self._quantized(op, part, target) for part in parts])

    def _table(self, op: ir.Operation, target: Quantization) -> Tensor:
        tensor = self._operand(op, 0)
        source = _parameters(tensor)
        real = ((np.arange(-128, 128) - source.zero_point) * source.scale).astype(np.float32)
        stored = np.rint(evaluate(op, real) / np.float32(target.scale)) + target.zero_point
        table = build.constant(np.clip(stored, -128, 127).astype(np.int8))
        value = tosa.TableOp(tensor.value.type, tensor.value, table).result
        return dataclasses.replace(tensor, value=value, quantization=target)


def requantized(tensor: Tensor, target: Quantization) -> Tensor:
    """``tensor`` stored with ``target``."""
    source = _parameters(tensor)
    if source == target:
        return tensor
    value = build.rescale(tensor.value, source.scale / target.scale, source.zero_point, target.zero_point, 8)
    return dataclasses.replace(tensor, value=value, quantization=target)


def _parameters(tensor: Tensor) -> Quantization:
    assert tensor.quantization is not None
    return tensor.quantization


def _rescale(
    op: ir.Operation, value: ir.Value, scale: np.ndarray | float, zero_point: int, new_zero_point: int, width: int
) -> ir.Value:
    try:
        return build.rescale(value, scale, zero_point, new_zero_point, width)
    except ValueError as error:
        raise PassError(op, f"{error}; calibrate the model on representative inputs") from None


def _accumulator_scale(
    op: ir.Operation, kernel: Weight, bias: ir.Value | None, source: float, target: float
) -> tuple[np.ndarray, np.ndarray]:
    """Real value of one accumulator step and the int32 bias, per output channel.

    A filter of zeros has no scale of its own: its accumulator counts steps of the result.
    """
    assert kernel.scale is not None
    scale = kernel.scale * source
    scale[~kernel.values.reshape(len(scale), -1).any(axis=1)] = target
    real = np.zeros(len(scale))
    if bias is not None and str(bias.type) != "!torch.none":
        array = literal(bias)
        if array is None:
            raise PassError(op, "the bias must be a float32 constant")
        real = array.reshape(-1)
    if not np.all(np.isfinite(real)):
        raise PassError(op, "the bias contains NaN or infinity; the training has diverged")
    stored = np.rint(real.astype(np.float64) / scale)
    if np.any(np.abs(stored) > 2**30):
        raise PassError(op, "a bias is too large for its weights' scale; raise the quantizer's smallest weight scale")
    return scale, stored.astype(np.int32)


def _mean_of(op: ir.Operation, tensor: Tensor, dimensions: list[int], target: Quantization) -> Tensor:
    """The mean along torch's ``dimensions``, which stay with size 1."""
    source = _parameters(tensor)
    count = math.prod(tensor.shape[dimension] for dimension in dimensions)
    total = build.cast(to_torch_order(tensor) if tensor.flattened else tensor.value, 32)
    for dimension in dimensions:
        total = build.reduce(total, axis_of(tensor, dimension))
    if source.zero_point:
        offset = build.constant(np.full([1] * len(tensor.shape), source.zero_point * count, np.int32))
        total = build.binary(tosa.SubOp, total, offset)
    value = _rescale(op, total, source.scale / (count * target.scale), 0, target.zero_point, 8)
    kept = {dimension % len(tensor.shape) for dimension in dimensions}
    shape = tuple(1 if dimension in kept else size for dimension, size in enumerate(tensor.shape))
    return Tensor(value, shape, target)


def _summed_pool(
    op: ir.Operation, value: ir.Value, source: Quantization, window: Window, target: Quantization
) -> ir.Value:
    """An average pool that changes the quantization: sums by a depthwise convolution with ones, rescaled once."""
    channels = build.shape_of(value)[3]
    ones, bias = np.ones((*window.kernel, channels, 1), np.int8), np.zeros(channels, np.int32)
    total = build.conv_2d(
        value, ones, bias, source.zero_point, window.padding, window.stride, (1, 1), window.output, depthwise=True
    )
    count = window.kernel[0] * window.kernel[1]
    return _rescale(op, total, source.scale / (count * target.scale), 0, target.zero_point, 8)


def _no_integer_form(op: ir.Operation | None, user: ir.Operation) -> PassError:
    if op is None:
        return PassError(user, "reads a float32 argument inside a quantized network; quantize the argument first")
    if name_of(op) in (QUANTIZE, DEQUANTIZE):
        return PassError(op, "its int8 operand is not known; quantize activations per tensor with constant parameters")
    return PassError(
        op,
        f"leaves a float32 island before '{name_of(user)}' inside a quantized network: "
        "annotate it in the quantizer, or use an op that has an integer form",
    )

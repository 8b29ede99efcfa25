"""f32 forms of torch ops: of whole float networks, and of the tail that a quantized network may end in."""

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
from dtmm_mlir.passes.torch_to_tosa.layout import Tensor, aligned, axis_of, constant_tensor, reshaped, unflattened
from dtmm_mlir.passes.torch_to_tosa.movement import CONCATENATION, MOVEMENTS, concatenate, move
from dtmm_mlir.passes.torch_to_tosa.operands import (
    DEQUANTIZE,
    is_tensor,
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
    average_pool_window,
    convolution_window,
    fitted,
)

_BATCH_NORMS = ("aten.batch_norm", "aten._native_batch_norm_legit_no_training", "aten.native_batch_norm")
_SOFTMAXES = ("aten.softmax.int", "aten._softmax", "aten.log_softmax.int", "aten._log_softmax")
_BINARIES: dict[str, type] = {
    "aten.add.Tensor": tosa.AddOp,
    "aten.add.Scalar": tosa.AddOp,
    "aten.sub.Tensor": tosa.SubOp,
    "aten.sub.Scalar": tosa.SubOp,
    "aten.mul.Tensor": tosa.MulOp,
    "aten.mul.Scalar": tosa.MulOp,
    "aten.maximum": tosa.MaximumOp,
    "aten.minimum": tosa.MinimumOp,
}
_DIVISIONS = ("aten.div.Tensor", "aten.div.Scalar")
_UNARIES: dict[str, type] = {
    "aten.sigmoid": tosa.SigmoidOp,
    "aten.tanh": tosa.TanhOp,
    "aten.exp": tosa.ExpOp,
    "aten.log": tosa.LogOp,
    "aten.abs": tosa.AbsOp,
}
_GATES = ("aten.silu", "aten.hardswish", "aten.hardsigmoid", "aten.leaky_relu")


class FloatForms:
    """f32 forms of the ops of one function.

    Args:
        tensors: the tensors made so far, by torch value.
    """

    def __init__(self, tensors: dict[ir.Value, Tensor]) -> None:
        self._tensors = tensors
        self._forms: dict[str, Callable[[ir.Operation], Tensor]] = {
            **dict.fromkeys(CONVOLUTIONS, self._convolution),
            **dict.fromkeys(LINEARS, self._linear),
            **dict.fromkeys(AVERAGE_POOLS, self._average_pool),
            **dict.fromkeys(_BATCH_NORMS, self._batch_norm),
            **dict.fromkeys(_SOFTMAXES, self._softmax),
            **dict.fromkeys(_BINARIES, self._binary),
            **dict.fromkeys(_DIVISIONS, self._division),
            **dict.fromkeys(_UNARIES, self._unary),
            **dict.fromkeys(_GATES, self._gate),
            **dict.fromkeys(MOVEMENTS, lambda op: move(op, self._operand(op, 0))),
            "aten.mean.dim": self._mean,
            CONCATENATION: self._concatenation,
            DEQUANTIZE: self._dequantize,
        }

    def convert(self, op: ir.Operation) -> None:
        """Makes the first result of ``op`` known.

        Raises:
            PassError: the op has no TOSA form.
        """
        if op.results[0] in self._tensors:  # folded into an earlier op
            return
        form = self._forms.get(name_of(op))
        if form is None:
            raise PassError(op, unsupported(op))
        self._tensors[op.results[0]] = form(op)

    def _operand(self, op: ir.Operation, index: int) -> Tensor:
        value = op.operands[index]
        if value in self._tensors:
            return self._tensors[value]
        array = literal(value)
        if array is not None:
            return constant_tensor(array.astype(np.float32))
        if is_tensor(value):
            raise PassError(op, f"operand {index} has no TOSA form")
        return constant_tensor(np.array(python_value(op, index), np.float32).reshape(()))

    def _convolution(self, op: ir.Operation) -> Tensor:
        window, groups = convolution_window(op)
        values = _float_weight(op, weight(op, op.operands[1]).values)
        bias = _bias(op, op.operands[2], values.shape[0])
        factor, offset, absorbed = _following_affine(op, len(values))
        if absorbed:
            values = (values * factor[:, None, None, None]).astype(np.float32)
            bias = (bias * factor + offset).astype(np.float32)
        tensor = convolve(op, self._operand(op, 0), values, bias, 0, window, groups, lambda value, _: value)
        self._tensors |= {other.results[0]: tensor for other in absorbed}
        return tensor

    def _linear(self, op: ir.Operation) -> Tensor:
        kernel, bias = linear_parameters(op)
        values = _float_weight(op, kernel.values)
        offset = _bias(op, bias, values.shape[0])
        features = self._operand(op, list(op.operands).index(linear_input(op)))
        return convolve(op, features, values, offset, 0, POINTWISE, 1, lambda value, _: value)

    def _batch_norm(self, op: ir.Operation) -> Tensor:
        """A batch normalization that follows no convolution: one multiply and one add per channel."""
        factor, offset = _batch_norm_parameters(op)
        tensor = unflattened(self._operand(op, 0))
        shape = [1] * len(tensor.shape)
        shape[axis_of(tensor, 1)] = factor.size
        scaled = build.binary(tosa.MulOp, tensor.value, build.constant(factor.reshape(shape).astype(np.float32)))
        value = build.binary(tosa.AddOp, scaled, build.constant(offset.reshape(shape).astype(np.float32)))
        return tensor.with_value(value)

    def _average_pool(self, op: ir.Operation) -> Tensor:
        tensor = self._operand(op, 0)
        window, counts_padding = average_pool_window(op)
        value = tensor.value
        if counts_padding:
            top, bottom, left, right = window.padding
            value = build.pad(value, [(0, 0), (top, bottom), (left, right), (0, 0)], 0.0)
            window = dataclasses.replace(window, padding=(0, 0, 0, 0))
        value, window = fitted(op, value, window)
        pooled = build.average_pool(value, 0, window.kernel, window.stride, window.padding, window.output)
        return Tensor(pooled, shape_of(op.results[0]))

    def _mean(self, op: ir.Operation) -> Tensor:
        tensor = unflattened(self._operand(op, 0))
        rank = len(tensor.shape)
        dimensions = {dimension % rank for dimension in python_value(op, 1) or range(rank)}
        value = tensor.value
        for dimension in dimensions:
            value = build.reduce(value, axis_of(tensor, dimension))
        count = math.prod(tensor.shape[dimension] for dimension in dimensions)
        value = build.binary(tosa.MulOp, value, _scalar_like(1 / count, rank))
        shape = tuple(1 if index in dimensions else size for index, size in enumerate(tensor.shape))
        return reshaped(Tensor(value, shape), shape_of(op.results[0]))

    def _softmax(self, op: ir.Operation) -> Tensor:
        tensor = unflattened(self._operand(op, 0))
        axis = axis_of(tensor, python_value(op, 1))
        centred = build.binary(tosa.SubOp, tensor.value, build.reduce(tensor.value, axis, maximum=True))
        exponentials = build.unary(tosa.ExpOp, centred)
        total = build.reduce(exponentials, axis)
        if "log" in name_of(op):
            return tensor.with_value(build.binary(tosa.SubOp, centred, build.unary(tosa.LogOp, total)))
        return tensor.with_value(build.binary(tosa.MulOp, exponentials, build.unary(tosa.ReciprocalOp, total)))

    def _binary(self, op: ir.Operation) -> Tensor:
        left, right = aligned([self._operand(op, 0), self._operand(op, 1)])
        is_sum = name_of(op).startswith(("aten.add", "aten.sub"))
        if is_sum and python_value(op, 2) not in (None, 1):
            raise PassError(op, f"alpha={python_value(op, 2)} is not supported; multiply separately")
        return _elementwise(op, _BINARIES[name_of(op)], left, right)

    def _division(self, op: ir.Operation) -> Tensor:
        left, right = aligned([self._operand(op, 0), self._operand(op, 1)])
        return _elementwise(op, tosa.MulOp, left, right.with_value(build.unary(tosa.ReciprocalOp, right.value)))

    def _unary(self, op: ir.Operation) -> Tensor:
        tensor = self._operand(op, 0)
        return tensor.with_value(build.unary(_UNARIES[name_of(op)], tensor.value))

    def _gate(self, op: ir.Operation) -> Tensor:
        tensor = self._operand(op, 0)
        name, value, rank = name_of(op), tensor.value, len(tensor.shape)
        if name == "aten.silu":
            return tensor.with_value(build.binary(tosa.MulOp, value, build.unary(tosa.SigmoidOp, value)))
        if name == "aten.leaky_relu":
            slope = python_value(op, 1)
            if not 0 <= slope <= 1:
                raise PassError(op, f"a slope of {slope} is not supported, it must lie in 0..1")
            scaled = build.binary(tosa.MulOp, value, _scalar_like(slope, rank))
            return tensor.with_value(build.binary(tosa.MaximumOp, value, scaled))
        shifted = build.clamp(build.binary(tosa.AddOp, value, _scalar_like(3.0, rank)), 0.0, 6.0)
        gate = build.binary(tosa.MulOp, shifted, _scalar_like(1 / 6, rank))
        if name == "aten.hardsigmoid":
            return tensor.with_value(gate)
        return tensor.with_value(build.binary(tosa.MulOp, value, gate))

    def _concatenation(self, op: ir.Operation) -> Tensor:
        parts = defining_op(op.operands[0])
        if parts is None:
            raise PassError(op, "the list of tensors must be built in place")
        return concatenate(op, [self._operand(parts, index) for index in range(len(parts.operands))])

    def _dequantize(self, op: ir.Operation) -> Tensor:
        source = self._operand(op, 0)
        parameters, _, _ = quantization(op)
        rank = len(source.shape)
        real = build.cast(source.value, ir.F32Type.get())
        if parameters.zero_point:
            real = build.binary(tosa.SubOp, real, _scalar_like(parameters.zero_point, rank))
        value = build.binary(tosa.MulOp, real, _scalar_like(parameters.scale, rank))
        return dataclasses.replace(source, value=value, quantization=None)


def unsupported(op: ir.Operation) -> str:
    """Why ``op`` is refused and what to do."""
    if name_of(op).startswith("onnx."):
        return "ONNX ops are not read; export the PyTorch model itself, or convert the ONNX model to .tflite"
    return "has no TOSA form in this compiler; replace it in the model, or keep it outside of the compiled part"


def _float_weight(op: ir.Operation, values: np.ndarray) -> np.ndarray:
    if values.dtype != np.float32:
        raise PassError(op, f"a weight of {values.dtype} meets a float32 input; quantize the input too, or neither")
    return values


def _bias(op: ir.Operation, value: ir.Value | None, size: int) -> np.ndarray:
    if value is None or str(value.type) == "!torch.none":
        return np.zeros(size, np.float32)
    array = literal(value)
    if array is None or not np.all(np.isfinite(array)):
        raise PassError(op, "the bias must be a constant without NaN or infinity")
    return array.astype(np.float32).reshape(-1)


def _following_affine(op: ir.Operation, channels: int) -> tuple[np.ndarray, np.ndarray, list[ir.Operation]]:
    """What the ops after a convolution multiply each channel by and add to it, f64, and those ops."""
    factor, offset, absorbed = np.ones(channels), np.zeros(channels), []
    while len(uses := list(op.results[0].uses)) == 1:
        user = uses[0].owner.operation
        step = _affine(user, op.results[0], channels)
        if step is None:
            break
        factor, offset = factor * step[0], offset * step[0] + step[1]
        absorbed.append(user)
        op = user
    return factor, offset, absorbed


def _affine(op: ir.Operation, value: ir.Value, channels: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Factor and offset per channel of ``op``, if that is what it does to ``value``."""
    name = name_of(op)
    if name in _BATCH_NORMS:
        return _batch_norm_parameters(op)
    if name not in ("aten.add.Tensor", "aten.sub.Tensor", "aten.mul.Tensor") or op.operands[0] != value:
        return None
    array = literal(op.operands[1])
    if array is None or array.shape[-3:] != (channels, 1, 1) or array.size != channels:
        return None
    if name == "aten.mul.Tensor":
        return array.reshape(-1).astype(np.float64), np.zeros(channels)
    sign = (-1.0 if name == "aten.sub.Tensor" else 1.0) * python_value(op, 2)
    return np.ones(channels), sign * array.reshape(-1).astype(np.float64)


def _batch_norm_parameters(op: ir.Operation) -> tuple[np.ndarray, np.ndarray]:
    """Factor and offset per channel, f64."""
    training = name_of(op) != "aten._native_batch_norm_legit_no_training" and python_value(op, 5)
    if training:
        raise PassError(op, "batch normalization in training mode; call model.eval() before the export")
    epsilon = python_value(op, 6 if name_of(op) == "aten._native_batch_norm_legit_no_training" else 7)
    mean, variance = literal(op.operands[3]), literal(op.operands[4])
    if mean is None or variance is None:
        raise PassError(op, "its running statistics must be constants")
    gain, shift = literal(op.operands[1]), literal(op.operands[2])
    factor = (1.0 if gain is None else gain.astype(np.float64)) / np.sqrt(variance.astype(np.float64) + epsilon)
    return factor, (0.0 if shift is None else shift) - mean * factor


def _scalar_like(value: float, rank: int) -> ir.Value:
    return build.constant(np.full([1] * rank, value, np.float32))


def _elementwise(op: ir.Operation, kind: type, left: Tensor, right: Tensor) -> Tensor:
    flattened = left.flattened if left.flattened == right.flattened else None
    return Tensor(build.binary(kind, left.value, right.value), shape_of(op.results[0]), None, flattened)

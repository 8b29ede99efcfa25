"""Convolutions and linear layers as ``tosa.conv2d`` and ``tosa.depthwise_conv2d``, one form for i8 and f32."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from iree.compiler import ir

from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.torch_to_tosa import build
from dtmm_mlir.passes.torch_to_tosa.layout import Tensor, from_torch_order, to_torch_order
from dtmm_mlir.passes.torch_to_tosa.operands import Weight, name_of, shape_of
from dtmm_mlir.passes.torch_to_tosa.operands import weight as weight_of
from dtmm_mlir.passes.torch_to_tosa.window import Window, fitted

Finish = Callable[[ir.Value, slice], ir.Value]
"""Turns the accumulators of some output channels into results."""


def linear_input(op: ir.Operation) -> ir.Value:
    """The features ``[..., K]`` that a linear layer or a product with a constant matrix reads."""
    return op.operands[1 if name_of(op) == "aten.addmm" else 0]


def linear_parameters(op: ir.Operation) -> tuple[Weight, ir.Value | None]:
    """Weight ``[F, K]`` and bias of a linear layer or of a product with a constant matrix.

    Raises:
        PassError: the weight is not a constant.
    """
    if name_of(op) == "aten.linear":
        return weight_of(op, op.operands[1]), op.operands[2] if len(op.operands) > 2 else None
    index = 2 if name_of(op) == "aten.addmm" else 1
    matrix = weight_of(op, op.operands[index])
    if matrix.values.ndim != 2:
        raise PassError(op, f"a product with a constant of rank {matrix.values.ndim} is not supported")
    filters = matrix.values.shape[1]
    scale = None if matrix.scale is None else np.broadcast_to(matrix.scale[:1], [filters]).copy()
    if matrix.scale is not None and len(matrix.scale) == filters:
        scale = matrix.scale
    return Weight(matrix.values.T, scale), op.operands[0] if index == 2 else None


def convolve(
    op: ir.Operation,
    tensor: Tensor,
    weight: np.ndarray,
    bias: np.ndarray,
    zero_point: int,
    window: Window,
    groups: int,
    finish: Finish,
) -> Tensor:
    """A convolution or, with a weight of rank 2, a linear layer.

    Args:
        op: the torch op.
        tensor: input; NCHW, or ``[..., K]`` for a linear layer.
        weight: ``[F, C / groups, KH, KW]`` or ``[F, K]``.
        bias: one per output channel.
        zero_point: of the input.
        window: of the convolution.
        groups: how many groups the channels fall into.
        finish: applied to the accumulators ``[N, H, W, channels]`` and the range of output channels.

    Raises:
        PassError: shapes that do not fit.
    """
    if weight.ndim == 2:
        return _linear(op, tensor, weight, bias, zero_point, window, finish)
    value, window = fitted(op, tensor.value, window)
    channels, filters = tensor.shape[1], weight.shape[0]
    run = _Convolution(zero_point, window)
    if groups == 1:
        result = finish(run(value, weight.transpose(0, 2, 3, 1), bias), slice(None))
    elif groups == channels:  # filter f reads channel f // multiplier
        hwcm = weight.reshape(channels, filters // channels, *window.kernel).transpose(2, 3, 0, 1)
        result = finish(run(value, hwcm, bias, depthwise=True), slice(None))
    else:
        result = _grouped(run, value, weight, bias, groups, finish)
    return Tensor(result, shape_of(op.results[0]))


class _Convolution:
    def __init__(self, zero_point: int, window: Window) -> None:
        self._zero_point, self._window = zero_point, window

    def __call__(self, value: ir.Value, weight: np.ndarray, bias: np.ndarray, depthwise: bool = False) -> ir.Value:
        window = self._window
        return build.conv_2d(
            value,
            np.ascontiguousarray(weight),
            bias,
            self._zero_point,
            window.padding,
            window.stride,
            window.dilation,
            window.output,
            depthwise,
        )


def _grouped(
    run: _Convolution, value: ir.Value, weight: np.ndarray, bias: np.ndarray, groups: int, finish: Finish
) -> ir.Value:
    """One dense convolution per group, each finished on its own so that it stays one fusible unit."""
    shape = build.shape_of(value)
    inputs, outputs = weight.shape[1], weight.shape[0] // groups
    parts = []
    for group in range(groups):
        channels = slice(group * outputs, (group + 1) * outputs)
        part = build.slice_of(value, [0, 0, 0, group * inputs], [*shape[:3], inputs])
        parts.append(finish(run(part, weight[channels].transpose(0, 2, 3, 1), bias[channels]), channels))
    return build.concat(parts, 3)


def _linear(
    op: ir.Operation,
    tensor: Tensor,
    weight: np.ndarray,
    bias: np.ndarray,
    zero_point: int,
    window: Window,
    finish: Finish,
) -> Tensor:
    """A 1x1 convolution on ``[N, 1, 1, K]``."""
    shape = shape_of(op.results[0])
    features, filters = tensor.shape[-1], shape[-1]
    if weight.shape != (filters, features):
        raise PassError(op, f"a weight of shape {weight.shape} does not fit {features} inputs")
    value = tensor.value
    if tensor.flattened is not None:  # the weight's columns follow the data, which still lies in HWC order
        channels, height, width = tensor.flattened
        weight = weight.reshape(filters, channels, height, width).transpose(0, 2, 3, 1).reshape(filters, features)
    elif len(tensor.shape) == 4:
        value = to_torch_order(tensor)
    value, window = fitted(op, build.reshape(value, [math.prod(tensor.shape[:-1]), 1, 1, features]), window)
    run = _Convolution(zero_point, window)
    result = finish(run(value, weight.reshape(filters, 1, 1, features), bias), slice(None))
    return from_torch_order(build.reshape(result, shape))

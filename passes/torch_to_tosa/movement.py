"""Ops that move, select or bound elements: one form for i8 and for f32, with the quantization unchanged."""

from __future__ import annotations

import dataclasses

from iree.compiler import ir

from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.torch_to_tosa import build
from dtmm_mlir.passes.torch_to_tosa.layout import (
    NHWC,
    Tensor,
    aligned,
    axis_of,
    from_torch_order,
    reshaped,
    to_torch_order,
    unflattened,
)
from dtmm_mlir.passes.torch_to_tosa.operands import element_of, name_of, python_value, shape_of
from dtmm_mlir.passes.torch_to_tosa.window import fitted, max_pool_window

_FLOAT_MAX = 3.4028234663852886e38

_IDENTITIES = (
    "aten.clone", "aten.contiguous", "aten.detach", "aten.alias", "aten.lift_fresh_copy", "aten.to.dtype",
    "aten._to_copy", "aten.to.dtype_layout", "aten.to.device", "aten.dropout", "aten.feature_dropout",
)  # fmt: skip
_RESHAPES = (
    "aten.view", "aten.reshape", "aten._unsafe_view", "aten.flatten.using_ints", "aten.unflatten.int",
    "aten.squeeze", "aten.squeeze.dim", "aten.squeeze.dims", "aten.unsqueeze",
)  # fmt: skip
_PERMUTATIONS = ("aten.permute", "aten.transpose.int", "aten.t")
_PADS = ("aten.constant_pad_nd", "aten.pad")
_MAX_POOLS = ("aten.max_pool2d", "aten.max_pool2d_with_indices")
_ACTIVATIONS = ("aten.relu", "aten.relu6", "aten.hardtanh", "aten.clamp", "aten.clamp_min", "aten.clamp_max")
CONCATENATION = "aten.cat"

MOVEMENTS = (*_IDENTITIES, *_RESHAPES, *_PERMUTATIONS, *_PADS, *_MAX_POOLS, *_ACTIVATIONS, "aten.slice.Tensor")
"""Ops of one tensor that ``move`` knows."""


def is_activation(name: str) -> bool:
    """Whether the op bounds its elements."""
    return name in _ACTIVATIONS


def move(op: ir.Operation, tensor: Tensor) -> Tensor:
    """The result of ``op``, one of ``MOVEMENTS``, on its first operand.

    Raises:
        PassError: a form of the op that TOSA cannot say.
    """
    name = name_of(op)
    if name in _ACTIVATIONS:
        return _bound(op, tensor)
    if name in _RESHAPES:
        return reshaped(tensor, shape_of(op.results[0]))
    if name in _PERMUTATIONS:
        return _permute(op, tensor)
    if name in _PADS:
        return _pad(op, tensor)
    if name in _MAX_POOLS:
        return _max_pool(op, tensor)
    if name == "aten.slice.Tensor":
        return _slice(op, tensor)
    if "dropout" in name and python_value(op, 2):
        raise PassError(op, "dropout in training mode; call model.eval() before the export")
    if ".to" in name or name == "aten._to_copy":
        _check_element(op)
    return tensor


def concatenate(op: ir.Operation, tensors: list[Tensor]) -> Tensor:
    """``aten.cat`` of tensors with one quantization."""
    same = aligned(tensors)
    dimension = python_value(op, 1)
    if same[0].flattened is not None and dimension % 2 == 1:
        same = [unflattened(tensor) for tensor in same]
    value = build.concat([tensor.value for tensor in same], axis_of(same[0], dimension))
    return dataclasses.replace(same[0], value=value, shape=shape_of(op.results[0]))


def _check_element(op: ir.Operation) -> None:
    before, after = element_of(op.operands[0]), element_of(op.results[0])
    if before != after:
        raise PassError(op, f"a conversion from {before} to {after} is not supported")


def bounds(op: ir.Operation) -> tuple[float | None, float | None]:
    """Smallest and largest real value that an activation lets through."""
    name = name_of(op)
    if name == "aten.relu":
        return 0.0, None
    if name == "aten.relu6":
        return 0.0, 6.0
    if name == "aten.clamp_max":
        return None, python_value(op, 1)
    return python_value(op, 1), python_value(op, 2)


def _bound(op: ir.Operation, tensor: Tensor) -> Tensor:
    low, high = bounds(op)
    if tensor.quantization is None:
        smallest = -_FLOAT_MAX if low is None else low
        return tensor.with_value(
            build.clamp(tensor.value, smallest, _FLOAT_MAX if high is None else max(high, smallest))
        )
    stored = tensor.quantization.stored
    return tensor.with_value(
        build.clamp(tensor.value, -128 if low is None else stored(low), 127 if high is None else stored(high))
    )


def _permute(op: ir.Operation, tensor: Tensor) -> Tensor:
    rank = len(tensor.shape)
    name = name_of(op)
    if name == "aten.permute":
        order = [dimension % rank for dimension in python_value(op, 1)]
    else:
        first, second = (0, rank - 1) if name == "aten.t" else (python_value(op, 1), python_value(op, 2))
        order = list(range(rank))
        order[first % rank], order[second % rank] = order[second % rank], order[first % rank]
    if rank == 4:
        axes = [NHWC.index(order[dimension]) for dimension in NHWC]
        value = build.transpose(tensor.value, axes)
        return dataclasses.replace(tensor, value=value, shape=shape_of(op.results[0]))
    return from_torch_order(build.transpose(to_torch_order(tensor), order), tensor.quantization)


def _pad(op: ir.Operation, tensor: Tensor) -> Tensor:
    if name_of(op) == "aten.pad" and python_value(op, 2) != "constant":
        raise PassError(op, f"padding mode '{python_value(op, 2)}' is not supported, only constants are")
    amounts = python_value(op, 1)
    fill = python_value(op, 3 if name_of(op) == "aten.pad" else 2) or 0.0
    tensor = unflattened(tensor)
    placed = [(0, 0)] * len(tensor.shape)
    for index in range(len(amounts) // 2):  # torch lists the last dimension first
        placed[axis_of(tensor, -1 - index)] = (amounts[2 * index], amounts[2 * index + 1])
    if min(map(min, placed)) < 0:
        raise PassError(op, "negative padding is not supported; slice the tensor instead")
    if tensor.quantization is not None:
        fill = max(-128, min(127, tensor.quantization.stored(fill)))
    value = build.pad(tensor.value, placed, fill)
    return dataclasses.replace(tensor, value=value, shape=shape_of(op.results[0]))


def _slice(op: ir.Operation, tensor: Tensor) -> Tensor:
    dimension, start, step = python_value(op, 1), python_value(op, 2) or 0, python_value(op, 4)
    if step not in (None, 1):
        raise PassError(op, f"a slice with step {step} is not supported")
    tensor = unflattened(tensor)
    axis = axis_of(tensor, dimension)
    sizes, starts = build.shape_of(tensor.value), [0] * len(tensor.shape)
    length = sizes[axis]
    starts[axis] = min(start + length if start < 0 else start, length)
    sizes[axis] = shape_of(op.results[0])[dimension]
    value = build.slice_of(tensor.value, starts, sizes)
    return dataclasses.replace(tensor, value=value, shape=shape_of(op.results[0]))


def _max_pool(op: ir.Operation, tensor: Tensor) -> Tensor:
    if len(op.results) > 1 and list(op.results[1].uses):
        raise PassError(op, "the indices of the maxima are used; only the maxima are supported")
    value, window = fitted(op, tensor.value, max_pool_window(op))
    pooled = build.max_pool(value, window.kernel, window.stride, window.padding, window.output)
    return dataclasses.replace(tensor, value=pooled, shape=shape_of(op.results[0]))

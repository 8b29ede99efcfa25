"""Captures TOSA's pools of int8 tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import depends_on_argument
from dtmm_mlir.dialect.ops import AVG_POOL, MAX_POOL
from dtmm_mlir.passes.affine import fit
from dtmm_mlir.passes.captured import Check, replace, scalar


def _max_pool(op: ir.Operation, check: Check) -> None:
    if _is_int8(op):
        _replace(op, MAX_POOL, {"pads": op.attributes["pad"]})


def _avg_pool(op: ir.Operation, check: Check) -> None:
    """One with padding, whose windows are of several sizes, stays with IREE."""
    if not _is_int8(op) or any(ir.DenseI64ArrayAttr(op.attributes["pad"])):
        return
    count = int(np.prod(ir.DenseI64ArrayAttr(op.attributes["kernel"])))
    input_zero_point, output_zero_point = (int(scalar(operand)) for operand in list(op.operands)[1:])
    sums = np.arange(-128 * count, 127 * count + 1)
    averages = average(sums - count * input_zero_point, count) + output_zero_point
    affine = fit((sums,), np.clip(averages, -128, 127), (1 / count,))
    if affine is not None:
        _replace(op, AVG_POOL, {"affine": affine.attribute()})


CAPTURES: dict[str, Callable[[ir.Operation, Check], None]] = {
    "tosa.max_pool2d": _max_pool,
    "tosa.avg_pool2d": _avg_pool,
}


def average(sums: np.ndarray, count: int) -> np.ndarray:
    """``sums`` divided by ``count``, as TOSA does it (TOSA 1.0, ``reciprocal_scale`` and ``apply_scale_32``)."""
    extra = (count - 1).bit_length()
    multiplier, shift = (((1 << 30) + 1) << extra) // count, 30 + extra
    return (sums.astype(np.int64) * multiplier + (1 << (shift - 1))) >> shift


def _is_int8(op: ir.Operation) -> bool:
    types = [value.type for value in (op.operands[0], op.result)]
    static = all(isinstance(type, ir.RankedTensorType) and type.has_static_shape for type in types)
    return static and all(str(t.element_type) == "i8" for t in types) and depends_on_argument(op.operands[0])


def _replace(op: ir.Operation, name: str, attributes: dict[str, ir.Attribute]) -> None:
    window = {"kernel": op.attributes["kernel"], "strides": op.attributes["stride"]}
    with ir.InsertionPoint(op), op.location:
        pooled = ir.Operation.create(name, [op.result.type], [op.operands[0]], window | attributes)
    replace([op], pooled.result)

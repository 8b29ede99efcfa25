"""Captures TOSA's additions of two int8 tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import defining_op, depends_on_argument
from dtmm_mlir.dialect.ops import ADD, Rescale, clamp_attribute
from dtmm_mlir.dialect.reference import requantize
from dtmm_mlir.passes.affine import fit
from dtmm_mlir.passes.capture_tosa import read_clamp, read_rescale
from dtmm_mlir.passes.captured import Check, only_user, replace

_INT8 = np.arange(-128, 128)


@dataclass(frozen=True)
class _Side:
    """What one operand of an addition is.

    Attributes:
        tensor: i8.
        terms: [256] what is added for each value of the tensor, from -128 on.
        slope: by how much, about, a step of the tensor changes them.
    """

    tensor: ir.Value
    terms: np.ndarray
    slope: float


def _add(op: ir.Operation, check: Check) -> None:
    """An addition stays with IREE if it is not one of two int8 tensors that become int8."""
    sides = [_side(operand) for operand in op.operands]
    rescale_op = only_user(op.result, "tosa.rescale")
    read = read_rescale(rescale_op) if rescale_op is not None else None
    if rescale_op is None or read is None or read[0] or None in sides:
        return
    lhs, rhs = (side for side in sides if side)
    if any(side.tensor.type != rescale_op.result.type for side in (lhs, rhs)):
        return
    if not (depends_on_argument(lhs.tensor) or depends_on_argument(rhs.tensor)):
        return
    sums, rescale = np.add.outer(lhs.terms, rhs.terms), read[1]
    if np.abs(sums).max() >= 1 << 31:
        return
    results = np.clip(requantize(sums, rescale), -128, 127)
    scale = int(rescale.multiplier[0]) / 2.0 ** int(rescale.shift[0])
    affine = fit((_INT8, _INT8), results, (lhs.slope * scale, rhs.slope * scale))
    if affine is None:
        return
    chain, clamp, clamp_op = [op, rescale_op], None, only_user(rescale_op.result, "tosa.clamp")
    if clamp_op is not None:
        clamp = read_clamp(clamp_op)
        chain.append(clamp_op)
    with ir.InsertionPoint(chain[-1]), op.location:
        attributes = {"affine": affine.attribute(), "clamp": clamp_attribute(clamp)}
        added = ir.Operation.create(ADD, [chain[-1].result.type], [lhs.tensor, rhs.tensor], attributes)
    replace(chain, added.result)


CAPTURES: dict[str, Callable[[ir.Operation, Check], None]] = {"tosa.add": _add}


def _side(value: ir.Value) -> _Side | None:
    """An i8 tensor of static shape that was rescaled to i32, once or more."""
    rescales: list[tuple[int, Rescale]] = []
    while (op := defining_op(value)) is not None and op.name == "tosa.rescale":
        read = read_rescale(op)
        if read is None or (rescales and str(ir.RankedTensorType(value.type).element_type) != "i32"):
            break
        rescales.append(read)
        value = op.operands[0]
    type = value.type
    if not rescales or not isinstance(type, ir.RankedTensorType) or not type.has_static_shape:
        return None
    if str(type.element_type) != "i8":
        return None
    terms, slope = _INT8.astype(np.int64), 1.0
    for zero_point, rescale in reversed(rescales):
        terms = requantize(terms - zero_point, rescale)
        slope *= int(rescale.multiplier[0]) / 2.0 ** int(rescale.shift[0])
        if np.abs(terms).max() >= 1 << 31:
            return None
    return _Side(value, terms, slope)

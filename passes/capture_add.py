"""Captures TOSA's additions of two int8 tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import depends_on_argument
from dtmm_mlir.dialect.ops import ADD, clamp_attribute
from dtmm_mlir.dialect.reference import requantize
from dtmm_mlir.passes.affine import fit
from dtmm_mlir.passes.capture_tosa import read_clamp, read_rescale
from dtmm_mlir.passes.captured import Check, only_user, replace
from dtmm_mlir.passes.terms import INT8, slope_of, terms_of


def _add(op: ir.Operation, check: Check) -> None:
    """An addition stays with IREE if it is not one of two int8 tensors that become int8."""
    sides = [terms_of(operand) for operand in op.operands]
    rescale_op = only_user(op.result, "tosa.rescale")
    read = read_rescale(rescale_op) if rescale_op is not None else None
    if rescale_op is None or read is None or read[0] or None in sides:
        return
    lhs, rhs = (side for side in sides if side)
    if any(side.tensor.type != rescale_op.result.type for side in (lhs, rhs)):
        return
    if not (depends_on_argument(lhs.tensor) or depends_on_argument(rhs.tensor)):
        return
    sums, rescale = np.add.outer(lhs.values, rhs.values), read[1]
    if np.abs(sums).max() >= 1 << 31:
        return
    results = np.clip(requantize(sums, rescale), -128, 127)
    affine = fit((INT8, INT8), results, (lhs.slope * slope_of(rescale), rhs.slope * slope_of(rescale)))
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

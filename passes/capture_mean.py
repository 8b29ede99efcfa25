"""Captures means over height and width of int8 tensors: average pools, as importers write them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import constant_array, defining_op, depends_on_argument
from dtmm_mlir.dialect.ops import AVG_POOL
from dtmm_mlir.dialect.reference import requantize
from dtmm_mlir.passes.affine import fit
from dtmm_mlir.passes.capture_tosa import read_rescale
from dtmm_mlir.passes.captured import Check, only_user, replace
from dtmm_mlir.passes.terms import slope_of, terms_of


def _mean(op: ir.Operation, check: Check) -> None:
    """The second of two sums, with the terms before and the rescale behind it."""
    first = defining_op(op.operands[0])
    if first is None or first.name != "tosa.reduce_sum" or only_user(first.result, op.name) is None:
        return
    terms = terms_of(first.operands[0])
    if sorted((_axis(first), _axis(op))) != [1, 2] or terms is None or not depends_on_argument(terms.tensor):
        return
    chain, offset = [first, op], 0
    if (subtraction := only_user(op.result, "tosa.sub")) is not None:
        subtrahend = constant_array(subtraction.operands[1])
        if subtrahend is None or subtrahend.size != 1 or subtraction.result.type != op.result.type:
            return
        offset = int(subtrahend.reshape(-1)[0])
        chain.append(subtraction)
    rescale_op = only_user(chain[-1].result, "tosa.rescale")
    read = read_rescale(rescale_op) if rescale_op is not None else None
    if rescale_op is None or read is None or read[0]:
        return
    shape = ir.RankedTensorType(terms.tensor.type).shape
    if len(shape) != 4 or str(ir.RankedTensorType(rescale_op.result.type).element_type) != "i8":
        return
    step, count = int(terms.values[1] - terms.values[0]), shape[1] * shape[2]
    if (np.diff(terms.values) != step).any() or count * np.abs(terms.values).max() + abs(offset) >= 1 << 31:
        return
    sums = np.arange(-128 * count, 127 * count + 1)
    totals = step * sums + count * int(terms.values[128]) - offset
    results = np.clip(requantize(totals, read[1]), -128, 127)
    affine = fit((sums,), results, (step * slope_of(read[1]),))
    if affine is None:
        return
    with ir.InsertionPoint(rescale_op), op.location:
        attributes = {
            "affine": affine.attribute(),
            "kernel": ir.DenseI64ArrayAttr.get(shape[1:3]),
            "strides": ir.DenseI64ArrayAttr.get([1, 1]),
        }
        pooled = ir.Operation.create(AVG_POOL, [rescale_op.result.type], [terms.tensor], attributes)
    replace([*chain, rescale_op], pooled.result)


CAPTURES: dict[str, Callable[[ir.Operation, Check], None]] = {"tosa.reduce_sum": _mean}


def _axis(op: ir.Operation) -> int:
    return ir.IntegerAttr(op.attributes["axis"]).value

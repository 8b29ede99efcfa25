"""``filterlet-merge-tables``: one table for what a softmax makes of the difference of two int8 values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import tosa

from dtmm_mlir.dialect.constants import constant, constant_array, defining_op, walk
from dtmm_mlir.dialect.reference import requantize
from dtmm_mlir.passes.base import Pass
from dtmm_mlir.passes.capture_tosa import read_rescale
from dtmm_mlir.passes.cleanup import erase_unused
from dtmm_mlir.passes.terms import terms_of
from dtmm_mlir.passes.torch_to_tosa.build import reshape

_TABLE = "tosa.table"

_DIFFERENCES = np.arange(256)
"""How far below the largest value of an int8 tensor another one can be."""


@dataclass
class MergeTables(Pass):
    """Merges the interpolated 16-bit tables of an int8 softmax.

    TFLite's exponential of 32 bits comes as four tables of 513 entries each, whose interpolated values are shifted and
    added. What it is taken of, an int8 value less the largest one, can only be one of 256 numbers: one table of as many
    results takes the place of all that.

    Before ==> after::

        %1 = tosa.reduce_max %x {axis = 1} : (tensor<1x10xi32>) -> tensor<1x1xi32>    // %x was rescaled from i8
        %2 = tosa.sub %x, %1
        %3 = tosa.rescale %2 ... -> tensor<1x10xi16>
        %4 = tosa.table %3, %a
        %5 = tosa.table %3, %b
        %6 = tosa.add %4, %5 ... -> tensor<1x10xi32>
        %2 = tosa.sub %1, %x
        %6 = tosa.gather %results, %2                                                 // reshaped to its ranks

    Does not handle: other functions of an int8 tensor, for which importers make a table of 256 entries already; dynamic
    shapes; values between tables and result that are used otherwise.
    """

    name: ClassVar[str] = "filterlet-merge-tables"

    def run(self, module: ir.Module) -> None:
        for op in walk(module, "tosa.sub"):
            if _is_difference(op):
                _merge(op)
        erase_unused(module)


def _is_difference(op: ir.Operation) -> bool:
    """Whether ``op`` subtracts the largest value along an axis from what an int8 tensor was rescaled to by one."""
    largest = defining_op(op.operands[1])
    if largest is None or largest.name != "tosa.reduce_max" or largest.operands[0] != op.operands[0]:
        return False
    terms = terms_of(op.operands[0])
    return terms is not None and bool((np.diff(terms.values) == 1).all())


def _merge(difference: ir.Operation) -> None:
    known = _known_values(difference)
    tables = {op for op in known if op.name == _TABLE}
    for op, results in known.items():
        if tables and _element_type(op.result) == "i32" and not tables & _needed(known, op):
            with ir.InsertionPoint(op), op.location:
                op.result.replace_all_uses_with(_look_up(difference, results))
            for each in reversed(known):
                if not list(each.result.uses):
                    each.erase()
            return


def _known_values(difference: ir.Operation) -> dict[ir.Operation, np.ndarray]:
    """What ``difference``, and the ops that depend on it and on constants alone, make of each of ``_DIFFERENCES``."""
    known = {difference: -_DIFFERENCES}
    operations = [op.operation for op in difference.block]
    shape = ir.RankedTensorType(difference.result.type).shape
    for op in operations[operations.index(difference) + 1 :]:
        if op.name in _EVALUATE and ir.RankedTensorType(op.result.type).shape == shape:
            operands = [_values(operand, known) for operand in op.operands]
            results = None if any(each is None for each in operands) else _EVALUATE[op.name](op, *operands)
            if results is not None:
                known[op] = results
    return known


def _values(operand: ir.Value, known: dict[ir.Operation, np.ndarray]) -> np.ndarray | None:
    """What is known of ``operand``, or all of a constant; ``None`` for other values."""
    op = defining_op(operand)
    return known[op].astype(np.int64) if op in known else constant_array(operand)


def _needed(known: dict[ir.Operation, np.ndarray], replaced: ir.Operation) -> set[ir.Operation]:
    """Which of the ops something else depends on once nobody uses ``replaced``."""
    needed = set[ir.Operation]()
    left = [op for op in known if any(use.owner.operation not in known for use in op.result.uses)]
    while left:
        op = left.pop()
        if op != replaced and op not in needed:
            needed.add(op)
            left += [source for operand in op.operands if (source := defining_op(operand)) in known]
    return needed


def _look_up(difference: ir.Operation, results: np.ndarray) -> ir.Value:
    """``results`` of the differences, in their shape."""
    type = ir.RankedTensorType(difference.result.type)
    count = int(np.prod(type.shape))
    below = tosa.SubOp(type, *list(difference.operands)[::-1]).result
    table = constant(results.astype(np.int32).reshape(1, -1, 1))
    of_each = ir.RankedTensorType.get([1, count, 1], type.element_type)
    return reshape(tosa.GatherOp(of_each, table, reshape(below, [1, count])).result, type.shape)


def _rescale(op: ir.Operation, values: np.ndarray, *_: np.ndarray) -> np.ndarray | None:
    read = read_rescale(op)
    if read is None:
        return None
    limits = np.iinfo(_element_type(op.result).replace("i", "int"))
    return np.clip(requantize(values - read[0], read[1]), limits.min, limits.max)


def _table(op: ir.Operation, values: np.ndarray, entries: np.ndarray) -> np.ndarray | None:
    """Interpolates between entries of 16 bits (TOSA 1.0, TABLE)."""
    if entries.dtype != np.int16:
        return None
    place, part = (values + (1 << 15)) >> 7, values & 127
    entries = entries.astype(np.int64)
    return (entries[place] << 7) + (entries[place + 1] - entries[place]) * part


def _shift_right(op: ir.Operation, values: np.ndarray, by: np.ndarray) -> np.ndarray | None:
    by = by.reshape(-1).astype(np.int64)
    half = (1 << by >> 1) if ir.BoolAttr(op.attributes["round"]).value else 0
    return (values + half) >> by


_EVALUATE: dict[str, Callable[..., np.ndarray | None]] = {
    "tosa.rescale": _rescale,
    _TABLE: _table,
    "tosa.add": lambda _, a, b: _wrap(a + b),
    "tosa.sub": lambda _, a, b: _wrap(a - b),
    "tosa.logical_left_shift": lambda _, a, b: _wrap(a << b),
    "tosa.arithmetic_right_shift": _shift_right,
}
"""What ops make of some values (i64, [256]) and constants; ``None`` where that is not known."""


def _wrap(values: np.ndarray) -> np.ndarray:
    """As i32."""
    return values.reshape(-1).astype(np.int32).astype(np.int64)


def _element_type(value: ir.Value) -> str:
    return str(ir.RankedTensorType(value.type).element_type)

"""Torch ops on constants, computed here: what is left of a batch normalization that was taken apart, for instance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import walk
from dtmm_mlir.passes.torch_to_tosa.functions import TABLES, evaluate
from dtmm_mlir.passes.torch_to_tosa.operands import element_of, literal, name_of, python_value, shape_of

_RESHAPES = ("aten.unsqueeze", "aten.squeeze.dim", "aten.view", "aten.reshape", "aten.flatten.using_ints")
_UNARIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "aten.sqrt": np.sqrt,
    "aten.rsqrt": lambda x: 1 / np.sqrt(x),
    "aten.reciprocal": np.reciprocal,
}
_BINARIES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "aten.add.Tensor": np.add,
    "aten.sub.Tensor": np.subtract,
    "aten.mul.Tensor": np.multiply,
    "aten.div.Tensor": np.divide,
}


def fold_constants(function: ir.Operation) -> None:
    """Replaces f32 ops of ``function`` whose operands are all literals by a literal."""
    for op in walk(function):
        if len(op.results) != 1 or element_of(op.results[0]) != "f32":
            continue
        array = _value(op)
        if array is None:
            continue
        with ir.InsertionPoint(op), op.location:
            value = ir.DenseElementsAttr.get(np.ascontiguousarray(array, np.float32).reshape(shape_of(op.results[0])))
            new = ir.Operation.create(
                "torch.vtensor.literal", results=[op.results[0].type], attributes={"value": value}
            )
        op.results[0].replace_all_uses_with(new.result)
        op.erase()


def _value(op: ir.Operation) -> np.ndarray | None:
    name = name_of(op)
    first = literal(op.operands[0]) if len(op.operands) else None
    if first is None or first.dtype != np.float32:
        return None
    if name in _RESHAPES:
        return first
    if name in _UNARIES:
        return _UNARIES[name](first)
    if name in TABLES:
        return evaluate(op, first)
    second = literal(op.operands[1]) if name in _BINARIES else None
    if second is None or python_value(op, 2) not in (None, 1):
        return None
    return _BINARIES[name](first, second)

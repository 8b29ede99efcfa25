"""Ops put together again that torch's own simplification (``torch-decompose-complex-ops``) takes apart.

add(mm(x, w), bias)            ==> addmm(bias, x, w)
maximum(x, c), minimum(x, c)   ==> clamp_min(x, c), clamp_max(x, c)
div(sum(x, dims), count)       ==> mean(x, dims)
"""

from __future__ import annotations

import math

from iree.compiler import ir

from dtmm_mlir.dialect.constants import defining_op, walk
from dtmm_mlir.passes.torch_to_tosa.operands import literal, name_of, python_value, shape_of


def recompose(function: ir.Operation) -> None:
    """Rewrites the torch ops of ``function`` in place; an op of another form is left as it is."""
    for op in walk(
        function, "torch.aten.add.Tensor", "torch.aten.maximum", "torch.aten.minimum", "torch.aten.div.Scalar"
    ):
        with ir.InsertionPoint(op), op.location:
            new = _linear(op) or _bound(op) or _mean(op)
        if new is not None:
            op.results[0].replace_all_uses_with(new.results[0])
            op.erase()


def _linear(op: ir.Operation) -> ir.Operation | None:
    product = defining_op(op.operands[0])
    if name_of(op) != "aten.add.Tensor" or product is None or name_of(product) != "aten.mm":
        return None
    if literal(op.operands[1]) is None or python_value(op, 2) != 1 or len(list(product.results[0].uses)) != 1:
        return None
    operands = [op.operands[1], *product.operands, op.operands[2], op.operands[2]]
    return ir.Operation.create("torch.aten.addmm", results=[op.results[0].type], operands=operands)


def _bound(op: ir.Operation) -> ir.Operation | None:
    kind = {"aten.maximum": "torch.aten.clamp_min", "aten.minimum": "torch.aten.clamp_max"}.get(name_of(op))
    if kind is None:
        return None
    for value, bound in (tuple(op.operands), tuple(op.operands)[::-1]):
        array = literal(bound)
        if array is None or array.size != 1 or shape_of(value) != shape_of(op.results[0]):
            continue
        attribute = ir.FloatAttr.get(ir.F64Type.get(), float(array.reshape(-1)[0]))
        scalar = ir.Operation.create(
            "torch.constant.float", results=[ir.Type.parse("!torch.float")], attributes={"value": attribute}
        )
        return ir.Operation.create(kind, results=[op.results[0].type], operands=[value, scalar.result])
    return None


def _mean(op: ir.Operation) -> ir.Operation | None:
    total = defining_op(op.operands[0])
    if name_of(op) != "aten.div.Scalar" or total is None or name_of(total) != "aten.sum.dim_IntList":
        return None
    shape = shape_of(total.operands[0])
    if python_value(op, 1) != math.prod(shape[dimension] for dimension in python_value(total, 1)):
        return None
    return ir.Operation.create("torch.aten.mean.dim", results=[op.results[0].type], operands=list(total.operands))

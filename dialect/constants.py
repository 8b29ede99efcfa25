"""Constants in IR as numpy arrays and back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from iree.compiler import ir

_CONSTANT_OPS = ("arith.constant", "tosa.const", "torch.vtensor.literal", "tosa.const_shape")
_DTYPES = {
    "i1": np.bool_,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": np.int64,
    "f32": np.float32,
    "f64": np.float64,
    "index": np.int64,
    "si8": np.int8,
    "ui8": np.uint8,
    "si32": np.int32,
    "si64": np.int64,
}


def walk(op: ir.Operation | ir.OpView | ir.Module, *names: str) -> Iterator[ir.Operation]:
    """Every op below ``op`` in post-order, those called ``names`` only if any are given.

    The ops are collected before the first is yielded: they may be erased and new ones inserted meanwhile.
    """
    yield from [each for each in _post_order(op.operation) if not names or each.name in names]


def _post_order(op: ir.Operation) -> Iterator[ir.Operation]:
    """Not by ``Operation.walk``, which makes a RuntimeError of Ctrl-C in a callback."""
    for region in op.regions:
        for block in region:
            for inner in block:
                yield from _post_order(inner.operation)
    yield op


def defining_op(value: ir.Value) -> ir.Operation | None:
    """The op that makes ``value``; ``None`` for a block argument."""
    owner = value.owner
    return None if isinstance(owner, ir.Block) else owner.operation


def depends_on_argument(value: ir.Value) -> bool:
    """Whether ``value`` is made from an argument, or from state such as a global; else from constants alone."""
    left, seen = [value], set()
    while left:
        op = defining_op(left.pop())
        if op is None or op.name.startswith("scf."):  # whose bodies may read any value
            return True
        if not len(op.operands) and op.name not in (*_CONSTANT_OPS, "tensor.empty"):
            return True
        if op not in seen:
            seen.add(op)
            left += op.operands
    return False


def constant_array(value: ir.Value) -> np.ndarray | None:
    """The tensor constant behind ``value`` with its shape and dtype; ``None`` where it is not a constant.

    Reads ``dense<>`` and ``dense_resource<>``. The array may share memory with the context: do not write to it.
    """
    op = defining_op(value)
    if op is None or op.name not in _CONSTANT_OPS:
        return None
    return attribute_array(op.attributes["values" if op.name.startswith("tosa.") else "value"])


def attribute_array(attribute: ir.Attribute) -> np.ndarray | None:
    """An elements attribute as an array; ``None`` if it is of another kind."""
    if isinstance(attribute, ir.DenseElementsAttr):
        shape = tuple(ir.ShapedType(attribute.type).shape)
        if attribute.is_splat:
            value = attribute.get_splat_value()
            dtype = _DTYPES[str(ir.ShapedType(attribute.type).element_type)]
            return np.full(shape, value.value, dtype)
        return np.array(attribute, copy=False).reshape(shape)
    if str(attribute).startswith("dense_resource<"):  # the bindings hand it out as a plain Attribute
        return _resource_array(ir.DenseResourceElementsAttr(attribute))
    return None


def _resource_array(attribute: ir.DenseResourceElementsAttr) -> np.ndarray:
    """Reads a resource through its printed form: the bindings give no access to its bytes."""
    shaped = ir.ShapedType(attribute.type)
    module = ir.Module.create(ir.Location.unknown(attribute.context))
    module.operation.attributes["dtmm.resource"] = attribute
    text = module.operation.get_asm()
    match = re.search(r'"0x([0-9A-Fa-f]*)"\s*\}\s*\}\s*#-\}', text)
    if match is None:
        raise ValueError(f"resource {attribute} has no data")
    data = bytes.fromhex(match.group(1))[4:]  # the first four bytes state the alignment
    return np.frombuffer(data, _DTYPES[str(shaped.element_type)]).reshape(tuple(shaped.shape))


def dense(array: np.ndarray) -> ir.DenseElementsAttr:
    """``array`` as ``dense<...> : tensor<...>`` with signless integer or float elements."""
    array = np.ascontiguousarray(array)
    element = ir.Type.parse(
        {"i": f"i{array.dtype.itemsize * 8}", "f": f"f{array.dtype.itemsize * 8}"}[array.dtype.kind]
    )
    return ir.DenseElementsAttr.get(array, type=ir.RankedTensorType.get(list(array.shape), element))


def constant(array: np.ndarray) -> ir.Value:
    """``arith.constant`` of ``array`` at the current insertion point."""
    attribute = dense(array)
    return ir.Operation.create("arith.constant", results=[attribute.type], attributes={"value": attribute}).result

"""Captures linalg's named convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, linalg, tensor

from dtmm_mlir.dialect.constants import attribute_array, constant_array, defining_op
from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.captured import Check, Conv, NotCapturedError, check_types, replace, scalar

_NHWC_TO_NCHW = (0, 3, 1, 2)
_NCHW_TO_NHWC = (0, 2, 3, 1)


@dataclass(frozen=True)
class _Layout:
    """How one named op lays out its operands.

    Attributes:
        to_ohwi: permutation of the filter to OHWI; ``None`` for a depthwise one.
        channels_first: input and result are NCHW.
    """

    to_ohwi: tuple[int, ...] | None
    channels_first: bool = False


_LAYOUTS = {
    "linalg.conv_2d_nhwc_hwcf": _Layout((3, 0, 1, 2)),
    "linalg.conv_2d_nhwc_fhwc": _Layout((0, 1, 2, 3)),
    "linalg.conv_2d_nchw_fchw": _Layout((0, 2, 3, 1), channels_first=True),
    "linalg.depthwise_conv_2d_nhwc_hwc": _Layout(None),
    "linalg.depthwise_conv_2d_nhwc_hwcm": _Layout(None),
}


def _capture(op: ir.Operation, check: Check) -> None:
    name = op.name
    quantized = name.endswith("_q")
    layout = _LAYOUTS[name.removesuffix("_q")]
    weights = check_types(op, constant_array(op.operands[1]))
    zero_point = int(scalar(op.operands[2])) if quantized else 0
    if quantized and (weight_zero_point := int(scalar(op.operands[3]))):
        raise PassError(
            op,
            f"the weights have zero point {weight_zero_point}, so pruned weights are not zeros; quantize the weights "
            "symmetrically (zero point 0).",
        )
    if not -128 <= zero_point <= 127:
        raise NotCapturedError(f"the input's zero point {zero_point} is not within i8")
    result_type = ir.RankedTensorType(op.result.type)
    if str(result_type.element_type) != ("f32" if weights.dtype == np.float32 else "i32"):
        raise NotCapturedError(f"its result holds {result_type.element_type}")
    if layout.to_ohwi:
        ohwi, groups = weights.transpose(layout.to_ohwi), 1
    else:
        weights = weights.reshape(*weights.shape[:3], -1)
        kh, kw, c, m = weights.shape
        ohwi, groups = weights.transpose(2, 3, 0, 1).reshape(c * m, kh, kw, 1), c
    bias, start = _initial(op.operands[-1], len(ohwi), layout)
    conv = Conv(
        input=op.operands[0],
        weights=np.ascontiguousarray(ohwi),
        bias=bias,
        strides=_pair(op, "strides"),
        dilations=_pair(op, "dilations"),
        pads=(0, 0, 0, 0),
        groups=groups,
        input_zero_point=zero_point,
    )
    conv = _absorb_pad(conv, layout)
    check(conv)
    with ir.InsertionPoint(op), op.location:
        if layout.channels_first:
            conv = changed(conv, input=_transpose(conv.input, _NCHW_TO_NHWC))
        result = conv.create()
        if layout.channels_first:
            result = _transpose(result, _NHWC_TO_NCHW)
        if result.type != result_type:  # a depthwise result [N, OH, OW, C, M]
            result = _expand(result, result_type)
        if start is not None:
            result = arith.addf(result, start) if weights.dtype == np.float32 else arith.addi(result, start)
    replace([op], result)


CAPTURES: dict[str, Callable[[ir.Operation, Check], None]] = {
    name + suffix: _capture for name in _LAYOUTS for suffix in ("", "_q")
}


def _initial(value: ir.Value, filters: int, layout: _Layout) -> tuple[np.ndarray, ir.Value | None]:
    """What the sums start from: a bias of [filters], and what else has to be added to the result."""
    dtype = np.float32 if isinstance(ir.RankedTensorType(value.type).element_type, ir.F32Type) else np.int32
    op = defining_op(value)
    if op is not None and op.name == "linalg.fill":
        fill = defining_op(op.operands[0])
        if fill is not None and fill.name == "arith.constant":
            return np.full(filters, fill.attributes["value"].value, dtype), None
    if op is not None and op.name == "linalg.broadcast":
        array = constant_array(op.operands[0])
        added = list(ir.DenseI64ArrayAttr(op.attributes["dimensions"]))
        if array is not None and array.ndim == 1 and added == ([0, 2, 3] if layout.channels_first else [0, 1, 2]):
            return np.ascontiguousarray(array, dtype), None
    array = constant_array(value)
    if array is not None and (array == array.reshape(-1)[0]).all():
        return np.full(filters, array.reshape(-1)[0], dtype), None
    return np.zeros(filters, dtype), value


def _absorb_pad(conv: Conv, layout: _Layout) -> Conv:
    """Reads through a ``tensor.pad`` of rows and columns with the zero point."""
    op = defining_op(conv.input)
    if op is None or op.name != "tensor.pad" or len(op.operands) != 1:
        return conv
    low, high = (list(ir.DenseI64ArrayAttr(op.attributes[name])) for name in ("static_low", "static_high"))
    y, x = (2, 3) if layout.channels_first else (1, 2)
    others = [d for d in range(4) if d not in (y, x)]
    if any(low[d] or high[d] for d in others) or min(*low, *high) < 0:
        return conv
    yielded = defining_op(list(op.regions[0].blocks[0].operations)[-1].operands[0])
    if (
        yielded is None
        or yielded.name != "arith.constant"
        or yielded.attributes["value"].value != conv.input_zero_point
    ):
        return conv
    return changed(conv, input=op.operands[0], pads=(low[y], high[y], low[x], high[x]))


def _transpose(value: ir.Value, permutation: tuple[int, ...]) -> ir.Value:
    type = ir.RankedTensorType(value.type)
    shape = [type.shape[d] for d in permutation]
    empty = tensor.EmptyOp(shape, type.element_type).result
    return linalg.transpose(value, outs=[empty], permutation=list(permutation)).results[0]


def _expand(value: ir.Value, type: ir.RankedTensorType) -> ir.Value:
    """[N, OH, OW, C * M] to [N, OH, OW, C, M]."""
    groups = [[0], [1], [2], [3, 4]]
    i64 = ir.IntegerType.get_signless(64)
    reassociation = ir.ArrayAttr.get([ir.ArrayAttr.get([ir.IntegerAttr.get(i64, d) for d in g]) for g in groups])
    attributes = {"reassociation": reassociation, "static_output_shape": ir.DenseI64ArrayAttr.get(type.shape)}
    return ir.Operation.create("tensor.expand_shape", [type], [value], attributes).result


def _pair(op: ir.Operation, name: str) -> tuple[int, int]:
    first, second = attribute_array(op.attributes[name]) if name in op.attributes else (1, 1)
    return int(first), int(second)

"""Captures TOSA's convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as changed

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import constant_array, defining_op
from dtmm_mlir.dialect.ops import Clamp, Rescale
from dtmm_mlir.passes.base import PassError
from dtmm_mlir.passes.captured import Check, Conv, NotCapturedError, check_types, only_user, replace, scalar


def _conv2d(op: ir.Operation, check: Check) -> None:
    weights = check_types(op, _folded_array(op.operands[1]))
    _capture(op, check, weights, groups=1)


def _depthwise_conv2d(op: ir.Operation, check: Check) -> None:
    """Weights are [KH, KW, C, M]; filter ``c * M + m`` reads channel ``c``."""
    weights = check_types(op, _folded_array(op.operands[1]))
    kh, kw, c, m = weights.shape
    _capture(op, check, weights.transpose(2, 3, 0, 1).reshape(c * m, kh, kw, 1), groups=c)


CAPTURES: dict[str, Callable[[ir.Operation, Check], None]] = {
    "tosa.conv2d": _conv2d,
    "tosa.depthwise_conv2d": _depthwise_conv2d,
}


def _capture(op: ir.Operation, check: Check, weights: np.ndarray, groups: int) -> None:
    weight_zero_point = scalar(op.operands[4])
    if weight_zero_point:
        raise PassError(
            op,
            f"the weights have zero point {weight_zero_point}, so pruned weights are not zeros; quantize the weights "
            "symmetrically (zero point 0).",
        )
    bias = _folded_array(op.operands[2])
    if bias is None:
        raise NotCapturedError("its bias is not constant")
    conv = Conv(
        input=op.operands[0],
        weights=np.ascontiguousarray(weights),
        bias=np.ascontiguousarray(np.broadcast_to(bias, len(weights))),
        strides=_pair(op, "stride"),
        dilations=_pair(op, "dilation"),
        pads=tuple(ir.DenseI64ArrayAttr(op.attributes["pad"])),  # type: ignore[arg-type]
        groups=groups,
        input_zero_point=int(scalar(op.operands[3])),
    )
    if conv.bias.dtype != (np.float32 if weights.dtype == np.float32 else np.int32):
        raise NotCapturedError(f"its bias holds {conv.bias.dtype}")
    shape = tuple(ir.RankedTensorType(op.result.type).shape)
    conv, chain = _absorb_input(conv, shape), [op]
    rescale_op = only_user(op.result, "tosa.rescale") if weights.dtype == np.int8 else None
    if rescale_op is not None and (rescale := _read_requantization(rescale_op, len(weights))):
        conv = changed(conv, rescale=rescale)
        chain.append(rescale_op)
    clamp_op = only_user(chain[-1].result, "tosa.clamp")
    if clamp_op is not None and (weights.dtype == np.float32 or conv.rescale):
        conv = changed(conv, clamp=read_clamp(clamp_op))
        chain.append(clamp_op)
    check(conv)
    with ir.InsertionPoint(chain[-1]), op.location:
        result = conv.create()
    replace(chain, result)


def _absorb_input(conv: Conv, shape: tuple[int, ...]) -> Conv:
    """Reads through a ``pad`` that pads with the zero point, and a ``slice`` that cuts what no window reads."""
    op = defining_op(conv.input)
    while op is not None:
        wider = _without_slice(conv, op) or _without_pad(conv, op)
        if wider is None or wider.geometry.output_shape != shape:
            break
        conv, op = wider, defining_op(wider.input)
    return conv


def _without_slice(conv: Conv, op: ir.Operation) -> Conv | None:
    if op.name != "tosa.slice" or conv.pads[1] or conv.pads[3]:
        return None
    source = ir.RankedTensorType(op.operands[0].type)
    start, size = constant_array(op.operands[1]), constant_array(op.operands[2])
    if start is None or size is None or start.any() or not source.has_static_shape:
        return None
    if source.shape[0] != size[0] or source.shape[3] != size[3]:
        return None
    return changed(conv, input=op.operands[0])


def _without_pad(conv: Conv, op: ir.Operation) -> Conv | None:
    if op.name != "tosa.pad":
        return None
    amounts, value = constant_array(op.operands[1]), constant_array(op.operands[2])
    if amounts is None or value is None or value.reshape(-1)[0] != conv.input_zero_point:
        return None
    before, after = np.asarray(amounts).reshape(4, 2).T
    if before[0] or after[0] or before[3] or after[3] or min(amounts) < 0:
        return None
    top, bottom, left, right = conv.pads
    pads = (top + before[1], bottom + after[1], left + before[2], right + after[2])
    return changed(conv, input=op.operands[0], pads=tuple(int(p) for p in pads))


def read_rescale(op: ir.Operation, channels: int = 1) -> tuple[int, Rescale] | None:
    """Zero point of the input and scales of ``tosa.rescale``, if they are numbers that a ``Rescale`` can hold."""
    unsigned = ir.BoolAttr(op.attributes["input_unsigned"]).value or ir.BoolAttr(op.attributes["output_unsigned"]).value
    if unsigned or not ir.BoolAttr(op.attributes["scale32"]).value:
        return None
    multiplier, shift, input_zero_point, output_zero_point = map(constant_array, list(op.operands)[1:])
    if multiplier is None or shift is None or input_zero_point is None or output_zero_point is None:
        return None
    rounding = str(op.attributes["rounding_mode"])
    if "INEXACT" in rounding or shift.min() < 2 or shift.max() > 62 or multiplier.min() < 0:
        return None
    if multiplier.size not in (1, channels):
        return None
    rescale = Rescale(
        multiplier=np.broadcast_to(multiplier, channels),
        shift=np.broadcast_to(shift, channels),
        output_zero_point=int(output_zero_point.reshape(-1)[0]),
        rounding="double" if "DOUBLE" in rounding else "single",
    )
    return int(input_zero_point.reshape(-1)[0]), rescale


def _read_requantization(op: ir.Operation, filters: int) -> Rescale | None:
    """The rescale of i32 sums to i8, if that is what ``op`` does."""
    read = read_rescale(op, filters)
    if read is None or read[0] or str(ir.RankedTensorType(op.result.type).element_type) != "i8":
        return None
    return read[1]


def read_clamp(op: ir.Operation) -> Clamp:
    """The limits of ``tosa.clamp``."""
    return (op.attributes["min_val"].value, op.attributes["max_val"].value)


def _folded_array(value: ir.Value) -> np.ndarray | None:
    """A constant, seen through the reshapes, transposes and slices of constants that importers leave."""
    op = defining_op(value)
    if op is not None and op.name == "tosa.reshape":
        source = _folded_array(op.operands[0])
        return None if source is None else source.reshape(ir.RankedTensorType(value.type).shape)
    if op is not None and op.name == "tosa.transpose":
        source = _folded_array(op.operands[0])
        return None if source is None else source.transpose(list(ir.DenseI32ArrayAttr(op.attributes["perms"])))
    if op is not None and op.name == "tosa.slice":
        source, start, size = _folded_array(op.operands[0]), *map(constant_array, list(op.operands)[1:])
        if source is None or start is None or size is None:
            return None
        return source[tuple(slice(int(at), int(at + n)) for at, n in zip(start, size, strict=True))]
    return constant_array(value)


def _pair(op: ir.Operation, name: str) -> tuple[int, int]:
    first, second = ir.DenseI64ArrayAttr(op.attributes[name])
    return first, second

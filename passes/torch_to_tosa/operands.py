"""What the operands of torch ops hold: Python constants, tensor types, weights with their scales."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import constant_array, defining_op
from dtmm_mlir.passes.base import PassError

QUANTIZE = "quantized_decomposed.quantize_per_tensor"
DEQUANTIZE = "quantized_decomposed.dequantize_per_tensor"
DEQUANTIZE_PER_CHANNEL = "quantized_decomposed.dequantize_per_channel"

_TRANSPOSES = ("aten.t", "aten.transpose.int", "aten.permute", "aten.numpy_T")
_VTENSOR = re.compile(r"!torch\.vtensor<\[([^\]]*)\],\s*(\w+)>")
_INT8_CODES = {0: "uint8", 1: "int8", 2: "int16", 3: "int32"}


@dataclasses.dataclass(frozen=True)
class Quantization:
    """Per-tensor affine quantization: ``real = (stored - zero_point) * scale``."""

    scale: float
    zero_point: int

    def stored(self, real: float) -> int:
        """The integer nearest to ``real``, ties to even as in torch, not limited to int8."""
        return round(real / self.scale) + self.zero_point

    def attribute(self) -> ir.Attribute:
        """``{scale = <f64>, zero_point = <i32>}``."""
        return ir.DictAttr.get(
            {
                "scale": ir.FloatAttr.get(ir.F64Type.get(), self.scale),
                "zero_point": ir.IntegerAttr.get(ir.IntegerType.get_signless(32), self.zero_point),
            }
        )


def name_of(op: ir.Operation) -> str:
    """``aten.conv2d`` for ``torch.aten.conv2d`` and for ``torch.operator "torch.aten.conv2d"``."""
    name = ir.StringAttr(op.attributes["name"]).value if op.name == "torch.operator" else op.name
    return name.removeprefix("torch.").removesuffix(".default")


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """Shape of a ``!torch.vtensor``.

    Raises:
        PassError: the shape is unknown or dynamic.
    """
    match = _VTENSOR.fullmatch(str(value.type))
    text = match.group(1) if match else "?"
    if "?" in text:
        owner = value.owner.owner if isinstance(value.owner, ir.Block) else value.owner
        raise PassError(owner, f"{value.type} has no static shape; export the model with fixed sizes, batch included")
    return tuple(int(size) for size in text.split(",") if size.strip())


def element_of(value: ir.Value) -> str:
    """Element type of a ``!torch.vtensor``, for instance ``f32`` or ``si8``; empty for any other type."""
    match = _VTENSOR.fullmatch(str(value.type))
    return match.group(2) if match else ""


def is_tensor(value: ir.Value) -> bool:
    """Whether ``value`` is a ``!torch.vtensor``."""
    return str(value.type).startswith("!torch.vtensor")


def python_value(op: ir.Operation, index: int):
    """Operand ``index`` of ``op`` as ``None``, bool, int, float, str or a list of them.

    Raises:
        PassError: it is not a constant.
    """
    if index >= len(op.operands):
        return None
    return _python_value(op, op.operands[index])


def _python_value(user: ir.Operation, value: ir.Value):
    op = defining_op(value)
    kind = op.name if op is not None else ""
    if kind == "torch.constant.none":
        return None
    if kind == "torch.constant.bool":
        return str(op.attributes["value"]).startswith("true")
    if kind in ("torch.constant.int", "torch.constant.float", "torch.constant.str"):
        return op.attributes["value"].value
    if kind == "torch.prim.ListConstruct":
        return [_python_value(user, item) for item in op.operands]
    if kind == "torch.derefine":
        return _python_value(user, op.operands[0])
    raise PassError(user, f"operand of type {value.type} must be a constant")


def pair(values: int | list[int] | None, default: tuple[int, int]) -> tuple[int, int]:
    """torch's ``k``, ``[k]`` or ``[kh, kw]`` as ``(kh, kw)``; ``default`` where it is absent or empty."""
    if values is None or values == []:
        return default
    listed = [values] if isinstance(values, int) else list(values)
    return (listed[0], listed[-1])


def quantization(op: ir.Operation) -> tuple[Quantization, int, int]:
    """Parameters of a per-tensor quantize or dequantize op and the smallest and largest stored value.

    Raises:
        PassError: the stored type is not int8.
    """
    scale, zero_point, low, high, dtype = (python_value(op, index) for index in range(1, 6))
    if dtype != 1:
        raise PassError(
            op,
            f"stores {_INT8_CODES.get(dtype, f'dtype {dtype}')}, only int8 has an integer form here; "
            "quantize with dtmm_mlir.quantization.Int8Quantizer",
        )
    return Quantization(float(scale), int(zero_point)), low, high


def literal(value: ir.Value) -> np.ndarray | None:
    """The array of a ``torch.vtensor.literal``; ``None`` for any other value."""
    op = defining_op(value)
    if op is None or op.name != "torch.vtensor.literal":
        return None
    return constant_array(value)


@dataclasses.dataclass(frozen=True)
class Weight:
    """A constant weight, output channels first.

    ``values`` is f32 with ``scale`` ``None``, or int8 with one f64 scale per output channel.
    """

    values: np.ndarray
    scale: np.ndarray | None


def weight(op: ir.Operation, value: ir.Value) -> Weight:
    """The weight ``value`` of ``op``, dequantize and transpose ops in between resolved.

    Raises:
        PassError: it is no constant, not finite, or quantized in another way than symmetric int8.
    """
    source = defining_op(value)
    array = literal(value)
    if array is not None:
        if not np.all(np.isfinite(array)):
            raise PassError(op, "the weight contains NaN or infinity; the training has diverged")
        return Weight(array, None)
    name = name_of(source) if source is not None else ""
    if name in _TRANSPOSES:
        inner = weight(op, source.operands[0])
        if inner.values.ndim == 2 and tuple(shape_of(value)) == inner.values.shape[::-1]:
            return Weight(inner.values.T, inner.scale)
    if name == DEQUANTIZE_PER_CHANNEL:
        return _per_channel_weight(source)
    if name == DEQUANTIZE:
        return _per_tensor_weight(source)
    raise PassError(op, f"the weight comes from '{name or 'an argument'}', it must be a constant")


def _stored(op: ir.Operation) -> np.ndarray:
    array = literal(op.operands[0])
    if array is None:
        raise PassError(op, "the quantized weight must be a constant; fold it with convert_pt2e(fold_quantize=True)")
    if array.dtype != np.int8 or element_of(op.operands[0]) != "si8":
        raise PassError(
            op, f"the weight is {element_of(op.operands[0])}; only symmetric int8 weights have an integer form here"
        )
    return array


def _per_channel_weight(op: ir.Operation) -> Weight:
    stored, scale, zero_point = _stored(op), literal(op.operands[1]), literal(op.operands[2])
    axis = python_value(op, 3)
    if scale is None or zero_point is None:
        raise PassError(op, "scales and zero points must be constants")
    if axis != 0:
        raise PassError(op, f"scales run along axis {axis}; only one scale per output channel (axis 0) is supported")
    if np.any(zero_point):
        raise PassError(op, "the weight is asymmetric; quantize it symmetrically (zero point 0)")
    return Weight(stored, scale.astype(np.float64).reshape(-1))


def _per_tensor_weight(op: ir.Operation) -> Weight:
    stored = _stored(op)
    parameters, _, _ = quantization(op)
    if parameters.zero_point:
        raise PassError(op, "the weight is asymmetric; quantize it symmetrically (zero point 0)")
    return Weight(stored, np.full(stored.shape[0], parameters.scale))

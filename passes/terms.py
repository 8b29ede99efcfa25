"""Int8 tensors as terms of an i32 sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from iree.compiler import ir

from dtmm_mlir.dialect.constants import defining_op
from dtmm_mlir.dialect.ops import Rescale
from dtmm_mlir.dialect.reference import requantize
from dtmm_mlir.passes.capture_tosa import read_rescale

INT8 = np.arange(-128, 128)
"""All values of an i8."""


@dataclass(frozen=True)
class Terms:
    """What a sum takes of an int8 tensor.

    Attributes:
        tensor: i8, of static shape.
        values: [256] what is added for each value of the tensor, in the order of ``INT8``; within i32.
        slope: by how much, about, a step of the tensor changes them.
    """

    tensor: ir.Value
    values: np.ndarray
    slope: float


def terms_of(value: ir.Value) -> Terms | None:
    """The int8 tensor that ``value`` was rescaled, once or more, or cast from; ``None`` where it was not."""
    steps: list[tuple[int, Rescale]] = []
    while (op := defining_op(value)) is not None and str(ir.ShapedType(value.type).element_type) == "i32":
        if op.name == "tosa.rescale" and (read := read_rescale(op)):
            steps.append(read)
        elif op.name != "tosa.cast":
            break
        value = op.operands[0]
    type = value.type
    if not isinstance(type, ir.RankedTensorType) or not type.has_static_shape or str(type.element_type) != "i8":
        return None
    values, slope = INT8.astype(np.int64), 1.0
    for zero_point, rescale in reversed(steps):
        values = requantize(values - zero_point, rescale)
        slope *= slope_of(rescale)
        if np.abs(values).max() >= 1 << 31:
            return None
    return Terms(value, values, slope)


def slope_of(rescale: Rescale) -> float:
    """By how much, about, a step changes what a rescale of one scale makes of it."""
    return float(int(rescale.multiplier[0]) / 2.0 ** int(rescale.shift[0]))

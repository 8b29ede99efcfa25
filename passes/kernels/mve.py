"""Arm's M-profile vector extension."""

from __future__ import annotations

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, vector

from dtmm_mlir.dialect.ops import Rescale
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index
from dtmm_mlir.passes.kernels.isa import Costs, Isa, Prepared, Requantization, is_far


class Mve(Isa):
    """Arm M-profile vector extension (Helium), 128-bit vectors."""

    costs = Costs(operand=1, mac=1, accumulators=6)

    def __init__(self) -> None:
        super().__init__(vector_bytes=16)

    def channel_lanes(self, element: str) -> int:
        return 4

    def zero(self, element: str) -> ir.Value:
        return emit.splat(0, emit.i32()) if element == "i8" else super().zero(element)

    def prepare(self, values: ir.Value) -> Prepared:
        return (values,)

    def mac(self, sums: ir.Value, a: Prepared, b: Prepared) -> ir.Value:
        if isinstance(sums.type, ir.VectorType):
            return super().mac(sums, a, b)
        zero = emit.splat(0, emit.i32())
        return emit.intrinsic(emit.i32(), "llvm.arm.mve.vmldava.v16i8", zero, zero, zero, sums, *a, *b)

    def total(self, sums: ir.Value) -> ir.Value:
        return super().total(sums) if isinstance(sums.type, ir.VectorType) else sums

    def store_strided(self, values: ir.Value, buffer: ir.Value, at: Index, stride: int) -> None:
        lanes = ir.VectorType(values.type).shape[0]
        if lanes != 4:
            super().store_strided(values, buffer, at, stride)
            return
        mask = emit.splat(1, emit.vector_type(4, ir.IntegerType.get_signless(1)))
        type = emit.vector_type(4, emit.i32())
        numbers = np.arange(4, dtype=np.int32) * stride
        offsets = arith.ConstantOp(type, ir.DenseElementsAttr.get(numbers, type=type)).result
        vector.ScatterOp(None, buffer, [emit.index(at)], offsets, mask, values)

    def stored_shift(self, rescale: Rescale) -> np.ndarray:
        return 31 - rescale.shift.astype(np.int32) if is_far(rescale) else super().stored_shift(rescale)

    def _scale_far(self, sums: ir.Value, by: Requantization, rescale: Rescale) -> ir.Value:
        lanes = ir.VectorType(sums.type).shape[0]
        type = emit.vector_type(4, emit.i32())
        zero, one = emit.splat(0, emit.i32()), emit.splat(1, emit.i32())

        def whole(value: ir.Value) -> ir.Value:
            """A vector of fewer than four lanes filled up with zeros."""
            if lanes == 4:
                return value
            return emit.from_lanes([*(emit.lane(value, i) for i in range(lanes)), *[zero] * (4 - lanes)])

        sums, multiplier, shift = whole(sums), by.multiplier, by.shift
        if isinstance(multiplier.type, ir.VectorType):
            multiplier, shift = whole(multiplier), whole(shift)
        else:
            multiplier = emit.broadcast(multiplier, type)
        if rescale.rounding == "double":
            value = emit.intrinsic(type, "llvm.arm.mve.vqrdmulh.v4i32", sums, multiplier)
            sign = arith.shrsi(value, emit.splat(31, type))
            value = emit.intrinsic(type, "llvm.sadd.sat.v4i32", value, sign)
        else:
            value = emit.intrinsic(type, "llvm.arm.mve.vqdmulh.v4i32", sums, multiplier)
        kind = "vector.v4i32.v4i32" if isinstance(shift.type, ir.VectorType) else "scalar.v4i32"
        value = emit.intrinsic(type, f"llvm.arm.mve.vshl.{kind}", value, shift, zero, one, zero)
        return value if lanes == 4 else emit.from_lanes([emit.lane(value, i) for i in range(lanes)])

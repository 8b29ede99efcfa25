"""What differs between instruction sets: multiply-accumulate and requantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, vector

from dtmm_mlir.dialect.ops import Clamp, Rescale
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.emit import Index


@dataclass(frozen=True)
class Costs:
    """Instructions of the innermost loop, for the planner.

    Attributes:
        operand: loading one vector of activations or weights and preparing it.
        mac: multiplying and accumulating one vector.
        accumulators: sums that stay in registers.
    """

    operand: int
    mac: int
    accumulators: int


Prepared: TypeAlias = tuple[ir.Value, ...]
"""A vector ready to be multiplied, in as many registers as that takes."""


@dataclass
class Requantization:
    """The scale of some sums: one filter's as scalars, or a vector of channels'.

    Attributes:
        multiplier: i32 or vector of i32.
        shift: i32 or vector of i32, as ``Isa.stored_shift`` made it.
    """

    multiplier: ir.Value
    shift: ir.Value


class Isa:
    """Portable vector IR: LLVM picks the instructions. Subclasses name better ones.

    Args:
        vector_bytes: size of one SIMD register.
    """

    costs = Costs(operand=2, mac=2, accumulators=6)

    def __init__(self, vector_bytes: int) -> None:
        self.vector_bytes = vector_bytes

    def lanes(self, element: str) -> int:
        """Elements (``i8`` or ``f32``) multiplied at once along the channels."""
        return 16 if element == "i8" else self.vector_bytes // 4

    def channel_lanes(self, element: str) -> int:
        """Channels that a depthwise convolution computes at once."""
        return 16 if element == "i8" else self.vector_bytes // 4

    def zero(self, element: str) -> ir.Value:
        """The accumulator ``mac`` starts from."""
        type = ir.F32Type.get() if element == "f32" else emit.i32()
        return emit.splat(0, emit.vector_type(self.lanes(element), type))

    def prepare(self, values: ir.Value) -> Prepared:
        """A loaded vector of i8 or f32 in the form that ``mac`` multiplies; shared by all its multiplications."""
        type = ir.VectorType(values.type)
        if isinstance(type.element_type, ir.F32Type):
            return (values,)
        return (arith.extsi(emit.vector_type(type.shape[0], emit.i32()), values),)

    def mac(self, sums: ir.Value, a: Prepared, b: Prepared) -> ir.Value:
        """``sums += a * b``, lane by lane or all lanes into one."""
        if isinstance(ir.VectorType(a[0].type).element_type, ir.F32Type):
            return vector.FMAOp(a[0], b[0], sums).result
        return arith.addi(sums, arith.muli(a[0], b[0]))

    def total(self, sums: ir.Value) -> ir.Value:
        """The accumulator's lanes added up: i32 or f32."""
        element = ir.VectorType(sums.type).element_type
        return vector.ReductionOp(element, vector.CombiningKind.ADD, sums).result

    def store_strided(self, values: ir.Value, buffer: ir.Value, at: Index, stride: int) -> None:
        """Stores lane ``i`` of ``values`` at element ``at + i * stride`` of ``buffer``."""
        for i in range(ir.VectorType(values.type).shape[0]):
            emit.store(emit.lane(values, i), buffer, emit.add(at, i * stride))

    def stored_shift(self, rescale: Rescale) -> np.ndarray:
        """[F] int32: the shifts in the form that ``requantize`` wants them."""
        return rescale.shift.astype(np.int32)

    def requantize(self, sums: ir.Value, by: Requantization, rescale: Rescale, clamp: Clamp) -> ir.Value:
        """i32 vector -> i8 vector with TOSA's arithmetic, offset by the zero point and clamped.

        Args:
            by: scalars or vectors of the sums' length.
            clamp: (min, max) within i8.
        """
        lanes = ir.VectorType(sums.type).shape[0]
        wide = emit.vector_type(lanes, emit.i64())

        def widen(value: ir.Value) -> ir.Value:
            if not isinstance(value.type, ir.VectorType):
                return emit.broadcast(arith.extsi(emit.i64(), value), wide)
            return arith.extsi(wide, value)

        value, multiplier, shift = widen(sums), widen(by.multiplier), widen(by.shift)
        one = emit.splat(1, wide)
        rounding = arith.shli(one, arith.subi(shift, one))
        if rescale.rounding == "double":
            positive = arith.cmpi(arith.CmpIPredicate.sge, value, emit.splat(0, wide))
            extra = arith.select(positive, emit.splat(1 << 30, wide), emit.splat(-(1 << 30), wide))
            far = arith.cmpi(arith.CmpIPredicate.sgt, shift, emit.splat(31, wide))
            rounding = arith.addi(rounding, arith.select(far, extra, emit.splat(0, wide)))
        value = arith.shrsi(arith.addi(arith.muli(value, multiplier), rounding), shift)
        value = arith.addi(value, emit.splat(rescale.output_zero_point, wide))
        value = arith.minsi(arith.maxsi(value, emit.splat(clamp[0], wide)), emit.splat(clamp[1], wide))
        return arith.trunci(emit.vector_type(lanes, ir.IntegerType.get_signless(8)), value)

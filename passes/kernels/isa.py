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
        shift = rescale.shift.astype(np.int32)
        return shift - 32 if is_far(rescale) else shift

    def requantize(self, sums: ir.Value, by: Requantization, rescale: Rescale, clamp: Clamp) -> ir.Value:
        """i32 vector -> i8 vector with TOSA's arithmetic, offset by the zero point and clamped.

        Args:
            by: scalars or vectors of the sums' length.
            clamp: (min, max) within i8.
        """
        scale = self._scale_far if is_far(rescale) else _scale_any
        value = scale(sums, by, rescale)
        type = ir.VectorType(value.type)
        value = arith.addi(value, emit.splat(rescale.output_zero_point, type))
        value = arith.minsi(arith.maxsi(value, emit.splat(clamp[0], type)), emit.splat(clamp[1], type))
        return arith.trunci(emit.vector_type(type.shape[0], ir.IntegerType.get_signless(8)), value)

    def _scale_far(self, sums: ir.Value, by: Requantization, rescale: Rescale) -> ir.Value:
        """``sums`` scaled where every shift goes beyond 31, in i32 after one wide multiplication.

        Single rounding truncates the product to its upper half and rounds in the shift. Double rounding also rounds
        the product, and takes one off a negative one, which makes the shift's ties go away from zero.
        """
        lanes = ir.VectorType(sums.type).shape[0]
        narrow, wide = emit.vector_type(lanes, emit.i32()), emit.vector_type(lanes, emit.i64())
        product = arith.muli(_widen(sums, wide), _widen(by.multiplier, wide))
        if rescale.rounding == "double":
            product = arith.addi(product, emit.splat(1 << 30, wide))
        value = arith.trunci(narrow, arith.shrui(product, emit.splat(31, wide)))
        if rescale.rounding == "double":
            value = arith.addi(value, arith.shrsi(value, emit.splat(31, narrow)))
        shift = by.shift if isinstance(by.shift.type, ir.VectorType) else emit.broadcast(by.shift, narrow)
        one = emit.splat(1, narrow)
        return arith.shrsi(arith.addi(arith.shrsi(value, shift), one), one)


def is_far(rescale: Rescale) -> bool:
    """Whether every shift goes beyond 31: the upper half of ``2 * sum * multiplier`` is all that is needed."""
    return bool((rescale.shift > 31).all())


def _scale_any(sums: ir.Value, by: Requantization, rescale: Rescale) -> ir.Value:
    """``sums`` scaled with any shifts, in i64: TOSA's formula as it stands."""
    wide = emit.vector_type(ir.VectorType(sums.type).shape[0], emit.i64())
    value, multiplier, shift = (_widen(v, wide) for v in (sums, by.multiplier, by.shift))
    one = emit.splat(1, wide)
    rounding = arith.shli(one, arith.subi(shift, one))
    if rescale.rounding == "double":
        positive = arith.cmpi(arith.CmpIPredicate.sge, value, emit.splat(0, wide))
        extra = arith.select(positive, emit.splat(1 << 30, wide), emit.splat(-(1 << 30), wide))
        far = arith.cmpi(arith.CmpIPredicate.sgt, shift, emit.splat(31, wide))
        rounding = arith.addi(rounding, arith.select(far, extra, emit.splat(0, wide)))
    return arith.shrsi(arith.addi(arith.muli(value, multiplier), rounding), shift)


def _widen(value: ir.Value, wide: ir.VectorType) -> ir.Value:
    """A scalar or vector of i32 as a vector of i64."""
    if isinstance(value.type, ir.VectorType):
        return arith.extsi(wide, value)
    return emit.broadcast(arith.extsi(emit.i64(), value), wide)

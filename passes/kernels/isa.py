"""What differs between instruction sets: multiply-accumulate and requantization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, llvm, vector

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
        return _intrinsic(emit.i32(), "llvm.arm.mve.vmldava.v16i8", zero, zero, zero, sums, *a, *b)

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
        shift = super().stored_shift(rescale)
        return 31 - shift if self._is_fast(rescale) else shift

    def _is_fast(self, rescale: Rescale) -> bool:
        """The doubling multiply returns ``sum * multiplier >> 31``: every shift must go beyond that."""
        return bool((rescale.shift > 31).all())

    def requantize(self, sums: ir.Value, by: Requantization, rescale: Rescale, clamp: Clamp) -> ir.Value:
        """As on any instruction set, for up to four lanes."""
        if not self._is_fast(rescale):
            return super().requantize(sums, by, rescale, clamp)
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
        # Single rounding truncates first and rounds in the shift. Double rounding also rounds the product, and takes
        # one off a negative one, which makes the shift's ties go away from zero.
        if rescale.rounding == "double":
            value = _intrinsic(type, "llvm.arm.mve.vqrdmulh.v4i32", sums, multiplier)
            sign = arith.shrsi(value, emit.splat(31, type))
            value = _intrinsic(type, "llvm.sadd.sat.v4i32", value, sign)
        else:
            value = _intrinsic(type, "llvm.arm.mve.vqdmulh.v4i32", sums, multiplier)
        kind = "vector.v4i32.v4i32" if isinstance(shift.type, ir.VectorType) else "scalar.v4i32"
        shifted = _intrinsic(type, f"llvm.arm.mve.vshl.{kind}", value, shift, zero, one, zero)
        value = arith.addi(shifted, emit.splat(rescale.output_zero_point, type))
        value = arith.minsi(arith.maxsi(value, emit.splat(clamp[0], type)), emit.splat(clamp[1], type))
        value = arith.trunci(emit.vector_type(4, ir.IntegerType.get_signless(8)), value)
        if lanes < 4:
            value = emit.from_lanes([emit.lane(value, i) for i in range(lanes)])
        return value


class Scalar(Isa):
    """Cores without vectors: four products in a row per step, sums in one register."""

    costs = Costs(operand=4, mac=4, accumulators=2)

    def __init__(self) -> None:
        super().__init__(vector_bytes=4)

    def lanes(self, element: str) -> int:
        return 4 if element == "i8" else 1

    def channel_lanes(self, element: str) -> int:
        return 1

    def zero(self, element: str) -> ir.Value:
        return emit.splat(0, emit.i32() if element == "i8" else ir.F32Type.get())

    def prepare(self, values: ir.Value) -> Prepared:
        type = ir.VectorType(values.type)
        scalars = [emit.lane(values, i) for i in range(type.shape[0])]
        if isinstance(type.element_type, ir.F32Type):
            return tuple(scalars)
        return tuple(arith.extsi(emit.i32(), scalar) for scalar in scalars)

    def mac(self, sums: ir.Value, a: Prepared, b: Prepared) -> ir.Value:
        real = isinstance(sums.type, ir.F32Type)
        for x, w in zip(a, b, strict=True):
            sums = arith.addf(sums, arith.mulf(x, w)) if real else arith.addi(sums, arith.muli(x, w))
        return sums

    def total(self, sums: ir.Value) -> ir.Value:
        return sums


class Dsp(Scalar):
    """Arm's DSP extension: two 16-bit products per instruction, four i8 in one word."""

    costs = Costs(operand=3, mac=2, accumulators=4)

    def prepare(self, values: ir.Value) -> Prepared:
        """Bytes 0 and 2, and bytes 1 and 3, each as a pair of i16 in one register."""
        if isinstance(ir.VectorType(values.type).element_type, ir.F32Type):
            return super().prepare(values)
        word = emit.lane(vector.BitCastOp(emit.vector_type(1, emit.i32()), values).result, 0)
        eight = emit.splat(8, emit.i32())
        rotated = _intrinsic(emit.i32(), "llvm.fshr.i32", word, word, eight)
        return tuple(_intrinsic(emit.i32(), "llvm.arm.sxtb16", value) for value in (word, rotated))

    def mac(self, sums: ir.Value, a: Prepared, b: Prepared) -> ir.Value:
        if isinstance(sums.type, ir.F32Type):
            return super().mac(sums, a, b)
        for x, w in zip(a, b, strict=True):
            sums = _intrinsic(emit.i32(), "llvm.arm.smlad", x, w, sums)
        return sums


def _intrinsic(result: ir.Type, name: str, *operands: ir.Value) -> ir.Value:
    return llvm.CallIntrinsicOp(result, name, list(operands), [], []).results_


def isa_of(name: str, vector_bytes: int) -> Isa:
    """The instruction set that a target's ``isa`` field names."""
    kinds: dict[str, Callable[[], Isa]] = {"mve": Mve, "dsp": Dsp, "scalar": Scalar}
    return kinds[name]() if name in kinds else Isa(vector_bytes)

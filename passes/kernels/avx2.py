"""x86-64 with AVX2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, vector

from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.isa import I16, WORD, Isa, Prepared, QuadOfWeights, is_far
from dtmm_mlir.passes.kernels.quads import LANES, vector_of_quads
from dtmm_mlir.passes.kernels.scaling import Scaling

_FLOATS = 6
"""Where ``Scaling.floats`` begin in ``pixel_scales``."""


class Avx2(Isa):
    """256-bit vectors: sixteen 16-bit products, added up in pairs, per instruction."""

    accumulators = 8

    def __init__(self) -> None:
        super().__init__(vector_bytes=32)

    def zero(self, element: str) -> ir.Value:
        return emit.splat(0, emit.vector_type(8, emit.i32())) if element == "i8" else super().zero(element)

    def row_bytes(self, element: str) -> int:
        return 2 if element == "i8" else super().row_bytes(element)

    def prepare(self, values: ir.Value) -> Prepared:
        if ir.VectorType(values.type).element_type != ir.IntegerType.get_signless(8):
            return (values,)
        return (arith.extsi(emit.vector_type(16, ir.IntegerType.get_signless(16)), values),)

    def mac(self, sums: ir.Value, a: Prepared, b: Prepared) -> ir.Value:
        if isinstance(ir.VectorType(sums.type).element_type, ir.F32Type):
            return super().mac(sums, a, b)
        pairs = emit.intrinsic(emit.vector_type(8, emit.i32()), "llvm.x86.avx2.pmadd.wd", *a, *b)
        return arith.addi(sums, pairs)

    # The ``pixel_lanes`` kernel. Vectors of 16 pixels take two registers.

    pixel_sums = 6
    quad_vectors = 2

    def planes_of(self, quads: ir.Value) -> list[ir.Value]:
        return [vector.BitCastOp(vector_of_quads(), pair).result for pair in _pairs(quads)]

    def prepare_quad(self, weights: ir.Value) -> QuadOfWeights:
        return _pairs(emit.broadcast(weights, emit.vector_type(LANES // 2, emit.i32())))

    def multiply_quads(self, sums: ir.Value, pixels: Sequence[ir.Value], weights: QuadOfWeights) -> ir.Value:
        halves = emit.halves(sums)
        for pairs, factor in zip(pixels, weights, strict=True):
            both = vector.BitCastOp(emit.vector_type(2 * LANES, ir.IntegerType.get_signless(16)), pairs).result
            halves = [
                self.mac(total, (half,), (factor,)) for total, half in zip(halves, emit.halves(both), strict=True)
            ]
        return emit.concatenate(*halves)

    def finish_pixels(self, sums: Sequence[ir.Value], scale: ir.Value, scaling: Scaling) -> list[ir.Value]:
        """In floats where that is exact, or else in integers."""
        factor = emit.load_from(emit.advance(scale, _FLOATS * WORD), ir.F32Type.get(), WORD)

        def in_floats() -> list[ir.Value]:
            return [self._bytes(each, scaling) for each in self._scaled_in_floats(sums, factor, scale, scaling)]

        def in_integers() -> list[ir.Value]:
            zero_point = emit.splat(scaling.rescale.output_zero_point, sums[0].type)
            return [self._bytes(arith.addi(each, zero_point), scaling) for each in _scaled(sums, scale, scaling)]

        if scaling.floats[:, 0].all():
            return in_floats()
        exact = arith.cmpf(arith.CmpFPredicate.OGT, factor, emit.splat(0.0, factor.type))
        results = [emit.vector_type(LANES, ir.IntegerType.get_signless(8))] * len(sums)
        return emit.either(exact, results, in_floats, in_integers)

    def _bytes(self, value: ir.Value, scaling: Scaling) -> ir.Value:
        """i32x16 clamped to i8x16."""
        bytes = self.saturate(value)
        return bytes if scaling.clamp == (-128, 127) else emit.clamp(bytes, scaling.clamp)

    def saturate(self, value: ir.Value) -> ir.Value:
        """i32x16 as i8x16."""
        i8, i16 = (ir.IntegerType.get_signless(bits) for bits in (8, 16))
        words = emit.intrinsic(emit.vector_type(LANES, i16), "llvm.x86.avx2.packssdw", *emit.halves(value))
        bytes = emit.intrinsic(emit.vector_type(LANES, i8), "llvm.x86.sse2.packsswb.128", *emit.halves(words))
        in_order = [place + i for place in (0, 8, 4, 12) for i in range(4)]  # both take 128 bits of either in turn
        return vector.ShuffleOp(bytes, bytes, in_order).result

    def _scaled_in_floats(
        self, sums: Sequence[ir.Value], factor: ir.Value, scale: ir.Value, scaling: Scaling
    ) -> list[ir.Value]:
        """Scaled by ``scaling.floats``, with the zero point."""
        type = emit.vector_type(LANES, factor.type)
        offset, negative = (
            emit.broadcast(emit.load_from(emit.advance(scale, at * WORD), factor.type, WORD), type)
            for at in (_FLOATS + 1, _FLOATS + 2)
        )
        factor = emit.broadcast(factor, type)
        results = []
        for each in sums:
            added = arith.select(_is_negative(each), negative, offset) if scaling.needs_sign else offset
            value = emit.intrinsic(type, "llvm.fma.v16f32", arith.sitofp(type, each), factor, added)
            results.append(self.nearest_integers(value))
        return results

    def nearest_integers(self, value: ir.Value) -> ir.Value:
        """f32x16 rounded to i32x16, ties to even."""
        half = emit.vector_type(LANES // 2, emit.i32())
        return emit.concatenate(*(emit.intrinsic(half, "llvm.x86.avx.cvt.ps2dq.256", h) for h in emit.halves(value)))

    def pixel_scales(self, scaling: Scaling) -> np.ndarray:
        """[F, 9] i32: rounding as i64, multiplier, shift, the rounding of negative products as i64, and those of
        ``Scaling.floats``.

        Where all that counts is in the upper halves of products, the shift is that of the upper half. With roundings of
        both signs products are doubled there: a negative one then rounds as if its upper half was one less.
        """
        way, rescale = _way(scaling), scaling.rescale
        shift = rescale.shift.astype(np.int64)
        half = np.int64(1) << (shift - 1)
        extra = np.where((shift > 31) & (rescale.rounding == "double"), 1 << 30, 0)
        factor = 2 if way == "signed" else 1
        above = {"any": 0, "upper": 32, "signed": 31}[way]
        roundings = np.stack([factor * (half + extra), half - extra], axis=1).view(np.int32)
        others = np.stack([rescale.multiplier, shift - above], axis=1).astype(np.int32)
        return np.concatenate([roundings[:, :2], others, roundings[:, 2:], scaling.floats.view(np.int32)], axis=1)


def _pairs(quads: ir.Value) -> tuple[ir.Value, ir.Value]:
    """i32, four i8 in each, as pairs of i16: the even ones, and the odd ones."""
    words = ir.VectorType.get([2 * ir.VectorType(quads.type).shape[0]], ir.IntegerType.get_signless(16))
    both, eight = vector.BitCastOp(words, quads).result, emit.splat(8, words)
    return arith.shrsi(arith.shli(both, eight), eight), arith.shrsi(both, eight)


def _way(scaling: Scaling) -> Literal["upper", "signed", "any"]:
    """How results come from products."""
    if not is_far(scaling.rescale):
        return "any"
    if not scaling.needs_sign:
        return "upper"
    return "signed" if scaling.bounded else "any"


def _scaled(sums: Sequence[ir.Value], scale: ir.Value, scaling: Scaling) -> list[ir.Value]:
    """Scaled in integers; arguments as of ``finish_pixels``."""
    wide = emit.vector_type(LANES // 2, emit.i64())
    rounding, multiplier, shift, negative = (
        emit.broadcast(emit.load_from(emit.advance(scale, at * WORD), type.element_type, WORD), type)
        for at, type in ((0, wide), (2, vector_of_quads()), (3, vector_of_quads()), (4, wide))
    )
    return [_scaled_vector(each, rounding, multiplier, shift, negative, scaling) for each in sums]


def _scaled_vector(
    sums: ir.Value, rounding: ir.Value, multiplier: ir.Value, shift: ir.Value, negative: ir.Value, scaling: Scaling
) -> ir.Value:
    """The products of even and of odd lanes are in vectors of their own, ``(product + rounding) >> shift``."""
    way = _way(scaling)
    factors = arith.addi(sums, sums) if way == "signed" else sums
    products = [arith.muli(each(factors), _even(multiplier)) for each in (_even, _odd)]
    rounded = [arith.addi(product, rounding) for product in products]
    if way == "any":
        if scaling.needs_sign:
            rounded = [
                arith.select(_is_negative(product), arith.addi(product, negative), other)
                for product, other in zip(products, rounded, strict=True)
            ]
        even, odd = (emit.clamp(arith.shrsi(each, _even(shift)), I16) for each in rounded)
        return _interleave(even, odd, upper=False)
    even, odd = rounded
    upper = _interleave(even, odd, upper=True)
    if way == "signed":
        upper = arith.addi(upper, arith.shrsi(sums, emit.splat(31, sums.type)))
    return arith.shrsi(upper, shift)


def _even(value: ir.Value) -> ir.Value:
    """The even lanes of an i32 vector as i64."""
    wide = emit.vector_type(LANES // 2, emit.i64())
    both, thirty_two = vector.BitCastOp(wide, value).result, emit.splat(32, wide)
    return arith.shrsi(arith.shli(both, thirty_two), thirty_two)


def _odd(value: ir.Value) -> ir.Value:
    """The odd lanes of an i32 vector as i64."""
    wide = emit.vector_type(LANES // 2, emit.i64())
    return arith.shrsi(vector.BitCastOp(wide, value).result, emit.splat(32, wide))


def _is_negative(value: ir.Value) -> ir.Value:
    return arith.cmpi(arith.CmpIPredicate.slt, value, emit.splat(0, ir.VectorType(value.type)))


def _interleave(even: ir.Value, odd: ir.Value, *, upper: bool) -> ir.Value:
    """The upper or lower halves of i64, in the lanes that they are the products of."""
    halves = [vector.BitCastOp(vector_of_quads(), each).result for each in (even, odd)]
    return vector.ShuffleOp(*halves, [lane & ~1 | upper | LANES * (lane % 2) for lane in range(LANES)]).result

"""x86-64 with AVX2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from iree.compiler import ir
from iree.compiler.dialects import arith, llvm, vector

from dtmm_mlir.dialect.ops import Clamp, Rescale
from dtmm_mlir.passes.kernels import emit
from dtmm_mlir.passes.kernels.isa import I16, Isa, Prepared, QuadOfWeights, Scaling, is_far
from dtmm_mlir.passes.kernels.quads import LANES, QUAD, vector_of_quads


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

    def scale_pixels(self, sums: ir.Value, odd: ir.Value, scale: ir.Value, scaling: Scaling) -> ir.Value:
        """The products of even and of odd lanes are in vectors of their own, ``(product + rounding) >> shift``."""
        way = _way(scaling)
        wide = emit.vector_type(LANES // 2, emit.i64())
        rounding, multiplier, shift, negative = (
            emit.broadcast(emit.load_from(emit.advance(scale, at), type.element_type, 4), type)
            for at, type in ((0, wide), (8, vector_of_quads()), (12, vector_of_quads()), (16, wide))
        )
        factors = [arith.addi(each, each) for each in (sums, odd)] if way == "signed" else [sums, odd]
        products = [arith.muli(_even(each), _even(multiplier)) for each in factors]
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

    def pixel_scales(self, scaling: Scaling) -> np.ndarray:
        """[F, 6] i32: rounding as i64, multiplier, shift, and the rounding of negative products as i64.

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
        return np.concatenate([roundings[:, :2], others, roundings[:, 2:]], axis=1)

    def narrow_quads(self, values: Sequence[ir.Value], rescale: Rescale, clamp: Clamp) -> ir.Value:
        i8, i16 = (ir.IntegerType.get_signless(bits) for bits in (8, 16))
        words, bytes = emit.vector_type(2 * LANES, i16), emit.vector_type(QUAD * LANES, i8)
        halves = [self.pack(words, *pair) for pair in (values[:2], values[2:])]
        if rescale.output_zero_point:
            zero_point = emit.splat(rescale.output_zero_point, words)
            halves = [llvm.SAddSat(half, zero_point).result for half in halves]
        result = self.pack(bytes, *halves)
        if clamp[0] > -128:
            result = arith.maxsi(result, emit.splat(clamp[0], bytes))
        if clamp[1] < 127:
            result = arith.minsi(result, emit.splat(clamp[1], bytes))
        # within each four pixels: from filter after filter to pixel after pixel
        order = [row + QUAD * f + p for row in range(0, QUAD * LANES, LANES) for p in range(QUAD) for f in range(QUAD)]
        return vector.BitCastOp(vector_of_quads(), vector.ShuffleOp(result, result, order).result).result

    def pack(self, type: ir.VectorType, a: ir.Value, b: ir.Value) -> ir.Value:
        """i32 or i16 saturated to those of ``type``, of half as many bits: in turn 128 bits of either vector."""
        half = emit.vector_type(type.shape[0] // 2, type.element_type)
        name = "llvm.x86.avx2.packssdw" if type.element_type.width == 16 else "llvm.x86.avx2.packsswb"
        return emit.concatenate(
            *(emit.intrinsic(half, name, *each) for each in zip(emit.halves(a), emit.halves(b), strict=True))
        )


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


def _even(value: ir.Value) -> ir.Value:
    """The even lanes of an i32 vector as i64."""
    wide = emit.vector_type(LANES // 2, emit.i64())
    both, thirty_two = vector.BitCastOp(wide, value).result, emit.splat(32, wide)
    return arith.shrsi(arith.shli(both, thirty_two), thirty_two)


def _is_negative(value: ir.Value) -> ir.Value:
    return arith.cmpi(arith.CmpIPredicate.slt, value, emit.splat(0, ir.VectorType(value.type)))


def _interleave(even: ir.Value, odd: ir.Value, *, upper: bool) -> ir.Value:
    """The upper or lower halves of i64, in the lanes that they are the products of."""
    halves = [vector.BitCastOp(vector_of_quads(), each).result for each in (even, odd)]
    return vector.ShuffleOp(*halves, [lane & ~1 | upper | LANES * (lane % 2) for lane in range(LANES)]).result
